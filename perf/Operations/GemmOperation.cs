using CommunityToolkit.HighPerformance;
using FusedKernels.Perf.Comparison;

namespace FusedKernels.Perf.Operations;

/// <summary>The f32 matrix product c[M, N] = a[M, K] b[K, N]: 2MNK flop.</summary>
internal static class GemmOperation
{
    /// <summary>The product as a workload of the comparison.</summary>
    public static ThroughputWorkload Workload(int m, int n, int k, params Demand[] demands) =>
        new($"gemm f32 {m}x{n}x{k}", 2.0 * m * n * k, context => Prepare(context, m, n, k))
        {
            PeerRequest = $"gemm {m} {n} {k}",
            Demands = demands,
        };

    /// <summary>Allocates the matrices and returns what multiplies them once.</summary>
    public static Action Prepare(FusedContext context, int m, int n, int k)
    {
        float[] a = RandomArrays.Uniform(m * k, 1), b = RandomArrays.Uniform(k * n, 2), c = RandomArrays.Output(m * n);
        return () => Gemm.Multiply(
            context, new ReadOnlySpan2D<float>(a, m, k), new ReadOnlySpan2D<float>(b, k, n), new Span2D<float>(c, m, n));
    }
}
