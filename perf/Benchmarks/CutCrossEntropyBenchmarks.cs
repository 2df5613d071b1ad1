using BenchmarkDotNet.Attributes;
using FusedKernels.Perf.Operations;

namespace FusedKernels.Perf.Benchmarks;

/// <summary>Cut cross-entropy, with and without its gradient.</summary>
public class CutCrossEntropyBenchmarks : OperationBenchmarks
{
    private const int Dimensions = 512;
    private Action _forward = null!;
    private Action _lossAndGradient = null!;

    /// <summary>Rows N.</summary>
    [Params(128, 1024)]
    public int Rows { get; set; }

    /// <summary>Classes V.</summary>
    [Params(4096, 32000)]
    public int Classes { get; set; }

    /// <summary>The loss alone.</summary>
    [Benchmark(Baseline = true)]
    public void Forward() => _forward();

    /// <summary>The loss and both gradients.</summary>
    [Benchmark]
    public void LossAndGradient() => _lossAndGradient();

    /// <inheritdoc/>
    protected override void Prepare()
    {
        _forward = CutCrossEntropyOperation.PrepareForward(Context, Rows, Classes, Dimensions);
        _lossAndGradient = CutCrossEntropyOperation.PrepareLossAndGradient(Context, Rows, Classes, Dimensions);
    }
}
