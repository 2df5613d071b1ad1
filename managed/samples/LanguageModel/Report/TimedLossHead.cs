using System.Diagnostics;
using CommunityToolkit.HighPerformance;
using FusedKernels;
using LanguageModel.Model;

namespace LanguageModel.Report;

/// <summary>Measures how long another loss head takes.</summary>
internal sealed class TimedLossHead(ILossHead inner) : ILossHead
{
    /// <summary>Of the last <see cref="LossAndGradient"/>.</summary>
    public TimeSpan LastDuration { get; private set; }

    public float LossAndGradient(
        FusedContext context,
        ReadOnlySpan2D<float> embeddings,
        ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<int> targets,
        Span2D<float> dEmbeddings,
        Span2D<float> dClassifier)
    {
        long start = Stopwatch.GetTimestamp();
        float loss = inner.LossAndGradient(context, embeddings, classifier, targets, dEmbeddings, dClassifier);
        LastDuration = Stopwatch.GetElapsedTime(start);
        return loss;
    }

    public float Loss(FusedContext context, ReadOnlySpan2D<float> embeddings, ReadOnlySpan2D<float> classifier, ReadOnlySpan<int> targets) =>
        inner.Loss(context, embeddings, classifier, targets);
}
