#include "cpu/loss/cut_cross_entropy.h"

#include "abi/arguments.h"
#include "abi/boundary.h"
#include "abi/loss.h"
#include "abi/options.h"
#include "cpu/loss/shards.h"

namespace fk::abi {
namespace {

using Call = cpu::CutCrossEntropyArguments;
using Options = fk_cut_cross_entropy_options;
using Tensors = fk_cut_cross_entropy_tensors;

float readWithin(float value, float least, float most, const char* name) {
  if (!(value >= least && value <= most))
    fail(FK_ERROR_INVALID_ARGUMENT, "options: %s is %g, needs %g to %g", name, value, least, most);
  return value;
}

float readFilterEpsilon(float value, const char* name) {
  if (!(value >= 0 && value < 1))
    fail(FK_ERROR_INVALID_ARGUMENT, "options: %s is %g, needs 0 (exact) or a threshold below 1, such as %g", name, value,
         FK_DEFAULT_FILTER_EPSILON);
  return value;
}

void readLossShape(const Options& options, Call& call) {
  call.lossShape = readEnum(options.loss_shape, FK_LOSS_SHAPE_TOKEN_SCALED, "loss_shape");
  call.lossShapeParameter = options.loss_shape_parameter;
  const char* name = "loss_shape_parameter";
  switch (call.lossShape) {
    case FK_LOSS_SHAPE_FOCAL:
      readNonNegative(call.lossShapeParameter, name);
      break;
    case FK_LOSS_SHAPE_POLY1:
      requireFinite(call.lossShapeParameter, name);
      if (call.lossShapeParameter < -1)
        fail(FK_ERROR_INVALID_ARGUMENT, "options: %s is %g, needs -1 or more", name, call.lossShapeParameter);
      break;
    case FK_LOSS_SHAPE_GENERALISED:
      readWithin(call.lossShapeParameter, -1, 1, name);
      break;
    default:
      if (call.lossShapeParameter != 0)
        fail(FK_ERROR_INVALID_ARGUMENT, "options: %s is %g, needs 0: this loss_shape has none", name,
             call.lossShapeParameter);
  }
}

Call readOptionFields(const Options& options) {
  Call call;
  call.reduction = readEnum(options.reduction, FK_REDUCTION_NONE, "reduction");
  call.schedule = readEnum(options.schedule, FK_SCHEDULE_FUSED, "schedule");
  call.hasIgnoreIndex = readFlag(options.has_ignore_index, "has_ignore_index");
  call.ignoreIndex = options.ignore_index;
  if (options.shift < 0)
    fail(FK_ERROR_INVALID_ARGUMENT, "options: shift is %lld, needs 0 or more", static_cast<long long>(options.shift));
  call.shift = options.shift;
  requireFinite(options.logit_scale, "logit_scale");
  if (options.logit_scale == 0) fail(FK_ERROR_INVALID_ARGUMENT, "options: logit_scale is 0, needs a finite number but 0");
  call.logitScale = options.logit_scale;
  call.softcap = readNonNegative(options.softcap, "softcap");
  call.labelSmoothing = readWithin(options.label_smoothing, 0, 1, "label_smoothing");
  call.zLoss = readNonNegative(options.z_loss, "z_loss");
  readLossShape(options, call);
  call.filterEmbeddings = readFilterEpsilon(options.filter_d_embeddings, "filter_d_embeddings");
  call.filterClassifier = readFilterEpsilon(options.filter_d_classifier, "filter_d_classifier");
  call.orderVocabulary = readFlag(options.order_vocabulary, "order_vocabulary");
  if (options.reserved != 0) fail(FK_ERROR_INVALID_ARGUMENT, "options: reserved is %d, needs 0", options.reserved);
  return call;
}

// The classes of a shard, [offset, offset + V) of the whole vocabulary; all of it otherwise.
void readShard(const Options& options, const Tensors& tensors, Call& call) {
  const int64_t classes = call.classes();
  if (options.vocabulary_size == 0) {
    if (options.vocabulary_offset != 0)
      fail(FK_ERROR_INVALID_ARGUMENT, "options: vocabulary_offset is %lld, needs 0 without vocabulary_size",
           static_cast<long long>(options.vocabulary_offset));
    return;
  }
  if (options.vocabulary_offset < 0 || options.vocabulary_size < classes ||
      options.vocabulary_offset > options.vocabulary_size - classes)
    fail(FK_ERROR_INVALID_ARGUMENT,
         "options: vocabulary_offset is %lld and vocabulary_size %lld, needs the %lld classes of this shard to lie in "
         "[0, vocabulary_size)",
         static_cast<long long>(options.vocabulary_offset), static_cast<long long>(options.vocabulary_size),
         static_cast<long long>(classes));
  if (call.labelSmoothing > 0)
    fail(FK_ERROR_INVALID_ARGUMENT, "options: label_smoothing is %g, needs 0 in a shard of the vocabulary",
         call.labelSmoothing);
  const char* why = "in a shard of the vocabulary";
  requireAbsent(tensors.target_probabilities, "target_probabilities", why);
  requireAbsent(tensors.class_weights, "class_weights", why);
  requireAbsent(tensors.entropy, "entropy", why);
  requireAbsent(tensors.grad_entropy, "grad_entropy", why);
  requireAbsent(tensors.loss, "loss", why);
  requireAbsent(tensors.top_tokens, "top_tokens", why);
  requireAbsent(tensors.accuracy, "accuracy", why);
  call.vocabularyOffset = options.vocabulary_offset;
}

// Values come last, when all shapes are known to match.
void requireTargetsInRange(const Options& options, const Call& call) {
  const int64_t vocabulary = options.vocabulary_size == 0 ? call.classes() : options.vocabulary_size;
  if (call.targets) requireInRange("targets", call.targets, vocabulary, call.hasIgnoreIndex, call.ignoreIndex);
}

int64_t sequenceLength(const DLTensor* embeddings) {
  return embeddings->ndim >= 2 ? std::max<int64_t>(1, embeddings->shape[embeddings->ndim - 2]) : 1;
}

// Without targets there is no loss: the other outputs, and gradients that come through them.
void requireNoTargetsWanted(const Tensors& tensors) {
  for (const auto& [tensor, name] : {std::pair<const DLTensor*, const char*>{tensors.loss, "loss"},
                                     {tensors.target_log_probability, "target_log_probability"},
                                     {tensors.accuracy, "accuracy"},
                                     {tensors.grad_loss, "grad_loss"}})
    if (tensor)
      fail(FK_ERROR_INVALID_ARGUMENT, "targets: NULL, needs an array (or target_probabilities instead) beside %s", name);
}

void readTargets(Arguments& arguments, const Tensors& tensors, Call& call) {
  if (!tensors.targets && !tensors.target_probabilities) return requireNoTargetsWanted(tensors);
  if (tensors.targets) {
    requireAbsent(tensors.target_probabilities, "target_probabilities", "beside targets");
    call.targets = arguments.indices("targets", tensors.targets, "[...]");
    return;
  }
  if (call.lossShape != FK_LOSS_SHAPE_CROSS_ENTROPY)
    fail(FK_ERROR_INVALID_ARGUMENT, "options: loss_shape is %d, needs %d (cross-entropy) with target_probabilities",
         static_cast<int>(call.lossShape), FK_LOSS_SHAPE_CROSS_ENTROPY);
  if (call.shift > 0)
    fail(FK_ERROR_INVALID_ARGUMENT, "options: shift is %lld, needs 0 with target_probabilities",
         static_cast<long long>(call.shift));
  requireAbsent(tensors.target_log_probability, "target_log_probability", "with target_probabilities");
  requireAbsent(tensors.accuracy, "accuracy", "with target_probabilities");
  call.targetProbabilities = arguments.matrix<const float>("target_probabilities", tensors.target_probabilities, "[..., V]");
}

Call readInputs(Arguments& arguments, const Options& options, const Tensors& tensors) {
  Call call = readOptionFields(options);
  call.embeddings = arguments.operand("embeddings", tensors.embeddings, "[..., D]");
  call.classifier = arguments.operand("classifier", tensors.classifier, "[V, D]");
  if (call.rows() > INT32_MAX || call.classes() > INT32_MAX)
    fail(FK_ERROR_INVALID_ARGUMENT, "embeddings, classifier: %lld and %lld rows, need at most %d",
         static_cast<long long>(call.rows()), static_cast<long long>(call.classes()), INT32_MAX);
  call.sequence = sequenceLength(tensors.embeddings);
  if (call.lossShape != FK_LOSS_SHAPE_CROSS_ENTROPY && call.labelSmoothing > 0)
    fail(FK_ERROR_INVALID_ARGUMENT, "options: label_smoothing is %g, needs 0 with a loss_shape other than cross-entropy",
         call.labelSmoothing);
  readShard(options, tensors, call);
  readTargets(arguments, tensors, call);
  if (tensors.bias) call.bias = arguments.vector<const float>("bias", tensors.bias, "[V]");
  if (tensors.class_weights)
    call.classWeights = arguments.vector<const float>("class_weights", tensors.class_weights, "[V]");
  if (tensors.row_weights) call.rowWeights = arguments.vector<const float>("row_weights", tensors.row_weights, "[...]");
  return call;
}

void readUpstream(Arguments& arguments, const Tensors& tensors, Call& call) {
  if (tensors.grad_loss) call.gradLoss = readLoss<const float>(arguments, call.reduction, "grad_loss", tensors.grad_loss);
  if (tensors.grad_log_sum_exp)
    call.gradLogSumExp = arguments.vector<const float>("grad_log_sum_exp", tensors.grad_log_sum_exp, "[...]");
  if (tensors.grad_entropy) call.gradEntropy = arguments.vector<const float>("grad_entropy", tensors.grad_entropy, "[...]");
}

void readTop(Arguments& arguments, const Tensors& tensors, Call& call) {
  if (tensors.top_log_probabilities && !tensors.top_tokens)
    fail(FK_ERROR_INVALID_ARGUMENT, "top_tokens: NULL, needs an array beside top_log_probabilities");
  if (!tensors.top_tokens) return;
  arguments.integers("top_tokens", tensors.top_tokens, "[..., K]", call.topTokens32, call.topTokens64);
  const int64_t count = std::max(call.topTokens32.columns, call.topTokens64.columns);
  if (count < 1 || count > cpu::kMostTopTokens)
    fail(FK_ERROR_INVALID_ARGUMENT, "top_tokens: %lld tokens per row, needs 1 to %lld", static_cast<long long>(count),
         static_cast<long long>(cpu::kMostTopTokens));
  if (tensors.top_log_probabilities)
    call.topLogProbabilities = arguments.matrix<float>("top_log_probabilities", tensors.top_log_probabilities, "[..., K]");
}

void readOutputs(Arguments& arguments, const Tensors& tensors, Call& call) {
  const auto perRow = [&](const char* name, DLTensor* tensor, Vector<float>& output) {
    if (tensor) output = arguments.vector<float>(name, tensor, "[...]");
  };
  perRow("log_sum_exp", tensors.log_sum_exp, call.logSumExp);
  perRow("target_log_probability", tensors.target_log_probability, call.targetLogProbability);
  perRow("entropy", tensors.entropy, call.entropy);
  if (tensors.loss) call.loss = readLoss<float>(arguments, call.reduction, "loss", tensors.loss);
  readTop(arguments, tensors, call);
  if (tensors.accuracy) call.accuracy = arguments.scalar<float>("accuracy", tensors.accuracy);
}

// What forward has written, read again: the views are const, the kernel's struct is not.
void readSaved(Arguments& arguments, const Tensors& tensors, Call& call) {
  const auto perRow = [&](const char* name, const DLTensor* tensor, Vector<float>& saved, const char* why) {
    if (!tensor) fail(FK_ERROR_INVALID_ARGUMENT, "%s: NULL, needs forward's output%s", name, why);
    const auto read = arguments.vector<const float>(name, tensor, "[...]");
    saved = {const_cast<float*>(read.data), read.size, read.stride};
  };
  perRow("log_sum_exp", tensors.log_sum_exp, call.logSumExp, "");
  if (call.lossShape != FK_LOSS_SHAPE_CROSS_ENTROPY || tensors.target_log_probability)
    perRow("target_log_probability", tensors.target_log_probability, call.targetLogProbability,
           " with a loss_shape other than cross-entropy");
  if (call.gradEntropy || tensors.entropy) perRow("entropy", tensors.entropy, call.entropy, " with grad_entropy");
}

void readGradients(Arguments& arguments, const Tensors& tensors, Call& call) {
  if (tensors.d_embeddings) call.dEmbeddings = arguments.matrix<float>("d_embeddings", tensors.d_embeddings, "[..., D]");
  if (tensors.d_classifier) call.dClassifier = arguments.matrix<float>("d_classifier", tensors.d_classifier, "[V, D]");
  if (tensors.d_bias) {
    if (!tensors.bias) failUnwanted("d_bias", "without bias");
    call.dBias = arguments.vector<float>("d_bias", tensors.d_bias, "[V]");
  }
  if (tensors.d_logit_scale) {
    if (!tensors.d_embeddings && !tensors.d_classifier)
      fail(FK_ERROR_INVALID_ARGUMENT, "d_logit_scale: given, needs d_embeddings or d_classifier beside it");
    call.dLogitScale = arguments.scalar<float>("d_logit_scale", tensors.d_logit_scale);
  }
  if (tensors.filter_report && tensors.filter_report->struct_size != sizeof(fk_filter_report))
    fail(FK_ERROR_INVALID_ARGUMENT, "filter_report: struct_size is %u, needs %zu; fill the struct with its _init function",
         tensors.filter_report->struct_size, sizeof(fk_filter_report));
  call.filterReport = tensors.filter_report;
  if (tensors.dropped_probability)
    call.droppedProbability = arguments.vector<float>("dropped_probability", tensors.dropped_probability, "[...]");
}

void requireNoGradients(const Tensors& tensors) {
  const char* why = "in a forward call";
  requireAbsent(tensors.grad_loss, "grad_loss", why);
  requireAbsent(tensors.grad_log_sum_exp, "grad_log_sum_exp", why);
  requireAbsent(tensors.grad_entropy, "grad_entropy", why);
  requireAbsent(tensors.d_embeddings, "d_embeddings", why);
  requireAbsent(tensors.d_classifier, "d_classifier", why);
  requireAbsent(tensors.d_bias, "d_bias", why);
  requireAbsent(tensors.d_logit_scale, "d_logit_scale", why);
  requireAbsent(tensors.filter_report, "filter_report", why);
  requireAbsent(tensors.dropped_probability, "dropped_probability", why);
}

const cpu::CutCrossEntropyKernels& kernelsOf(const ContextLock& lock) { return cpu::cutCrossEntropyKernelsFor(lock->isa); }

}  // namespace
}  // namespace fk::abi

