using System.Diagnostics.CodeAnalysis;
using System.Numerics.Tensors;
using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>
/// Outputs or gradients that an operator writes, [batch, sequence, heads, head dimension], of <see cref="float"/>,
/// <see cref="BFloat16"/> or <see cref="Half"/>: a view of the caller's memory, with stride 1 along the last axis and any
/// strides along the others. Tensor spans and four-dimensional arrays convert to it by themselves; <c>default</c> is none.
/// </summary>
public readonly ref struct Heads
{
    private readonly TensorView _view;

    private Heads(TensorView view) => _view = view;

    [UnscopedRef]
    internal ref readonly TensorView View => ref _view;

    /// <summary>The heads of this span.</summary>
    /// <param name="tensor">Its elements.</param>
    public static implicit operator Heads(TensorSpan<float> tensor) => new(TensorView.Of<float>(tensor));

    /// <summary>The heads of this array; null is none.</summary>
    /// <param name="array">Its elements.</param>
    public static implicit operator Heads(float[,,,]? array) => new(TensorView.Of(array));

    /// <inheritdoc cref="op_Implicit(TensorSpan{float})"/>
    public static implicit operator Heads(TensorSpan<BFloat16> tensor) => new(TensorView.Of<BFloat16>(tensor));

    /// <inheritdoc cref="op_Implicit(float[,,,])"/>
    public static implicit operator Heads(BFloat16[,,,]? array) => new(TensorView.Of(array));

    /// <inheritdoc cref="op_Implicit(TensorSpan{float})"/>
    public static implicit operator Heads(TensorSpan<Half> tensor) => new(TensorView.Of<Half>(tensor));

    /// <inheritdoc cref="op_Implicit(float[,,,])"/>
    public static implicit operator Heads(Half[,,,]? array) => new(TensorView.Of(array));

    /// <summary>For arrays of a call that writes them in one direction and only reads them in the other.</summary>
    internal static Heads ForReading(ReadOnlyHeads heads) => new(heads.View);

    /// <summary>For <c>fixed</c>: the first element, or a null reference when there is none.</summary>
    /// <returns>The first byte.</returns>
    public ref byte GetPinnableReference() => ref _view.Elements;
}
