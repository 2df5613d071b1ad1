using System.Numerics.Tensors;
using FusedKernels.Perf.Comparison;

namespace FusedKernels.Perf.Operations;

/// <summary>
/// One step of decoding: the newest token's keys and values go into the cache, and its query attends to all K tokens. Each
/// byte of the cache is read once, which is the work that counts; a query's two products with it are next to nothing.
/// </summary>
internal static class DecodeOperation
{
    private const int TokensPerAppend = 512;

    /// <summary>A step with an f32 cache as a workload of the comparison, measured against the read bandwidth.</summary>
    /// <param name="b">Sequences.</param>
    /// <param name="h">Heads of the queries.</param>
    /// <param name="kv">Heads of keys and values.</param>
    /// <param name="tokens">Tokens of each sequence, the newest included.</param>
    /// <param name="d">Dimensions of a head.</param>
    /// <param name="demands">The limits.</param>
    public static ThroughputWorkload Step(int b, int h, int kv, int tokens, int d, params Demand[] demands) =>
        new(
            $"decode f32 B{b} H{h} KV{kv} K{tokens} d{d}",
            2.0 * sizeof(float) * b * tokens * kv * d,
            context => Prepare(context, b, h, kv, tokens, d, KvPrecision.Float))
        {
            LimitedByMemory = true,
            Demands = demands,
        };

    /// <summary>Fills a cache with all tokens but the newest, and returns what runs one step.</summary>
    public static Action Prepare(FusedContext context, int b, int h, int kv, int tokens, int d, KvPrecision precision)
    {
        KvCache cache = KvCache.Contiguous(b, tokens, kv, d, d, precision);
        Fill(context, cache, b, kv, tokens - 1, d);
        float[] q = RandomArrays.Uniform(b * h * d, 1), output = RandomArrays.Output(q.Length);
        float[] k = RandomArrays.Uniform(b * kv * d, 2), v = RandomArrays.Uniform(b * kv * d, 3);
        nint[] query = [b, 1, h, d], key = [b, 1, kv, d];
        return () =>
        {
            cache.Attend(context, Of(q, query), Of(k, key), Of(v, key), Of(output, query), AttentionOptions.Causal);
            for (int sequence = 0; sequence < b; sequence++) cache.Truncate(sequence, tokens - 1);
        };
    }

    private static void Fill(FusedContext context, KvCache cache, int b, int kv, int tokens, int d)
    {
        float[] keys = RandomArrays.Uniform(b * TokensPerAppend * kv * d, 4);
        float[] values = RandomArrays.Uniform(keys.Length, 5);
        for (int stored = 0; stored < tokens; stored += TokensPerAppend)
        {
            nint[] axes = [b, Math.Min(TokensPerAppend, tokens - stored), kv, d];
            cache.Append(context, Of(keys, axes), Of(values, axes));
        }
    }

    private static TensorSpan<float> Of(float[] values, nint[] axes) => new(values, axes);
}