using namespace fk::abi;

void fk_cut_cross_entropy_options_init(fk_cut_cross_entropy_options* options) noexcept {
  *options = {};
  options->struct_size = sizeof(*options);
  options->has_ignore_index = 1;
  options->ignore_index = -100;
  options->logit_scale = 1;
}

void fk_cut_cross_entropy_tensors_init(fk_cut_cross_entropy_tensors* tensors) noexcept {
  *tensors = {};
  tensors->struct_size = sizeof(*tensors);
}

void fk_filter_report_init(fk_filter_report* report) noexcept {
  *report = {};
  report->struct_size = sizeof(*report);
}

fk_status fk_cut_cross_entropy_forward(fk_context* context, const fk_cut_cross_entropy_options* options,
                                       const fk_cut_cross_entropy_tensors* tensors) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    const Options read = readOptions(options, fk_cut_cross_entropy_options_init);
    const Tensors given = readTensors(tensors, fk_cut_cross_entropy_tensors_init);
    requireNoGradients(given);
    Arguments arguments;
    Call call = readInputs(arguments, read, given);
    readOutputs(arguments, given, call);
    requireTargetsInRange(read, call);
    runWithWorkspace(lock, call, kernelsOf(lock).forwardBytes, kernelsOf(lock).forward);
  });
}

