using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>
/// Indices that an operator reads, <see cref="int"/> or <see cref="long"/>: a view of the caller's memory. Spans and arrays
/// convert to it by themselves; <c>default</c> is no indices.
/// </summary>
public readonly ref struct ReadOnlyIndices
{
    private readonly ref readonly byte _elements;

    private ReadOnlyIndices(ref readonly byte elements, DLDataType dataType, int length)
    {
        _elements = ref elements;
        DataType = dataType;
        Length = length;
    }

    /// <summary>The type of the indices.</summary>
    public DLDataType DataType { get; }

    /// <summary>Their number.</summary>
    public int Length { get; }

    /// <summary>Whether there are indices at all; an empty span of a type is one.</summary>
    internal bool IsSet => DataType != default;

    /// <summary>The indices of this span.</summary>
    /// <param name="indices">The indices.</param>
    public static implicit operator ReadOnlyIndices(ReadOnlySpan<int> indices) => Of(indices);

    /// <inheritdoc cref="op_Implicit(ReadOnlySpan{int})"/>
    public static implicit operator ReadOnlyIndices(Span<int> indices) => Of<int>(indices);

    /// <summary>The indices of this array; null is no indices.</summary>
    /// <param name="indices">The indices.</param>
    public static implicit operator ReadOnlyIndices(int[]? indices) => indices is null ? default : Of<int>(indices);

    /// <inheritdoc cref="op_Implicit(ReadOnlySpan{int})"/>
    public static implicit operator ReadOnlyIndices(ReadOnlySpan<long> indices) => Of(indices);

    /// <inheritdoc cref="op_Implicit(ReadOnlySpan{int})"/>
    public static implicit operator ReadOnlyIndices(Span<long> indices) => Of<long>(indices);

    /// <inheritdoc cref="op_Implicit(int[])"/>
    public static implicit operator ReadOnlyIndices(long[]? indices) => indices is null ? default : Of<long>(indices);

    /// <summary>For <c>fixed</c>: the first index, or a null reference when there is none.</summary>
    /// <returns>The first byte.</returns>
    public ref readonly byte GetPinnableReference() => ref _elements;

    private static ReadOnlyIndices Of<T>(ReadOnlySpan<T> indices) where T : unmanaged =>
        new(in Unsafe.As<T, byte>(ref MemoryMarshal.GetReference(indices)), DLDataType.Of<T>(), indices.Length);
}
