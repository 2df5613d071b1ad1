namespace FusedKernels.Interop;

/// <summary>
/// Describes the arrays of a loss, most of which may be absent, as pointers to <see cref="DLTensor"/>s, null where absent.
/// Arrays of one value or one line per row take the shape of the targets: [N], or [N / L, L] where rows form sequences.
/// Both buffers lie on the caller's stack.
/// </summary>
internal unsafe ref struct LossTensorList(DLTensor* tensors, long* dimensions, int count, int sequenceLength = 0)
{
    /// <summary>Elements of <c>dimensions</c> that each tensor may take.</summary>
    public const int DimensionsPerTensor = TensorBuilder.Stack;

    private TensorBuilder _builder = new(dimensions, count * DimensionsPerTensor);
    private DLTensor* _next = tensors;

    /// <summary>A number that is always there.</summary>
    public DLTensor* AddScalar(float* data) => Add(_builder.AddVector(data, 1));

    public DLTensor* AddVector(float* data, int length) => length == 0 ? null : Add(_builder.AddVector(data, length));

    public DLTensor* AddMatrix(void* data, ReadOnlyMatrix matrix) =>
        matrix.IsSet ? Add(_builder.AddMatrix(data, matrix)) : null;

    /// <summary>A vector with one element per row; empty and not needed: absent.</summary>
    public DLTensor* AddRows(float* data, int length, string name, bool needed = false) =>
        length != 0 || needed ? AddRows(data, DLDataType.Float32, length, name) : null;

    public DLTensor* AddRows(void* data, ReadOnlyIndices indices, string name) =>
        indices.IsSet ? AddRows(data, indices.DataType, indices.Length, name) : null;

    /// <summary>A matrix with one line per row.</summary>
    public DLTensor* AddRowMatrix(void* data, ReadOnlyMatrix matrix, string name)
    {
        if (sequenceLength == 0 || !matrix.IsSet) return AddMatrix(data, matrix);
        return Add(_builder.AddStack(
            data, matrix.DataType, Sequences(matrix.Height, name), sequenceLength, matrix.Width, matrix.RowStride));
    }

    private DLTensor* AddRows(void* data, DLDataType dataType, int length, string name) => Add(
        sequenceLength == 0 ? _builder.AddVector(data, dataType, length)
        : _builder.AddMatrix(data, dataType, Sequences(length, name), sequenceLength, rowStride: sequenceLength));

    private readonly int Sequences(int rows, string name)
    {
        (int sequences, int rest) = Math.DivRem(rows, sequenceLength);
        if (rest != 0)
            throw new ArgumentException(
                $"{name} has {rows} rows, which do not form sequences of SequenceLength {sequenceLength}: it must divide them.",
                name);
        return sequences;
    }

    private DLTensor* Add(in DLTensor tensor)
    {
        *_next = tensor;
        return _next++;
    }
}
