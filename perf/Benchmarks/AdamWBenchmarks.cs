using BenchmarkDotNet.Attributes;
using FusedKernels.Perf.Operations;

namespace FusedKernels.Perf.Benchmarks;

/// <summary>The optimiser's step.</summary>
public class AdamWBenchmarks : OperationBenchmarks
{
    private float[] _parameter = [];
    private float[] _gradient = [];
    private float[] _firstMoment = [];
    private float[] _secondMoment = [];

    /// <summary>Parameters of the model.</summary>
    [Params(1 << 16, 1 << 24)]
    public int Parameters { get; set; }

    /// <summary>One update.</summary>
    [Benchmark]
    public void Step() =>
        AdamW.Step(Context, _parameter, _gradient, _firstMoment, _secondMoment, new AdamWOptions { Step = 1 });

    /// <inheritdoc/>
    protected override void Prepare()
    {
        _parameter = RandomArrays.Uniform(Parameters, 1);
        _gradient = RandomArrays.Uniform(Parameters, 2, 0.01);
        _firstMoment = RandomArrays.Output(Parameters);
        _secondMoment = RandomArrays.Output(Parameters);
    }
}
