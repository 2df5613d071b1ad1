using System.Runtime.InteropServices;

namespace FusedKernels.Interop;

/// <summary>
/// The functions of <c>fusedkernels.h</c>, one for one and under their own names. Signatures are blittable: nothing is
/// marshalled. A test compares this list with the header.
/// </summary>
internal static unsafe partial class NativeMethods
{
    // Without "lib": the loader adds prefix and suffix, and its error messages then name the file that is missing.
    public const string Library = "fusedkernels";

    /// <summary>The ABI that these declarations were written for.</summary>
    public const uint AbiVersion = 1;

    [LibraryImport(Library)] public static partial byte* fk_last_error();
    [LibraryImport(Library)] public static partial byte* fk_status_name(FusedKernelsStatus status);
    [LibraryImport(Library)] public static partial uint fk_abi_version();
    [LibraryImport(Library)] public static partial byte* fk_build_info();
    [LibraryImport(Library)] public static partial byte* fk_cpu_isa();
    [LibraryImport(Library)] public static partial long fk_struct_layout(byte* type, byte* field);

    [LibraryImport(Library)] public static partial void fk_context_options_init(NativeContextOptions* options);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_context_create(NativeContextOptions* options, nint* context);

    [LibraryImport(Library)] public static partial FusedKernelsStatus fk_context_destroy(nint context);
    [LibraryImport(Library)] public static partial FusedKernelsStatus fk_context_cancel(nint context);
    [LibraryImport(Library)] public static partial FusedKernelsStatus fk_context_clear_cancel(nint context);
    [LibraryImport(Library)] public static partial FusedKernelsStatus fk_context_threads(nint context, int* threads);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_context_workspace_bytes(nint context, ulong* bytes);

    [LibraryImport(Library)] public static partial FusedKernelsStatus fk_context_release_workspace(nint context);

    [LibraryImport(Library)] public static partial void fk_gemm_options_init(NativeGemmOptions* options);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_gemm(
        nint context, NativeGemmOptions* options, DLTensor* a, DLTensor* b, DLTensor* c);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_gemm_workspace_size(
        nint context, NativeGemmOptions* options, DLTensor* a, DLTensor* b, DLTensor* c, ulong* bytes);

    [LibraryImport(Library)]
    public static partial void fk_cut_cross_entropy_options_init(NativeCutCrossEntropyOptions* options);

    [LibraryImport(Library)] public static partial void fk_filter_report_init(FilterReport* report);

    [LibraryImport(Library)]
    public static partial void fk_cut_cross_entropy_tensors_init(CutCrossEntropyTensorPointers* tensors);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_cut_cross_entropy_forward(
        nint context, NativeCutCrossEntropyOptions* options, CutCrossEntropyTensorPointers* tensors);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_cut_cross_entropy_backward(
        nint context, NativeCutCrossEntropyOptions* options, CutCrossEntropyTensorPointers* tensors);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_cut_cross_entropy_loss_and_gradient(
        nint context, NativeCutCrossEntropyOptions* options, CutCrossEntropyTensorPointers* tensors);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_cut_cross_entropy_workspace_size(
        nint context, NativeCutCrossEntropyOptions* options, CutCrossEntropyTensorPointers* tensors, ulong* forwardBytes,
        ulong* backwardBytes, ulong* lossAndGradientBytes);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_cut_cross_entropy_partial(
        nint context, NativeCutCrossEntropyOptions* options, CutCrossEntropyTensorPointers* tensors, DLTensor* maximum,
        DLTensor* sum, DLTensor* target);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_cut_cross_entropy_merge(
        nint context, DLTensor* maximum, DLTensor* sum, DLTensor* target, DLTensor* logSumExp,
        DLTensor* targetLogProbability);

    [LibraryImport(Library)]
    public static partial void fk_softmax_cross_entropy_options_init(NativeSoftmaxCrossEntropyOptions* options);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_softmax_cross_entropy(
        nint context, NativeSoftmaxCrossEntropyOptions* options, DLTensor* logits, DLTensor* targets, DLTensor* loss);

    [LibraryImport(Library)] public static partial void fk_distillation_options_init(NativeDistillationOptions* options);
    [LibraryImport(Library)] public static partial void fk_distillation_tensors_init(DistillationTensorPointers* tensors);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_distillation_forward(
        nint context, NativeDistillationOptions* options, DistillationTensorPointers* tensors);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_distillation_backward(
        nint context, NativeDistillationOptions* options, DistillationTensorPointers* tensors);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_distillation_workspace_size(
        nint context, NativeDistillationOptions* options, DistillationTensorPointers* tensors, ulong* forwardBytes,
        ulong* backwardBytes);

    [LibraryImport(Library)] public static partial void fk_attention_options_init(NativeAttentionOptions* options);

    [LibraryImport(Library)] public static partial void fk_attention_tensors_init(AttentionTensorPointers* tensors);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_attention_forward(
        nint context, NativeAttentionOptions* options, AttentionTensorPointers* tensors);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_attention_backward(
        nint context, NativeAttentionOptions* options, AttentionTensorPointers* tensors);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_attention_workspace_size(
        nint context, NativeAttentionOptions* options, AttentionTensorPointers* tensors, ulong* forwardBytes,
        ulong* backwardBytes);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_attention_merge(
        nint context, DLTensor* outputs, DLTensor* logSumExps, DLTensor* output, DLTensor* logSumExp);

    [LibraryImport(Library)] public static partial void fk_kv_cache_init(KvCachePointers* cache);
    [LibraryImport(Library)] public static partial void fk_kv_cache_tensors_init(KvCacheTensorPointers* tensors);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_kv_cache_attention(
        nint context, NativeAttentionOptions* options, KvCachePointers* cache, KvCacheTensorPointers* tensors);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_kv_cache_attention_workspace_size(
        nint context, NativeAttentionOptions* options, KvCachePointers* cache, KvCacheTensorPointers* tensors,
        ulong* bytes);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_kv_cache_copy_page(nint context, KvCachePointers* cache, long from, long to);

    [LibraryImport(Library)] public static partial void fk_rms_norm_options_init(NativeRmsNormOptions* options);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_rms_norm_forward(
        nint context, NativeRmsNormOptions* options, DLTensor* x, DLTensor* weight, DLTensor* y, DLTensor* inverseRms);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_rms_norm_backward(
        nint context, NativeRmsNormOptions* options, DLTensor* x, DLTensor* weight, DLTensor* inverseRms, DLTensor* dY,
        DLTensor* dX, DLTensor* dWeight);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_swiglu_forward(nint context, DLTensor* gate, DLTensor* up, DLTensor* output);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_swiglu_backward(
        nint context, DLTensor* gate, DLTensor* up, DLTensor* dOutput, DLTensor* dGate, DLTensor* dUp);

    [LibraryImport(Library)]
    public static partial void fk_rotary_embedding_options_init(NativeRotaryEmbeddingOptions* options);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_rotary_embedding(
        nint context, NativeRotaryEmbeddingOptions* options, DLTensor* x, DLTensor* positions, DLTensor* y);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_embedding_gather(
        nint context, DLTensor* table, DLTensor* ids, DLTensor* output);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_embedding_scatter_add(
        nint context, DLTensor* dOutput, DLTensor* ids, DLTensor* dTable);

    [LibraryImport(Library)] public static partial void fk_adamw_options_init(NativeAdamWOptions* options);

    [LibraryImport(Library)]
    public static partial FusedKernelsStatus fk_adamw_step(
        nint context, NativeAdamWOptions* options, DLTensor* parameter, DLTensor* gradient, DLTensor* firstMoment,
        DLTensor* secondMoment);
}
