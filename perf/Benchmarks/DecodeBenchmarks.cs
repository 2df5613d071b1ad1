using BenchmarkDotNet.Attributes;
using FusedKernels.Perf.Operations;

namespace FusedKernels.Perf.Benchmarks;

/// <summary>One step of decoding with a key-value cache: 32 heads, which share eight heads of keys and values.</summary>
public class DecodeBenchmarks : OperationBenchmarks
{
    private const int Heads = 32;
    private const int KvHeads = 8;
    private const int HeadDimensions = 128;
    private Action _step = null!;

    /// <summary>Sequences that are decoded together.</summary>
    [Params(1, 4)]
    public int Sequences { get; set; }

    /// <summary>Tokens of each sequence.</summary>
    [Params(512, 16384)]
    public int Tokens { get; set; }

    /// <summary>How the cache stores keys and values.</summary>
    [ParamsAllValues]
    public KvPrecision Precision { get; set; }

    /// <summary>Stores the newest token and attends with its query.</summary>
    [Benchmark]
    public void Step() => _step();

    /// <inheritdoc/>
    protected override void Prepare() =>
        _step = DecodeOperation.Prepare(Context, Sequences, Heads, KvHeads, Tokens, HeadDimensions, Precision);
}
