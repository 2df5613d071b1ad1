using CommunityToolkit.HighPerformance;
using FusedKernels.Perf.Comparison;

namespace FusedKernels.Perf.Operations;

/// <summary>
/// Cut cross-entropy of N rows over V classes of D dimensions, mean reduction. One pass over the scores is 2NVD flop:
/// forward is one, loss and gradient are counted as three (the scores and both gradients) whatever the schedule spends and
/// the filter leaves out.
/// </summary>
internal static class CutCrossEntropyOperation
{
    private const int GradientPasses = 3;

    private static readonly CutCrossEntropyOptions Exact = new();
    private static readonly CutCrossEntropyOptions Recomputing = new() { Schedule = LossSchedule.Recompute };
    private static readonly CutCrossEntropyOptions Filtering = new()
    {
        FilterDEmbeddings = CutCrossEntropyOptions.DefaultFilterEpsilon,
        FilterDClassifier = CutCrossEntropyOptions.DefaultFilterEpsilon,
    };

    /// <summary>The loss alone.</summary>
    public static ThroughputWorkload Forward(int n, int v, int d, params Demand[] demands) =>
        new(Name("f32", n, v, d, "forward"), Flops(n, v, d), context => PrepareForward(context, n, v, d))
        {
            ReportsMemory = true,
            PeerRequest = $"cut_cross_entropy {n} {v} {d} forward uniform",
            Demands = demands,
        };

    /// <summary>The loss alone from inputs stored as bf16, beside the same from f32.</summary>
    public static ThroughputWorkload ForwardBFloat16(int n, int v, int d, params Demand[] demands) =>
        new(Name("bf16", n, v, d, "forward"), Flops(n, v, d), context => PrepareForwardBFloat16(context, n, v, d))
        {
            ReportsMemory = true,
            References = [new Reference(Forward(n, v, d), Units.TimesFloat32)],
            Demands = demands,
        };

    /// <summary>The loss and both gradients, nothing left out.</summary>
    public static ThroughputWorkload LossAndGradient(int n, int v, int d, params Demand[] demands) =>
        new(
            Name("f32", n, v, d, "loss_and_gradient exact"),
            GradientPasses * Flops(n, v, d),
            context => PrepareLossAndGradient(context, n, v, d))
        {
            ReportsMemory = true,
            PeerRequest = $"cut_cross_entropy {n} {v} {d} loss_and_gradient uniform",
            Demands = demands,
        };

    /// <summary>The loss and both gradients, with the scores computed twice instead of kept.</summary>
    public static ThroughputWorkload LossAndGradientRecompute(int n, int v, int d, params Demand[] demands) =>
        new(
            Name("f32", n, v, d, "loss_and_gradient recompute"),
            GradientPasses * Flops(n, v, d),
            context => PrepareLossAndGradient(context, CutCrossEntropyInputs.Uniform(n, v, d), Recomputing))
        {
            ReportsMemory = true,
            Demands = demands,
        };

    /// <summary>The loss and both gradients of a confident model, without the tiles that the filter leaves out.</summary>
    public static ThroughputWorkload LossAndGradientFiltered(int n, int v, int d, params Demand[] demands) =>
        new(
            Name("f32", n, v, d, "loss_and_gradient filtered"),
            GradientPasses * Flops(n, v, d),
            context => PrepareLossAndGradient(context, CutCrossEntropyInputs.Peaked(n, v, d), Filtering))
        {
            ReportsMemory = true,
            PeerRequest = $"cut_cross_entropy {n} {v} {d} loss_and_gradient peaked",
            Accuracy = context => FilterAccuracy(context, n, v, d),
            Demands = demands,
        };

    /// <summary>The loss and both gradients, nothing left out, for several numbers of rows.</summary>
    public static GrowthWorkload Growth(int[] rows, int v, int d, params Demand[] demands) =>
        new(
            $"cce f32 V{v} D{d} loss_and_gradient exact growth",
            [.. rows.Select(n => (n, (OperatorWorkload)LossAndGradient(n, v, d)))])
        {
            Demands = demands,
        };

