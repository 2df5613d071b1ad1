namespace FusedKernels.Perf.Comparison;

/// <summary>How long and how often the comparison measures.</summary>
/// <param name="Repetitions">Timings per workload and peer, of which the median counts.</param>
/// <param name="LoopDuration">How long the machine's loop runs beside each timing.</param>
/// <param name="MemoryRepetitions">Pairs of child processes per memory figure.</param>
/// <param name="CallBatches">Batches of calls per call-overhead figure; short ones, so that few are interrupted.</param>
/// <param name="CallsPerBatch">Calls per batch.</param>
internal sealed record CompareSettings(
    int Repetitions, TimeSpan LoopDuration, int MemoryRepetitions, int CallBatches, int CallsPerBatch)
{
    /// <summary>For figures: a few minutes.</summary>
    public static CompareSettings Full { get; } = new(7, TimeSpan.FromMilliseconds(80), 3, 2_000, 1_000);

    /// <summary>For a look whether everything works: the figures mean little.</summary>
    public static CompareSettings Quick { get; } = new(1, TimeSpan.FromMilliseconds(5), 1, 10, 1_000);
}
