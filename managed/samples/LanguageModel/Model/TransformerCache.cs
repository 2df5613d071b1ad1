using FusedKernels;

namespace LanguageModel.Model;

/// <summary>The keys and values of one sequence's tokens so far, in every block of a transformer.</summary>
internal sealed class TransformerCache
{
    private readonly KvCache[] _blocks;

    /// <param name="shape">Of the transformer.</param>
    /// <param name="capacity">Tokens that there is room for.</param>
    /// <param name="precision">How keys and values are stored.</param>
    public TransformerCache(ModelShape shape, int capacity, KvPrecision precision)
    {
        _blocks =
        [
            .. Enumerable.Range(0, shape.Layers).Select(
                _ => KvCache.Contiguous(1, capacity, shape.KvHeads, shape.HeadDim, shape.HeadDim, precision)),
        ];
        Bytes = 2L * shape.Layers * capacity * shape.KvHeads * BytesOfHead(shape.HeadDim, precision);
    }

    /// <summary>Tokens in the cache.</summary>
    public int Length => _blocks[0].Lengths[0];

    /// <summary>The memory that it takes.</summary>
    public long Bytes { get; }

    public KvCache this[int block] => _blocks[block];

    public void Clear() => Array.ForEach(_blocks, block => block.Clear());

    private static long BytesOfHead(int headDim, KvPrecision precision) => precision switch
    {
        KvPrecision.Float => sizeof(float) * headDim,
        KvPrecision.BFloat16 => sizeof(ushort) * headDim,
        _ => headDim + sizeof(float), // and a scale
    };
}
