using System.Numerics.Tensors;
using FusedKernels.Interop;

namespace FusedKernels;

/// <summary>
/// Attention without its score matrix: Dao, "FlashAttention-2", 2023. For each batch and head
/// <c>output = softmax(scale * q k^T + mask) v</c>.
/// </summary>
/// <remarks>
/// <para>Tensors are f32, [batch B, sequence S, heads H, head dimension D]. The last axis needs stride 1; the others may have
/// any stride, so packed QKV and heads before sequence are views. A query that sees no key gives zeros, a log-sum-exp of
/// negative infinity and zero gradients. The same inputs give the same bits, whatever the number of threads. Nothing is
/// allocated on the managed heap.</para>
/// <para>Both methods throw <see cref="ArgumentException"/> when shapes do not match or outputs overlap,
/// <see cref="FusedKernelsException"/> when the workspace limit is too small or there is no memory,
/// <see cref="InvalidOperationException"/> when another thread uses the context, <see cref="ObjectDisposedException"/> when
/// it is disposed, and <see cref="OperationCanceledException"/> when the token is cancelled; outputs are then unspecified.
/// </para>
/// </remarks>
public static class Attention
{
    /// <summary>Computes attention.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="q">Queries, [B, Sq, H, D].</param>
    /// <param name="k">Keys, [B, Sk, H, D].</param>
    /// <param name="v">Values, [B, Sk, H, Dv].</param>
    /// <param name="output">[B, Sq, H, Dv], overwritten; must not overlap an input.</param>
    /// <param name="options">Mask and scale.</param>
    /// <param name="logSumExp">[B, H, Sq] in this order, B * H * Sq elements, written for the backward pass; empty: not
    /// wanted.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <exception cref="ArgumentException">Shapes or strides do not fit, or outputs overlap.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static unsafe void Forward(
        FusedContext context,
        in ReadOnlyTensorSpan<float> q,
        in ReadOnlyTensorSpan<float> k,
        in ReadOnlyTensorSpan<float> v,
        in TensorSpan<float> output,
        AttentionOptions options = default,
        Span<float> logSumExp = default,
        CancellationToken cancellationToken = default)
    {
        const int Capacity = 5 * TensorBuilder.Tensor;
        long* dimensions = stackalloc long[Capacity];
        TensorBuilder tensors = new(dimensions, Capacity);
        fixed (float* qData = q, kData = k, vData = v, outputData = output, logSumExpData = logSumExp)
        {
            DLTensor qTensor = tensors.AddTensor(qData, q);
            DLTensor kTensor = tensors.AddTensor(kData, k);
            DLTensor vTensor = tensors.AddTensor(vData, v);
            DLTensor outputTensor = tensors.AddTensor(outputData, output);
            DLTensor logSumExpTensor = AddLogSumExp(ref tensors, logSumExpData, logSumExp, qTensor);
            FusedKernelsInterop.AttentionForward(
                context, &qTensor, &kTensor, &vTensor, &outputTensor, logSumExp.IsEmpty ? null : &logSumExpTensor, options,
                cancellationToken);
        }
    }

    /// <summary>Computes the gradients of attention.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="q">Queries, [B, Sq, H, D].</param>
    /// <param name="k">Keys, [B, Sk, H, D].</param>
    /// <param name="v">Values, [B, Sk, H, Dv].</param>
    /// <param name="output">[B, Sq, H, Dv], what the forward pass wrote.</param>
    /// <param name="logSumExp">B * H * Sq elements, what the forward pass wrote.</param>
    /// <param name="dOutput">[B, Sq, H, Dv], the gradient that arrives at the output.</param>
    /// <param name="dQ">Shaped like <paramref name="q"/>, overwritten.</param>
    /// <param name="dK">Shaped like <paramref name="k"/>, overwritten.</param>
    /// <param name="dV">Shaped like <paramref name="v"/>, overwritten.</param>
    /// <param name="options">Mask and scale, as in the forward pass.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    /// <exception cref="ArgumentException">Shapes or strides do not fit, or outputs overlap.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static unsafe void Backward(
        FusedContext context,
        in ReadOnlyTensorSpan<float> q,
        in ReadOnlyTensorSpan<float> k,
        in ReadOnlyTensorSpan<float> v,
        in ReadOnlyTensorSpan<float> output,
        ReadOnlySpan<float> logSumExp,
        in ReadOnlyTensorSpan<float> dOutput,
        in TensorSpan<float> dQ,
        in TensorSpan<float> dK,
        in TensorSpan<float> dV,
        AttentionOptions options = default,
        CancellationToken cancellationToken = default)
    {
        const int Capacity = 9 * TensorBuilder.Tensor;
        long* dimensions = stackalloc long[Capacity];
        TensorBuilder tensors = new(dimensions, Capacity);
        fixed (float* qData = q, kData = k, vData = v, outputData = output, logSumExpData = logSumExp)
        fixed (float* dOutputData = dOutput, dQData = dQ, dKData = dK, dVData = dV)
        {
            DLTensor qTensor = tensors.AddTensor(qData, q);
            DLTensor kTensor = tensors.AddTensor(kData, k);
            DLTensor vTensor = tensors.AddTensor(vData, v);
            DLTensor outputTensor = tensors.AddTensor(outputData, output);
            DLTensor logSumExpTensor = AddLogSumExp(ref tensors, logSumExpData, logSumExp, qTensor);
            DLTensor dOutputTensor = tensors.AddTensor(dOutputData, dOutput);
            DLTensor dQTensor = tensors.AddTensor(dQData, dQ);
            DLTensor dKTensor = tensors.AddTensor(dKData, dK);
            DLTensor dVTensor = tensors.AddTensor(dVData, dV);
            FusedKernelsInterop.AttentionBackward(
                context, &qTensor, &kTensor, &vTensor, &outputTensor, &logSumExpTensor, &dOutputTensor, &dQTensor, &dKTensor,
                &dVTensor, options, cancellationToken);
        }
    }

    // The span is flat; q's shape gives it its three dimensions. A q that is not of rank 4 is refused by name natively.
    private static unsafe DLTensor AddLogSumExp(
        ref TensorBuilder tensors, float* data, ReadOnlySpan<float> logSumExp, in DLTensor q)
    {
        if (q.Rank != 4 || logSumExp.IsEmpty) return tensors.AddVector(data, logSumExp.Length);
        long batch = q.Shape[0], queries = q.Shape[1], heads = q.Shape[2];
        if (logSumExp.Length != batch * queries * heads)
            throw new ArgumentException(
                $"logSumExp has {logSumExp.Length} elements; q is [{batch}, {queries}, {heads}, {q.Shape[3]}], which needs " +
                $"[B, H, Sq] = [{batch}, {heads}, {queries}], {batch * queries * heads} elements.", nameof(logSumExp));
        return tensors.AddStack(data, DLDataType.Float32, batch, heads, queries, rowStride: queries);
    }
}
