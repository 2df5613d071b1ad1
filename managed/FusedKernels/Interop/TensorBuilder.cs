using System.Diagnostics;
using System.Numerics.Tensors;

namespace FusedKernels.Interop;

/// <summary>
/// Describes pinned memory as <see cref="DLTensor"/>s. Shapes and strides are cut off a buffer that the caller has on its
/// own stack, so that they live as long as the call and nothing is allocated.
/// </summary>
internal unsafe ref struct TensorBuilder(long* dimensions, int capacity)
{
    /// <summary>Buffer elements that one vector, matrix, stack of matrices or tensor takes: its extents and its
    /// strides.</summary>
    public const int Vector = 2, Matrix = 4, Stack = 6, Tensor = 2 * MaxRank;

    /// <summary>The highest rank of a <see cref="TensorSpan{T}"/> that is passed on.</summary>
    public const int MaxRank = 8;

    private long* _next = dimensions;
    private readonly long* _end = dimensions + capacity;

    public DLTensor AddVector<T>(T* data, int length) where T : unmanaged => AddVector(data, DLDataType.Of<T>(), length);

    public DLTensor AddVector(void* data, DLDataType dataType, int length)
    {
        long* shape = Take(Vector);
        shape[0] = length;
        shape[1] = 1;
        return Describe(data, dataType, rank: 1, shape);
    }

    public DLTensor AddMatrix(void* data, ReadOnlyMatrix matrix) =>
        AddMatrix(data, matrix.DataType, matrix.Height, matrix.Width, matrix.RowStride);

    public DLTensor AddMatrix(void* data, DLDataType dataType, long rows, long columns, long rowStride)
    {
        long* shape = Take(Matrix);
        shape[0] = rows;
        shape[1] = columns;
        shape[2] = rowStride;
        shape[3] = 1;
        return Describe(data, dataType, rank: 2, shape);
    }

    public DLTensor AddTensor<T>(T* data, scoped in ReadOnlyTensorSpan<T> tensor, int rank = 0) where T : unmanaged =>
        AddTensor(data, DLDataType.Of<T>(), tensor.Lengths, tensor.Strides, rank);

    /// <summary>With fewer axes than <paramref name="rank"/>, axes of extent 1 come in front.</summary>
    public DLTensor AddTensor(
        void* data, DLDataType dataType, scoped ReadOnlySpan<nint> lengths, scoped ReadOnlySpan<nint> strides, int rank = 0)
    {
        if (lengths.Length > MaxRank)
            throw new ArgumentException($"A tensor has rank {lengths.Length}; at most {MaxRank} is supported.");
        int missing = Math.Max(0, rank - lengths.Length);
        rank = missing + lengths.Length;
        long* shape = Take(2 * rank);
        for (int i = 0; i < rank; i++)
        {
            shape[i] = i < missing ? 1 : lengths[i - missing];
            // TensorSpan reports stride 0 for extents of 1, which would read as a broadcast.
            shape[rank + i] = shape[i] == 1 ? 1 : strides[i - missing];
        }
        return Describe(data, dataType, rank, shape);
    }

    /// <summary>Matrices [rows, columns] in a row, the first row of each a row behind the last of the one before
    /// it.</summary>
    public DLTensor AddStack(void* data, DLDataType dataType, long matrices, long rows, long columns, long rowStride)
    {
        long* shape = Take(Stack);
        shape[0] = matrices;
        shape[1] = rows;
        shape[2] = columns;
        shape[3] = rows * rowStride;
        shape[4] = rowStride;
        shape[5] = 1;
        return Describe(data, dataType, rank: 3, shape);
    }

    private static DLTensor Describe(void* data, DLDataType dataType, int rank, long* shape) => new()
    {
        Data = data,
        Device = new DLDevice(DLDeviceType.Cpu, 0),
        Rank = rank,
        DataType = dataType,
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
