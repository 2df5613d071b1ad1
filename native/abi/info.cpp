// What the library says about itself: version, build, instruction set, names and struct layouts.
#include <cstddef>
#include <cstring>

#include "abi/boundary.h"
#include "core/cpu_features.h"

namespace {

#define FK_STRINGIFY(text) #text
#define FK_STRING(text) FK_STRINGIFY(text)
#if defined(__clang__)
#define FK_COMPILER "clang " __clang_version__
#else
#define FK_COMPILER "g++ " FK_STRING(__GNUC__) "." FK_STRING(__GNUC_MINOR__) "." FK_STRING(__GNUC_PATCHLEVEL__)
#endif
#if defined(__aarch64__)
#define FK_ISAS "scalar neon"
#else
#define FK_ISAS "scalar sse4 avx2 avx512"
#endif

struct Layout {
  const char* type;
  const char* field;  // null: the size of the type
  int64_t value;
};

#define SIZE(type) \
  { #type, nullptr, static_cast < int64_t>(sizeof(type)) }
#define FIELD(type, field) \
  { #type, #field, static_cast < int64_t>(offsetof(type, field)) }

constexpr Layout kLayouts[] = {
    SIZE(DLDevice),
    FIELD(DLDevice, device_type),
    FIELD(DLDevice, device_id),
    SIZE(DLDataType),
    FIELD(DLDataType, code),
    FIELD(DLDataType, bits),
    FIELD(DLDataType, lanes),
    SIZE(DLTensor),
    FIELD(DLTensor, data),
    FIELD(DLTensor, device),
    FIELD(DLTensor, ndim),
    FIELD(DLTensor, dtype),
    FIELD(DLTensor, shape),
    FIELD(DLTensor, strides),
    FIELD(DLTensor, byte_offset),
    SIZE(fk_context_options),
    FIELD(fk_context_options, struct_size),
    FIELD(fk_context_options, device_type),
    FIELD(fk_context_options, device_id),
    FIELD(fk_context_options, threads),
    FIELD(fk_context_options, workspace_limit),
    FIELD(fk_context_options, share_threads_with),
    FIELD(fk_context_options, stream),
    SIZE(fk_gemm_options),
    FIELD(fk_gemm_options, struct_size),
    FIELD(fk_gemm_options, transpose_a),
    FIELD(fk_gemm_options, transpose_b),
    FIELD(fk_gemm_options, alpha),
    FIELD(fk_gemm_options, beta),
    SIZE(fk_cut_cross_entropy_options),
    FIELD(fk_cut_cross_entropy_options, struct_size),
    FIELD(fk_cut_cross_entropy_options, reduction),
    FIELD(fk_cut_cross_entropy_options, has_ignore_index),
    FIELD(fk_cut_cross_entropy_options, schedule),
    FIELD(fk_cut_cross_entropy_options, ignore_index),
    FIELD(fk_cut_cross_entropy_options, shift),
    FIELD(fk_cut_cross_entropy_options, logit_scale),
    FIELD(fk_cut_cross_entropy_options, softcap),
    FIELD(fk_cut_cross_entropy_options, label_smoothing),
    FIELD(fk_cut_cross_entropy_options, z_loss),
    FIELD(fk_cut_cross_entropy_options, loss_shape),
    FIELD(fk_cut_cross_entropy_options, loss_shape_parameter),
    FIELD(fk_cut_cross_entropy_options, filter_d_embeddings),
    FIELD(fk_cut_cross_entropy_options, filter_d_classifier),
    FIELD(fk_cut_cross_entropy_options, order_vocabulary),
    FIELD(fk_cut_cross_entropy_options, reserved),
    FIELD(fk_cut_cross_entropy_options, vocabulary_offset),
    FIELD(fk_cut_cross_entropy_options, vocabulary_size),
    SIZE(fk_filter_report),
    FIELD(fk_filter_report, struct_size),
    FIELD(fk_filter_report, reserved),
    FIELD(fk_filter_report, d_embeddings_tiles),
    FIELD(fk_filter_report, d_embeddings_tiles_skipped),
    FIELD(fk_filter_report, d_classifier_tiles),
    FIELD(fk_filter_report, d_classifier_tiles_skipped),
    FIELD(fk_filter_report, d_embeddings_error),
    FIELD(fk_filter_report, d_classifier_error),
    FIELD(fk_filter_report, max_dropped_probability),
    SIZE(fk_cut_cross_entropy_tensors),
    FIELD(fk_cut_cross_entropy_tensors, struct_size),
    FIELD(fk_cut_cross_entropy_tensors, reserved),
    FIELD(fk_cut_cross_entropy_tensors, embeddings),
    FIELD(fk_cut_cross_entropy_tensors, classifier),
    FIELD(fk_cut_cross_entropy_tensors, targets),
    FIELD(fk_cut_cross_entropy_tensors, target_probabilities),
    FIELD(fk_cut_cross_entropy_tensors, bias),
    FIELD(fk_cut_cross_entropy_tensors, class_weights),
    FIELD(fk_cut_cross_entropy_tensors, row_weights),
    FIELD(fk_cut_cross_entropy_tensors, log_sum_exp),
    FIELD(fk_cut_cross_entropy_tensors, target_log_probability),
    FIELD(fk_cut_cross_entropy_tensors, entropy),
    FIELD(fk_cut_cross_entropy_tensors, loss),
    FIELD(fk_cut_cross_entropy_tensors, top_tokens),
    FIELD(fk_cut_cross_entropy_tensors, top_log_probabilities),
    FIELD(fk_cut_cross_entropy_tensors, accuracy),
    FIELD(fk_cut_cross_entropy_tensors, grad_loss),
    FIELD(fk_cut_cross_entropy_tensors, grad_log_sum_exp),
    FIELD(fk_cut_cross_entropy_tensors, grad_entropy),
    FIELD(fk_cut_cross_entropy_tensors, d_embeddings),
    FIELD(fk_cut_cross_entropy_tensors, d_classifier),
    FIELD(fk_cut_cross_entropy_tensors, d_bias),
    FIELD(fk_cut_cross_entropy_tensors, d_logit_scale),
    FIELD(fk_cut_cross_entropy_tensors, filter_report),
    FIELD(fk_cut_cross_entropy_tensors, dropped_probability),
    SIZE(fk_softmax_cross_entropy_options),
    FIELD(fk_softmax_cross_entropy_options, struct_size),
    FIELD(fk_softmax_cross_entropy_options, reduction),
    FIELD(fk_softmax_cross_entropy_options, has_ignore_index),
    FIELD(fk_softmax_cross_entropy_options, reserved),
    FIELD(fk_softmax_cross_entropy_options, ignore_index),
    SIZE(fk_distillation_options),
    FIELD(fk_distillation_options, struct_size),
    FIELD(fk_distillation_options, reduction),
    FIELD(fk_distillation_options, temperature),
    FIELD(fk_distillation_options, reserved),
    SIZE(fk_distillation_tensors),
    FIELD(fk_distillation_tensors, struct_size),
    FIELD(fk_distillation_tensors, reserved),
    FIELD(fk_distillation_tensors, student_embeddings),
    FIELD(fk_distillation_tensors, student_classifier),
    FIELD(fk_distillation_tensors, teacher_embeddings),
    FIELD(fk_distillation_tensors, teacher_classifier),
    FIELD(fk_distillation_tensors, row_weights),
    FIELD(fk_distillation_tensors, loss),
    FIELD(fk_distillation_tensors, student_log_sum_exp),
    FIELD(fk_distillation_tensors, teacher_log_sum_exp),
    FIELD(fk_distillation_tensors, grad_loss),
    FIELD(fk_distillation_tensors, d_student_embeddings),
    FIELD(fk_distillation_tensors, d_student_classifier),
    SIZE(fk_attention_options),
    FIELD(fk_attention_options, struct_size),
    FIELD(fk_attention_options, causal),
    FIELD(fk_attention_options, scale),
    FIELD(fk_attention_options, softcap),
    FIELD(fk_attention_options, alignment),
    FIELD(fk_attention_options, length_scale_base),
    FIELD(fk_attention_options, window_left),
    FIELD(fk_attention_options, window_right),
    FIELD(fk_attention_options, mask_block_rows),
    FIELD(fk_attention_options, mask_block_columns),
    FIELD(fk_attention_options, relative_bidirectional),
    FIELD(fk_attention_options, dropout),
    FIELD(fk_attention_options, relative_max_distance),
    FIELD(fk_attention_options, dropout_seed),
    FIELD(fk_attention_options, rotary_dims),
    FIELD(fk_attention_options, rotary_interleaved),
    FIELD(fk_attention_options, rotary_base),
    FIELD(fk_attention_options, reserved),
    FIELD(fk_attention_options, rotary_query_offset),
    FIELD(fk_attention_options, rotary_key_offset),
    SIZE(fk_attention_tensors),
    FIELD(fk_attention_tensors, struct_size),
    FIELD(fk_attention_tensors, reserved),
    FIELD(fk_attention_tensors, q),
    FIELD(fk_attention_tensors, k),
    FIELD(fk_attention_tensors, v),
    FIELD(fk_attention_tensors, query_lengths),
    FIELD(fk_attention_tensors, key_lengths),
    FIELD(fk_attention_tensors, prefix_lengths),
    FIELD(fk_attention_tensors, query_starts),
    FIELD(fk_attention_tensors, key_starts),
    FIELD(fk_attention_tensors, query_segments),
    FIELD(fk_attention_tensors, key_segments),
    FIELD(fk_attention_tensors, mask),
    FIELD(fk_attention_tensors, block_mask),
    FIELD(fk_attention_tensors, bias),
    FIELD(fk_attention_tensors, key_bias),
    FIELD(fk_attention_tensors, alibi_slopes),
    FIELD(fk_attention_tensors, relative_bias),
    FIELD(fk_attention_tensors, axial_bias_x),
    FIELD(fk_attention_tensors, axial_bias_y),
    FIELD(fk_attention_tensors, sinks),
    FIELD(fk_attention_tensors, toeplitz_factor),
    FIELD(fk_attention_tensors, output),
    FIELD(fk_attention_tensors, log_sum_exp),
    FIELD(fk_attention_tensors, max_score),
    FIELD(fk_attention_tensors, entropy),
    FIELD(fk_attention_tensors, key_weights),
    FIELD(fk_attention_tensors, d_output),
    FIELD(fk_attention_tensors, d_log_sum_exp),
    FIELD(fk_attention_tensors, d_q),
    FIELD(fk_attention_tensors, d_k),
    FIELD(fk_attention_tensors, d_v),
    FIELD(fk_attention_tensors, d_bias),
    FIELD(fk_attention_tensors, d_key_bias),
    FIELD(fk_attention_tensors, d_alibi_slopes),
    FIELD(fk_attention_tensors, d_relative_bias),
    FIELD(fk_attention_tensors, d_axial_bias_x),
    FIELD(fk_attention_tensors, d_axial_bias_y),
    FIELD(fk_attention_tensors, d_sinks),
    FIELD(fk_attention_tensors, d_toeplitz_factor),
    SIZE(fk_kv_cache),
    FIELD(fk_kv_cache, struct_size),
    FIELD(fk_kv_cache, reserved),
    FIELD(fk_kv_cache, k_f32),
    FIELD(fk_kv_cache, v_f32),
    FIELD(fk_kv_cache, k_bf16),
    FIELD(fk_kv_cache, v_bf16),
    FIELD(fk_kv_cache, k_int8),
    FIELD(fk_kv_cache, v_int8),
    FIELD(fk_kv_cache, k_int8_scales),
    FIELD(fk_kv_cache, v_int8_scales),
    FIELD(fk_kv_cache, page_table),
    FIELD(fk_kv_cache, lengths),
    SIZE(fk_kv_cache_tensors),
    FIELD(fk_kv_cache_tensors, struct_size),
    FIELD(fk_kv_cache_tensors, reserved),
    FIELD(fk_kv_cache_tensors, q),
    FIELD(fk_kv_cache_tensors, new_k),
    FIELD(fk_kv_cache_tensors, new_v),
    FIELD(fk_kv_cache_tensors, alibi_slopes),
    FIELD(fk_kv_cache_tensors, sinks),
    FIELD(fk_kv_cache_tensors, output),
    FIELD(fk_kv_cache_tensors, log_sum_exp),
    SIZE(fk_rms_norm_options),
    FIELD(fk_rms_norm_options, struct_size),
    FIELD(fk_rms_norm_options, epsilon),
    SIZE(fk_rotary_embedding_options),
    FIELD(fk_rotary_embedding_options, struct_size),
    FIELD(fk_rotary_embedding_options, interleaved),
    FIELD(fk_rotary_embedding_options, inverse),
    FIELD(fk_rotary_embedding_options, rotary_dims),
    FIELD(fk_rotary_embedding_options, position_offset),
    FIELD(fk_rotary_embedding_options, base),
    SIZE(fk_adamw_options),
    FIELD(fk_adamw_options, struct_size),
    FIELD(fk_adamw_options, learning_rate),
    FIELD(fk_adamw_options, beta1),
    FIELD(fk_adamw_options, beta2),
    FIELD(fk_adamw_options, epsilon),
    FIELD(fk_adamw_options, weight_decay),
    FIELD(fk_adamw_options, gradient_scale),
    FIELD(fk_adamw_options, step),
};

#undef FIELD
#undef SIZE

bool sameName(const char* a, const char* b) { return a && b ? std::strcmp(a, b) == 0 : a == b; }

}  // namespace

uint32_t fk_abi_version(void) noexcept { return FK_ABI_VERSION; }

const char* fk_build_info(void) noexcept { return "FusedKernels " FK_VERSION ", " FK_COMPILER ", " FK_ISAS ", no CUDA"; }

const char* fk_cpu_isa(void) noexcept {
  const char* name = nullptr;
  fk::abi::guarded([&] { name = fk::isaName(fk::selectedIsa()); });
  return name;
}

const char* fk_status_name(fk_status status) noexcept {
  switch (status) {
#define NAME(constant) \
  case constant:       \
    return #constant
    NAME(FK_OK);
    NAME(FK_ERROR_INVALID_ARGUMENT);
    NAME(FK_ERROR_UNSUPPORTED);
    NAME(FK_ERROR_INDEX_OUT_OF_RANGE);
    NAME(FK_ERROR_OUT_OF_MEMORY);
    NAME(FK_ERROR_WORKSPACE_LIMIT);
    NAME(FK_ERROR_CANCELLED);
    NAME(FK_ERROR_BUSY);
    NAME(FK_ERROR_NO_CUDA);
    NAME(FK_ERROR_INTERNAL);
#undef NAME
  }
  return "FK_ERROR_UNKNOWN";
}

int64_t fk_struct_layout(const char* type, const char* field) noexcept {
  for (const Layout& layout : kLayouts) {
    if (sameName(layout.type, type) && sameName(layout.field, field)) return layout.value;
  }
  return -1;
}
