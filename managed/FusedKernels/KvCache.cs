using System.Numerics.Tensors;

namespace FusedKernels;

/// <summary>
/// The keys and values of some sequences' tokens so far, in managed memory of its own: one page for each sequence, with room
/// for the same number of tokens. It counts tokens itself. For shared pages, or pages of several precisions, see
/// <see cref="KvCacheView"/>, whose remarks and errors hold here too. Use it from one thread at a time.
/// </summary>
public sealed class KvCache
{
    private readonly int[] _lengths;
    private readonly nint[] _keyShape, _valueShape;
    private readonly Array _keys, _values;
    private readonly float[] _keyScales = [], _valueScales = [];

    private KvCache(int batch, int capacity, int kvHeads, int headDim, int valueDim, KvPrecision precision)
    {
        (Capacity, Precision) = (capacity, precision);
        _lengths = new int[batch];
        _keyShape = [batch, capacity, kvHeads, headDim];
        _valueShape = [batch, capacity, kvHeads, valueDim];
        _keys = Allocate(_keyShape, precision);
        _values = Allocate(_valueShape, precision);
        if (precision != KvPrecision.Int8) return;
        _keyScales = new float[Elements(_keyShape[..3])];
        _valueScales = new float[_keyScales.Length];
    }

    /// <summary>Tokens that each sequence has room for.</summary>
    public int Capacity { get; }

    /// <summary>How keys and values are stored.</summary>
    public KvPrecision Precision { get; }

    /// <summary>[B]: the tokens of each sequence that are in the cache.</summary>
    public ReadOnlySpan<int> Lengths => _lengths;

    /// <summary>The cache as a view, for what this class has no method for.</summary>
    public KvCacheView View => Precision switch
    {
        KvPrecision.Float => new()
        {
            KFloat = new((float[])_keys, _keyShape), VFloat = new((float[])_values, _valueShape), Lengths = _lengths,
        },
        KvPrecision.BFloat16 => new()
        {
            KBFloat16 = new((BFloat16[])_keys, _keyShape), VBFloat16 = new((BFloat16[])_values, _valueShape),
            Lengths = _lengths,
        },
        _ => new()
        {
            KInt8 = new((sbyte[])_keys, _keyShape), VInt8 = new((sbyte[])_values, _valueShape),
            KInt8Scales = new(_keyScales, _keyShape.AsSpan(0, 3)), VInt8Scales = new(_valueScales, _keyShape.AsSpan(0, 3)),
            Lengths = _lengths,
        },
    };

