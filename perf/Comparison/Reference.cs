namespace FusedKernels.Perf.Comparison;

/// <summary>Another of the library's workloads that takes turns with one, as a peer does.</summary>
/// <param name="Workload">The other workload.</param>
/// <param name="Unit">
/// What the quotient of the two is called: of their speeds where more is better, of their times where less is, each per unit
/// of their own work.
/// </param>
internal sealed record Reference(OperatorWorkload Workload, string Unit);