fk_status fk_cut_cross_entropy_backward(fk_context* context, const fk_cut_cross_entropy_options* options,
                                        const fk_cut_cross_entropy_tensors* tensors) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    const Options read = readOptions(options, fk_cut_cross_entropy_options_init);
    const Tensors given = readTensors(tensors, fk_cut_cross_entropy_tensors_init);
    const char* why = "in a backward call";
    requireAbsent(given.loss, "loss", why);
    requireAbsent(given.top_tokens, "top_tokens", why);
    requireAbsent(given.top_log_probabilities, "top_log_probabilities", why);
    requireAbsent(given.accuracy, "accuracy", why);
    Arguments arguments;
    Call call = readInputs(arguments, read, given);
    readUpstream(arguments, given, call);
    readSaved(arguments, given, call);
    readGradients(arguments, given, call);
    requireTargetsInRange(read, call);
    runWithWorkspace(lock, call, kernelsOf(lock).backwardBytes, kernelsOf(lock).backward);
  });
}

fk_status fk_cut_cross_entropy_loss_and_gradient(fk_context* context, const fk_cut_cross_entropy_options* options,
                                                 const fk_cut_cross_entropy_tensors* tensors) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    const Options read = readOptions(options, fk_cut_cross_entropy_options_init);
    const Tensors given = readTensors(tensors, fk_cut_cross_entropy_tensors_init);
    if (read.vocabulary_size != 0)
      fk::fail(FK_ERROR_INVALID_ARGUMENT,
               "options: vocabulary_size is %lld, needs 0: a shard's gradients come from partial, merge and backward",
               static_cast<long long>(read.vocabulary_size));
    Arguments arguments;
    Call call = readInputs(arguments, read, given);
    readUpstream(arguments, given, call);
    readOutputs(arguments, given, call);
    readGradients(arguments, given, call);
    requireTargetsInRange(read, call);
    runWithWorkspace(lock, call, kernelsOf(lock).lossAndGradientBytes, kernelsOf(lock).lossAndGradient);
  });
}

