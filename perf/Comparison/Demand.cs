namespace FusedKernels.Perf.Comparison;

/// <summary>A limit that the project sets itself for a workload's figure in one unit.</summary>
/// <param name="Unit">One of <see cref="Units"/>.</param>
/// <param name="Limit">The least allowed figure where more is better, the largest where less is.</param>
internal sealed record Demand(string Unit, double Limit)
{
    /// <summary>Whether the figure keeps the limit.</summary>
    public bool IsMetBy(double value) => Units.MoreIsBetter(Unit) ? value >= Limit : value <= Limit;

    /// <inheritdoc/>
    public override string ToString() =>
        FormattableString.Invariant($"{(Units.MoreIsBetter(Unit) ? "≥" : "≤")} {Limit}");
}
