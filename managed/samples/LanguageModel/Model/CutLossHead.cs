using CommunityToolkit.HighPerformance;
using FusedKernels;

namespace LanguageModel.Model;

/// <summary>The library's cut cross-entropy: the logits are never stored.</summary>
internal sealed class CutLossHead : ILossHead
{
    private static readonly CutCrossEntropyOptions Sum = new() { Reduction = LossReduction.Sum };

    public float LossAndGradient(
        FusedContext context,
        ReadOnlySpan2D<float> embeddings,
        ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<int> targets,
        Span2D<float> dEmbeddings,
        Span2D<float> dClassifier) =>
        CutCrossEntropy.LossAndGradient(context, embeddings, classifier, targets, dEmbeddings, dClassifier);

    public float Loss(FusedContext context, ReadOnlySpan2D<float> embeddings, ReadOnlySpan2D<float> classifier, ReadOnlySpan<int> targets) =>
        CutCrossEntropy.Forward(context, embeddings, classifier, targets, Sum);
}
