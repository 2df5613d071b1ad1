/* FusedKernels: deep-learning kernels that never materialise the big matrix. The whole C ABI.
 *
 * Conventions that hold for every function below
 *
 *   Arrays      `DLTensor` (DLPack >= 0.6 layout). Inputs are `const DLTensor*`; outputs are `DLTensor*` whose memory
 *               the caller owns. `strides` count elements, NULL means contiguous (row-major). `data` may have any
 *               address that is aligned to the element; `byte_offset` is added to it. A dimension of extent 0 makes the
 *               array empty, and then `data` may be NULL. Strides are honoured without a copy and may be negative.
 *   Shapes      are written [rows, columns] in the docs of each function. "[..., D]" is any rank >= 1 whose leading
 *               dimensions are flattened; the flattened dimensions must be expressible with one stride.
 *   Tile operands (matrices that a contraction reads) and rows ([..., D], [..., V]) need stride 1, or extent 1, along their
 *               inner axis; GEMM takes stride 1 along either. Vectors (targets, weights, log-sum-exp) take any stride, even
 * 0. Aliasing    An output must not overlap an input or another output, unless the function says that it may be the same
 *               array. Outputs whose own elements overlap (a stride of 0, say) are refused.
 *   Errors      Every function returns an `fk_status`. On anything but FK_OK, `fk_last_error()` gives a text for the
 *               calling thread that names the argument, what it got and what it needs. Arguments are checked before
 *               anything is written. No function prints, aborts or throws.
 *   Options     `fk_<op>_options` structs start with `struct_size`; fill them with `fk_<op>_options_init()`. A NULL
 *               options pointer means the defaults. Fields are only ever appended: a struct that is larger than the
 *               library knows is accepted when the unknown tail is zero, and refused otherwise.
 *   Contexts    One call at a time per context (a second thread gets FK_ERROR_BUSY). Different contexts are independent.
 *   Results     Same inputs, same ISA: same bits, whatever the number of threads.
 */
