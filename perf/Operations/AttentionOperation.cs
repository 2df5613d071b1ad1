using System.Numerics.Tensors;
using FusedKernels.Perf.Comparison;

namespace FusedKernels.Perf.Operations;

/// <summary>
/// Self-attention. Forward counts <see cref="AttentionShape.ForwardFlops"/>; backward is counted as the five products that
/// it needs, 2.5 times forward.
/// </summary>
internal static class AttentionOperation
{
    private const double BackwardPerForward = 2.5;

    /// <summary>Forward as a workload of the comparison.</summary>
    public static ThroughputWorkload Forward(AttentionShape shape, params Demand[] demands) =>
        ForwardBeside([], shape, demands);

    /// <summary>Forward, with figures relative to other workloads.</summary>
    public static ThroughputWorkload ForwardBeside(Reference[] references, AttentionShape shape, params Demand[] demands) =>
        new(Name(shape, "forward"), shape.ForwardFlops, context => PrepareForward(context, shape))
        {
            ReportsMemory = true,
            PeerRequest = PeerRequest(shape, "forward"),
            References = references,
            Demands = demands,
        };

    /// <summary>Backward, after a forward that is not counted, as a workload of the comparison.</summary>
    // No memory figure: preparing runs forward, whose workspace would hide backward's.
    public static ThroughputWorkload Backward(AttentionShape shape, params Demand[] demands) =>
        new(Name(shape, "backward"), BackwardPerForward * shape.ForwardFlops, context => PrepareBackward(context, shape))
        {
            PeerRequest = PeerRequest(shape, "backward"),
            Demands = demands,
        };

    /// <summary>Allocates the arguments and returns what runs forward once.</summary>
    public static Action PrepareForward(FusedContext context, AttentionShape shape)
    {
        float[] q = Input(shape, 1), k = Input(shape, 2), v = Input(shape, 3), output = RandomArrays.Output(shape.Elements);
        nint[] axes = shape.Axes;
        AttentionOptions options = shape.Options;
        return () => Attention.Forward(context, Of(q, axes), Of(k, axes), Of(v, axes), Of(output, axes), options);
    }

    /// <summary>Allocates the arguments, runs forward, and returns what runs backward once.</summary>
    public static Action PrepareBackward(FusedContext context, AttentionShape shape)
    {
        float[] q = Input(shape, 1), k = Input(shape, 2), v = Input(shape, 3), output = RandomArrays.Output(shape.Elements);
        float[] dOutput = Input(shape, 4), logSumExp = RandomArrays.Output(shape.B * shape.H * shape.S);
        float[] dQ = RandomArrays.Output(shape.Elements);
        float[] dK = RandomArrays.Output(shape.Elements), dV = RandomArrays.Output(shape.Elements);
        nint[] axes = shape.Axes;
        AttentionOptions options = shape.Options;
        Attention.Forward(context, Of(q, axes), Of(k, axes), Of(v, axes), Of(output, axes), options, logSumExp);
        return () => Attention.Backward(
            context,
            Of(q, axes),
            Of(k, axes),
            Of(v, axes),
            Of(output, axes),
            logSumExp,
            Of(dOutput, axes),
            Of(dQ, axes),
            Of(dK, axes),
            Of(dV, axes),
            options);
    }

    private static string Name(AttentionShape x, string direction) =>
        $"attention f32 B{x.B} H{x.H} S{x.S} d{x.D} {x.MaskName} {direction}";

    // PyTorch has no window: a user would pass a mask of S x S elements.
    private static string? PeerRequest(AttentionShape x, string direction) => x.Mask is AttentionMask.Window
        ? null
        : $"attention {x.B} {x.H} {x.S} {x.D} {x.MaskName} {direction}";

    private static float[] Input(AttentionShape shape, int seed) => RandomArrays.Uniform(shape.Elements, seed);

    private static TensorSpan<float> Of(float[] values, nint[] axes) => new(values, axes);
}
