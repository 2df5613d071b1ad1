#include "cpu/loss/cut_cross_entropy.h"

#include "abi/arguments.h"
#include "abi/boundary.h"
#include "abi/options.h"

namespace fk::abi {
namespace {

// What the three operators have in common. Their own arguments go through the same `arguments`.
cpu::CutCrossEntropyArguments readInputs(Arguments& arguments, const fk_cut_cross_entropy_options* given,
                                         const DLTensor* embeddings, const DLTensor* classifier) {
  const fk_cut_cross_entropy_options options = readOptions(given, fk_cut_cross_entropy_options_init);
  cpu::CutCrossEntropyArguments call;
  call.reduction = readEnum(options.reduction, FK_REDUCTION_NONE, "reduction");
  call.schedule = readEnum(options.schedule, FK_SCHEDULE_FUSED, "schedule");
  call.hasIgnoreIndex = readFlag(options.has_ignore_index, "has_ignore_index");
  call.ignoreIndex = options.ignore_index;
  call.embeddings = arguments.matrix<const float>("embeddings", embeddings, "[..., D]");
  call.classifier = arguments.matrix<const float>("classifier", classifier, "[V, D]");
  return call;
}

// T is float for the loss and const float for its gradient.
template <class T>
Vector<T> readLoss(Arguments& arguments, fk_reduction reduction, const char* name, const DLTensor* tensor) {
  if (reduction == FK_REDUCTION_NONE) return arguments.vector<T>(name, tensor, "[...]");
  return arguments.scalar<T>(name, tensor);
}

void readGradients(Arguments& arguments, cpu::CutCrossEntropyArguments& call, const DLTensor* dEmbeddings,
                   const DLTensor* dClassifier) {
  if (dEmbeddings) call.dEmbeddings = arguments.matrix<float>("d_embeddings", dEmbeddings, "[..., D]");
  if (dClassifier) call.dClassifier = arguments.matrix<float>("d_classifier", dClassifier, "[V, D]");
}

void requireTargetsInRange(const cpu::CutCrossEntropyArguments& call) {
  requireInRange("targets", call.targets, call.classifier.rows, call.hasIgnoreIndex, call.ignoreIndex);
}

template <class T>
Matrix<T> writable(const Matrix<const T>& matrix) {
  return {const_cast<T*>(matrix.data), matrix.rows, matrix.columns, matrix.rowStride, matrix.columnStride};
}

}  // namespace
}  // namespace fk::abi

using namespace fk::abi;

void fk_cut_cross_entropy_options_init(fk_cut_cross_entropy_options* options) noexcept {
  *options = {.struct_size = sizeof(*options),
              .reduction = FK_REDUCTION_MEAN,
              .has_ignore_index = 1,
              .schedule = FK_SCHEDULE_AUTO,
              .ignore_index = -100};
}

fk_status fk_cut_cross_entropy_forward(fk_context* context, const fk_cut_cross_entropy_options* options,
                                       const DLTensor* embeddings, const DLTensor* classifier, const DLTensor* targets,
                                       DLTensor* loss, DLTensor* log_sum_exp) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    fk::cpu::CutCrossEntropyArguments call = readInputs(arguments, options, embeddings, classifier);
    call.targets = arguments.indices("targets", targets, "[...]");
    call.loss = readLoss<float>(arguments, call.reduction, "loss", loss);
    if (log_sum_exp) call.logSumExp = arguments.vector<float>("log_sum_exp", log_sum_exp, "[...]");
    requireTargetsInRange(call);
    const fk::cpu::CutCrossEntropyKernels& kernels = fk::cpu::cutCrossEntropyKernelsFor(lock->isa);
    runWithWorkspace(lock, call, kernels.forwardBytes, kernels.forward);
  });
}

fk_status fk_cut_cross_entropy_backward(fk_context* context, const fk_cut_cross_entropy_options* options,
                                        const DLTensor* embeddings, const DLTensor* classifier, const DLTensor* targets,
                                        const DLTensor* log_sum_exp, const DLTensor* grad_loss, DLTensor* d_embeddings,
                                        DLTensor* d_classifier) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    fk::cpu::CutCrossEntropyArguments call = readInputs(arguments, options, embeddings, classifier);
    call.targets = arguments.indices("targets", targets, "[...]");
    const auto logSumExp = arguments.vector<const float>("log_sum_exp", log_sum_exp, "[...]");
    call.logSumExp = {const_cast<float*>(logSumExp.data), logSumExp.size, logSumExp.stride};  // backward only reads it
    if (grad_loss) call.gradLoss = readLoss<const float>(arguments, call.reduction, "grad_loss", grad_loss);
    readGradients(arguments, call, d_embeddings, d_classifier);
    requireTargetsInRange(call);
    const fk::cpu::CutCrossEntropyKernels& kernels = fk::cpu::cutCrossEntropyKernelsFor(lock->isa);
    runWithWorkspace(lock, call, kernels.backwardBytes, kernels.backward);
  });
}

fk_status fk_cut_cross_entropy_loss_and_gradient(fk_context* context, const fk_cut_cross_entropy_options* options,
                                                 const DLTensor* embeddings, const DLTensor* classifier,
                                                 const DLTensor* targets, DLTensor* loss, DLTensor* log_sum_exp,
                                                 DLTensor* d_embeddings, DLTensor* d_classifier) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    fk::cpu::CutCrossEntropyArguments call = readInputs(arguments, options, embeddings, classifier);
    call.targets = arguments.indices("targets", targets, "[...]");
    call.loss = readLoss<float>(arguments, call.reduction, "loss", loss);
    if (log_sum_exp) call.logSumExp = arguments.vector<float>("log_sum_exp", log_sum_exp, "[...]");
    readGradients(arguments, call, d_embeddings, d_classifier);
    requireTargetsInRange(call);
    const fk::cpu::CutCrossEntropyKernels& kernels = fk::cpu::cutCrossEntropyKernelsFor(lock->isa);
    runWithWorkspace(lock, call, kernels.lossAndGradientBytes, kernels.lossAndGradient);
  });
}

fk_status fk_cut_cross_entropy_workspace_size(fk_context* context, const fk_cut_cross_entropy_options* options,
                                              const DLTensor* embeddings, const DLTensor* classifier,
                                              uint64_t* forward_bytes, uint64_t* backward_bytes,
                                              uint64_t* loss_and_gradient_bytes) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    fk::cpu::CutCrossEntropyArguments call = readInputs(arguments, options, embeddings, classifier);
    call.dEmbeddings = writable(call.embeddings);  // asked for both gradients, which take the most
    call.dClassifier = writable(call.classifier);
    const fk::cpu::CutCrossEntropyKernels& kernels = fk::cpu::cutCrossEntropyKernelsFor(lock->isa);
    const auto [threads, limit] = std::pair(lock->threads, lock->workspaceLimit);
    if (forward_bytes) *forward_bytes = kernels.forwardBytes(call, threads, limit);
    if (backward_bytes) *backward_bytes = kernels.backwardBytes(call, threads, limit);
    if (loss_and_gradient_bytes) *loss_and_gradient_bytes = kernels.lossAndGradientBytes(call, threads, limit);
  });
}
