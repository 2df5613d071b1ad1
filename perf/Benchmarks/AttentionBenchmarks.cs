using BenchmarkDotNet.Attributes;
using FusedKernels.Perf.Operations;

namespace FusedKernels.Perf.Benchmarks;

/// <summary>Attention with eight heads, forward and backward.</summary>
public class AttentionBenchmarks : OperationBenchmarks
{
    private const int Heads = 8;
    private Action _forward = null!;
    private Action _backward = null!;

    /// <summary>Positions S.</summary>
    [Params(256, 2048)]
    public int Positions { get; set; }

    /// <summary>Dimensions of a head.</summary>
    [Params(64, 128)]
    public int HeadDimensions { get; set; }

    /// <summary>Whether a causal mask hides the later half of the scores.</summary>
    [Params(false, true)]
    public bool Causal { get; set; }

    /// <summary>The output.</summary>
    [Benchmark(Baseline = true)]
    public void Forward() => _forward();

    /// <summary>The gradients of queries, keys and values.</summary>
    [Benchmark]
    public void Backward() => _backward();

    /// <inheritdoc/>
    protected override void Prepare()
    {
        _forward = AttentionOperation.PrepareForward(Context, 1, Heads, Positions, HeadDimensions, Causal);
        _backward = AttentionOperation.PrepareBackward(Context, 1, Heads, Positions, HeadDimensions, Causal);
    }
}
