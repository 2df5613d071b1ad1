namespace FusedKernels.Perf.Comparison;

/// <summary>A named unit of work of the comparison. <see cref="Workloads"/> lists them.</summary>
/// <param name="name">The name in the report, which stays the same from version to version.</param>
internal abstract class Workload(string name)
{
    /// <summary>The name in the report and for <c>--filter</c>.</summary>
    public string Name { get; } = name;

    /// <summary>The limits that the project sets itself.</summary>
    public IReadOnlyList<Demand> Demands { get; init; } = [];

    /// <summary>How many steps <see cref="Measure"/> reports through <see cref="ComparisonSession.Step"/>.</summary>
    public abstract int Steps(ComparisonSession session);

    /// <summary>Measures the workload, and the session's peers beside it.</summary>
    public abstract IReadOnlyList<Measurement> Measure(ComparisonSession session);

    /// <summary>A figure of this workload with the demand that belongs to it.</summary>
    protected Measurement Report(
        string unit, double value, string? peer = null, double? peerValue = null, string detail = "") =>
        new(Name, value, unit, peer, peerValue)
        {
            Detail = detail,
            Demand = Demands.FirstOrDefault(demand => demand.Unit == unit),
        };
}
