namespace FusedKernels.Perf.Comparison;

/// <summary>An operator on a shape that takes too long to be timed: only its peak of resident memory is reported.</summary>
/// <param name="of">The same operator as a workload that would be timed.</param>
internal sealed class MemoryWorkload(OperatorWorkload of) : OperatorWorkload(of.Name, of.Work, of.Prepare)
{
    /// <inheritdoc/>
    public override int Steps(ComparisonSession session) => 1;

    /// <inheritdoc/>
    public override IReadOnlyList<Measurement> Measure(ComparisonSession session)
    {
        double megabytes = PeakMemory.MegabytesBeyondArguments(Name, session.Threads);
        session.Step();
        return [Report(Units.Megabytes, megabytes)];
    }
}
