using System.Diagnostics;
using CommunityToolkit.HighPerformance;

namespace FusedKernels.Perf.Comparison;

/// <summary>
/// What a call costs beside its arithmetic, from C# through full validation and the C ABI: a matrix product of
/// <paramref name="size"/> x <paramref name="size"/> matrices that is over at once.
/// </summary>
/// <param name="name">The name in the report.</param>
/// <param name="size">M, N and K of the product.</param>
internal sealed class CallOverheadWorkload(string name, int size) : Workload(name)
{
    private static readonly TimeSpan WarmUp = TimeSpan.FromMilliseconds(500); // until tiered compilation has settled

    /// <inheritdoc/>
    public override int Steps(ComparisonSession session) => 1;

    /// <inheritdoc/>
    public override IReadOnlyList<Measurement> Measure(ComparisonSession session)
    {
        (int batches, int calls) = (session.Settings.CallBatches, session.Settings.CallsPerBatch);
        float[] a = new float[size * size], b = new float[size * size], c = new float[size * size];
        for (long start = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(start) < WarmUp;)
        {
            RunBatch(session.Context, a, b, c, calls);
        }

        double[] nanosecondsPerCall = new double[batches];
        long allocatedBefore = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < batches; i++)
        {
            long start = Stopwatch.GetTimestamp();
            RunBatch(session.Context, a, b, c, calls);
            nanosecondsPerCall[i] = Stopwatch.GetElapsedTime(start).TotalNanoseconds / calls;
        }

        double bytesPerCall = (double)(GC.GetAllocatedBytesForCurrentThread() - allocatedBefore) / batches / calls;
        session.Step();
        return
        [
            Report(Units.Nanoseconds, Statistics.Median(nanosecondsPerCall), detail: $"{batches} batches of {calls} calls"),
            Report(Units.Bytes, bytesPerCall),
        ];
    }

    private void RunBatch(FusedContext context, float[] a, float[] b, float[] c, int calls)
    {
        for (int i = 0; i < calls; i++)
        {
            Gemm.Multiply(
                context,
                new ReadOnlySpan2D<float>(a, size, size),
                new ReadOnlySpan2D<float>(b, size, size),
                new Span2D<float>(c, size, size));
        }
    }
}
