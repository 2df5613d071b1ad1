using System.Runtime.InteropServices;
using CommunityToolkit.HighPerformance;
using FusedKernels.Interop;
using Pass = FusedKernels.Interop.CutCrossEntropyCall.Pass;

namespace FusedKernels;

/// <summary>
/// Cross-entropy of a linear classifier without its logits: Wijmans et al., "Cut Your Losses in Large-Vocabulary Language
/// Models", 2024.
/// </summary>
/// <remarks>
/// <para>For row n and class v <c>x[n, v] = logitScale * (embeddings[n] . classifier[v] + bias[v])</c>,
/// <c>z[n, v] = softcap * tanh(x[n, v] / softcap)</c> (or x without softcap), <c>logSumExp[n] = log sum_v exp(z[n, v])</c>,
/// <c>p[n, v] = exp(z[n, v] - logSumExp[n])</c>. With <c>t[n]</c> the target probabilities, or 1 at the target, and
/// <c>q[n] = (1 - labelSmoothing) * t[n] + labelSmoothing / V</c>:
/// <c>crossEntropy[n] = sum_v classWeights[v] * q[n, v] * (logSumExp[n] - z[n, v])</c> and
/// <c>loss[n] = rowWeights[n] * (crossEntropy[n] + zLoss * logSumExp[n]^2)</c>, in nats. With a
/// <see cref="CutCrossEntropyOptions.LossShape"/> f of its own, <c>crossEntropy[n]</c> is
/// <c>classWeights[y] * f(-log p[n, y])</c> for <c>y = targets[n]</c>. The mean is the sum of the losses divided by
/// <c>sum_n rowWeights[n] * classWeights[targets[n]]</c> over the rows that are not ignored, or by the sum of their weights
/// alone with target probabilities; it is 0 where that is 0.</para>
/// <para>The matrix z, [N, V], is never stored: a call takes O(N) memory beyond its arguments, and a workspace below the
/// context's limit. Ignored rows have loss 0, gradient 0 and 0 in every other result per row, whatever they hold. A NaN, or
/// an infinity that the mathematics does not cancel, in a row makes that row's loss NaN; other rows keep theirs. The same
/// inputs give the same bits, whatever the number of threads. Nothing is allocated on the managed heap.</para>
/// <para>Every method throws <see cref="ArgumentException"/> when a required array is not set, shapes or options do not fit
/// or outputs overlap, <see cref="ArgumentOutOfRangeException"/> when a target is neither in [0, V) nor the ignore index,
/// <see cref="FusedKernelsException"/> when the workspace limit is too small or there is no memory,
/// <see cref="InvalidOperationException"/> when another thread uses the context, <see cref="ObjectDisposedException"/> when
/// it is disposed, and <see cref="OperationCanceledException"/> when the token is cancelled; outputs are then unspecified.
/// </para>
/// </remarks>
public static class CutCrossEntropy
{
    /// <summary>Computes the loss and the other outputs that are set. Gradients must not be.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="tensors">The arrays.</param>
    /// <param name="options">All settings.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <returns>The loss, and the other numbers that are wanted.</returns>
    /// <exception cref="ArgumentException">Shapes or options do not fit, or outputs overlap.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is out of range; the message names the row.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static CutCrossEntropyResult Forward(
        FusedContext context, in CutCrossEntropyTensors tensors, CutCrossEntropyOptions options = default,
        CancellationToken cancellationToken = default) =>
        CutCrossEntropyCall.Run(Pass.Forward, context, tensors, options, cancellationToken);

    /// <summary>Computes the gradients that are set, from the forward pass's log-sum-exp (and target log-probability and
    /// entropy, where the options ask for them). Other outputs must not be set.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="tensors">The arrays.</param>
    /// <param name="options">All settings, as in the forward pass.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <returns>The numbers that are wanted; no loss.</returns>
    /// <exception cref="ArgumentException">Shapes or options do not fit, or outputs overlap.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is out of range; the message names the row.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static CutCrossEntropyResult Backward(
        FusedContext context, in CutCrossEntropyTensors tensors, CutCrossEntropyOptions options = default,
        CancellationToken cancellationToken = default) =>
        CutCrossEntropyCall.Run(Pass.Backward, context, tensors, options, cancellationToken);

    /// <summary>Computes the loss, the other outputs and the gradients that are set in one call, which saves a pass over the
    /// scores.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="tensors">The arrays.</param>
    /// <param name="options">All settings.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <returns>The loss, and the other numbers that are wanted.</returns>
    /// <exception cref="ArgumentException">Shapes or options do not fit, or outputs overlap.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is out of range; the message names the row.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static CutCrossEntropyResult LossAndGradient(
        FusedContext context, in CutCrossEntropyTensors tensors, CutCrossEntropyOptions options = default,
        CancellationToken cancellationToken = default) =>
        CutCrossEntropyCall.Run(Pass.LossAndGradient, context, tensors, options, cancellationToken);

    /// <summary>
    /// Computes what a shard of the vocabulary contributes to each row's loss, for <see cref="Merge"/>. The shard's place is
    /// in <see cref="CutCrossEntropyOptions.VocabularyOffset"/> and <see cref="CutCrossEntropyOptions.VocabularySize"/>.
    /// </summary>
    /// <param name="context">Where to run.</param>
    /// <param name="tensors">The inputs: the shard's rows of the classifier and of the bias, and all targets. Outputs and
    /// gradients must not be set.</param>
    /// <param name="maximum">[N], written: the row's largest logit; negative infinity at ignored rows.</param>
    /// <param name="sum">[N], written: the sum of exp(logit - maximum); 0 at ignored rows.</param>
    /// <param name="target">[N], written: the target's logit; 0 where another shard holds it, and at ignored rows.</param>
    /// <param name="options">All settings.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <exception cref="ArgumentException">Shapes or options do not fit, or outputs overlap.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is out of range; the message names the row.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static void Partial(
        FusedContext context, in CutCrossEntropyTensors tensors, Span<float> maximum, Span<float> sum, Span<float> target,
        CutCrossEntropyOptions options = default, CancellationToken cancellationToken = default) =>
        CutCrossEntropyCall.Run(Pass.Partial, context, tensors, options, cancellationToken, new(maximum, sum, target));

    /// <summary>
    /// Merges the shards' <see cref="Partial"/>s into what every shard's backward pass needs. The loss of a row that is not
    /// ignored is minus its <paramref name="targetLogProbability"/>; the sum of the shards' dEmbeddings (and dLogitScale) is
    /// the whole's.
    /// </summary>
    /// <param name="context">Where to run.</param>
    /// <param name="maximum">[S, N], a row for each shard.</param>
    /// <param name="sum">[S, N].</param>
    /// <param name="target">[S, N].</param>
    /// <param name="logSumExp">[N], written; 0 at ignored rows.</param>
    /// <param name="targetLogProbability">[N], written; empty: not wanted.</param>
    /// <exception cref="ArgumentException">Shapes do not match, or outputs overlap.</exception>
    public static unsafe void Merge(
        FusedContext context, ReadOnlySpan2D<float> maximum, ReadOnlySpan2D<float> sum, ReadOnlySpan2D<float> target,
        Span<float> logSumExp, Span<float> targetLogProbability = default)
    {
        const int Capacity = 3 * TensorBuilder.Matrix + 2 * TensorBuilder.Vector;
        long* dimensions = stackalloc long[Capacity];
        TensorBuilder tensors = new(dimensions, Capacity);
        fixed (float* maximumData = maximum, sumData = sum, targetData = target)
        fixed (float* logSumExpData = logSumExp, targetLogProbabilityData = targetLogProbability)
        {
            DLTensor maximumTensor = tensors.AddMatrix(maximumData, maximum);
            DLTensor sumTensor = tensors.AddMatrix(sumData, sum);
            DLTensor targetTensor = tensors.AddMatrix(targetData, target);
            DLTensor logSumExpTensor = tensors.AddVector(logSumExpData, logSumExp.Length);
            DLTensor targetLogProbabilityTensor = tensors.AddVector(targetLogProbabilityData, targetLogProbability.Length);
            FusedKernelsInterop.CutCrossEntropyMerge(
                context, &maximumTensor, &sumTensor, &targetTensor, &logSumExpTensor,
                targetLogProbability.IsEmpty ? null : &targetLogProbabilityTensor);
        }
    }

    /// <summary>Computes the loss.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="embeddings">[N, D].</param>
    /// <param name="classifier">[V, D].</param>
    /// <param name="targets">[N], each in [0, V) or the ignore index.</param>
    /// <param name="options">All settings; the reduction is Mean or Sum.</param>
    /// <param name="logSumExp">[N], written for the backward pass; empty: not wanted.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <returns>The mean or the sum of the rows' losses, in nats.</returns>
    /// <exception cref="ArgumentException">Shapes or options do not fit, or outputs overlap.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is out of range; the message names the row.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static float Forward(
        FusedContext context, ReadOnlyMatrix embeddings, ReadOnlyMatrix classifier, ReadOnlyIndices targets,
        CutCrossEntropyOptions options = default, Span<float> logSumExp = default,
        CancellationToken cancellationToken = default)
    {
        LossArguments.RequireOneLoss(options.Reduction);
        CutCrossEntropyTensors tensors = new()
        {
            Embeddings = embeddings, Classifier = classifier, Targets = targets, LogSumExp = logSumExp,
        };
        return Forward(context, tensors, options, cancellationToken).Loss;
    }

    /// <summary>Computes the gradients of the loss, from the log-sum-exp of the forward pass.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="embeddings">[N, D].</param>
    /// <param name="classifier">[V, D].</param>
    /// <param name="targets">[N], each in [0, V) or the ignore index.</param>
    /// <param name="logSumExp">[N], what the forward pass wrote for the same arguments.</param>
    /// <param name="dEmbeddings">[N, D], overwritten; empty: not wanted.</param>
    /// <param name="dClassifier">[V, D], overwritten; empty: not wanted (a frozen head).</param>
    /// <param name="options">All settings, as in the forward pass; the reduction is Mean or Sum.</param>
    /// <param name="gradLoss">The gradient that arrives at the loss.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <exception cref="ArgumentException">Shapes or options do not fit, or outputs overlap.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is out of range; the message names the row.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static void Backward(
        FusedContext context, ReadOnlyMatrix embeddings, ReadOnlyMatrix classifier, ReadOnlyIndices targets,
        ReadOnlySpan<float> logSumExp, Span2D<float> dEmbeddings, Span2D<float> dClassifier,
        CutCrossEntropyOptions options = default, float gradLoss = 1, CancellationToken cancellationToken = default)
    {
        CutCrossEntropyTensors tensors = new()
        {
            Embeddings = embeddings, Classifier = classifier, Targets = targets,
            // The backward pass only reads it.
            LogSumExp = MemoryMarshal.CreateSpan(ref MemoryMarshal.GetReference(logSumExp), logSumExp.Length),
            DEmbeddings = dEmbeddings, DClassifier = dClassifier, GradLoss = gradLoss,
        };
        Backward(context, tensors, options, cancellationToken);
    }

    /// <summary>Computes the loss and its gradients in one call, which saves a pass over the scores.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="embeddings">[N, D].</param>
    /// <param name="classifier">[V, D].</param>
    /// <param name="targets">[N], each in [0, V) or the ignore index.</param>
    /// <param name="dEmbeddings">[N, D], overwritten; empty: not wanted.</param>
    /// <param name="dClassifier">[V, D], overwritten; empty: not wanted (a frozen head).</param>
    /// <param name="options">All settings; the reduction is Mean or Sum.</param>
    /// <param name="logSumExp">[N], written; empty: not wanted.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <returns>The mean or the sum of the rows' losses, in nats.</returns>
    /// <exception cref="ArgumentException">Shapes or options do not fit, or outputs overlap.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is out of range; the message names the row.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static float LossAndGradient(
        FusedContext context, ReadOnlyMatrix embeddings, ReadOnlyMatrix classifier, ReadOnlyIndices targets,
        Span2D<float> dEmbeddings, Span2D<float> dClassifier, CutCrossEntropyOptions options = default,
        Span<float> logSumExp = default, CancellationToken cancellationToken = default)
    {
        LossArguments.RequireOneLoss(options.Reduction);
        CutCrossEntropyTensors tensors = new()
        {
            Embeddings = embeddings, Classifier = classifier, Targets = targets, LogSumExp = logSumExp,
            DEmbeddings = dEmbeddings, DClassifier = dClassifier,
        };
        return LossAndGradient(context, tensors, options, cancellationToken).Loss;
    }
}
