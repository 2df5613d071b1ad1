using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>Settings of <see cref="CutCrossEntropy"/> and <see cref="SoftmaxCrossEntropy"/>; <c>default</c> takes the mean
/// and ignores rows with target -100.</summary>
public readonly record struct CutCrossEntropyOptions
{
    private const long DefaultIgnoreIndex = -100;

    // Stored apart, so that default means -100 while 0 and "none" can be said.
    private readonly bool _isIgnoreIndexSet;
    private readonly long? _ignoreIndex;

    /// <summary>Mean (default) or sum over the rows. The methods named <c>...PerRow</c> do not look at it.</summary>
    public LossReduction Reduction { get; init; }

    /// <summary>
    /// Rows with this target have loss 0 and gradient 0, and do not count for the mean; -100 by default. It may lie in
    /// [0, V). Null: no row is ignored.
    /// </summary>
    public long? IgnoreIndex
    {
        get => _isIgnoreIndexSet ? _ignoreIndex : DefaultIgnoreIndex;
        init
        {
            _isIgnoreIndexSet = value != DefaultIgnoreIndex;
            _ignoreIndex = _isIgnoreIndexSet ? value : null;
        }
    }

    /// <summary>How the loss with its gradient is computed; other calls do not look at it.</summary>
    public LossSchedule Schedule { get; init; }

    internal unsafe NativeCutCrossEntropyOptions ToNative() => new()
    {
        StructSize = (uint)sizeof(NativeCutCrossEntropyOptions),
        Reduction = Reduction,
        HasIgnoreIndex = IgnoreIndex.HasValue ? 1 : 0,
        Schedule = Schedule,
        IgnoreIndex = IgnoreIndex ?? DefaultIgnoreIndex,
    };

    internal void RefuseReductionNone()
    {
        if (Reduction == LossReduction.None)
            throw new ArgumentException(
                "options.Reduction is None, but this method returns one number: use Mean or Sum, or the method named ...PerRow.");
    }
}
