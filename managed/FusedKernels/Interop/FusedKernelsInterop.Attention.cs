namespace FusedKernels.Interop;

public static unsafe partial class FusedKernelsInterop
{
    /// <summary><see cref="Attention"/>'s forward pass on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="tensors">The inputs and the outputs that are wanted.</param>
    /// <param name="options">All settings.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    public static void AttentionForward(
        FusedContext context, AttentionTensorPointers tensors, AttentionOptions options = default,
        CancellationToken cancellationToken = default)
    {
        NativeAttentionOptions native = options.ToNative();
        tensors.StructSize = (uint)sizeof(AttentionTensorPointers);
        using var call = new NativeCall(context, cancellationToken);
        call.ThrowIfFailed(NativeMethods.fk_attention_forward(call.Context, &native, &tensors));
    }

    /// <summary><see cref="Attention"/>'s backward pass on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="tensors">The inputs, the forward pass's outputs, and the gradients that are wanted.</param>
    /// <param name="options">All settings, as in the forward pass.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    public static void AttentionBackward(
        FusedContext context, AttentionTensorPointers tensors, AttentionOptions options = default,
        CancellationToken cancellationToken = default)
    {
        NativeAttentionOptions native = options.ToNative();
        tensors.StructSize = (uint)sizeof(AttentionTensorPointers);
        using var call = new NativeCall(context, cancellationToken);
        call.ThrowIfFailed(NativeMethods.fk_attention_backward(call.Context, &native, &tensors));
    }

    /// <summary>Bytes of workspace that <see cref="Attention"/>'s passes take for these tensors.</summary>
    /// <param name="context">Where they would run.</param>
    /// <param name="tensors">The tensors of the pass that takes most.</param>
    /// <param name="options">All settings.</param>
    /// <returns>Bytes of each pass.</returns>
    public static (long Forward, long Backward) AttentionWorkspaceSize(
        FusedContext context, AttentionTensorPointers tensors, AttentionOptions options = default)
    {
        NativeAttentionOptions native = options.ToNative();
        tensors.StructSize = (uint)sizeof(AttentionTensorPointers);
        ulong forward, backward;
        using var call = new NativeCall(context);
        call.ThrowIfFailed(NativeMethods.fk_attention_workspace_size(
            call.Context, &native, &tensors, &forward, &backward));
        return ((long)forward, (long)backward);
    }

    /// <summary><see cref="Attention.Merge"/> on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="outputs">[P, B, Sq, H, Dv], f32.</param>
    /// <param name="logSumExps">[P, B, H, Sq], f32.</param>
    /// <param name="output">[B, Sq, H, Dv], f32, bf16 or f16, written.</param>
    /// <param name="logSumExp">[B, H, Sq], f32, written; or null.</param>
    public static void AttentionMerge(
        FusedContext context, DLTensor* outputs, DLTensor* logSumExps, DLTensor* output, DLTensor* logSumExp = null)
    {
        using var call = new NativeCall(context);
        call.ThrowIfFailed(NativeMethods.fk_attention_merge(call.Context, outputs, logSumExps, output, logSumExp));
    }

    /// <summary><see cref="KvCacheView.Attend"/> on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="cache">The cache.</param>
    /// <param name="tensors">The inputs and the outputs that are wanted.</param>
    /// <param name="options">The settings that <see cref="KvCacheView.Attend"/> takes.</param>
    /// <param name="cancellationToken">Ends the call early.</param>
    public static void KvCacheAttention(
        FusedContext context, KvCachePointers cache, KvCacheTensorPointers tensors, AttentionOptions options = default,
        CancellationToken cancellationToken = default)
    {
        NativeAttentionOptions native = options.ToNative();
        cache.StructSize = (uint)sizeof(KvCachePointers);
        tensors.StructSize = (uint)sizeof(KvCacheTensorPointers);
        using var call = new NativeCall(context, cancellationToken);
        call.ThrowIfFailed(NativeMethods.fk_kv_cache_attention(call.Context, &native, &cache, &tensors));
    }

    /// <summary>Bytes of workspace that the same <see cref="KvCacheAttention"/> would take.</summary>
    /// <param name="context">Where it would run.</param>
    /// <param name="cache">The cache.</param>
    /// <param name="tensors">The inputs and the outputs that are wanted.</param>
    /// <param name="options">The settings that <see cref="KvCacheView.Attend"/> takes.</param>
    /// <returns>Bytes.</returns>
    public static long KvCacheAttentionWorkspaceSize(
        FusedContext context, KvCachePointers cache, KvCacheTensorPointers tensors, AttentionOptions options = default)
    {
        NativeAttentionOptions native = options.ToNative();
        cache.StructSize = (uint)sizeof(KvCachePointers);
        tensors.StructSize = (uint)sizeof(KvCacheTensorPointers);
        ulong bytes;
        using var call = new NativeCall(context);
        call.ThrowIfFailed(NativeMethods.fk_kv_cache_attention_workspace_size(
            call.Context, &native, &cache, &tensors, &bytes));
        return (long)bytes;
    }

    /// <summary><see cref="KvCacheView.CopyPage"/> on raw tensors.</summary>
    /// <param name="context">Where to run.</param>
    /// <param name="cache">The cache, of which only the pages are looked at.</param>
    /// <param name="from">The page to copy.</param>
    /// <param name="to">The page to overwrite.</param>
    public static void KvCacheCopyPage(FusedContext context, KvCachePointers cache, long from, long to)
    {
        cache.StructSize = (uint)sizeof(KvCachePointers);
        using var call = new NativeCall(context);
        call.ThrowIfFailed(NativeMethods.fk_kv_cache_copy_page(call.Context, &cache, from, to));
    }
}
