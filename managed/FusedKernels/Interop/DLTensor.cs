using System.Runtime.InteropServices;

namespace FusedKernels.Interop;

/// <summary>
/// A view of an array that somebody else owns (DLPack 0.6's <c>DLTensor</c>, 48 bytes on 64-bit). The pointers must stay
/// valid while a call uses the view.
/// </summary>
/// <remarks>
/// On the CPU <see cref="Data"/> may have any address that is aligned to the element; DLPack's 256-byte rule is not asked
/// for.
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct DLTensor
{
    /// <summary>The memory; may be null when an extent is 0.</summary>
    public void* Data;

    /// <summary>Where the memory lies.</summary>
    public DLDevice Device;

    /// <summary>The number of dimensions.</summary>
    public int Rank;

    /// <summary>The element type.</summary>
    public DLDataType DataType;

    /// <summary><see cref="Rank"/> extents, in elements.</summary>
    public long* Shape;

    /// <summary><see cref="Rank"/> strides, in elements and possibly negative; null means contiguous (row-major).</summary>
    public long* Strides;

    /// <summary>Bytes to add to <see cref="Data"/>.</summary>
    public ulong ByteOffset;
}