    /// <summary>Allocates the arguments and returns what computes the loss once.</summary>
    public static Action PrepareForward(FusedContext context, int n, int v, int d)
    {
        CutCrossEntropyInputs x = CutCrossEntropyInputs.Uniform(n, v, d);
        return () => CutCrossEntropy.Forward(
            context,
            new ReadOnlySpan2D<float>(x.Embeddings, n, d),
            new ReadOnlySpan2D<float>(x.Classifier, v, d),
            x.Targets);
    }

    /// <summary>Allocates the arguments and returns what computes the loss and both gradients once.</summary>
    public static Action PrepareLossAndGradient(FusedContext context, int n, int v, int d) =>
        PrepareLossAndGradient(context, CutCrossEntropyInputs.Uniform(n, v, d), Exact);

    /// <summary>What the filter leaves out on the confident model, and what that does to the gradients.</summary>
    public static IEnumerable<(string Unit, double Value)> FilterAccuracy(FusedContext context, int n, int v, int d)
    {
        CutCrossEntropyInputs inputs = CutCrossEntropyInputs.Peaked(n, v, d);
        CutCrossEntropyGradients exact = new(inputs), filtered = new(inputs);
        exact.Compute(context, Exact);
        FilterReport report = filtered.Compute(context, Filtering, wantFilterReport: true).FilterReport!.Value;
        (double Error, double Bound) dEmbeddings =
            Relative(exact.DEmbeddings, filtered.DEmbeddings, report.DEmbeddingsError);
        (double Error, double Bound) dClassifier =
            Relative(exact.DClassifier, filtered.DClassifier, report.DClassifierError);
        return
        [
            (Units.SkippedOfDEmbeddings, (double)report.DEmbeddingsTilesSkipped / report.DEmbeddingsTiles),
            (Units.SkippedOfDClassifier, (double)report.DClassifierTilesSkipped / report.DClassifierTiles),
            (Units.DroppedProbability, report.MaxDroppedProbability),
            (Units.DEmbeddingsError, dEmbeddings.Error),
            (Units.DEmbeddingsErrorBound, dEmbeddings.Bound),
            (Units.DClassifierError, dClassifier.Error),
            (Units.DClassifierErrorBound, dClassifier.Bound),
        ];
    }

    private static Action PrepareForwardBFloat16(FusedContext context, int n, int v, int d)
    {
        BFloat16[] embeddings = RandomArrays.UniformBFloat16(n * d, 1);
        BFloat16[] classifier = RandomArrays.UniformBFloat16(v * d, 2, 1 / Math.Sqrt(d));
        int[] targets = RandomArrays.Indices(n, v, 3);
        return () => CutCrossEntropy.Forward(
            context,
            new ReadOnlySpan2D<BFloat16>(embeddings, n, d),
            new ReadOnlySpan2D<BFloat16>(classifier, v, d),
            targets);
    }

    private static Action PrepareLossAndGradient(
        FusedContext context, CutCrossEntropyInputs inputs, CutCrossEntropyOptions options)
    {
        CutCrossEntropyGradients gradients = new(inputs);
        return () => gradients.Compute(context, options);
    }

    private static string Name(string type, int n, int v, int d, string work) => $"cce {type} N{n} V{v} D{d} {work}";

    private static double Flops(int n, int v, int d) => 2.0 * n * v * d;

    // The error of the filtered gradient and the bound on it, over the exact gradient, in Frobenius norms.
    private static (double Error, double Bound) Relative(float[] exact, float[] filtered, double bound)
    {
        double squaredError = 0, squaredNorm = 0;
        for (int i = 0; i < exact.Length; i++)
        {
            double error = (double)filtered[i] - exact[i];
            squaredError += error * error;
            squaredNorm += (double)exact[i] * exact[i];
        }

        return (Math.Sqrt(squaredError / squaredNorm), bound / Math.Sqrt(squaredNorm));
    }
}
