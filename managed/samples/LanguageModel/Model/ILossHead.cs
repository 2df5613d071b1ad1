using CommunityToolkit.HighPerformance;
using FusedKernels;

namespace LanguageModel.Model;

/// <summary>Cross-entropy of embeddings [rows, dim] against a classifier [vocabulary, dim].</summary>
internal interface ILossHead
{
    /// <summary>A target that is not predicted and does not count.</summary>
    const int Ignored = -100;

    /// <summary>The mean loss over the rows, and its gradients, which overwrite what the outputs hold.</summary>
    float LossAndGradient(
        FusedContext context,
        ReadOnlySpan2D<float> embeddings,
        ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<int> targets,
        Span2D<float> dEmbeddings,
        Span2D<float> dClassifier);

    /// <summary>The sum of the losses of the rows whose target is not <see cref="Ignored"/>.</summary>
    float Loss(FusedContext context, ReadOnlySpan2D<float> embeddings, ReadOnlySpan2D<float> classifier, ReadOnlySpan<int> targets);
}