fk_status fk_cut_cross_entropy_partial(fk_context* context, const fk_cut_cross_entropy_options* options,
                                       const fk_cut_cross_entropy_tensors* tensors, DLTensor* maximum, DLTensor* sum,
                                       DLTensor* target) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    const Options read = readOptions(options, fk_cut_cross_entropy_options_init);
    const Tensors given = readTensors(tensors, fk_cut_cross_entropy_tensors_init);
    requireNoGradients(given);
    const char* why = "in a partial call";
    for (const auto& [tensor, name] : {std::pair<const DLTensor*, const char*>{given.loss, "loss"},
                                       {given.log_sum_exp, "log_sum_exp"},
                                       {given.target_log_probability, "target_log_probability"},
                                       {given.entropy, "entropy"},
                                       {given.top_tokens, "top_tokens"},
                                       {given.top_log_probabilities, "top_log_probabilities"},
                                       {given.accuracy, "accuracy"},
                                       {given.target_probabilities, "target_probabilities"}})
      requireAbsent(tensor, name, why);
    Arguments arguments;
    Call call = readInputs(arguments, read, given);
    call.shardMax = arguments.vector<float>("maximum", maximum, "[...]");
    call.shardSum = arguments.vector<float>("sum", sum, "[...]");
    call.shardTarget = arguments.vector<float>("target", target, "[...]");
    requireTargetsInRange(read, call);
    runWithWorkspace(lock, call, kernelsOf(lock).forwardBytes, kernelsOf(lock).forward);
  });
}

