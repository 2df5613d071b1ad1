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

    /// <summary>Which keys a query sees.</summary>
    [ParamsAllValues]
    public AttentionMask Mask { get; set; }

    /// <summary>The output.</summary>
    [Benchmark(Baseline = true)]
    public void Forward() => _forward();

    /// <summary>The gradients of queries, keys and values.</summary>
    [Benchmark]
    public void Backward() => _backward();

    /// <inheritdoc/>
    protected override void Prepare()
    {
        AttentionShape shape = new(1, Heads, Positions, HeadDimensions, Mask);
        _forward = AttentionOperation.PrepareForward(Context, shape);
        _backward = AttentionOperation.PrepareBackward(Context, shape);
    }
}
