using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>Settings of <see cref="SoftmaxCrossEntropy"/>; <c>default</c> takes the mean and ignores rows with target
/// -100.</summary>
public readonly record struct SoftmaxCrossEntropyOptions
{
    private readonly IgnoreIndexSetting _ignoreIndex;

    /// <summary>Mean (default) over the rows that are not ignored, or sum.</summary>
    public LossReduction Reduction { get; init; }

    /// <summary>
    /// Rows with this target have loss 0 and gradient 0, and do not count for the mean; -100 by default. It may lie in
    /// [0, V). Null: no row is ignored.
    /// </summary>
    public long? IgnoreIndex
    {
        get => _ignoreIndex.Value;
        init => _ignoreIndex = new IgnoreIndexSetting(value);
    }

    internal unsafe NativeSoftmaxCrossEntropyOptions ToNative() => new()
    {
        StructSize = (uint)sizeof(NativeSoftmaxCrossEntropyOptions),
        Reduction = Reduction,
        HasIgnoreIndex = IgnoreIndex.HasValue ? 1 : 0,
        IgnoreIndex = IgnoreIndex ?? IgnoreIndexSetting.Default,
    };
}
