using CommunityToolkit.HighPerformance;
using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>
/// Cross-entropy of a linear classifier without its logits: Wijmans et al., "Cut Your Losses in Large-Vocabulary Language
/// Models", 2024.
/// </summary>
/// <remarks>
/// <para>With <c>s[n, v] = embeddings[n] . classifier[v]</c>: <c>logSumExp[n] = log sum_v exp(s[n, v])</c> and
/// <c>loss[n] = logSumExp[n] - s[n, targets[n]]</c>, in nats. The matrix s, [N, V], is never stored: a call takes O(N) memory
/// beyond its arguments, and a workspace below the context's limit.</para>
/// <para>All matrices are f32, and their rows may lie apart (slices). Outputs must not overlap inputs or each other. A NaN,
/// or an infinity that the mathematics does not cancel, in a row makes that row's loss NaN; other rows keep theirs. The same
/// inputs give the same bits, whatever the number of threads. Nothing is allocated on the managed heap.</para>
/// <para>Every method throws <see cref="ArgumentException"/> when shapes do not match or outputs overlap,
/// <see cref="ArgumentOutOfRangeException"/> when a target is neither in [0, V) nor the ignore index,
/// <see cref="FusedKernelsException"/> when the workspace limit is too small or there is no memory,
/// <see cref="InvalidOperationException"/> when another thread uses the context, <see cref="ObjectDisposedException"/> when
/// it is disposed, and <see cref="OperationCanceledException"/> when the token is cancelled; outputs are then unspecified.
/// </para>
/// </remarks>
public static class CutCrossEntropy
{
    /// <summary>Computes the loss.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="embeddings">[N, D].</param>
    /// <param name="classifier">[V, D].</param>
    /// <param name="targets">[N], each in [0, V) or the ignore index.</param>
    /// <param name="options">Reduction and ignore index.</param>
    /// <param name="logSumExp">[N], written for the backward pass; empty: not wanted.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <returns>The mean or the sum of the rows' losses, in nats.</returns>
    /// <exception cref="ArgumentException">Shapes do not match, outputs overlap, or the reduction is None.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is out of range; the message names the row.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static float Forward(
        FusedContext context,
        ReadOnlySpan2D<float> embeddings,
        ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<int> targets,
        CutCrossEntropyOptions options = default,
        Span<float> logSumExp = default,
        CancellationToken cancellationToken = default) =>
        ReducedForward(context, embeddings, classifier, targets, options, logSumExp, cancellationToken);

    /// <inheritdoc cref="Forward(FusedContext, ReadOnlySpan2D{float}, ReadOnlySpan2D{float}, ReadOnlySpan{int}, CutCrossEntropyOptions, Span{float}, CancellationToken)"/>
    public static float Forward(
        FusedContext context,
        ReadOnlySpan2D<float> embeddings,
        ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<long> targets,
        CutCrossEntropyOptions options = default,
        Span<float> logSumExp = default,
        CancellationToken cancellationToken = default) =>
        ReducedForward(context, embeddings, classifier, targets, options, logSumExp, cancellationToken);

    /// <summary>Computes the loss of each row (reduction none).</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="embeddings">[N, D].</param>
    /// <param name="classifier">[V, D].</param>
    /// <param name="targets">[N], each in [0, V) or the ignore index.</param>
    /// <param name="losses">[N], written: the rows' losses in nats, 0 at ignored rows.</param>
    /// <param name="options">The ignore index.</param>
    /// <param name="logSumExp">[N], written for the backward pass; empty: not wanted.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <exception cref="ArgumentException">Shapes do not match, or outputs overlap.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is out of range; the message names the row.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static void ForwardPerRow(
        FusedContext context,
        ReadOnlySpan2D<float> embeddings,
        ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<int> targets,
        Span<float> losses,
        CutCrossEntropyOptions options = default,
        Span<float> logSumExp = default,
        CancellationToken cancellationToken = default) =>
        RunForward(context, embeddings, classifier, targets, losses, options with { Reduction = LossReduction.None }, logSumExp,
            cancellationToken);

    /// <inheritdoc cref="ForwardPerRow(FusedContext, ReadOnlySpan2D{float}, ReadOnlySpan2D{float}, ReadOnlySpan{int}, Span{float}, CutCrossEntropyOptions, Span{float}, CancellationToken)"/>
    public static void ForwardPerRow(
        FusedContext context,
        ReadOnlySpan2D<float> embeddings,
        ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<long> targets,
        Span<float> losses,
        CutCrossEntropyOptions options = default,
        Span<float> logSumExp = default,
        CancellationToken cancellationToken = default) =>
        RunForward(context, embeddings, classifier, targets, losses, options with { Reduction = LossReduction.None }, logSumExp,
            cancellationToken);

    /// <summary>Computes the gradients of the loss, from the log-sum-exp of the forward pass.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="embeddings">[N, D].</param>
    /// <param name="classifier">[V, D].</param>
    /// <param name="targets">[N], each in [0, V) or the ignore index.</param>
    /// <param name="logSumExp">[N], what the forward pass wrote for the same arguments.</param>
    /// <param name="dEmbeddings">[N, D], overwritten; empty: not wanted.</param>
    /// <param name="dClassifier">[V, D], overwritten; empty: not wanted (a frozen head).</param>
    /// <param name="options">Reduction and ignore index, as in the forward pass.</param>
    /// <param name="gradLoss">The gradient that arrives at the loss.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <exception cref="ArgumentException">Shapes do not match, outputs overlap, or the reduction is None.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is out of range; the message names the row.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static void Backward(
        FusedContext context,
        ReadOnlySpan2D<float> embeddings,
        ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<int> targets,
        ReadOnlySpan<float> logSumExp,
        Span2D<float> dEmbeddings,
        Span2D<float> dClassifier,
        CutCrossEntropyOptions options = default,
        float gradLoss = 1,
        CancellationToken cancellationToken = default) =>
        ReducedBackward(context, embeddings, classifier, targets, logSumExp, dEmbeddings, dClassifier, options, gradLoss,
            cancellationToken);

    /// <inheritdoc cref="Backward(FusedContext, ReadOnlySpan2D{float}, ReadOnlySpan2D{float}, ReadOnlySpan{int}, ReadOnlySpan{float}, Span2D{float}, Span2D{float}, CutCrossEntropyOptions, float, CancellationToken)"/>
    public static void Backward(
        FusedContext context,
        ReadOnlySpan2D<float> embeddings,
        ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<long> targets,
        ReadOnlySpan<float> logSumExp,
        Span2D<float> dEmbeddings,
        Span2D<float> dClassifier,
        CutCrossEntropyOptions options = default,
        float gradLoss = 1,
        CancellationToken cancellationToken = default) =>
        ReducedBackward(context, embeddings, classifier, targets, logSumExp, dEmbeddings, dClassifier, options, gradLoss,
            cancellationToken);

    /// <summary>Computes the gradients for losses that were kept per row (reduction none).</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="embeddings">[N, D].</param>
    /// <param name="classifier">[V, D].</param>
    /// <param name="targets">[N], each in [0, V) or the ignore index.</param>
    /// <param name="logSumExp">[N], what the forward pass wrote for the same arguments.</param>
    /// <param name="gradLosses">[N], the gradient that arrives at each row's loss.</param>
    /// <param name="dEmbeddings">[N, D], overwritten; empty: not wanted.</param>
    /// <param name="dClassifier">[V, D], overwritten; empty: not wanted (a frozen head).</param>
    /// <param name="options">The ignore index, as in the forward pass.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <exception cref="ArgumentException">Shapes do not match, or outputs overlap.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is out of range; the message names the row.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static void BackwardPerRow(
        FusedContext context,
        ReadOnlySpan2D<float> embeddings,
        ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<int> targets,
        ReadOnlySpan<float> logSumExp,
        ReadOnlySpan<float> gradLosses,
        Span2D<float> dEmbeddings,
        Span2D<float> dClassifier,
        CutCrossEntropyOptions options = default,
        CancellationToken cancellationToken = default) =>
        RunBackward(context, embeddings, classifier, targets, logSumExp, gradLosses, dEmbeddings, dClassifier,
            options with { Reduction = LossReduction.None }, cancellationToken);

    /// <inheritdoc cref="BackwardPerRow(FusedContext, ReadOnlySpan2D{float}, ReadOnlySpan2D{float}, ReadOnlySpan{int}, ReadOnlySpan{float}, ReadOnlySpan{float}, Span2D{float}, Span2D{float}, CutCrossEntropyOptions, CancellationToken)"/>
    public static void BackwardPerRow(
        FusedContext context,
        ReadOnlySpan2D<float> embeddings,
        ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<long> targets,
        ReadOnlySpan<float> logSumExp,
        ReadOnlySpan<float> gradLosses,
        Span2D<float> dEmbeddings,
        Span2D<float> dClassifier,
        CutCrossEntropyOptions options = default,
        CancellationToken cancellationToken = default) =>
        RunBackward(context, embeddings, classifier, targets, logSumExp, gradLosses, dEmbeddings, dClassifier,
            options with { Reduction = LossReduction.None }, cancellationToken);

    /// <summary>Computes the loss and its gradients in one call, which saves a pass over the scores.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="embeddings">[N, D].</param>
    /// <param name="classifier">[V, D].</param>
    /// <param name="targets">[N], each in [0, V) or the ignore index.</param>
    /// <param name="dEmbeddings">[N, D], overwritten; empty: not wanted.</param>
    /// <param name="dClassifier">[V, D], overwritten; empty: not wanted (a frozen head).</param>
    /// <param name="options">Reduction, ignore index and schedule.</param>
    /// <param name="logSumExp">[N], written; empty: not wanted.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <returns>The mean or the sum of the rows' losses, in nats.</returns>
    /// <exception cref="ArgumentException">Shapes do not match, outputs overlap, or the reduction is None.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is out of range; the message names the row.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static float LossAndGradient(
        FusedContext context,
        ReadOnlySpan2D<float> embeddings,
        ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<int> targets,
        Span2D<float> dEmbeddings,
        Span2D<float> dClassifier,
        CutCrossEntropyOptions options = default,
        Span<float> logSumExp = default,
        CancellationToken cancellationToken = default) =>
        RunLossAndGradient(context, embeddings, classifier, targets, dEmbeddings, dClassifier, options, logSumExp,
            cancellationToken);

    /// <inheritdoc cref="LossAndGradient(FusedContext, ReadOnlySpan2D{float}, ReadOnlySpan2D{float}, ReadOnlySpan{int}, Span2D{float}, Span2D{float}, CutCrossEntropyOptions, Span{float}, CancellationToken)"/>
    public static float LossAndGradient(
        FusedContext context,
        ReadOnlySpan2D<float> embeddings,
        ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<long> targets,
        Span2D<float> dEmbeddings,
        Span2D<float> dClassifier,
        CutCrossEntropyOptions options = default,
        Span<float> logSumExp = default,
        CancellationToken cancellationToken = default) =>
        RunLossAndGradient(context, embeddings, classifier, targets, dEmbeddings, dClassifier, options, logSumExp,
            cancellationToken);

    private static float ReducedForward<TIndex>(
        FusedContext context, ReadOnlySpan2D<float> embeddings, ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<TIndex> targets, CutCrossEntropyOptions options, Span<float> logSumExp,
        CancellationToken cancellationToken) where TIndex : unmanaged
    {
        options.RefuseReductionNone();
        float loss = 0;
        RunForward(context, embeddings, classifier, targets, new Span<float>(ref loss), options, logSumExp, cancellationToken);
        return loss;
    }

    private static void ReducedBackward<TIndex>(
        FusedContext context, ReadOnlySpan2D<float> embeddings, ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<TIndex> targets, ReadOnlySpan<float> logSumExp, Span2D<float> dEmbeddings, Span2D<float> dClassifier,
        CutCrossEntropyOptions options, float gradLoss, CancellationToken cancellationToken) where TIndex : unmanaged
    {
        options.RefuseReductionNone();
        RunBackward(context, embeddings, classifier, targets, logSumExp, new ReadOnlySpan<float>(in gradLoss), dEmbeddings,
            dClassifier, options, cancellationToken);
    }

    private static unsafe void RunForward<TIndex>(
        FusedContext context, ReadOnlySpan2D<float> embeddings, ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<TIndex> targets, Span<float> losses, CutCrossEntropyOptions options, Span<float> logSumExp,
        CancellationToken cancellationToken) where TIndex : unmanaged
    {
        const int Capacity = 2 * TensorBuilder.Matrix + 3 * TensorBuilder.Vector;
        long* dimensions = stackalloc long[Capacity];
        TensorBuilder tensors = new(dimensions, Capacity);
        fixed (float* embeddingsData = embeddings, classifierData = classifier, lossesData = losses, logSumExpData = logSumExp)
        fixed (TIndex* targetsData = targets)
        {
            DLTensor embeddingsTensor = tensors.AddMatrix(embeddingsData, embeddings);
            DLTensor classifierTensor = tensors.AddMatrix(classifierData, classifier);
            DLTensor targetsTensor = tensors.AddVector(targetsData, targets.Length);
            DLTensor lossesTensor = tensors.AddVector(lossesData, losses.Length);
            DLTensor logSumExpTensor = tensors.AddVector(logSumExpData, logSumExp.Length);
            FusedKernelsInterop.CutCrossEntropyForward(
                context, &embeddingsTensor, &classifierTensor, &targetsTensor, &lossesTensor,
                logSumExp.IsEmpty ? null : &logSumExpTensor, options, cancellationToken);
        }
    }

    private static unsafe void RunBackward<TIndex>(
        FusedContext context, ReadOnlySpan2D<float> embeddings, ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<TIndex> targets, ReadOnlySpan<float> logSumExp, ReadOnlySpan<float> gradLosses,
        Span2D<float> dEmbeddings, Span2D<float> dClassifier, CutCrossEntropyOptions options,
        CancellationToken cancellationToken) where TIndex : unmanaged
    {
        const int Capacity = 4 * TensorBuilder.Matrix + 3 * TensorBuilder.Vector;
        long* dimensions = stackalloc long[Capacity];
        TensorBuilder tensors = new(dimensions, Capacity);
        fixed (float* embeddingsData = embeddings, classifierData = classifier)
        fixed (float* logSumExpData = logSumExp, gradLossesData = gradLosses)
        fixed (float* dEmbeddingsData = dEmbeddings, dClassifierData = dClassifier)
        fixed (TIndex* targetsData = targets)
        {
            DLTensor embeddingsTensor = tensors.AddMatrix(embeddingsData, embeddings);
            DLTensor classifierTensor = tensors.AddMatrix(classifierData, classifier);
            DLTensor targetsTensor = tensors.AddVector(targetsData, targets.Length);
            DLTensor logSumExpTensor = tensors.AddVector(logSumExpData, logSumExp.Length);
            DLTensor gradLossesTensor = tensors.AddVector(gradLossesData, gradLosses.Length);
            DLTensor dEmbeddingsTensor = tensors.AddMatrix(dEmbeddingsData, dEmbeddings);
            DLTensor dClassifierTensor = tensors.AddMatrix(dClassifierData, dClassifier);
            FusedKernelsInterop.CutCrossEntropyBackward(
                context, &embeddingsTensor, &classifierTensor, &targetsTensor, &logSumExpTensor, &gradLossesTensor,
                dEmbeddings.IsEmpty ? null : &dEmbeddingsTensor, dClassifier.IsEmpty ? null : &dClassifierTensor, options,
                cancellationToken);
        }
    }

    private static unsafe float RunLossAndGradient<TIndex>(
        FusedContext context, ReadOnlySpan2D<float> embeddings, ReadOnlySpan2D<float> classifier,
        ReadOnlySpan<TIndex> targets, Span2D<float> dEmbeddings, Span2D<float> dClassifier, CutCrossEntropyOptions options,
        Span<float> logSumExp, CancellationToken cancellationToken) where TIndex : unmanaged
    {
        options.RefuseReductionNone();
        const int Capacity = 4 * TensorBuilder.Matrix + 3 * TensorBuilder.Vector;
        long* dimensions = stackalloc long[Capacity];
        TensorBuilder tensors = new(dimensions, Capacity);
        float loss = 0;
        fixed (float* embeddingsData = embeddings, classifierData = classifier, logSumExpData = logSumExp)
        fixed (float* dEmbeddingsData = dEmbeddings, dClassifierData = dClassifier)
        fixed (TIndex* targetsData = targets)
        {
            DLTensor embeddingsTensor = tensors.AddMatrix(embeddingsData, embeddings);
            DLTensor classifierTensor = tensors.AddMatrix(classifierData, classifier);
            DLTensor targetsTensor = tensors.AddVector(targetsData, targets.Length);
            DLTensor lossTensor = tensors.AddVector(&loss, 1);
            DLTensor logSumExpTensor = tensors.AddVector(logSumExpData, logSumExp.Length);
            DLTensor dEmbeddingsTensor = tensors.AddMatrix(dEmbeddingsData, dEmbeddings);
            DLTensor dClassifierTensor = tensors.AddMatrix(dClassifierData, dClassifier);
            FusedKernelsInterop.CutCrossEntropyLossAndGradient(
                context, &embeddingsTensor, &classifierTensor, &targetsTensor, &lossTensor,
                logSumExp.IsEmpty ? null : &logSumExpTensor, dEmbeddings.IsEmpty ? null : &dEmbeddingsTensor,
                dClassifier.IsEmpty ? null : &dClassifierTensor, options, cancellationToken);
        }
        return loss;
    }
}
