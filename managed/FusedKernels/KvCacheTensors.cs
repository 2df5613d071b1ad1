using System.Numerics.Tensors;

namespace FusedKernels;

/// <summary>
/// The arrays of a call that attends to a <see cref="KvCache"/> or a <see cref="KvCacheView"/>: views of the caller's
/// memory, for an object initialiser.
/// </summary>
/// <remarks>
/// B is the number of sequences, H and G are the heads of queries and of keys, D and Dv the dimensions of a query and of a
/// value. Queries, keys, values and output may each be f32, bf16 or f16, and have stride 1 along their last axis. An output
/// must not overlap an input, another output or the cache.
/// </remarks>
public ref struct KvCacheTensors
{
    /// <summary>[B, Sq, H, D]: the queries, the last of which is as far as the last token; H is a multiple of G, and head h
    /// uses head h / (H / G). Not set, together with <see cref="Output"/>: tokens are only appended.</summary>
    public ReadOnlyHeads Q { get; set; }

    /// <summary>[B, Sn, G, D]: the keys of new tokens, one Sn for all sequences, which are appended before the queries
    /// attend. Not set, together with <see cref="NewV"/>: nothing is appended.</summary>
    public ReadOnlyHeads NewK { get; set; }

    /// <summary>[B, Sn, G, Dv]: their values.</summary>
    public ReadOnlyHeads NewV { get; set; }

    /// <summary>[B|1, H], see <see cref="AttentionTensors.AlibiSlopes"/>; a leading axis of extent 1 may be left
    /// out.</summary>
    public ReadOnlyTensorSpan<float> AlibiSlopes { get; set; }

    /// <summary>[H], see <see cref="AttentionTensors.Sinks"/>.</summary>
    public ReadOnlySpan<float> Sinks { get; set; }

    /// <summary>[B, Sq, H, Dv], overwritten.</summary>
    public Heads Output { get; set; }

    /// <summary>[B, H, Sq], overwritten; not set: not wanted.</summary>
    public TensorSpan<float> LogSumExp { get; set; }
}