#ifndef FUSEDKERNELS_H_
#define FUSEDKERNELS_H_

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#if defined(FK_BUILDING)
#define FK_API __declspec(dllexport)
#else
#define FK_API __declspec(dllimport)
#endif
#else
#define FK_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
#define FK_NOEXCEPT noexcept
extern "C" {
#else
#define FK_NOEXCEPT
#endif

/* ---- DLPack ------------------------------------------------------------------------------------------------------ */

/* Include dlpack/dlpack.h before this header to use its own (identical) definitions. */
#if !defined(DLPACK_DLPACK_H_)
typedef enum { kDLCPU = 1, kDLCUDA = 2, kDLCUDAHost = 3 } DLDeviceType;
typedef enum { kDLInt = 0, kDLUInt = 1, kDLFloat = 2, kDLBfloat = 4, kDLBool = 6 } DLDataTypeCode;
typedef struct {
  int32_t device_type; /* DLDeviceType */
  int32_t device_id;
} DLDevice;
typedef struct {
  uint8_t code; /* DLDataTypeCode */
  uint8_t bits;
  uint16_t lanes; /* 1 */
} DLDataType;
typedef struct {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides; /* in elements; NULL: contiguous */
  uint64_t byte_offset;
} DLTensor;
#endif

/* ---- Status ------------------------------------------------------------------------------------------------------ */

typedef enum {
  FK_OK = 0,
  FK_ERROR_INVALID_ARGUMENT = 1,   /* a shape, stride, dtype, option, or null pointer; nothing was written           */
  FK_ERROR_UNSUPPORTED = 2,        /* valid, but not on this device, in this build or on this CPU                    */
  FK_ERROR_INDEX_OUT_OF_RANGE = 3, /* a target or token id outside its table; the text names the row                 */
  FK_ERROR_OUT_OF_MEMORY = 4,      /* the workspace could not be allocated                                           */
  FK_ERROR_WORKSPACE_LIMIT = 5,    /* the call needs more than the context's workspace limit; the text says how much */
  FK_ERROR_CANCELLED = 6,          /* fk_context_cancel() was called; outputs are unspecified                        */
  FK_ERROR_BUSY = 7,               /* the context is in use by another thread                                        */
  FK_ERROR_NO_CUDA = 8,            /* no CUDA in this build or on this machine; the text gives the reason            */
  FK_ERROR_INTERNAL = 9            /* a defect in the library: please report the text                                */
} fk_status;

/* The text of the calling thread's last error; "" if there was none. Valid until that thread's next fk_ call. */
FK_API const char* fk_last_error(void) FK_NOEXCEPT;

/* The constant's own name, "FK_OK" for one; "FK_ERROR_UNKNOWN" for a value that is none. */
FK_API const char* fk_status_name(fk_status status) FK_NOEXCEPT;

/* ---- Version and build ------------------------------------------------------------------------------------------- */

#define FK_ABI_VERSION 1

/* The FK_ABI_VERSION that the library was built with. It grows when an existing caller would break. */
FK_API uint32_t fk_abi_version(void) FK_NOEXCEPT;

/* One line: library version, compiler, instruction sets compiled in, CUDA architectures or "no CUDA". */
FK_API const char* fk_build_info(void) FK_NOEXCEPT;

/* The instruction set that new contexts use: "scalar", "sse4", "avx2", "avx512" or "neon". It is the best that the CPU
 * has, or the one that the environment variable FUSEDKERNELS_ISA names when the first context is made. NULL, with the
 * reason in fk_last_error(), when that variable names one that is unknown or that this CPU lacks. */
FK_API const char* fk_cpu_isa(void) FK_NOEXCEPT;

/* sizeof and offsetof, so that a binding can prove that its structs match. `type` and `field` are names as in this
 * header ("fk_gemm_options", "alpha"); field NULL asks for the size. -1 when there is no such type or field. */
FK_API int64_t fk_struct_layout(const char* type, const char* field) FK_NOEXCEPT;

/* ---- Context ----------------------------------------------------------------------------------------------------- */

typedef struct fk_context fk_context;

typedef struct {
  uint32_t struct_size;
  int32_t device_type;            /* kDLCPU (default) or kDLCUDA */
  int32_t device_id;              /* 0 */
  int32_t threads;                /* CPU threads, the caller's included; 0 (default): the processors this process may use */
  uint64_t workspace_limit;       /* bytes of scratch that a call may hold; 0 (default): 1 GiB */
  fk_context* share_threads_with; /* use that context's thread pool, NULL (default): an own one. The pool lives as long
                                     as its last context; `threads` may not exceed the pool's.                       */
  void* stream;                   /* a CUstream for CUDA; NULL on the CPU */
} fk_context_options;

FK_API void fk_context_options_init(fk_context_options* options) FK_NOEXCEPT;

/* Makes a context in *context. Threads start at the first call that needs them. */
FK_API fk_status fk_context_create(const fk_context_options* options, fk_context** context) FK_NOEXCEPT;

/* Frees the context and its workspace. NULL is allowed. FK_ERROR_BUSY, and nothing freed, while a call runs in it. */
FK_API fk_status fk_context_destroy(fk_context* context) FK_NOEXCEPT;

/* Makes the running call, and every later one, return FK_ERROR_CANCELLED soon (operators look once per tile, a few
 * milliseconds), until fk_context_clear_cancel(). May be called from any thread. */
FK_API fk_status fk_context_cancel(fk_context* context) FK_NOEXCEPT;
FK_API fk_status fk_context_clear_cancel(fk_context* context) FK_NOEXCEPT;

/* The number of threads that calls in this context use. */
FK_API fk_status fk_context_threads(const fk_context* context, int32_t* threads) FK_NOEXCEPT;

/* The bytes of workspace the context holds now (it is kept between calls), and its release. */
FK_API fk_status fk_context_workspace_bytes(const fk_context* context, uint64_t* bytes) FK_NOEXCEPT;
FK_API fk_status fk_context_release_workspace(fk_context* context) FK_NOEXCEPT;

/* ---- Dense: GEMM ------------------------------------------------------------------------------------------------- */

typedef struct {
  uint32_t struct_size;
  int32_t transpose_a; /* 0 (default): a is [M, K]; 1: a is [K, M] */
  int32_t transpose_b; /* 0 (default): b is [K, N]; 1: b is [N, K] */
  float alpha;         /* 1 */
  float beta;          /* 0: c is only written, so NaN in it does not matter */
} fk_gemm_options;

FK_API void fk_gemm_options_init(fk_gemm_options* options) FK_NOEXCEPT;

/* c = alpha * op(a) * op(b) + beta * c.   c: [M, N]; f32. M, N or K may be 0 (K = 0: c = beta * c).
 * Every matrix needs stride 1 (or extent 1) along one of its two axes; c along its last. */
FK_API fk_status fk_gemm(fk_context* context, const fk_gemm_options* options, const DLTensor* a, const DLTensor* b,
                         DLTensor* c) FK_NOEXCEPT;

/* Bytes of workspace that the same call would take under this context's limit. */
FK_API fk_status fk_gemm_workspace_size(fk_context* context, const fk_gemm_options* options, const DLTensor* a,
                                        const DLTensor* b, const DLTensor* c, uint64_t* bytes) FK_NOEXCEPT;

/* ---- Loss: cut cross-entropy ------------------------------------------------------------------------------------- */
/* Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", 2024. For row n and class v
 *     x[n, v] = logit_scale * (embeddings[n] . classifier[v] + bias[v])
 *     z[n, v] = softcap * tanh(x[n, v] / softcap)                              (z = x where softcap is 0)
 *     logSumExp[n] = log sum_v exp(z[n, v]),     p[n, v] = exp(z[n, v] - logSumExp[n])
 * and no [N, V] array is ever stored: O(N) memory beyond the arguments, plus a bounded workspace. In nats:
 *     q[n] = (1 - label_smoothing) * t[n] + label_smoothing / V        t[n]: target_probabilities[n], or 1 at targets[n]
 *     crossEntropy[n] = sum_v class_weights[v] * q[n, v] * (logSumExp[n] - z[n, v])
 *     loss[n] = row_weights[n] * (crossEntropy[n] + z_loss * logSumExp[n]^2)
 * With another loss_shape f, crossEntropy[n] is class_weights[y] * f(-log p[n, y]) for y = targets[n]. The mean is sum_n
 * loss[n] / sum_n row_weights[n] * w[n], w[n] being class_weights[targets[n]], or 1 with target_probabilities (as PyTorch
 * has it; a row of weight 2 counts as two rows), and 0 where that denominator is 0. Rows that are ignored have loss 0,
 * gradient 0 and 0 in every other per-row output (-1 in top_tokens), whatever they hold; they cost no arithmetic. A NaN (or
 * an infinity that the mathematics does not cancel) in a row makes that row's loss NaN; other rows keep theirs. */

typedef enum { FK_REDUCTION_MEAN = 0, FK_REDUCTION_SUM = 1, FK_REDUCTION_NONE = 2 } fk_reduction;

typedef enum {
  FK_SCHEDULE_AUTO = 0,      /* fused where the workspace limit lets its score panel be tall enough, else recompute */
  FK_SCHEDULE_RECOMPUTE = 1, /* forward keeps log-sum-exp alone, backward recomputes scores: 4 GEMM passes          */
  FK_SCHEDULE_FUSED = 2      /* a block of rows keeps its scores [rows, V] in the workspace: 3 GEMM passes          */
} fk_schedule;

/* f of a row's cross-entropy l = -log p, p the probability of its target; a is loss_shape_parameter. The gradient is that of
 * the cross-entropy times f'(l), one factor per row. */
typedef enum {
  FK_LOSS_SHAPE_CROSS_ENTROPY = 0, /* l                                                                                  */
  FK_LOSS_SHAPE_FOCAL = 1,         /* (1 - p)^a l,        a >= 0            Lin et al., "Focal Loss", 2017                 */
  FK_LOSS_SHAPE_POLY1 = 2,         /* l + a (1 - p),      a >= -1           Leng et al., "PolyLoss", 2022                  */
  FK_LOSS_SHAPE_GENERALISED = 3,   /* (1 - p^a) / a,      -1 <= a <= 1      Zhang & Sabuncu, "Generalized Cross Entropy",
                                      2018, and the comp-sum family of Mao et al., 2023 (tau = 1 + a); 0: l, 1: 1 - p (MAE) */
  FK_LOSS_SHAPE_TOKEN_SCALED = 4   /* p l with p held constant in the gradient: Wu et al., "Dynamic Fine-Tuning", 2025     */
} fk_loss_shape;

#define FK_DEFAULT_FILTER_EPSILON 0.000244140625f /* 2^-12, the paper's */

typedef struct {
  uint32_t struct_size;
  int32_t reduction;          /* fk_reduction: FK_REDUCTION_MEAN                                                        */
  int32_t has_ignore_index;   /* 1 (default)                                                                            */
  int32_t schedule;           /* fk_schedule; loss_and_gradient only                                                    */
  int64_t ignore_index;       /* -100; rows with this target are ignored. May lie in [0, V).                            */
  int64_t shift;              /* 0; >= 0: position i of a sequence is judged by the target at i + shift (the next token's for
                                 1), its last `shift` positions are ignored. Sequences lie along the last axis of targets. */
  float logit_scale;          /* 1; finite, not 0. A temperature T is 1 / T; one that acts after the softcap is
                                 logit_scale = 1 / T with softcap / T.                                                  */
  float softcap;              /* 0 (default): none; otherwise finite, > 0                                               */
  float label_smoothing;      /* 0 (default) to 1                                                                       */
  float z_loss;               /* 0 (default); finite, >= 0                                                              */
  int32_t loss_shape;         /* fk_loss_shape: FK_LOSS_SHAPE_CROSS_ENTROPY; others need targets and no label_smoothing */
  float loss_shape_parameter; /* 0 (default); see fk_loss_shape                                                         */
  float filter_d_embeddings;  /* 0 (default): exact; otherwise in (0, 1), FK_DEFAULT_FILTER_EPSILON: see below          */
  float filter_d_classifier;  /* the same for d_classifier                                                              */
  int32_t order_vocabulary;   /* 0 (default); 1: visit classes by ascending mean logit, so that likely ones share tiles */
  int32_t reserved;           /* 0 */
  int64_t vocabulary_offset;  /* 0; with vocabulary_size: this call's classifier rows are classes                       */
  int64_t vocabulary_size;    /*    [offset, offset + V) of a vocabulary of this size. 0 (default): not a shard.        */
} fk_cut_cross_entropy_options;

FK_API void fk_cut_cross_entropy_options_init(fk_cut_cross_entropy_options* options) FK_NOEXCEPT;

/* Gradient filtering (the paper's section 4.3): dScore = d(loss) / d(embeddings . classifier) of a micro-tile is left out of
 * a product where |dScore| < epsilon * |g[n]| in all of it, g[n] being logit_scale times the factor between row n's
 * cross-entropy and the reported loss. A micro-tile is one class by one lane panel of rows for d_embeddings, one row by one
 * broadcast panel of classes for d_classifier (32 rows and 14 classes with AVX-512). The error is bounded, and reported on
 * request: */
typedef struct {
  uint32_t struct_size;
  uint32_t reserved;
  int64_t d_embeddings_tiles, d_embeddings_tiles_skipped; /* micro-tiles of the product, and those left out               */
  int64_t d_classifier_tiles, d_classifier_tiles_skipped;
  double
      d_embeddings_error; /* Frobenius norm of d_embeddings' error: at most sum |left out dScore| * max_v |classifier[v]| */
  double d_classifier_error; /* of d_classifier's: at most sum |left out dScore| * max_n |embeddings[n]|                   */
  double max_dropped_probability; /* the largest, over rows, sum of |dScore / g[n]| left out of d_embeddings */
} fk_filter_report;

FK_API void fk_filter_report_init(fk_filter_report* report) FK_NOEXCEPT;

/* The arrays of a call, all optional but the first two, NULL when absent; without targets and
 * target_probabilities there is no loss, but the outputs and gradients that need none. f32 unless something else is said.
 * Vectors take any stride, matrices need stride 1 along their last axis. [...] is the shape of targets; K is free. */
typedef struct {
  uint32_t struct_size;
  uint32_t reserved;
  /* Inputs */
  const DLTensor* embeddings;           /* [..., D] f32, bf16 or f16                                                      */
  const DLTensor* classifier;           /* [V, D]   f32, bf16 or f16; need not be the type of embeddings                  */
  const DLTensor* targets;              /* [...] int32 or int64, in [0, V) (a shard: [0, vocabulary_size)) or ignore_index */
  const DLTensor* target_probabilities; /* [..., V], instead of targets, without shift; finite, >= 0, not checked;
                                           rows need not sum to 1 */
  const DLTensor* bias;                 /* [V]                                                                            */
  const DLTensor* class_weights;        /* [V], finite                                                                    */
  const DLTensor* row_weights;          /* [...], finite                                                                  */
  /* Outputs of forward and loss_and_gradient; the first three are inputs of backward */
  DLTensor* log_sum_exp;            /* [...]; backward needs it                                                       */
  DLTensor* target_log_probability; /* [...] log p of the target; backward needs it with a loss_shape of its own      */
  DLTensor* entropy;                /* [...] -sum_v p log p; backward needs it with grad_entropy                      */
  DLTensor* loss;                   /* one element for mean and sum, [...] for none                                   */
  DLTensor* top_tokens;             /* [..., K] int32 or int64, 1 <= K <= 32: the K most likely classes, descending; of
                                       equal ones the lowest first; -1 behind the V-th. K = 1 is the argmax.          */
  DLTensor* top_log_probabilities;  /* [..., K] their log p, -inf behind the V-th; needs top_tokens                   */
  DLTensor* accuracy;               /* one element: the share of the rows that are not ignored whose target is their argmax,
                                       the lowest of equal ones; 0 without rows                                    */
  /* Upstream gradients of backward and loss_and_gradient; absent: 1 for the loss, 0 for the others */
  const DLTensor* grad_loss;        /* shaped like loss                                                               */
  const DLTensor* grad_log_sum_exp; /* [...]                                                                          */
  const DLTensor* grad_entropy;     /* [...]                                                                          */
  /* Gradients of backward and loss_and_gradient, overwritten */
  DLTensor* d_embeddings;          /* [..., D]                                                                       */
  DLTensor* d_classifier;          /* [V, D]                                                                         */
  DLTensor* d_bias;                /* [V]; needs bias; never filtered                                                */
  DLTensor* d_logit_scale;         /* one element; needs d_embeddings or d_classifier, and follows their filter      */
  fk_filter_report* filter_report; /* backward and loss_and_gradient                                                 */
  DLTensor* dropped_probability;   /* [...] what max_dropped_probability is the largest of                           */
} fk_cut_cross_entropy_tensors;

FK_API void fk_cut_cross_entropy_tensors_init(fk_cut_cross_entropy_tensors* tensors) FK_NOEXCEPT;

/* Loss and the other outputs. Gradients and upstream gradients must be absent. */
FK_API fk_status fk_cut_cross_entropy_forward(fk_context* context, const fk_cut_cross_entropy_options* options,
                                              const fk_cut_cross_entropy_tensors* tensors) FK_NOEXCEPT;

/* Gradients from forward's outputs. Other outputs than the gradients must be absent. */
FK_API fk_status fk_cut_cross_entropy_backward(fk_context* context, const fk_cut_cross_entropy_options* options,
                                               const fk_cut_cross_entropy_tensors* tensors) FK_NOEXCEPT;

/* Everything in one call. */
FK_API fk_status fk_cut_cross_entropy_loss_and_gradient(fk_context* context, const fk_cut_cross_entropy_options* options,
                                                        const fk_cut_cross_entropy_tensors* tensors) FK_NOEXCEPT;

/* Bytes of workspace of the three for these tensors (any of the pointers may be NULL). */
FK_API fk_status fk_cut_cross_entropy_workspace_size(fk_context* context, const fk_cut_cross_entropy_options* options,
                                                     const fk_cut_cross_entropy_tensors* tensors, uint64_t* forward_bytes,
                                                     uint64_t* backward_bytes,
                                                     uint64_t* loss_and_gradient_bytes) FK_NOEXCEPT;

/* Vocabulary-parallel training: each worker holds a shard of the classifier (vocabulary_offset, vocabulary_size).
 *   1. Each calls fk_cut_cross_entropy_partial: per row the maximum of its z, sum exp(z - maximum), and the target's z,
 * which is 0 where another shard holds the target (-inf, 0 and 0 at ignored rows).
 *   2. The partials, gathered as [S, N], are merged; every worker can do that, and gets the same bits.
 *   3. Each calls backward with the merged log_sum_exp (and target_log_probability). d_classifier and d_bias are its
 * shard's; the sum of all d_embeddings is the whole's, and of d_logit_scale. Shards know neither label_smoothing,
 * class_weights, target_probabilities, entropy, top_tokens nor accuracy, and no loss but through these functions: it is
 * -target_log_probability at rows that are not ignored. */
FK_API fk_status fk_cut_cross_entropy_partial(fk_context* context, const fk_cut_cross_entropy_options* options,
                                              const fk_cut_cross_entropy_tensors* tensors, DLTensor* maximum, DLTensor* sum,
                                              DLTensor* target) FK_NOEXCEPT;

/* maximum, sum, target [S, N] -> log_sum_exp [N], target_log_probability [N] (target - log_sum_exp; may be NULL). Shards are
 * added in the order of S. Rows that are ignored get 0 and 0. */
FK_API fk_status fk_cut_cross_entropy_merge(fk_context* context, const DLTensor* maximum, const DLTensor* sum,
                                            const DLTensor* target, DLTensor* log_sum_exp,
                                            DLTensor* target_log_probability) FK_NOEXCEPT;

typedef struct {
  uint32_t struct_size;
  int32_t reduction;        /* fk_reduction: FK_REDUCTION_MEAN, over the rows that are not ignored, 0 without any */
  int32_t has_ignore_index; /* 1 (default)                                                                       */
  int32_t reserved;         /* 0 */
  int64_t ignore_index;     /* -100 */
} fk_softmax_cross_entropy_options;

FK_API void fk_softmax_cross_entropy_options_init(fk_softmax_cross_entropy_options* options) FK_NOEXCEPT;

/* The plain way, for comparison: cross-entropy of logits that the caller has stored. logits [..., V] f32 are replaced by
 * the gradient of the loss with respect to them (zeros at ignored rows). targets [...], loss: as above. */
FK_API fk_status fk_softmax_cross_entropy(fk_context* context, const fk_softmax_cross_entropy_options* options,
                                          DLTensor* logits, const DLTensor* targets, DLTensor* loss) FK_NOEXCEPT;

/* ---- Loss: distillation ------------------------------------------------------------------------------------------ */
/* Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, with the logits of neither model stored. With
 * z = embeddings . classifier for each, and p = softmax(z / temperature):
 *     loss[n] = temperature^2 * sum_v pTeacher[n, v] * (log pTeacher[n, v] - log pStudent[n, v])
 *   student_embeddings [..., D], student_classifier [V, D], teacher_embeddings [..., T], teacher_classifier [V, T]: f32,
 * bf16 or f16 each. row_weights [...] or NULL: 1. The mean divides by their sum, and is 0 where that is 0; rows of weight 0
 * have loss and gradient 0 whatever they hold. The teacher gets no gradient. */
typedef struct {
  uint32_t struct_size;
  int32_t reduction; /* fk_reduction: FK_REDUCTION_MEAN */
  float temperature; /* 1; finite, FLT_MIN or more */
  int32_t reserved;  /* 0 */
} fk_distillation_options;

FK_API void fk_distillation_options_init(fk_distillation_options* options) FK_NOEXCEPT;

typedef struct {
  uint32_t struct_size;
  uint32_t reserved;
  const DLTensor* student_embeddings;
  const DLTensor* student_classifier;
  const DLTensor* teacher_embeddings;
  const DLTensor* teacher_classifier;
  const DLTensor* row_weights;   /* optional */
  DLTensor* loss;                /* one element for mean and sum, [...] for none: forward's output */
  DLTensor* student_log_sum_exp; /* [...] of z / temperature: forward's optional outputs, backward's inputs */
  DLTensor* teacher_log_sum_exp;
  const DLTensor* grad_loss;      /* optional, shaped like loss: 1 */
  DLTensor* d_student_embeddings; /* [..., D], [V, D]: backward's outputs, either may be NULL */
  DLTensor* d_student_classifier;
} fk_distillation_tensors;

FK_API void fk_distillation_tensors_init(fk_distillation_tensors* tensors) FK_NOEXCEPT;

/* Loss and log-sum-exps. Gradients and grad_loss must be absent. */
FK_API fk_status fk_distillation_forward(fk_context* context, const fk_distillation_options* options,
                                         const fk_distillation_tensors* tensors) FK_NOEXCEPT;

/* The student's gradients from forward's log-sum-exps. loss must be absent. */
FK_API fk_status fk_distillation_backward(fk_context* context, const fk_distillation_options* options,
                                          const fk_distillation_tensors* tensors) FK_NOEXCEPT;

/* Bytes of workspace of both for these tensors (either pointer may be NULL); only the four matrices are looked at. */
FK_API fk_status fk_distillation_workspace_size(fk_context* context, const fk_distillation_options* options,
                                                const fk_distillation_tensors* tensors, uint64_t* forward_bytes,
                                                uint64_t* backward_bytes) FK_NOEXCEPT;

/* ---- Attention --------------------------------------------------------------------------------------------------- */
/* Dao, "FlashAttention-2", 2023, with what its users add to it, and no [Sq, Sk] matrix stored. For each batch item b, head h
 * and query i:
 *     s[j]      = cap(scale * lengthScale[i] * (q[i] . k[j])) + biases(i, j)      cap(x) = softcap * tanh(x / softcap)
 *     p[j]      = exp(s[j]) / (exp(sinks[h]) + sum of exp(s) over the keys that i sees)
 *     output[i] = sum over the keys that i sees of  p[j] * dropout(i, j) * toeplitz_factor[j - i] * v[j]
 * The H heads of q share the G heads of k and v in order: head h uses head h / (H / G). A query that sees no key gives
 * zeros, a log-sum-exp of -inf (the sink, where there is one) and zero gradients (but for the sink's through log_sum_exp).
 *
 * Sequences. Item b is one sequence of Sq queries and Sk keys. query_lengths and key_lengths [N = B] end sequences early:
 * the rows behind get zeros, -inf and zero gradients, and are not read. With query_starts and key_starts [N + 1]
 * (FlashAttention's cu_seqlens; ascending, from 0 to at most Sq and Sk) B is 1 and sequence n has the queries and keys from
 * start n on to start n + 1. Below, i and j count from the start of their sequence, and Lq and Lk are its lengths; arrays
 * with axes Sq and Sk are indexed along these axes all the same.
 *
 * Positions. Key j is at position j; query i at i + Lk - Lq with FK_ALIGNMENT_BOTTOM_RIGHT (the last query is as far as the
 * last key) or at i with FK_ALIGNMENT_TOP_LEFT. What is causal, windows, slopes, buckets and rotations go by positions.
 *
 * What a query at position x sees of the keys at positions y: x - window_left <= y <= x + window_right, and y <= x if
 * causal, or y < prefix_lengths[n] in any case; and all of: mask(i, j) != 0, block_mask of its block != 0, query_segments =
 * key_segments. */

typedef enum {
  FK_ALIGNMENT_BOTTOM_RIGHT = 0, /* FlashAttention since 2.1 */
  FK_ALIGNMENT_TOP_LEFT = 1      /* PyTorch's is_causal      */
} fk_alignment;

typedef struct {
  uint32_t struct_size;
  int32_t causal;    /* 0 (default) or 1                                                                              */
  float scale;       /* NaN (default): 1 / sqrt(D); finite                                                            */
  float softcap;     /* 0 (default): none; finite, > 0                                                                */
  int32_t alignment; /* fk_alignment: FK_ALIGNMENT_BOTTOM_RIGHT                                                       */
  float length_scale_base;        /* 0 (default): lengthScale is 1; > 1: log(n) / log(base), n the keys that causal, windows,
                                     prefix and lengths let the query see (0 for none). Chiang & Cholak, "Overcoming a
                                     Theoretical Limitation of Self-Attention", 2022: the base e.                       */
  int64_t window_left;            /* -1 (default): no limit; >= 0                                                       */
  int64_t window_right;           /* the same                                                                           */
  int64_t mask_block_rows;        /* 64; >= 1: queries and keys of a block of block_mask                                */
  int64_t mask_block_columns;     /* 64; >= 1                                                                           */
  int32_t relative_bidirectional; /* 1 (default) or 0, of relative_bias: see there                                    */
  float dropout;                  /* 0 (default); in [0, 1): the probability with which a weight is dropped; others are
                                     multiplied with 1 / (1 - dropout)                                                */
  int64_t relative_max_distance;  /* 128; of relative_bias, more than E: see there                                    */
  uint64_t dropout_seed; /* 0. The weight of (b, h, i, j), i and j along q's and k's axes, is kept where word j % 4 of
                            Philox4x32-10 (Salmon et al., 2011) of the counter (j / 4, i, h, b) and the key (low,
                            high half of the seed) is at least floor(dropout * 2^32). The same in backward.  */
  int32_t rotary_dims; /* 0 (default): no rotation; even, 2..D, at most 512: q and k are rotated as fk_rotary_embedding does,
                          by their positions plus the offsets below, while they are loaded                    */
  int32_t rotary_interleaved;  /* 0 (default) or 1, see fk_rotary_embedding_options                                */
  float rotary_base;           /* 10000; finite, > 0                                                               */
  int32_t reserved;            /* 0 */
  int64_t rotary_query_offset; /* 0; -2^53..2^53 */
  int64_t rotary_key_offset;   /* 0; -2^53..2^53 */
} fk_attention_options;

FK_API void fk_attention_options_init(fk_attention_options* options) FK_NOEXCEPT;

/* Buckets of relative_bias [R, H], T5's: with n = x - y, the first half of the buckets is for n >= 0 and the second for
 * n < 0 (by |n|) if relative_bidirectional, which needs an even R; otherwise keys ahead count as n = 0. Of L buckets (R or
 * R / 2) the first E = max(1, L / 2) are for the distances 0 .. E - 1; a larger n falls into
 * min(L - 1, E + floor(log(n / E) / log(relative_max_distance / E) * (L - E))), computed in double.
 *
 * The arrays of a call; NULL: absent. f32 unless something else is said. q, k, v, output, d_output and the three gradients
 * are f32, bf16 or f16 each, are computed in f32 and rounded once; they need stride 1 along the last axis and take any
 * strides elsewhere (packed QKV, heads before sequence and shared heads are views; k and v may be one array). The others
 * take any strides. An extent written "X|1" may be 1, which means the same for all X. Gradients have the shapes of what they
 * are gradients of, and sum over axes of extent 1. Masks are uint8 or bool, lengths and segments int32. */
typedef struct {
  uint32_t struct_size;
  uint32_t reserved;
  /* Inputs of both calls; q, k and v are required */
  const DLTensor* q;              /* [B, Sq, H, D]                                                                 */
  const DLTensor* k;              /* [B, Sk, G, D]    H is a multiple of G                                         */
  const DLTensor* v;              /* [B, Sk, G, Dv]                                                                */
  const DLTensor* query_lengths;  /* [N]  0..Lq                                                                    */
  const DLTensor* key_lengths;    /* [N]  0..Lk                                                                    */
  const DLTensor* prefix_lengths; /* [N]  >= 0: prefix-LM; needs causal or a window                                */
  const DLTensor* query_starts;   /* [N + 1]  together with                                                        */
  const DLTensor* key_starts;     /* [N + 1]                                                                       */
  const DLTensor* query_segments; /* [B, Sq]  document ids, together with                                          */
  const DLTensor* key_segments;   /* [B, Sk]                                                                       */
  const DLTensor* mask;           /* [B|1, H|1, Sq|1, Sk]  0: hidden                                               */
  const DLTensor* block_mask;     /* [B|1, H|1, ceil(Sq / mask_block_rows), ceil(Sk / mask_block_columns)]  0: hidden; hidden
                                     tiles cost nothing                                                            */
  const DLTensor* bias;           /* [B|1, H|1, Sq|1, Sk]  added to s; may be -inf                                 */
  const DLTensor* key_bias;       /* [B|1, H|1, Sk]  added to s: causal ALiBi, CABLE, forgetting gates, log-sizes  */
  const DLTensor* alibi_slopes;   /* [B|1, H]  - slope * |x - y| added to s: Press et al., "Train Short, Test Long", 2022 */
  const DLTensor* relative_bias;  /* [R, H]  the bucket of y - x added to s: Raffel et al., "T5", 2020             */
  const DLTensor* axial_bias_x;   /* [B|1, H|1, Sq, W]  key j is (j / W, j % W): x added by j % W, y by j / W.     */
  const DLTensor* axial_bias_y;   /* [B|1, H|1, Sq, Sk / W]  Either may come alone: Lin et al., "Plain DETR", 2023 */
  const DLTensor* sinks;          /* [H]                                                                           */
  const DLTensor* toeplitz_factor; /* [H|1, Sq + Sk - 1]  element j - i + Sq - 1: Luo et al., "Your Transformer May Not be as
                                      Powerful as You Expect", 2022                                                 */
  /* Outputs of forward; backward needs the first two as inputs */
  DLTensor* output;      /* [B, Sq, H, Dv]  required                                                      */
  DLTensor* log_sum_exp; /* [B, H, Sq]  of s, the sink included                                           */
  DLTensor* max_score;   /* [B, H, Sq]  the largest of s and the sink; -inf without any                  */
  DLTensor* entropy;     /* [B, H, Sq]  - sum of p log p over keys, in nats                               */
  DLTensor* key_weights; /* [B, H, Sk]  sum of p over queries: one more pass over the scores              */
  /* Upstream gradients of backward */
  const DLTensor* d_output;      /* [B, Sq, H, Dv]  required                                                      */
  const DLTensor* d_log_sum_exp; /* [B, H, Sq]  absent: 0                                                         */
  /* Gradients of backward, all optional, overwritten */
  DLTensor* d_q;
  DLTensor* d_k;
  DLTensor* d_v;
  DLTensor* d_bias;
  DLTensor* d_key_bias;
  DLTensor* d_alibi_slopes;
  DLTensor* d_relative_bias;
  DLTensor* d_axial_bias_x;
  DLTensor* d_axial_bias_y;
  DLTensor* d_sinks;
  DLTensor* d_toeplitz_factor;
} fk_attention_tensors;

FK_API void fk_attention_tensors_init(fk_attention_tensors* tensors) FK_NOEXCEPT;

/* Gradients and upstream gradients must be absent. */
FK_API fk_status fk_attention_forward(fk_context* context, const fk_attention_options* options,
                                      const fk_attention_tensors* tensors) FK_NOEXCEPT;

/* max_score, entropy and key_weights must be absent. */
FK_API fk_status fk_attention_backward(fk_context* context, const fk_attention_options* options,
                                       const fk_attention_tensors* tensors) FK_NOEXCEPT;

/* Bytes of workspace of forward and backward (either pointer may be NULL) for these tensors. */
FK_API fk_status fk_attention_workspace_size(fk_context* context, const fk_attention_options* options,
                                             const fk_attention_tensors* tensors, uint64_t* forward_bytes,
                                             uint64_t* backward_bytes) FK_NOEXCEPT;

/* Attention over the parts of a key set, put together: output[i] = sum over parts of exp(lse[part][i] - total)
 * output[part][i] and log_sum_exp[i] = total, the log-sum-exp of the parts'. outputs [P, B, Sq, H, Dv] f32, log_sum_exps [P,
 * B, H, Sq]; parts are added in order, and one whose log-sum-exp is -inf may hold anything. output is f32, bf16 or f16,
 * log_sum_exp may be NULL, rows [.., Dv] need stride 1. Exact where the parts had neither sinks nor dropout. */
FK_API fk_status fk_attention_merge(fk_context* context, const DLTensor* outputs, const DLTensor* log_sum_exps,
                                    DLTensor* output, DLTensor* log_sum_exp) FK_NOEXCEPT;

/* ---- Attention: key-value cache ---------------------------------------------------------------------------------- */
/* Keys and values of the tokens so far, in pages of T tokens. A page is in one of three pools, by its precision; the ids of
 * pages count through the f32 pool, then the bf16 pool, then the int8 pool. Item b's token t is in slot t % T of page
 * page_table[b][t / T]. Without a page_table item b's only page is page b, whose T is the longest sequence that fits.
 * An int8 element is worth its number times the scale of its token and head: max |x| / 127 of what was written, 0 for zeros,
 * and NaN, which makes the row NaN, where x was not finite. Rows, [.., D] and [.., Dv], need stride 1; any strides
 * elsewhere, so that heads may lie before tokens. */
typedef struct {
  uint32_t struct_size;
  uint32_t reserved;
  DLTensor* k_f32;            /* [P, T, G, D]   pools that are absent have no pages; T, G, D and Dv are one in all */
  DLTensor* v_f32;            /* [P, T, G, Dv]                                                                     */
  DLTensor* k_bf16;           /* [P, T, G, D]   of its own P                                                       */
  DLTensor* v_bf16;           /* [P, T, G, Dv]                                                                     */
  DLTensor* k_int8;           /* [P, T, G, D]   of its own P                                                       */
  DLTensor* v_int8;           /* [P, T, G, Dv]                                                                     */
  DLTensor* k_int8_scales;    /* [P, T, G] f32  with k_int8                                                        */
  DLTensor* v_int8_scales;    /* [P, T, G] f32  with v_int8                                                        */
  const DLTensor* page_table; /* [B, M] int32   what a call does not come to may hold anything. Items may share pages,
                                 but not those that a call appends to                                              */
  const DLTensor* lengths;    /* [B] int32      tokens in the cache before the call                                */
} fk_kv_cache;

FK_API void fk_kv_cache_init(fk_kv_cache* cache) FK_NOEXCEPT;

/* The arrays of a call: f32, bf16 or f16, alibi_slopes, sinks and log_sum_exp f32. */
typedef struct {
  uint32_t struct_size;
  uint32_t reserved;
  const DLTensor* q;            /* [B, Sq, H, D]   H is a multiple of G                                              */
  const DLTensor* new_k;        /* [B, Sn, G, D]   appended to the cache behind `lengths`, rotated where the options say so;
                                   the caller adds Sn to its lengths afterwards. NULL: nothing is appended, Sn is 0. */
  const DLTensor* new_v;        /* [B, Sn, G, Dv]  with new_k                                                        */
  const DLTensor* alibi_slopes; /* [B|1, H] or NULL                                                                  */
  const DLTensor* sinks;        /* [H] or NULL                                                                       */
  DLTensor* output;             /* [B, Sq, H, Dv]; NULL, with q: only append                                         */
  DLTensor* log_sum_exp;        /* [B, H, Sq] or NULL                                                                */
} fk_kv_cache_tensors;

FK_API void fk_kv_cache_tensors_init(fk_kv_cache_tensors* tensors) FK_NOEXCEPT;

/* Appends new_k and new_v, then attends with q to the lengths[b] + Sn tokens of each item, exactly as fk_attention_forward
 * would with bottom-right alignment (the last query is as far as the last token). Inference only. Few queries split the
 * tokens over the threads (Dao et al., "Flash-Decoding", 2023), in parts that depend on the lengths alone, so the bits do
 * not depend on the threads. A page or length outside its range is FK_ERROR_INDEX_OUT_OF_RANGE; pages are outputs of a call
 * that appends, so new_k, new_v and q must not overlap them. options: causal, scale, softcap, length_scale_base, windows and
 * rotary fields (rotary offsets 0); the others at their defaults. Rotated keys are stored rotated; q is rotated on load. */
FK_API fk_status fk_kv_cache_attention(fk_context* context, const fk_attention_options* options, const fk_kv_cache* cache,
                                       const fk_kv_cache_tensors* tensors) FK_NOEXCEPT;

FK_API fk_status fk_kv_cache_attention_workspace_size(fk_context* context, const fk_attention_options* options,
                                                      const fk_kv_cache* cache, const fk_kv_cache_tensors* tensors,
                                                      uint64_t* bytes) FK_NOEXCEPT;

/* Copies keys and values of page `from` to page `to`, in the precision of the latter: older pages can give up bits. Only the
 * pools of the cache are looked at. Within a precision, bits are copied. */
FK_API fk_status fk_kv_cache_copy_page(fk_context* context, const fk_kv_cache* cache, int64_t from, int64_t to) FK_NOEXCEPT;

/* ---- Row operators ----------------------------------------------------------------------------------------------- */

typedef struct {
  uint32_t struct_size;
  float epsilon; /* 1e-6; finite, >= 0 */
} fk_rms_norm_options;

FK_API void fk_rms_norm_options_init(fk_rms_norm_options* options) FK_NOEXCEPT;

/* Zhang & Sennrich, "Root Mean Square Layer Normalization", 2019. inverse_rms = min(1 / sqrt(mean(x^2) + epsilon), FLT_MAX),
 * y = x * inverse_rms * weight.   x, y [..., D], weight [D], inverse_rms [...] (for backward, or NULL); f32. y may be x. */
FK_API fk_status fk_rms_norm_forward(fk_context* context, const fk_rms_norm_options* options, const DLTensor* x,
                                     const DLTensor* weight, DLTensor* y, DLTensor* inverse_rms) FK_NOEXCEPT;

/* d_x [..., D] and d_weight [D] are overwritten; either may be NULL. d_x may be d_y. */
FK_API fk_status fk_rms_norm_backward(fk_context* context, const fk_rms_norm_options* options, const DLTensor* x,
                                      const DLTensor* weight, const DLTensor* inverse_rms, const DLTensor* d_y,
                                      DLTensor* d_x, DLTensor* d_weight) FK_NOEXCEPT;

/* Shazeer, "GLU Variants Improve Transformer", 2020.   output = gate * sigmoid(gate) * up.   All [..., D] f32, one shape.
 * output may be gate or up. */
FK_API fk_status fk_swiglu_forward(fk_context* context, const DLTensor* gate, const DLTensor* up,
                                   DLTensor* output) FK_NOEXCEPT;

/* d_gate may be gate or d_output, d_up may be up or d_output; d_gate and d_up are two arrays. */
FK_API fk_status fk_swiglu_backward(fk_context* context, const DLTensor* gate, const DLTensor* up, const DLTensor* d_output,
                                    DLTensor* d_gate, DLTensor* d_up) FK_NOEXCEPT;

typedef struct {
  uint32_t struct_size;
  int32_t interleaved;     /* 0 (default): pairs (i, i + rotary_dims / 2), as GPT-NeoX and Llama; 1: pairs (2i, 2i + 1) */
  int32_t inverse;         /* 0 (default); 1: rotate by the negative angle, which is the backward pass */
  int32_t rotary_dims;     /* 0 (default): all D; otherwise even, 2..D: the first rotary_dims rotate, the rest are copied */
  int64_t position_offset; /* 0; added to every position */
  float base;              /* 10000; finite, > 0 */
} fk_rotary_embedding_options;

FK_API void fk_rotary_embedding_options_init(fk_rotary_embedding_options* options) FK_NOEXCEPT;

/* Su et al., "RoFormer", 2021. Pair i of the element at position p turns by the angle p * base^(-2i / rotary_dims).
 * x, y [B, S, H, D] f32, last axis with stride 1; y may be x. positions [S] int32 or int64 (>= 0), or NULL for 0..S-1. */
FK_API fk_status fk_rotary_embedding(fk_context* context, const fk_rotary_embedding_options* options, const DLTensor* x,
                                     const DLTensor* positions, DLTensor* y) FK_NOEXCEPT;

/* output[n] = table[ids[n]].   table [V, D] f32, ids [...] int32 or int64 in [0, V), output [..., D]. */
FK_API fk_status fk_embedding_gather(fk_context* context, const DLTensor* table, const DLTensor* ids,
                                     DLTensor* output) FK_NOEXCEPT;

/* d_table[ids[n]] += d_output[n], in the order of n: the gradient of gather, added to what d_table holds. */
FK_API fk_status fk_embedding_scatter_add(fk_context* context, const DLTensor* d_output, const DLTensor* ids,
                                          DLTensor* d_table) FK_NOEXCEPT;

typedef struct {
  uint32_t struct_size;
  float learning_rate;  /* 1e-3; finite */
  float beta1;          /* 0.9;   in [0, 1) */
  float beta2;          /* 0.999; in [0, 1) */
  float epsilon;        /* 1e-8;  finite, >= 0 */
  float weight_decay;   /* 0.01;  finite; decoupled: parameter *= 1 - learning_rate * weight_decay */
  float gradient_scale; /* 1; finite; multiplies the gradient first (averaging, clipping) */
  int64_t step;         /* 1 for the first update; >= 1 */
} fk_adamw_options;

FK_API void fk_adamw_options_init(fk_adamw_options* options) FK_NOEXCEPT;

/* Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019, in the order of PyTorch's AdamW. All arrays f32 and of
 * one shape, contiguous; parameter, first_moment and second_moment are updated in place. */
FK_API fk_status fk_adamw_step(fk_context* context, const fk_adamw_options* options, DLTensor* parameter,
                               const DLTensor* gradient, DLTensor* first_moment, DLTensor* second_moment) FK_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif /* FUSEDKERNELS_H_ */
