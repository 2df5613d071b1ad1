using BenchmarkDotNet.Attributes;
using CommunityToolkit.HighPerformance;

namespace FusedKernels.Perf.Benchmarks;

/// <summary>What a call costs beside its arithmetic.</summary>
public class CallOverheadBenchmarks : OperationBenchmarks
{
    private readonly float[] _a = [2];
    private readonly float[] _b = [3];
    private readonly float[] _c = [0];

    /// <summary>M, N and K: nothing to do, or one multiplication.</summary>
    [Params(0, 1)]
    public int Size { get; set; }

    /// <summary>A matrix product that is over at once.</summary>
    [Benchmark]
    public void Multiply() => Gemm.Multiply(
        Context,
        new ReadOnlySpan2D<float>(_a, Size, Size),
        new ReadOnlySpan2D<float>(_b, Size, Size),
        new Span2D<float>(_c, Size, Size));

    /// <inheritdoc/>
    protected override void Prepare()
    {
    }
}
