using System.Diagnostics.CodeAnalysis;
using System.Numerics.Tensors;
using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>
/// A mask that an operator reads, of <see cref="bool"/> or <see cref="byte"/>, where false and 0 hide: a view of the
/// caller's memory, with any strides. Tensor spans convert to it by themselves; <c>default</c> is none.
/// </summary>
public readonly ref struct ReadOnlyMask
{
    private readonly TensorView _view;

    private ReadOnlyMask(TensorView view) => _view = view;

    [UnscopedRef]
    internal ref readonly TensorView View => ref _view;

    /// <summary>The mask of this span.</summary>
    /// <param name="tensor">Its elements.</param>
    public static implicit operator ReadOnlyMask(ReadOnlyTensorSpan<bool> tensor) => new(TensorView.Of(tensor));

    /// <inheritdoc cref="op_Implicit(ReadOnlyTensorSpan{bool})"/>
    public static implicit operator ReadOnlyMask(TensorSpan<bool> tensor) => new(TensorView.Of<bool>(tensor));

    /// <inheritdoc cref="op_Implicit(ReadOnlyTensorSpan{bool})"/>
    public static implicit operator ReadOnlyMask(ReadOnlyTensorSpan<byte> tensor) => new(TensorView.Of(tensor));

    /// <inheritdoc cref="op_Implicit(ReadOnlyTensorSpan{bool})"/>
    public static implicit operator ReadOnlyMask(TensorSpan<byte> tensor) => new(TensorView.Of<byte>(tensor));

    /// <summary>For <c>fixed</c>: the first element, or a null reference when there is none.</summary>
    /// <returns>The first byte.</returns>
    public ref readonly byte GetPinnableReference() => ref _view.Elements;
}
