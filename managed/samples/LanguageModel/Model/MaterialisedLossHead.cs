using CommunityToolkit.HighPerformance;
using FusedKernels;

namespace LanguageModel.Model;

/// <summary>The plain way, for comparison: logits [rows, vocabulary] are stored, and become their own gradient in place.</summary>
internal sealed class MaterialisedLossHead(int maxRows, int vocabulary) : ILossHead
{
    private static readonly SoftmaxCrossEntropyOptions Sum = new() { Reduction = LossReduction.Sum };

    private readonly Matrix _logits = new(maxRows, vocabulary);

    public float LossAndGradient(
        FusedContext context,
        ReadOnlySpan2D<float> embeddings,
        ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<int> targets,
        Span2D<float> dEmbeddings,
        Span2D<float> dClassifier)
    {
        Span2D<float> logits = _logits.Top(embeddings.Height);
        Gemm.Multiply(context, embeddings, classifier, logits, new GemmOptions { TransposeB = true });
        float loss = SoftmaxCrossEntropy.LossAndGradient(context, logits, targets);
        Gemm.Multiply(context, logits, classifier, dEmbeddings);
        Gemm.Multiply(context, logits, embeddings, dClassifier, new GemmOptions { TransposeA = true });
        return loss;
    }

    public float Loss(FusedContext context, ReadOnlySpan2D<float> embeddings, ReadOnlySpan2D<float> classifier, ReadOnlySpan<int> targets)
    {
        Span2D<float> logits = _logits.Top(embeddings.Height);
        Gemm.Multiply(context, embeddings, classifier, logits, new GemmOptions { TransposeB = true });
        return SoftmaxCrossEntropy.LossAndGradient(context, logits, targets, Sum);
    }
}
