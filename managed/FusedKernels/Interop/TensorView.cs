using System.Diagnostics.CodeAnalysis;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;

namespace FusedKernels.Interop;

/// <summary>
/// A view of the caller's memory with up to four axes of any strides, whose element type is a value: what the public views
/// that take several element types are made of. <c>default</c> is no view.
/// </summary>
internal readonly ref struct TensorView
{
    public const int MaxRank = 4;

    [InlineArray(MaxRank)]
    private struct Axes
    {
        private nint _first;
    }

    private readonly ref byte _elements;
    private readonly Axes _lengths, _strides;

    private TensorView(
        ref byte elements, DLDataType dataType, scoped ReadOnlySpan<nint> lengths, scoped ReadOnlySpan<nint> strides)
    {
        if (lengths.Length > MaxRank)
            throw new ArgumentException($"A tensor has rank {lengths.Length}; at most {MaxRank} is taken here.");
        _elements = ref elements;
        DataType = dataType;
        Rank = lengths.Length;
        lengths.CopyTo(_lengths);
        strides.CopyTo(_strides);
    }

    public DLDataType DataType { get; }

    public int Rank { get; }

    /// <summary>Whether there is a view at all; one of no elements, but of some axes, is one.</summary>
    public bool IsSet => Rank != 0;

    [UnscopedRef]
    public ReadOnlySpan<nint> Lengths => ((ReadOnlySpan<nint>)_lengths)[..Rank];

    [UnscopedRef]
    public ReadOnlySpan<nint> Strides => ((ReadOnlySpan<nint>)_strides)[..Rank];

    /// <summary>The first element, or a null reference when there is none.</summary>
    public ref byte Elements => ref _elements;

    public static TensorView Of<T>(ReadOnlyTensorSpan<T> tensor) where T : unmanaged => new(
        ref Unsafe.As<T, byte>(ref Unsafe.AsRef(in tensor.GetPinnableReference())), DLDataType.Of<T>(), tensor.Lengths,
        tensor.Strides);

    public static TensorView Of<T>(T[,,,]? array) where T : unmanaged => Of(new ReadOnlyTensorSpan<T>(array));
}
