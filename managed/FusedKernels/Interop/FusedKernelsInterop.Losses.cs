namespace FusedKernels.Interop;

public static unsafe partial class FusedKernelsInterop
{
    /// <summary><see cref="CutCrossEntropy"/>'s forward pass on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="tensors">The inputs and the outputs that are wanted.</param>
    /// <param name="options">All settings.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    public static void CutCrossEntropyForward(
        FusedContext context, CutCrossEntropyTensorPointers tensors, CutCrossEntropyOptions options = default,
        CancellationToken cancellationToken = default)
    {
        NativeCutCrossEntropyOptions native = options.ToNative();
        Initialise(ref tensors);
        using var call = new NativeCall(context, cancellationToken);
        call.ThrowIfFailed(NativeMethods.fk_cut_cross_entropy_forward(call.Context, &native, &tensors));
    }

    /// <summary><see cref="CutCrossEntropy"/>'s backward pass on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="tensors">The inputs, the forward pass's outputs, and the gradients that are wanted.</param>
    /// <param name="options">All settings, as in the forward pass.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    public static void CutCrossEntropyBackward(
        FusedContext context, CutCrossEntropyTensorPointers tensors, CutCrossEntropyOptions options = default,
        CancellationToken cancellationToken = default)
    {
        NativeCutCrossEntropyOptions native = options.ToNative();
        Initialise(ref tensors);
        using var call = new NativeCall(context, cancellationToken);
        call.ThrowIfFailed(NativeMethods.fk_cut_cross_entropy_backward(call.Context, &native, &tensors));
    }

    /// <summary><see cref="CutCrossEntropy"/>'s loss with its gradient on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="tensors">The inputs, and the outputs and gradients that are wanted.</param>
    /// <param name="options">All settings.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    public static void CutCrossEntropyLossAndGradient(
        FusedContext context, CutCrossEntropyTensorPointers tensors, CutCrossEntropyOptions options = default,
        CancellationToken cancellationToken = default)
    {
        NativeCutCrossEntropyOptions native = options.ToNative();
        Initialise(ref tensors);
        using var call = new NativeCall(context, cancellationToken);
        call.ThrowIfFailed(NativeMethods.fk_cut_cross_entropy_loss_and_gradient(call.Context, &native, &tensors));
    }

    /// <summary>Bytes of workspace that <see cref="CutCrossEntropy"/>'s three passes take for these tensors.</summary>
    /// <param name="context">Where they would run.</param>
    /// <param name="tensors">The tensors of the pass that takes most.</param>
    /// <param name="options">All settings.</param>
    /// <returns>Bytes of each pass.</returns>
    public static (long Forward, long Backward, long LossAndGradient) CutCrossEntropyWorkspaceSize(
        FusedContext context, CutCrossEntropyTensorPointers tensors, CutCrossEntropyOptions options = default)
    {
        NativeCutCrossEntropyOptions native = options.ToNative();
        Initialise(ref tensors);
        ulong forward, backward, lossAndGradient;
        using var call = new NativeCall(context);
        call.ThrowIfFailed(NativeMethods.fk_cut_cross_entropy_workspace_size(
            call.Context, &native, &tensors, &forward, &backward, &lossAndGradient));
        return ((long)forward, (long)backward, (long)lossAndGradient);
    }

    /// <summary><see cref="CutCrossEntropy.Partial"/> on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="tensors">The inputs.</param>
    /// <param name="maximum">[...], f32, written: the row's largest logit.</param>
    /// <param name="sum">[...], f32, written: the sum of exp(logit - maximum).</param>
    /// <param name="target">[...], f32, written: the target's logit.</param>
    /// <param name="options">All settings, with the shard's place in the vocabulary.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    public static void CutCrossEntropyPartial(
        FusedContext context, CutCrossEntropyTensorPointers tensors, DLTensor* maximum, DLTensor* sum, DLTensor* target,
        CutCrossEntropyOptions options = default, CancellationToken cancellationToken = default)
    {
        NativeCutCrossEntropyOptions native = options.ToNative();
        Initialise(ref tensors);
        using var call = new NativeCall(context, cancellationToken);
        call.ThrowIfFailed(
            NativeMethods.fk_cut_cross_entropy_partial(call.Context, &native, &tensors, maximum, sum, target));
    }

    /// <summary><see cref="CutCrossEntropy.Merge"/> on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="maximum">[S, N], f32: the shards' maxima.</param>
    /// <param name="sum">[S, N], f32: their sums.</param>
    /// <param name="target">[S, N], f32: their targets' logits.</param>
    /// <param name="logSumExp">[N], f32, written.</param>
    /// <param name="targetLogProbability">[N], f32, written; or null.</param>
    public static void CutCrossEntropyMerge(
        FusedContext context, DLTensor* maximum, DLTensor* sum, DLTensor* target, DLTensor* logSumExp,
        DLTensor* targetLogProbability = null)
    {
        using var call = new NativeCall(context);
        call.ThrowIfFailed(NativeMethods.fk_cut_cross_entropy_merge(
            call.Context, maximum, sum, target, logSumExp, targetLogProbability));
    }

    /// <summary><see cref="FusedKernels.SoftmaxCrossEntropy"/> on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="logits">[..., V], f32; replaced by the gradient.</param>
    /// <param name="targets">[...], int32 or int64.</param>
    /// <param name="loss">One f32 element for mean and sum, [...] for none; written.</param>
    /// <param name="options">Reduction and ignore index.</param>
    public static void SoftmaxCrossEntropy(
        FusedContext context, DLTensor* logits, DLTensor* targets, DLTensor* loss,
        SoftmaxCrossEntropyOptions options = default)
    {
        NativeSoftmaxCrossEntropyOptions native = options.ToNative();
        using var call = new NativeCall(context);
        call.ThrowIfFailed(NativeMethods.fk_softmax_cross_entropy(call.Context, &native, logits, targets, loss));
    }

    /// <summary><see cref="Distillation"/>'s forward pass on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="tensors">The inputs and the outputs that are wanted.</param>
    /// <param name="options">Reduction and temperature.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    public static void DistillationForward(
        FusedContext context, DistillationTensorPointers tensors, DistillationOptions options = default,
        CancellationToken cancellationToken = default)
    {
        NativeDistillationOptions native = options.ToNative();
        tensors.StructSize = (uint)sizeof(DistillationTensorPointers);
        using var call = new NativeCall(context, cancellationToken);
        call.ThrowIfFailed(NativeMethods.fk_distillation_forward(call.Context, &native, &tensors));
    }

    /// <summary><see cref="Distillation"/>'s backward pass on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="tensors">The inputs, the forward pass's outputs, and the gradients that are wanted.</param>
    /// <param name="options">Reduction and temperature, as in the forward pass.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    public static void DistillationBackward(
        FusedContext context, DistillationTensorPointers tensors, DistillationOptions options = default,
        CancellationToken cancellationToken = default)
    {
        NativeDistillationOptions native = options.ToNative();
        tensors.StructSize = (uint)sizeof(DistillationTensorPointers);
        using var call = new NativeCall(context, cancellationToken);
        call.ThrowIfFailed(NativeMethods.fk_distillation_backward(call.Context, &native, &tensors));
    }

    /// <summary>Bytes of workspace that <see cref="Distillation"/>'s passes take for these tensors.</summary>
    /// <param name="context">Where they would run.</param>
    /// <param name="tensors">The inputs.</param>
    /// <param name="options">Reduction and temperature.</param>
    /// <returns>Bytes of each pass.</returns>
    public static (long Forward, long Backward) DistillationWorkspaceSize(
        FusedContext context, DistillationTensorPointers tensors, DistillationOptions options = default)
    {
        NativeDistillationOptions native = options.ToNative();
        tensors.StructSize = (uint)sizeof(DistillationTensorPointers);
        ulong forward, backward;
        using var call = new NativeCall(context);
        call.ThrowIfFailed(NativeMethods.fk_distillation_workspace_size(
            call.Context, &native, &tensors, &forward, &backward));
        return ((long)forward, (long)backward);
    }

    private static void Initialise(ref CutCrossEntropyTensorPointers tensors)
    {
        tensors.StructSize = (uint)sizeof(CutCrossEntropyTensorPointers);
        if (tensors.FilterReport != null)
            *tensors.FilterReport = new FilterReport { StructSize = (uint)sizeof(FilterReport) };
    }
}
