#include "cpu/loss/distillation.h"

#include <cfloat>

#include "abi/arguments.h"
#include "abi/boundary.h"
#include "abi/loss.h"
#include "abi/options.h"

namespace fk::abi {
namespace {

float readTemperature(float temperature) {
  requireFinite(temperature, "temperature");
  if (temperature < FLT_MIN)
    fail(FK_ERROR_INVALID_ARGUMENT, "options: temperature is %g, needs %g or more", temperature, FLT_MIN);
  return temperature;
}

// What both operators have in common. Their own arguments go through the same `arguments`.
cpu::DistillationArguments readInputs(Arguments& arguments, const fk_distillation_options* given,
                                      const fk_distillation_tensors& tensors) {
  const fk_distillation_options options = readOptions(given, fk_distillation_options_init);
  if (options.reserved != 0) fail(FK_ERROR_INVALID_ARGUMENT, "options: reserved is %d, needs 0", options.reserved);
  cpu::DistillationArguments call;
  call.reduction = readEnum(options.reduction, FK_REDUCTION_NONE, "reduction");
  call.temperature = readTemperature(options.temperature);
  call.studentEmbeddings = arguments.operand("student_embeddings", tensors.student_embeddings, "[..., D]");
  call.studentClassifier = arguments.operand("student_classifier", tensors.student_classifier, "[V, D]");
  call.teacherEmbeddings = arguments.operand("teacher_embeddings", tensors.teacher_embeddings, "[..., T]");
  call.teacherClassifier = arguments.operand("teacher_classifier", tensors.teacher_classifier, "[V, T]");
  return call;
}

void readRowWeights(Arguments& arguments, cpu::DistillationArguments& call, const DLTensor* rowWeights) {
  if (rowWeights) call.rowWeights = arguments.vector<const float>("row_weights", rowWeights, "[...]");
}

// T is float where the log-sum-exp is written and const float where it is only read.
template <class T>
Vector<float> readLogSumExp(Arguments& arguments, const char* name, const DLTensor* tensor) {
  const Vector<T> vector = arguments.vector<T>(name, tensor, "[...]");
  return {const_cast<float*>(vector.data), vector.size, vector.stride};
}

}  // namespace
}  // namespace fk::abi

using namespace fk::abi;

void fk_distillation_options_init(fk_distillation_options* options) noexcept {
  *options = {.struct_size = sizeof(*options), .reduction = FK_REDUCTION_MEAN, .temperature = 1, .reserved = 0};
}

void fk_distillation_tensors_init(fk_distillation_tensors* tensors) noexcept {
  *tensors = {};
  tensors->struct_size = sizeof(*tensors);
}

fk_status fk_distillation_forward(fk_context* context, const fk_distillation_options* options,
                                  const fk_distillation_tensors* tensors) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    const fk_distillation_tensors t = readTensors(tensors, fk_distillation_tensors_init);
    fk::cpu::DistillationArguments call = readInputs(arguments, options, t);
    readRowWeights(arguments, call, t.row_weights);
    requireAbsent(t.grad_loss, "grad_loss", "in forward");
    requireAbsent(t.d_student_embeddings, "d_student_embeddings", "in forward");
    requireAbsent(t.d_student_classifier, "d_student_classifier", "in forward");
    call.loss = readLoss<float>(arguments, call.reduction, "loss", t.loss);
    if (t.student_log_sum_exp)
      call.studentLogSumExp = readLogSumExp<float>(arguments, "student_log_sum_exp", t.student_log_sum_exp);
    if (t.teacher_log_sum_exp)
      call.teacherLogSumExp = readLogSumExp<float>(arguments, "teacher_log_sum_exp", t.teacher_log_sum_exp);
    const fk::cpu::DistillationKernels& kernels = fk::cpu::distillationKernelsFor(lock->isa);
    runWithWorkspace(lock, call, kernels.forwardBytes, kernels.forward);
  });
}

fk_status fk_distillation_backward(fk_context* context, const fk_distillation_options* options,
                                   const fk_distillation_tensors* tensors) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    const fk_distillation_tensors t = readTensors(tensors, fk_distillation_tensors_init);
    fk::cpu::DistillationArguments call = readInputs(arguments, options, t);
    readRowWeights(arguments, call, t.row_weights);
    requireAbsent(t.loss, "loss", "in backward");
    call.studentLogSumExp = readLogSumExp<const float>(arguments, "student_log_sum_exp", t.student_log_sum_exp);
    call.teacherLogSumExp = readLogSumExp<const float>(arguments, "teacher_log_sum_exp", t.teacher_log_sum_exp);
    if (t.grad_loss) call.gradLoss = readLoss<const float>(arguments, call.reduction, "grad_loss", t.grad_loss);
    if (t.d_student_embeddings)
      call.dStudentEmbeddings = arguments.matrix<float>("d_student_embeddings", t.d_student_embeddings, "[..., D]");
    if (t.d_student_classifier)
      call.dStudentClassifier = arguments.matrix<float>("d_student_classifier", t.d_student_classifier, "[V, D]");
    const fk::cpu::DistillationKernels& kernels = fk::cpu::distillationKernelsFor(lock->isa);
    runWithWorkspace(lock, call, kernels.backwardBytes, kernels.backward);
  });
}

fk_status fk_distillation_workspace_size(fk_context* context, const fk_distillation_options* options,
                                         const fk_distillation_tensors* tensors, uint64_t* forward_bytes,
                                         uint64_t* backward_bytes) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    const fk_distillation_tensors t = readTensors(tensors, fk_distillation_tensors_init);
    const fk::cpu::DistillationArguments call = readInputs(arguments, options, t);
    const fk::cpu::DistillationKernels& kernels = fk::cpu::distillationKernelsFor(lock->isa);
    if (forward_bytes) *forward_bytes = kernels.forwardBytes(call, lock->threads, lock->workspaceLimit);
    if (backward_bytes) *backward_bytes = kernels.backwardBytes(call, lock->threads, lock->workspaceLimit);
  });
}
