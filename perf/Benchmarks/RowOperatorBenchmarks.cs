using System.Numerics.Tensors;
using BenchmarkDotNet.Attributes;
using CommunityToolkit.HighPerformance;
using FusedKernels.Perf.Operations;

namespace FusedKernels.Perf.Benchmarks;

/// <summary>The operators between the matrix products, on the activations of one training step.</summary>
public class RowOperatorBenchmarks : OperationBenchmarks
{
    private const int Heads = 8;
    private const int Vocabulary = 16384;
    private float[] _x = [];
    private float[] _y = [];
    private float[] _z = [];
    private float[] _weight = [];
    private float[] _inverseRms = [];
    private float[] _table = [];
    private int[] _ids = [];

    /// <summary>Rows: tokens.</summary>
    [Params(4096)]
    public int Rows { get; set; }

    /// <summary>Elements of a row.</summary>
    [Params(256, 2048)]
    public int Columns { get; set; }

    /// <summary>RMSNorm.</summary>
    [Benchmark]
    public void RmsNormForward() => RmsNorm.Forward(Context, Matrix(_x), _weight, Matrix(_y), inverseRms: _inverseRms);

    /// <summary>RMSNorm's gradients of the rows and the weight.</summary>
    [Benchmark]
    public void RmsNormBackward() =>
        RmsNorm.Backward(Context, Matrix(_x), _weight, _inverseRms, Matrix(_x), Matrix(_y), _z.AsSpan(0, Columns));

    /// <summary>SwiGLU.</summary>
    [Benchmark]
    public void SwiGluForward() => SwiGlu.Forward(Context, Matrix(_x), Matrix(_x), Matrix(_y));

    /// <summary>SwiGLU's gradients of both inputs.</summary>
    [Benchmark]
    public void SwiGluBackward() => SwiGlu.Backward(Context, Matrix(_x), Matrix(_x), Matrix(_x), Matrix(_y), Matrix(_z));

    /// <summary>Rotary embedding of all heads.</summary>
    [Benchmark]
    public void RotaryEmbeddingApply() => RotaryEmbedding.Apply(
        Context,
        new ReadOnlyTensorSpan<float>(_x, [1, Rows, Heads, Columns / Heads]),
        new TensorSpan<float>(_y, [1, Rows, Heads, Columns / Heads]));

    /// <summary>Token embedding.</summary>
    [Benchmark]
    public void TokenEmbeddingGather() =>
        TokenEmbedding.Gather(Context, new ReadOnlySpan2D<float>(_table, Vocabulary, Columns), _ids, Matrix(_y));

    /// <summary>Token embedding's gradient.</summary>
    [Benchmark]
    public void TokenEmbeddingScatterAdd() =>
        TokenEmbedding.ScatterAdd(Context, Matrix(_x), _ids, new Span2D<float>(_table, Vocabulary, Columns));

    /// <inheritdoc/>
    protected override void Prepare()
    {
        _x = RandomArrays.Uniform(Rows * Columns, 1);
        _y = RandomArrays.Output(Rows * Columns);
        _z = RandomArrays.Output(Rows * Columns);
        _weight = RandomArrays.Uniform(Columns, 2);
        _inverseRms = RandomArrays.Uniform(Rows, 3);
        _table = RandomArrays.Uniform(Vocabulary * Columns, 4);
        _ids = RandomArrays.Indices(Rows, Vocabulary, 5);
    }

    private Span2D<float> Matrix(float[] values) => new(values, Rows, Columns);
}
