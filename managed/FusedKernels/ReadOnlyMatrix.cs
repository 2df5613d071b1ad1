using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using CommunityToolkit.HighPerformance;
using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>
/// A matrix that an operator reads, of <see cref="float"/>, <see cref="BFloat16"/> or <see cref="Half"/>: a view of the
/// caller's memory, whose rows may lie apart. Spans and two-dimensional arrays convert to it by themselves; <c>default</c>
/// is no matrix.
/// </summary>
public readonly ref struct ReadOnlyMatrix
{
    private readonly ref readonly byte _elements;

    private ReadOnlyMatrix(ref readonly byte elements, DLDataType dataType, int height, int width, int rowStride)
    {
        _elements = ref elements;
        DataType = dataType;
        Height = height;
        Width = width;
        RowStride = rowStride;
    }

    /// <summary>The type of the elements.</summary>
    public DLDataType DataType { get; }

    /// <summary>The number of rows.</summary>
    public int Height { get; }

    /// <summary>The number of columns.</summary>
    public int Width { get; }

    /// <summary>Elements from a row's first to the next row's.</summary>
    public int RowStride { get; }

    /// <summary>Whether there is a matrix at all; one of no rows, but of some columns, is one.</summary>
    internal bool IsSet => Height != 0 || Width != 0;

    /// <summary>The matrix of this span.</summary>
    /// <param name="matrix">Its elements.</param>
    public static implicit operator ReadOnlyMatrix(ReadOnlySpan2D<float> matrix) => Of(matrix);

    /// <inheritdoc cref="op_Implicit(ReadOnlySpan2D{float})"/>
    public static implicit operator ReadOnlyMatrix(Span2D<float> matrix) => Of<float>(matrix);

    /// <summary>The matrix of this array; null is no matrix.</summary>
    /// <param name="matrix">Its elements.</param>
    public static implicit operator ReadOnlyMatrix(float[,]? matrix) => Of(matrix);

    /// <inheritdoc cref="op_Implicit(ReadOnlySpan2D{float})"/>
    public static implicit operator ReadOnlyMatrix(ReadOnlySpan2D<BFloat16> matrix) => Of(matrix);

    /// <inheritdoc cref="op_Implicit(ReadOnlySpan2D{float})"/>
    public static implicit operator ReadOnlyMatrix(Span2D<BFloat16> matrix) => Of<BFloat16>(matrix);

    /// <inheritdoc cref="op_Implicit(float[,])"/>
    public static implicit operator ReadOnlyMatrix(BFloat16[,]? matrix) => Of(matrix);

    /// <inheritdoc cref="op_Implicit(ReadOnlySpan2D{float})"/>
    public static implicit operator ReadOnlyMatrix(ReadOnlySpan2D<Half> matrix) => Of(matrix);

    /// <inheritdoc cref="op_Implicit(ReadOnlySpan2D{float})"/>
    public static implicit operator ReadOnlyMatrix(Span2D<Half> matrix) => Of<Half>(matrix);

    /// <inheritdoc cref="op_Implicit(float[,])"/>
    public static implicit operator ReadOnlyMatrix(Half[,]? matrix) => Of(matrix);

    /// <summary>For <c>fixed</c>: the first element, or a null reference when there is none.</summary>
    /// <returns>The first byte.</returns>
    public ref readonly byte GetPinnableReference() => ref _elements;

    internal static ReadOnlyMatrix Of<T>(ReadOnlySpan2D<T> matrix) where T : unmanaged => new(
        in Unsafe.As<T, byte>(ref matrix.DangerousGetReference()), DLDataType.Of<T>(), matrix.Height, matrix.Width,
        MeasureRowStride(matrix));

    // Not through a span, which forgets how many columns a matrix without rows has.
    private static ReadOnlyMatrix Of<T>(T[,]? matrix) where T : unmanaged => matrix is null ? default : new(
        in MemoryMarshal.GetArrayDataReference(matrix), DLDataType.Of<T>(), matrix.GetLength(0), matrix.GetLength(1),
        matrix.GetLength(1));

    // Span2D keeps its pitch to itself, but the distance between two rows tells it.
    private static int MeasureRowStride<T>(ReadOnlySpan2D<T> matrix) where T : unmanaged
    {
        if (matrix.Height < 2) return matrix.Width;
        nint bytes = Unsafe.ByteOffset(ref matrix.DangerousGetReferenceAt(0, 0), ref matrix.DangerousGetReferenceAt(1, 0));
        return (int)(bytes / Unsafe.SizeOf<T>());
    }
}