    /// <summary>Allocates a cache without tokens.</summary>
    /// <param name="batch">Sequences, B.</param>
    /// <param name="capacity">Tokens that each of them has room for.</param>
    /// <param name="kvHeads">Heads of keys and values, G.</param>
    /// <param name="headDim">The dimension of a key, D.</param>
    /// <param name="valueDim">The dimension of a value, Dv.</param>
    /// <param name="precision">How to store both.</param>
    /// <returns>The cache.</returns>
    /// <exception cref="ArgumentOutOfRangeException">An extent is not positive, or their product exceeds what an array
    /// holds.</exception>
    public static KvCache Contiguous(
        int batch, int capacity, int kvHeads, int headDim, int valueDim, KvPrecision precision = KvPrecision.Float)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batch);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(capacity);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(kvHeads);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(headDim);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(valueDim);
        return new(batch, capacity, kvHeads, headDim, valueDim, precision);
    }

    /// <summary>Stores the keys and values of new tokens behind those that are there.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="newK">[B, Sn, G, D], f32, bf16 or f16.</param>
    /// <param name="newV">[B, Sn, G, Dv], f32, bf16 or f16.</param>
    /// <param name="options">Whether keys are rotated, and how; the rest is as for <see cref="Attend(FusedContext, in
    /// KvCacheTensors, AttentionOptions, CancellationToken)"/>.</param>
    /// <param name="cancellationToken">Ends the call early; the tokens then do not count.</param>
    /// <exception cref="ArgumentException">Shapes or options do not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">Tokens have no room.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public void Append(
        FusedContext context, ReadOnlyHeads newK, ReadOnlyHeads newV, AttentionOptions options = default,
        CancellationToken cancellationToken = default) =>
        Attend(context, new KvCacheTensors { NewK = newK, NewV = newV }, options, cancellationToken);

    /// <summary>Appends the new tokens, if there are any, and then attends with the queries to all tokens of their
    /// sequence.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="tensors">The arrays.</param>
    /// <param name="options">Causality, windows, scale, softcap, length scale and rotation without offsets; the rest must be
    /// at its defaults.</param>
    /// <param name="cancellationToken">Ends the call early; new tokens then do not count.</param>
    /// <exception cref="ArgumentException">Shapes or options do not fit, or outputs overlap.</exception>
    /// <exception cref="ArgumentOutOfRangeException">Tokens have no room.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public void Attend(
        FusedContext context, in KvCacheTensors tensors, AttentionOptions options = default,
        CancellationToken cancellationToken = default)
    {
        View.Attend(context, tensors, options, cancellationToken);
        if (tensors.NewK.View.IsSet)
            foreach (ref int length in _lengths.AsSpan()) length += (int)tensors.NewK.View.Lengths[1];
    }

    /// <summary>Appends one or more tokens to each sequence and attends with their queries.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="q">[B, Sq, H, D]; the last query is as far as the last token.</param>
    /// <param name="newK">[B, Sn, G, D].</param>
    /// <param name="newV">[B, Sn, G, Dv].</param>
    /// <param name="output">[B, Sq, H, Dv], overwritten; must not overlap an input.</param>
    /// <param name="options">Causality, windows, scale, softcap, length scale and rotation without offsets; the rest must be
    /// at its defaults.</param>
    /// <param name="cancellationToken">Ends the call early; the new tokens then do not count.</param>
    /// <exception cref="ArgumentException">Shapes or options do not fit, or outputs overlap.</exception>
    /// <exception cref="ArgumentOutOfRangeException">Tokens have no room.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public void Attend(
        FusedContext context, ReadOnlyHeads q, ReadOnlyHeads newK, ReadOnlyHeads newV, Heads output,
        AttentionOptions options = default, CancellationToken cancellationToken = default) =>
        Attend(
            context, new KvCacheTensors { Q = q, NewK = newK, NewV = newV, Output = output }, options, cancellationToken);

    /// <summary>Copies a sequence's tokens over another's, as beam search does.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="from">The sequence to copy.</param>
    /// <param name="to">The sequence to overwrite.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence.</exception>
    public void CopySequence(FusedContext context, int from, int to)
    {
        View.CopyPage(context, from, to);
        _lengths[to] = _lengths[from];
    }

    /// <summary>Forgets a sequence's last tokens: those of a draft that was refused, or padding.</summary>
    /// <param name="sequence">The sequence.</param>
    /// <param name="length">The tokens that stay, from 0 to as many as there are.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such sequence, or it has fewer tokens.</exception>
    public void Truncate(int sequence, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(sequence);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(sequence, _lengths.Length);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, _lengths[sequence]);
        _lengths[sequence] = length;
    }

    /// <summary>Forgets all tokens.</summary>
    public void Clear() => Array.Clear(_lengths);

    private static Array Allocate(ReadOnlySpan<nint> shape, KvPrecision precision) => precision switch
    {
        KvPrecision.Float => new float[Elements(shape)],
        KvPrecision.BFloat16 => new BFloat16[Elements(shape)],
        KvPrecision.Int8 => new sbyte[Elements(shape)],
        _ => throw new ArgumentOutOfRangeException(nameof(precision), precision, "It is none of the precisions."),
    };

    private static int Elements(ReadOnlySpan<nint> shape)
    {
        Int128 elements = 1;
        foreach (nint extent in shape) elements *= extent;
        if (elements > Array.MaxLength)
            throw new ArgumentOutOfRangeException(
                "capacity", $"A cache of shape [{string.Join(", ", shape.ToArray())}] has {elements} elements; an array " +
                $"holds at most {Array.MaxLength}. Use KvCacheView with pages in native memory.");
        return (int)elements;
    }
}
