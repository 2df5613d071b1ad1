using CommunityToolkit.HighPerformance;

namespace FusedKernels.Perf.Operations;

/// <summary>The gradients of a cut cross-entropy, and what computes them.</summary>
internal sealed class CutCrossEntropyGradients(CutCrossEntropyInputs x)
{
    /// <summary>[N, D].</summary>
    public float[] DEmbeddings { get; } = RandomArrays.Output(x.Embeddings.Length);

    /// <summary>[V, D].</summary>
    public float[] DClassifier { get; } = RandomArrays.Output(x.Classifier.Length);

    /// <summary>Computes the mean loss and both gradients.</summary>
    public CutCrossEntropyResult Compute(FusedContext context, CutCrossEntropyOptions options, bool wantFilterReport = false)
    {
        CutCrossEntropyTensors tensors = new()
        {
            Embeddings = new ReadOnlySpan2D<float>(x.Embeddings, x.Rows, x.Dimensions),
            Classifier = new ReadOnlySpan2D<float>(x.Classifier, x.Classes, x.Dimensions),
            Targets = x.Targets,
            DEmbeddings = new Span2D<float>(DEmbeddings, x.Rows, x.Dimensions),
            DClassifier = new Span2D<float>(DClassifier, x.Classes, x.Dimensions),
            WantFilterReport = wantFilterReport,
        };
        return CutCrossEntropy.LossAndGradient(context, tensors, options);
    }
}
