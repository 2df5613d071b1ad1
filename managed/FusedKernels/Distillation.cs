using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>
/// The divergence of a student model's predictions from a teacher's, each through its own classifier, with the logits of
/// neither stored: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015.
/// </summary>
/// <remarks>
/// <para>With <c>z = embeddings . classifier</c> of each model and <c>p = softmax(z / temperature)</c>:
/// <c>loss[n] = temperature^2 * sum_v pTeacher[n, v] * (log pTeacher[n, v] - log pStudent[n, v])</c>, in nats. The factor
/// keeps gradients of one size at every temperature. The teacher gets no gradient.</para>
/// <para>A call takes O(N) memory beyond its arguments, and a workspace below the context's limit. The same inputs give the
/// same bits, whatever the number of threads. Nothing is allocated on the managed heap.</para>
/// <para>Both methods throw <see cref="ArgumentException"/> when a required array is not set, shapes do not match or outputs
/// overlap, <see cref="FusedKernelsException"/> when the workspace limit is too small or there is no memory,
/// <see cref="InvalidOperationException"/> when another thread uses the context, <see cref="ObjectDisposedException"/> when
/// it is disposed, and <see cref="OperationCanceledException"/> when the token is cancelled; outputs are then unspecified.
/// </para>
/// </remarks>
public static class Distillation
{
    /// <summary>Computes the loss, and both log-sum-exps where they are set.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="tensors">Both models' arrays.</param>
    /// <param name="options">Reduction and temperature.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <returns>The weighted mean or the sum of the rows' losses, in nats; NaN with reduction None.</returns>
    /// <exception cref="ArgumentException">Shapes or options do not fit, or outputs overlap.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static float Forward(
        FusedContext context, in DistillationTensors tensors, DistillationOptions options = default,
        CancellationToken cancellationToken = default) =>
        DistillationCall.Run(isBackward: false, context, tensors, options, cancellationToken);

    /// <summary>Computes the student's gradients from the log-sum-exps of the forward pass.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="tensors">Both models' arrays, the forward pass's log-sum-exps, and the gradients that are
    /// wanted.</param>
    /// <param name="options">Reduction and temperature, as in the forward pass.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <exception cref="ArgumentException">Shapes or options do not fit, or outputs overlap.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static void Backward(
        FusedContext context, in DistillationTensors tensors, DistillationOptions options = default,
        CancellationToken cancellationToken = default) =>
        DistillationCall.Run(isBackward: true, context, tensors, options, cancellationToken);
}
