using System.Runtime.InteropServices;

namespace FusedKernels.Interop;

/// <summary>
/// The arrays of a call with a key-value cache as raw tensors, for an object initialiser (the C header's
/// <c>fk_kv_cache_tensors</c>, field for field); null is absent. <see cref="KvCacheTensors"/> says what each is for.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct KvCacheTensorPointers
{
    internal uint StructSize;
    internal uint Reserved;

    /// <summary>[B, Sq, H, D], f32, bf16 or f16.</summary>
    public DLTensor* Q;

    /// <summary>[B, Sn, G, D], f32, bf16 or f16.</summary>
    public DLTensor* NewK;

    /// <summary>[B, Sn, G, Dv], f32, bf16 or f16.</summary>
    public DLTensor* NewV;

    /// <summary>[B|1, H], f32.</summary>
    public DLTensor* AlibiSlopes;

    /// <summary>[H], f32.</summary>
    public DLTensor* Sinks;

    /// <summary>[B, Sq, H, Dv], f32, bf16 or f16; written.</summary>
    public DLTensor* Output;

    /// <summary>[B, H, Sq], f32; written.</summary>
    public DLTensor* LogSumExp;
}
