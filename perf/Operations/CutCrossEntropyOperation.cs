using CommunityToolkit.HighPerformance;
using FusedKernels.Perf.Comparison;

namespace FusedKernels.Perf.Operations;

/// <summary>
/// Cut cross-entropy of N rows over V classes of D dimensions, mean reduction. One pass over the scores is 2NVD flop:
/// forward is one, loss and gradient are counted as three (the scores and both gradients) whatever the schedule spends.
/// </summary>
internal static class CutCrossEntropyOperation
{
    /// <summary>The loss alone, as a workload of the comparison.</summary>
    public static ThroughputWorkload Forward(int n, int v, int d, params Demand[] demands) =>
        Workload("forward", "forward", 1, n, v, d, PrepareForward, demands);

    /// <summary>The loss and both gradients, none of them skipped, as a workload of the comparison.</summary>
    public static ThroughputWorkload LossAndGradient(int n, int v, int d, params Demand[] demands) =>
        Workload("loss_and_gradient exact", "loss_and_gradient", 3, n, v, d, PrepareLossAndGradient, demands);

    /// <summary>Allocates the arguments and returns what computes the loss once.</summary>
    public static Action PrepareForward(FusedContext context, int n, int v, int d)
    {
        (float[] embeddings, float[] classifier, int[] targets) = Inputs(n, v, d);
        return () => CutCrossEntropy.Forward(
            context, new ReadOnlySpan2D<float>(embeddings, n, d), new ReadOnlySpan2D<float>(classifier, v, d), targets);
    }

    /// <summary>Allocates the arguments and returns what computes the loss and both gradients once.</summary>
    public static Action PrepareLossAndGradient(FusedContext context, int n, int v, int d)
    {
        (float[] embeddings, float[] classifier, int[] targets) = Inputs(n, v, d);
        float[] dEmbeddings = RandomArrays.Output(n * d), dClassifier = RandomArrays.Output(v * d);
        return () => CutCrossEntropy.LossAndGradient(
            context,
            new ReadOnlySpan2D<float>(embeddings, n, d),
            new ReadOnlySpan2D<float>(classifier, v, d),
            targets,
            new Span2D<float>(dEmbeddings, n, d),
            new Span2D<float>(dClassifier, v, d));
    }

    private static ThroughputWorkload Workload(
        string name,
        string direction,
        int passes,
        int n,
        int v,
        int d,
        Func<FusedContext, int, int, int, Action> prepare,
        Demand[] demands) =>
        new($"cce f32 N{n} V{v} D{d} {name}", passes * 2.0 * n * v * d, context => prepare(context, n, v, d))
        {
            ReportsMemory = true,
            PeerRequest = $"cut_cross_entropy {n} {v} {d} {direction}",
            Demands = demands,
        };

    // Scores with a standard deviation of 1: the losses of a model that has not learned yet.
    private static (float[] Embeddings, float[] Classifier, int[] Targets) Inputs(int n, int v, int d) =>
        (RandomArrays.Uniform(n * d, 1), RandomArrays.Uniform(v * d, 2, 1 / Math.Sqrt(d)), RandomArrays.Indices(n, v, 3));
}
