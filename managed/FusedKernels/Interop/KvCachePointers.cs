using System.Runtime.InteropServices;

namespace FusedKernels.Interop;

/// <summary>
/// A key-value cache as raw tensors, for an object initialiser (the C header's <c>fk_kv_cache</c>, field for field); null is
/// absent. <see cref="KvCacheView"/> says what each is for.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct KvCachePointers
{
    internal uint StructSize;
    internal uint Reserved;

    /// <summary>[P, T, G, D], f32; written where tokens are appended or pages copied.</summary>
    public DLTensor* KFloat;

    /// <summary>[P, T, G, Dv], f32; likewise.</summary>
    public DLTensor* VFloat;

    /// <summary>[P, T, G, D], bf16; likewise.</summary>
    public DLTensor* KBFloat16;

    /// <summary>[P, T, G, Dv], bf16; likewise.</summary>
    public DLTensor* VBFloat16;

    /// <summary>[P, T, G, D], int8; likewise.</summary>
    public DLTensor* KInt8;

    /// <summary>[P, T, G, Dv], int8; likewise.</summary>
    public DLTensor* VInt8;

    /// <summary>[P, T, G], f32; likewise.</summary>
    public DLTensor* KInt8Scales;

    /// <summary>[P, T, G], f32; likewise.</summary>
    public DLTensor* VInt8Scales;

    /// <summary>[B, M], int32.</summary>
    public DLTensor* PageTable;

    /// <summary>[B], int32.</summary>
    public DLTensor* Lengths;
}
