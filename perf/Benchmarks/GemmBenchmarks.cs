using BenchmarkDotNet.Attributes;
using FusedKernels.Perf.Operations;

namespace FusedKernels.Perf.Benchmarks;

/// <summary>The f32 matrix product: square from cache-sized to large, and the tall shapes of a transformer.</summary>
public class GemmBenchmarks : OperationBenchmarks
{
    private Action _multiply = null!;

    /// <summary>M x N x K.</summary>
    [Params("64x64x64", "256x256x256", "1024x1024x1024", "1x4096x4096", "1024x8192x2304")]
    public string Shape { get; set; } = "";

    /// <summary>c = a b.</summary>
    [Benchmark]
    public void Multiply() => _multiply();

    /// <inheritdoc/>
    protected override void Prepare()
    {
        int[] sizes = [.. Shape.Split('x').Select(int.Parse)];
        _multiply = GemmOperation.Prepare(Context, sizes[0], sizes[1], sizes[2]);
    }
}
