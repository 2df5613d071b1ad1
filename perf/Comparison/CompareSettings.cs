namespace FusedKernels.Perf.Comparison;

/// <summary>How long and how often the comparison measures.</summary>
/// <param name="MaxRepetitions">The most timings per workload and peer, of which the median counts.</param>
/// <param name="LoopDuration">How long the machine's loop runs beside each timing.</param>
/// <param name="CallBatches">Batches of calls per call-overhead figure; short ones, so that few are interrupted.</param>
/// <param name="CallsPerBatch">Calls per batch.</param>
internal sealed record CompareSettings(
    int MaxRepetitions, TimeSpan LoopDuration, int CallBatches, int CallsPerBatch)
{
    // Some 20 s on two cores; the largest shapes are still timed often enough for a median.
    private const double FlopsPerWorkload = 4e12;
    private const int LargeShapeRepetitions = 3;

    /// <summary>For figures: a few minutes.</summary>
    public static CompareSettings Full { get; } = new(7, TimeSpan.FromMilliseconds(80), 2_000, 1_000);

    /// <summary>For a look whether everything works: the figures mean little.</summary>
    public static CompareSettings Quick { get; } = new(1, TimeSpan.FromMilliseconds(5), 10, 1_000);

    /// <summary>Timings of a workload: fewer where one takes long.</summary>
    /// <param name="work">Floating-point operations of one timing.</param>
    public int RepetitionsOf(double work) =>
        (int)Math.Clamp(FlopsPerWorkload / work, Math.Min(LargeShapeRepetitions, MaxRepetitions), MaxRepetitions);
}
