using CommunityToolkit.HighPerformance;
using FusedKernels.Perf.Comparison;

namespace FusedKernels.Perf.Operations;

/// <summary>RMSNorm of rows of D elements: each element is read once and written once, 8 bytes.</summary>
internal static class RmsNormOperation
{
    /// <summary>Forward as a workload of the comparison, measured against the read bandwidth.</summary>
    public static ThroughputWorkload Forward(int rows, int d) =>
        new($"rms_norm f32 {rows}x{d} forward", 2.0 * sizeof(float) * rows * d, c => PrepareForward(c, rows, d))
        {
            LimitedByMemory = true,
        };

    /// <summary>Allocates the arguments and returns what runs forward once.</summary>
    public static Action PrepareForward(FusedContext context, int rows, int d)
    {
        float[] x = RandomArrays.Uniform(rows * d, 1), weight = RandomArrays.Uniform(d, 2), y = RandomArrays.Output(rows * d);
        return () => RmsNorm.Forward(context, new ReadOnlySpan2D<float>(x, rows, d), weight, new Span2D<float>(y, rows, d));
    }
}
