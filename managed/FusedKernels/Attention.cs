using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using FusedKernels.Interop;
using Pass = FusedKernels.Interop.AttentionCall.Pass;

namespace FusedKernels;

/// <summary>
/// Attention without its score matrix: Dao, "FlashAttention-2", 2023, with the masks, biases and outputs that its users add.
/// </summary>
/// <remarks>
/// <para>For query i and key j of each batch item and head h, whose keys and values are those of head h / (H / G): <c>s[j] =
/// cap(scale * lengthScale[i] * (q[i] . k[j])) + biases(i, j)</c> with <c>cap(x) = softcap * tanh(x / softcap)</c> (or x
/// without softcap), <c>p[j] = exp(s[j]) / (exp(sinks[h]) + sum of exp(s))</c> over the keys that i sees, and
/// <c>output[i]</c> is the sum over these of <c>p[j] * dropout(i, j) * toeplitzFactor[j - i] * v[j]</c>. Key j is at
/// position j; query i at i + Lk - Lq, or at i with <see cref="AttentionAlignment.TopLeft"/>, where Lq and Lk are the
/// lengths of the sequence. A query at position x sees the positions y from x - WindowLeft to x + WindowRight, and y &lt;= x
/// if causal, or y in the prefix in any case; and of these what the mask, the block mask and the segments allow.</para>
/// <para>The scores, [Sq, Sk], are never stored: a call takes O(Sq + Sk) memory beyond its arguments, and a workspace below
/// the context's limit. A query that sees no key gives zeros, a log-sum-exp of negative infinity (the sink, where there is
/// one) and zero gradients. The same inputs give the same bits, whatever the number of threads. Nothing is allocated on the
/// managed heap.</para>
/// <para>Every method throws <see cref="ArgumentException"/> when a required array is not set, shapes or options do not fit
/// or outputs overlap, <see cref="ArgumentOutOfRangeException"/> when a length or a start lies outside its sequence,
/// <see cref="FusedKernelsException"/> when the workspace limit is too small or there is no memory,
/// <see cref="InvalidOperationException"/> when another thread uses the context, <see cref="ObjectDisposedException"/> when
/// it is disposed, and <see cref="OperationCanceledException"/> when the token is cancelled; outputs are then unspecified.
/// </para>
/// </remarks>
public static class Attention
{
    /// <summary>Computes attention, and the other outputs that are set. Gradients, also those that arrive, must not
    /// be.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="tensors">The arrays.</param>
    /// <param name="options">All settings.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <exception cref="ArgumentException">Shapes or options do not fit, or outputs overlap.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A length or a start is out of range; the message names it.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static void Forward(
        FusedContext context, in AttentionTensors tensors, AttentionOptions options = default,
        CancellationToken cancellationToken = default) =>
        AttentionCall.Run(Pass.Forward, context, tensors, options, cancellationToken);

    /// <summary>Computes the gradients that are set, from the forward pass's output and log-sum-exp. Other outputs of the
    /// forward pass must not be set.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="tensors">The arrays.</param>
    /// <param name="options">All settings, as in the forward pass.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <exception cref="ArgumentException">Shapes or options do not fit, or outputs overlap.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A length or a start is out of range; the message names it.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static void Backward(
        FusedContext context, in AttentionTensors tensors, AttentionOptions options = default,
        CancellationToken cancellationToken = default) =>
        AttentionCall.Run(Pass.Backward, context, tensors, options, cancellationToken);

    /// <summary>Bytes of workspace that the two passes take for these tensors under the context's limit.</summary>
    /// <param name="context">Where they would run.</param>
    /// <param name="tensors">The inputs, and the outputs and gradients that are wanted.</param>
    /// <param name="options">All settings.</param>
    /// <returns>Bytes of each pass.</returns>
    /// <exception cref="ArgumentException">Shapes or options do not fit.</exception>
    public static (long Forward, long Backward) WorkspaceSize(
        FusedContext context, in AttentionTensors tensors, AttentionOptions options = default) =>
        AttentionCall.Run(Pass.WorkspaceSize, context, tensors, options);

    /// <summary>
    /// Puts attention over P parts of a key set together, in their order: <c>logSumExp[i]</c> is the log-sum-exp of the
    /// parts', and <c>output[i]</c> the sum over parts of <c>exp(logSumExps[part, i] - logSumExp[i]) * outputs[part, i]</c>.
    /// Exact where the parts had neither sinks nor dropout.
    /// </summary>
    /// <param name="context">Where to run.</param>
    /// <param name="outputs">[P, B, Sq, H, Dv], the parts' outputs.</param>
    /// <param name="logSumExps">[P, B, H, Sq], the parts' log-sum-exps.</param>
    /// <param name="output">[B, Sq, H, Dv], f32, bf16 or f16, overwritten.</param>
    /// <param name="logSumExp">[B, H, Sq], overwritten; <c>default</c>: not wanted.</param>
    /// <exception cref="ArgumentException">Shapes do not match, or outputs overlap.</exception>
    public static unsafe void Merge(
        FusedContext context, in ReadOnlyTensorSpan<float> outputs, in ReadOnlyTensorSpan<float> logSumExps,
        Heads output, in TensorSpan<float> logSumExp = default)
    {
        const int Count = 4;
        DLTensor* descriptions = stackalloc DLTensor[Count];
        long* dimensions = stackalloc long[Count * TensorList.DimensionsPerTensor];
        TensorList list = new(descriptions, dimensions, Count);
        fixed (float* outputsData = outputs, logSumExpsData = logSumExps, logSumExpData = logSumExp)
        fixed (byte* outputData = output)
            FusedKernelsInterop.AttentionMerge(
                context, list.Add(outputsData, outputs), list.Add(logSumExpsData, logSumExps),
                list.Add(outputData, output.View), list.Add<float>(logSumExpData, logSumExp));
    }

    /// <summary>Computes attention.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="q">Queries, [B, Sq, H, D].</param>
    /// <param name="k">Keys, [B, Sk, G, D]; H is a multiple of G.</param>
    /// <param name="v">Values, [B, Sk, G, Dv].</param>
    /// <param name="output">[B, Sq, H, Dv], overwritten; must not overlap an input.</param>
    /// <param name="options">All settings.</param>
    /// <param name="logSumExp">[B, H, Sq] in this order, B * H * Sq elements, written for the backward pass; empty: not
    /// wanted.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <exception cref="ArgumentException">Shapes or options do not fit, or outputs overlap.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static void Forward(
        FusedContext context, ReadOnlyHeads q, ReadOnlyHeads k, ReadOnlyHeads v, Heads output,
        AttentionOptions options = default, Span<float> logSumExp = default, CancellationToken cancellationToken = default)
    {
        AttentionTensors tensors = new() { Q = q, K = k, V = v, Output = output };
        if (!logSumExp.IsEmpty) tensors.LogSumExp = OneForEachQuery(logSumExp, q);
        Forward(context, tensors, options, cancellationToken);
    }

    /// <summary>Computes the gradients of attention.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="q">Queries, [B, Sq, H, D].</param>
    /// <param name="k">Keys, [B, Sk, G, D]; H is a multiple of G.</param>
    /// <param name="v">Values, [B, Sk, G, Dv].</param>
    /// <param name="output">[B, Sq, H, Dv], what the forward pass wrote.</param>
    /// <param name="logSumExp">B * H * Sq elements, what the forward pass wrote.</param>
    /// <param name="dOutput">[B, Sq, H, Dv], the gradient that arrives at the output.</param>
    /// <param name="dQ">Shaped like <paramref name="q"/>, overwritten; <c>default</c>: not wanted.</param>
    /// <param name="dK">Shaped like <paramref name="k"/>, overwritten; <c>default</c>: not wanted.</param>
    /// <param name="dV">Shaped like <paramref name="v"/>, overwritten; <c>default</c>: not wanted.</param>
    /// <param name="options">All settings, as in the forward pass.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <exception cref="ArgumentException">Shapes or options do not fit, or outputs overlap.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static void Backward(
        FusedContext context, ReadOnlyHeads q, ReadOnlyHeads k, ReadOnlyHeads v, ReadOnlyHeads output,
        ReadOnlySpan<float> logSumExp, ReadOnlyHeads dOutput, Heads dQ, Heads dK, Heads dV,
        AttentionOptions options = default, CancellationToken cancellationToken = default)
    {
        AttentionTensors tensors = new()
        {
            Q = q, K = k, V = v, DOutput = dOutput, DQ = dQ, DK = dK, DV = dV,
            // The backward pass only reads these two.
            Output = Heads.ForReading(output),
            LogSumExp = OneForEachQuery(
                MemoryMarshal.CreateSpan(ref MemoryMarshal.GetReference(logSumExp), logSumExp.Length), q),
        };
        Backward(context, tensors, options, cancellationToken);
    }

    // The span is flat; q's shape gives it its three axes. A q that is not of rank 4 is refused by name natively.
    private static TensorSpan<float> OneForEachQuery(Span<float> values, scoped in ReadOnlyHeads q)
    {
        if (q.View.Rank != 4) return new(values);
        ReadOnlySpan<nint> lengths = q.View.Lengths;
        (nint batch, nint queries, nint heads) = (lengths[0], lengths[1], lengths[2]);
        if (values.Length != batch * queries * heads)
            throw new ArgumentException(
                $"logSumExp has {values.Length} elements; q is [{batch}, {queries}, {heads}, {lengths[3]}], which needs " +
                $"[B, H, Sq] = [{batch}, {heads}, {queries}], {batch * queries * heads} elements.", "logSumExp");
        return new(values, [batch, heads, queries]);
    }
}
