using System.Diagnostics.CodeAnalysis;
using System.Numerics.Tensors;
using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>
/// Queries, keys, values or gradients that an operator reads, [batch, sequence, heads, head dimension], of
/// <see cref="float"/>, <see cref="BFloat16"/> or <see cref="Half"/>: a view of the caller's memory, with stride 1 along the
/// last axis and any strides along the others. Tensor spans and four-dimensional arrays convert to it by themselves;
/// <c>default</c> is none.
/// </summary>
public readonly ref struct ReadOnlyHeads
{
    private readonly TensorView _view;

    private ReadOnlyHeads(TensorView view) => _view = view;

    [UnscopedRef]
    internal ref readonly TensorView View => ref _view;

    /// <summary>The heads of this span.</summary>
    /// <param name="tensor">Its elements.</param>
    public static implicit operator ReadOnlyHeads(ReadOnlyTensorSpan<float> tensor) => new(TensorView.Of(tensor));

    /// <inheritdoc cref="op_Implicit(ReadOnlyTensorSpan{float})"/>
    public static implicit operator ReadOnlyHeads(TensorSpan<float> tensor) => new(TensorView.Of<float>(tensor));

    /// <summary>The heads of this array; null is none.</summary>
    /// <param name="array">Its elements.</param>
    public static implicit operator ReadOnlyHeads(float[,,,]? array) => new(TensorView.Of(array));

    /// <inheritdoc cref="op_Implicit(ReadOnlyTensorSpan{float})"/>
    public static implicit operator ReadOnlyHeads(ReadOnlyTensorSpan<BFloat16> tensor) => new(TensorView.Of(tensor));

    /// <inheritdoc cref="op_Implicit(ReadOnlyTensorSpan{float})"/>
    public static implicit operator ReadOnlyHeads(TensorSpan<BFloat16> tensor) => new(TensorView.Of<BFloat16>(tensor));

    /// <inheritdoc cref="op_Implicit(float[,,,])"/>
    public static implicit operator ReadOnlyHeads(BFloat16[,,,]? array) => new(TensorView.Of(array));

    /// <inheritdoc cref="op_Implicit(ReadOnlyTensorSpan{float})"/>
    public static implicit operator ReadOnlyHeads(ReadOnlyTensorSpan<Half> tensor) => new(TensorView.Of(tensor));

    /// <inheritdoc cref="op_Implicit(ReadOnlyTensorSpan{float})"/>
    public static implicit operator ReadOnlyHeads(TensorSpan<Half> tensor) => new(TensorView.Of<Half>(tensor));

    /// <inheritdoc cref="op_Implicit(float[,,,])"/>
    public static implicit operator ReadOnlyHeads(Half[,,,]? array) => new(TensorView.Of(array));

    /// <summary>The same heads, to be read.</summary>
    /// <param name="heads">Their elements.</param>
    public static implicit operator ReadOnlyHeads(Heads heads) => new(heads.View);

    /// <summary>For <c>fixed</c>: the first element, or a null reference when there is none.</summary>
    /// <returns>The first byte.</returns>
    public ref readonly byte GetPinnableReference() => ref _view.Elements;
}
