using System.Numerics.Tensors;
using FusedKernels.Perf.Comparison;

namespace FusedKernels.Perf.Operations;

/// <summary>
/// Self-attention of B sequences of S positions, H heads of D dimensions. Forward is two products, 4BHSSD flop; backward is
/// counted as the five products that it needs, 2.5 times forward; a causal mask halves both.
/// </summary>
internal static class AttentionOperation
{
    /// <summary>Forward as a workload of the comparison.</summary>
    public static ThroughputWorkload Forward(int b, int h, int s, int d, bool causal, params Demand[] demands) =>
        Workload("forward", 1, b, h, s, d, causal, PrepareForward, demands, reportsMemory: true);

    /// <summary>Backward, after a forward that is not counted, as a workload of the comparison.</summary>
    public static ThroughputWorkload Backward(int b, int h, int s, int d, bool causal, params Demand[] demands) =>
        // No memory figure: preparing runs forward, whose workspace would hide backward's.
        Workload("backward", 2.5, b, h, s, d, causal, PrepareBackward, demands, reportsMemory: false);

    /// <summary>Allocates the arguments and returns what runs forward once.</summary>
    public static Action PrepareForward(FusedContext context, int b, int h, int s, int d, bool causal)
    {
        int count = b * h * s * d;
        float[] q = RandomArrays.Uniform(count, 1), k = RandomArrays.Uniform(count, 2), v = RandomArrays.Uniform(count, 3);
        float[] output = RandomArrays.Output(count);
        nint[] shape = [b, s, h, d];
        return () => Attention.Forward(
            context, Input(q, shape), Input(k, shape), Input(v, shape), Output(output, shape), Options(causal));
    }

    /// <summary>Allocates the arguments, runs forward, and returns what runs backward once.</summary>
    public static Action PrepareBackward(FusedContext context, int b, int h, int s, int d, bool causal)
    {
        int count = b * h * s * d;
        float[] q = RandomArrays.Uniform(count, 1), k = RandomArrays.Uniform(count, 2), v = RandomArrays.Uniform(count, 3);
        float[] dOutput = RandomArrays.Uniform(count, 4), output = RandomArrays.Output(count);
        float[] logSumExp = RandomArrays.Output(b * h * s);
        float[] dQ = RandomArrays.Output(count), dK = RandomArrays.Output(count), dV = RandomArrays.Output(count);
        nint[] shape = [b, s, h, d];
        Attention.Forward(
            context, Input(q, shape), Input(k, shape), Input(v, shape), Output(output, shape), Options(causal), logSumExp);
        return () => Attention.Backward(
            context,
            Input(q, shape),
            Input(k, shape),
            Input(v, shape),
            Input(output, shape),
            logSumExp,
            Input(dOutput, shape),
            Output(dQ, shape),
            Output(dK, shape),
            Output(dV, shape),
            Options(causal));
    }

    private static ThroughputWorkload Workload(
        string direction,
        double forwards,
        int b,
        int h,
        int s,
        int d,
        bool causal,
        Func<FusedContext, int, int, int, int, bool, Action> prepare,
        Demand[] demands,
        bool reportsMemory)
    {
        string mask = causal ? "causal" : "full";
        double forwardFlops = 4.0 * b * h * s * s * d * (causal ? 0.5 : 1);
        string name = $"attention f32 B{b} H{h} S{s} d{d} {mask} {direction}";
        return new(name, forwards * forwardFlops, context => prepare(context, b, h, s, d, causal))
        {
            ReportsMemory = reportsMemory,
            PeerRequest = $"attention {b} {h} {s} {d} {mask} {direction}",
            Demands = demands,
        };
    }

    private static AttentionOptions Options(bool causal) => new() { IsCausal = causal };

    private static ReadOnlyTensorSpan<float> Input(float[] values, nint[] shape) => new(values, shape);

    private static TensorSpan<float> Output(float[] values, nint[] shape) => new(values, shape);
}