fk_status fk_cut_cross_entropy_merge(fk_context* context, const DLTensor* maximum, const DLTensor* sum,
                                     const DLTensor* target, DLTensor* log_sum_exp,
                                     DLTensor* target_log_probability) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    fk::cpu::ShardMerge call;
    call.maximum = arguments.matrix<const float>("maximum", maximum, "[S, N]");
    call.sum = arguments.matrix<const float>("sum", sum, "[S, N]");
    call.target = arguments.matrix<const float>("target", target, "[S, N]");
    call.logSumExp = arguments.vector<float>("log_sum_exp", log_sum_exp, "[N]");
    if (target_log_probability)
      call.targetLogProbability = arguments.vector<float>("target_log_probability", target_log_probability, "[N]");
    fk::cpu::mergeShards(call);
  });
}

fk_status fk_cut_cross_entropy_workspace_size(fk_context* context, const fk_cut_cross_entropy_options* options,
                                              const fk_cut_cross_entropy_tensors* tensors, uint64_t* forward_bytes,
                                              uint64_t* backward_bytes, uint64_t* loss_and_gradient_bytes) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    const Options read = readOptions(options, fk_cut_cross_entropy_options_init);
    const Tensors given = readTensors(tensors, fk_cut_cross_entropy_tensors_init);
    Arguments arguments;
    Call call = readInputs(arguments, read, given);
    readUpstream(arguments, given, call);
    readOutputs(arguments, given, call);
    readGradients(arguments, given, call);
    const fk::cpu::CutCrossEntropyKernels& kernels = kernelsOf(lock);
    if (forward_bytes) *forward_bytes = kernels.forwardBytes(call, lock->threads, lock->workspaceLimit);
    if (backward_bytes) *backward_bytes = kernels.backwardBytes(call, lock->threads, lock->workspaceLimit);
    if (loss_and_gradient_bytes)
      *loss_and_gradient_bytes = kernels.lossAndGradientBytes(call, lock->threads, lock->workspaceLimit);
  });
}
