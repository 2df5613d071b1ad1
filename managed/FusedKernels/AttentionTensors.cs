using System.Numerics.Tensors;

namespace FusedKernels;

/// <summary>
/// The arrays of a call of <see cref="Attention"/>: views of the caller's memory, for an object initialiser. All but
/// <see cref="Q"/>, <see cref="K"/>, <see cref="V"/> and <see cref="Output"/> (and for the backward pass
/// <see cref="LogSumExp"/> and <see cref="DOutput"/>) are optional; what is not set is neither read nor computed.
/// </summary>
/// <remarks>
/// <para>B is the number of batch items, Sq and Sk are the queries and keys of an item, H and G the heads of q and of k and
/// v, D and Dv the dimensions of a query and of a value, N the number of sequences. An extent written "X|1" may be 1, which
/// means the same for all X; leading axes of extent 1 may be left out, so that a [Sq, Sk] bias is one for all items and
/// heads. Gradients have the shapes of what they are gradients of, and sum over axes of extent 1.</para>
/// <para>Queries, keys, values, outputs and their gradients may each be f32, bf16 or f16, and are computed in f32. Their
/// last axis has stride 1, the others any stride: packed projections, heads before sequence and K that is also V are views.
/// The other tensors have any strides. An output must not overlap an input or another output.</para>
/// </remarks>
public ref struct AttentionTensors
{
    /// <summary>[B, Sq, H, D]: the queries. Required.</summary>
    public ReadOnlyHeads Q { get; set; }

    /// <summary>[B, Sk, G, D]: the keys; H is a multiple of G, and head h uses head h / (H / G). Required.</summary>
    public ReadOnlyHeads K { get; set; }

    /// <summary>[B, Sk, G, Dv]: the values; may be <see cref="K"/>. Required.</summary>
    public ReadOnlyHeads V { get; set; }

    /// <summary>[N], each from 0 to the queries of its sequence, which it ends early: rows behind get zeros, a log-sum-exp
    /// of negative infinity and zero gradients, and are not read.</summary>
    public ReadOnlySpan<int> QueryLengths { get; set; }

    /// <summary>[N], each from 0 to the keys of its sequence, which it ends early: keys behind are not read, and get zero
    /// gradients.</summary>
    public ReadOnlySpan<int> KeyLengths { get; set; }

    /// <summary>[N], each at least 0: a prefix whose keys every query of the sequence sees, in spite of causality and
    /// windows (prefix-LM). Needs one of these.</summary>
    public ReadOnlySpan<int> PrefixLengths { get; set; }

    /// <summary>[N + 1], ascending from 0 to at most Sq, with B = 1 and together with <see cref="KeyStarts"/>: the queries
    /// of sequence n go from start n on to start n + 1 (FlashAttention's <c>cu_seqlens</c>). Not set: N = B sequences, one
    /// for each item.</summary>
    public ReadOnlySpan<int> QueryStarts { get; set; }

    /// <summary>[N + 1], ascending from 0 to at most Sk: the same for keys and values.</summary>
    public ReadOnlySpan<int> KeyStarts { get; set; }

    /// <summary>[B, Sq], together with <see cref="KeySegments"/>: a query sees only keys of its own segment, such as a
    /// document. Tiles that ascending segments hide cost nothing.</summary>
    public ReadOnlyTensorSpan<int> QuerySegments { get; set; }

    /// <summary>[B, Sk].</summary>
    public ReadOnlyTensorSpan<int> KeySegments { get; set; }

    /// <summary>[B|1, H|1, Sq|1, Sk]: false hides a key from a query.</summary>
    public ReadOnlyMask Mask { get; set; }

    /// <summary>[B|1, H|1, ceil(Sq / MaskBlockRows), ceil(Sk / MaskBlockColumns)]: false hides a block of keys from a block
    /// of queries; tiles that are hidden cost nothing. See <see cref="AttentionOptions.MaskBlockRows"/>.</summary>
    public ReadOnlyMask BlockMask { get; set; }

    /// <summary>[B|1, H|1, Sq|1, Sk], added to the scores; may be negative infinity.</summary>
    public ReadOnlyTensorSpan<float> Bias { get; set; }

    /// <summary>[B|1, H|1, Sk], added to the scores of each key: causal ALiBi, CABLE, forgetting gates, logarithms of token
    /// sizes; memory grows with Sk only.</summary>
    public ReadOnlyTensorSpan<float> KeyBias { get; set; }

    /// <summary>[B|1, H]: slope times the distance of the positions is subtracted from the score. Press et al., "Train
    /// Short, Test Long", 2022.</summary>
    public ReadOnlyTensorSpan<float> AlibiSlopes { get; set; }

    /// <summary>[R, H]: one number for each bucket of distances, added to the score. Raffel et al., "Exploring the Limits of
    /// Transfer Learning with a Unified Text-to-Text Transformer", 2020. See
    /// <see cref="AttentionOptions.IsRelativeBiasOneSided"/>.</summary>
    public ReadOnlyTensorSpan<float> RelativeBias { get; set; }

    /// <summary>[B|1, H|1, Sq, W]: keys are the pixels of an image of width W, a divisor of Sk, and element (i, j % W) is
    /// added to the score of query i and key j. Lin et al., "DETR Doesn't Need Multi-Scale or Locality Design", 2023.
    /// </summary>
    public ReadOnlyTensorSpan<float> AxialBiasX { get; set; }

    /// <summary>[B|1, H|1, Sq, Sk / W]: element (i, j / W) is added to the score; W may follow from this array
    /// alone.</summary>
    public ReadOnlyTensorSpan<float> AxialBiasY { get; set; }

    /// <summary>[H]: the score of one more key of each head, which every query sees and which has no value. Xiao et al.,
    /// "Efficient Streaming Language Models with Attention Sinks", 2024.</summary>
    public ReadOnlySpan<float> Sinks { get; set; }

    /// <summary>[H|1, Sq + Sk - 1]: element j - i + Sq - 1 multiplies the weight of query i and key j, behind the softmax.
    /// Luo et al., "Your Transformer May Not be as Powerful as You Expect", 2022.</summary>
    public ReadOnlyTensorSpan<float> ToeplitzFactor { get; set; }

    /// <summary>[B, Sq, H, Dv]: written by the forward pass, read by the backward pass. Required.</summary>
    public Heads Output { get; set; }

    /// <summary>[B, H, Sq], of the scores, the sink included: written by the forward pass; read by the backward pass, which
    /// needs it.</summary>
    public TensorSpan<float> LogSumExp { get; set; }

    /// <summary>[B, H, Sq], written by the forward pass: the largest of the scores and the sink; negative infinity for a
    /// query that has neither.</summary>
    public TensorSpan<float> MaxScore { get; set; }

    /// <summary>[B, H, Sq], written by the forward pass: -sum p log p over the keys, in nats.</summary>
    public TensorSpan<float> Entropy { get; set; }

    /// <summary>[B, H, Sk], written by the forward pass: each key's probabilities summed over the queries, for token
    /// pruning. Costs one more pass over the scores.</summary>
    public TensorSpan<float> KeyWeights { get; set; }

    /// <summary>[B, Sq, H, Dv], read by the backward pass, which needs it: the gradient that arrives at
    /// <see cref="Output"/>.</summary>
    public ReadOnlyHeads DOutput { get; set; }

    /// <summary>[B, H, Sq], read by the backward pass: the gradient that arrives at <see cref="LogSumExp"/>; not set:
    /// 0.</summary>
    public ReadOnlyTensorSpan<float> DLogSumExp { get; set; }

    /// <summary>Shaped like <see cref="Q"/>, overwritten by the backward pass with its gradient.</summary>
    public Heads DQ { get; set; }

    /// <summary>Shaped like <see cref="K"/>, overwritten by the backward pass with its gradient.</summary>
    public Heads DK { get; set; }

    /// <summary>Shaped like <see cref="V"/>, overwritten by the backward pass with its gradient.</summary>
    public Heads DV { get; set; }

    /// <summary>Shaped like <see cref="Bias"/>, overwritten by the backward pass with its gradient.</summary>
    public TensorSpan<float> DBias { get; set; }

    /// <summary>Shaped like <see cref="KeyBias"/>, overwritten by the backward pass with its gradient.</summary>
    public TensorSpan<float> DKeyBias { get; set; }

    /// <summary>Shaped like <see cref="AlibiSlopes"/>, overwritten by the backward pass with its gradient.</summary>
    public TensorSpan<float> DAlibiSlopes { get; set; }

    /// <summary>Shaped like <see cref="RelativeBias"/>, overwritten by the backward pass with its gradient.</summary>
    public TensorSpan<float> DRelativeBias { get; set; }

    /// <summary>Shaped like <see cref="AxialBiasX"/>, overwritten by the backward pass with its gradient.</summary>
    public TensorSpan<float> DAxialBiasX { get; set; }

    /// <summary>Shaped like <see cref="AxialBiasY"/>, overwritten by the backward pass with its gradient.</summary>
    public TensorSpan<float> DAxialBiasY { get; set; }

    /// <summary>Shaped like <see cref="Sinks"/>, overwritten by the backward pass with its gradient.</summary>
    public Span<float> DSinks { get; set; }

    /// <summary>Shaped like <see cref="ToeplitzFactor"/>, overwritten by the backward pass with its gradient.</summary>
    public TensorSpan<float> DToeplitzFactor { get; set; }
}
