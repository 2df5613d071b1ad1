namespace FusedKernels.Perf.Operations;

/// <summary>Which keys a query sees.</summary>
public enum AttentionMask
{
    /// <summary>All of them.</summary>
    Full,

    /// <summary>Those up to its own position.</summary>
    Causal,

    /// <summary>Its own and the <see cref="AttentionShape.Window"/> before it, as in Mistral 7B.</summary>
    Window,
}
