using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>Settings of <see cref="Attention"/>; <c>default</c> is full attention with scale <c>1 / sqrt(D)</c>.</summary>
public readonly record struct AttentionOptions
{
    /// <summary>Causal attention, with scale <c>1 / sqrt(D)</c>.</summary>
    public static AttentionOptions Causal => new() { IsCausal = true };

    /// <summary>
    /// Whether a query sees only the keys up to its own position; false by default. The mask is aligned bottom-right: query i
    /// sees keys j &lt;= i + Sk - Sq.
    /// </summary>
    public bool IsCausal { get; init; }

    /// <summary>The factor of the scores; null (default): <c>1 / sqrt(D)</c>.</summary>
    public float? Scale { get; init; }

    internal unsafe NativeAttentionOptions ToNative() => new()
    {
        StructSize = (uint)sizeof(NativeAttentionOptions),
        Causal = IsCausal ? 1 : 0,
        Scale = Scale ?? float.NaN,
    };
}
