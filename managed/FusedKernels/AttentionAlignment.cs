namespace FusedKernels;

/// <summary>Where queries stand among the keys of their sequence, when there are not as many of both.</summary>
public enum AttentionAlignment
{
    /// <summary>The last query is as far as the last key: query i is at position <c>i + Lk - Lq</c>. FlashAttention's since
    /// 2.1.</summary>
    BottomRight = 0,

    /// <summary>The first query is where the first key is: query i is at position i. PyTorch's <c>is_causal</c>.</summary>
    TopLeft = 1,
}
