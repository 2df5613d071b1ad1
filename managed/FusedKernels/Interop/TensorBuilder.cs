using System.Diagnostics;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using CommunityToolkit.HighPerformance;

namespace FusedKernels.Interop;

/// <summary>
/// Describes pinned memory as <see cref="DLTensor"/>s. Shapes and strides are cut off a buffer that the caller has on its
/// own stack, so that they live as long as the call and nothing is allocated.
/// </summary>
internal unsafe ref struct TensorBuilder(long* dimensions, int capacity)
{
    /// <summary>Buffer elements that one vector, matrix or tensor takes: its extents and its strides.</summary>
    public const int Vector = 2, Matrix = 4, Tensor = 2 * MaxRank;

    /// <summary>The highest rank of a <see cref="TensorSpan{T}"/> that is passed on.</summary>
    public const int MaxRank = 8;

    private long* _next = dimensions;
    private readonly long* _end = dimensions + capacity;

    public DLTensor AddVector<T>(T* data, int length) where T : unmanaged
    {
        long* shape = Take(Vector);
        shape[0] = length;
        shape[1] = 1;
        return Describe(data, rank: 1, shape);
    }

    public DLTensor AddMatrix(float* data, ReadOnlySpan2D<float> matrix)
    {
        long* shape = Take(Matrix);
        shape[0] = matrix.Height;
        shape[1] = matrix.Width;
        shape[2] = RowStride(matrix);
        shape[3] = 1;
        return Describe(data, rank: 2, shape);
    }

    public DLTensor AddTensor(float* data, in ReadOnlyTensorSpan<float> tensor)
    {
        int rank = tensor.Rank;
        if (rank > MaxRank) throw new ArgumentException($"A tensor has rank {rank}; at most {MaxRank} is supported.");
        long* shape = Take(2 * rank);
        for (int i = 0; i < rank; i++)
        {
            shape[i] = tensor.Lengths[i];
            // TensorSpan reports stride 0 for extents of 1, which would read as a broadcast.
            shape[rank + i] = tensor.Lengths[i] == 1 ? 1 : tensor.Strides[i];
        }
        return Describe(data, rank, shape);
    }

    public DLTensor AddContiguous(float* data, long first, long second, long third)
    {
        long* shape = Take(6);
        shape[0] = first;
        shape[1] = second;
        shape[2] = third;
        shape[3] = second * third;
        shape[4] = third;
        shape[5] = 1;
        return Describe(data, rank: 3, shape);
    }

    // Span2D keeps its pitch to itself, but the distance between two rows tells it.
    private static long RowStride(ReadOnlySpan2D<float> matrix)
    {
        if (matrix.Height < 2) return matrix.Width;
        nint bytes = Unsafe.ByteOffset(ref matrix.DangerousGetReferenceAt(0, 0), ref matrix.DangerousGetReferenceAt(1, 0));
        return bytes / sizeof(float);
    }

    private static DLTensor Describe<T>(T* data, int rank, long* shape) where T : unmanaged => new()
    {
        Data = data,
        Device = new DLDevice(DLDeviceType.Cpu, 0),
        Rank = rank,
        DataType = DLDataType.Of<T>(),
        Shape = shape,
        Strides = shape + rank,
    };

    private long* Take(int count)
    {
        Debug.Assert(_next + count <= _end, "The caller's buffer is too small for its tensors.");
        long* taken = _next;
        _next += count;
        return taken;
    }
}
