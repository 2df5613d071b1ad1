using System.Numerics.Tensors;

namespace FusedKernels.Interop;

/// <summary>
/// Describes the arrays of a call, most of which may be absent, as pointers to <see cref="DLTensor"/>s, null where absent.
/// Both buffers lie on the caller's stack.
/// </summary>
internal unsafe ref struct TensorList(DLTensor* tensors, long* dimensions, int count)
{
    /// <summary>Elements of <c>dimensions</c> that each tensor may take.</summary>
    public const int DimensionsPerTensor = TensorBuilder.Tensor;

    private TensorBuilder _builder = new(dimensions, count * DimensionsPerTensor);
    private DLTensor* _next = tensors;

    /// <summary>Empty: absent.</summary>
    public DLTensor* Add<T>(T* data, ReadOnlySpan<T> vector) where T : unmanaged =>
        vector.IsEmpty ? null : Add(_builder.AddVector(data, vector.Length));

    /// <summary>Without axes: absent. With fewer than <paramref name="rank"/>, axes of extent 1 come in front.</summary>
    public DLTensor* Add<T>(T* data, scoped in ReadOnlyTensorSpan<T> tensor, int rank = 0) where T : unmanaged =>
        tensor.Rank == 0 ? null : Add(_builder.AddTensor(data, tensor, rank));

    /// <inheritdoc cref="Add{T}(T*, in ReadOnlyTensorSpan{T}, int)"/>
    public DLTensor* Add(void* data, scoped in TensorView view, int rank = 0) =>
        view.IsSet ? Add(_builder.AddTensor(data, view.DataType, view.Lengths, view.Strides, rank)) : null;

    private DLTensor* Add(in DLTensor tensor)
    {
        *_next = tensor;
        return _next++;
    }
}
