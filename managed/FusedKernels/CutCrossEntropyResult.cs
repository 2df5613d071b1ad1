namespace FusedKernels;

/// <summary>The numbers that a call of <see cref="CutCrossEntropy"/> returns beside the arrays that it writes.</summary>
public readonly record struct CutCrossEntropyResult
{
    /// <summary>The mean or the sum of the rows' losses, in nats. NaN where the call computes none: with
    /// <see cref="LossReduction.None"/>, whose losses are in <see cref="CutCrossEntropyTensors.Losses"/>, and from the
    /// backward pass.</summary>
    public float Loss { get; init; }

    /// <summary>exp(<see cref="Loss"/>), where that is the mean of the plain cross-entropy: without label smoothing, z-loss
    /// and another loss shape. Null otherwise.</summary>
    public float? Perplexity { get; init; }

    /// <summary>The share of rows, among those not ignored, whose target no class exceeds (of equal classes the lowest
    /// counts); 0 without rows. Null unless <see cref="CutCrossEntropyTensors.WantAccuracy"/>.</summary>
    public float? Accuracy { get; init; }

    /// <summary>The gradient with respect to <see cref="CutCrossEntropyOptions.LogitScale"/>. Null unless
    /// <see cref="CutCrossEntropyTensors.WantDLogitScale"/>.</summary>
    public float? DLogitScale { get; init; }

    /// <summary>What the filters left out. Null unless <see cref="CutCrossEntropyTensors.WantFilterReport"/>.</summary>
    public FilterReport? FilterReport { get; init; }
}
