#include "cpu/rows/rms_norm.h"

#include "abi/arguments.h"
#include "abi/boundary.h"
#include "abi/options.h"

using namespace fk::abi;

namespace {

float readEpsilon(const fk_rms_norm_options* given) {
  const float epsilon = readOptions(given, fk_rms_norm_options_init).epsilon;
  requireFinite(epsilon, "epsilon");
  if (epsilon < 0) fk::fail(FK_ERROR_INVALID_ARGUMENT, "options: epsilon is %g, needs 0 or more", epsilon);
  return epsilon;
}

}  // namespace

void fk_rms_norm_options_init(fk_rms_norm_options* options) noexcept {
  *options = {.struct_size = sizeof(*options), .epsilon = 1e-6f};
}

fk_status fk_rms_norm_forward(fk_context* context, const fk_rms_norm_options* options, const DLTensor* x,
                              const DLTensor* weight, DLTensor* y, DLTensor* inverse_rms) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    fk::cpu::RmsNormArguments call;
    call.epsilon = readEpsilon(options);
    call.x = arguments.matrix<const float>("x", x, "[..., D]");
    call.weight = arguments.vector<const float>("weight", weight, "[D]");
    call.y = arguments.matrix<float>("y", y, "[..., D]", {"x"});
    if (inverse_rms) call.inverseRms = arguments.vector<float>("inverse_rms", inverse_rms, "[...]");
    const fk::cpu::RmsNormKernels& kernels = fk::cpu::rmsNormKernelsFor(lock->isa);
    runWithWorkspace(lock, call, kernels.forwardBytes, kernels.forward);
  });
}

fk_status fk_rms_norm_backward(fk_context* context, const fk_rms_norm_options* options, const DLTensor* x,
                               const DLTensor* weight, const DLTensor* inverse_rms, const DLTensor* d_y, DLTensor* d_x,
                               DLTensor* d_weight) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    fk::cpu::RmsNormArguments call;
    call.epsilon = readEpsilon(options);
    call.x = arguments.matrix<const float>("x", x, "[..., D]");
    call.weight = arguments.vector<const float>("weight", weight, "[D]");
    call.savedInverseRms = arguments.vector<const float>("inverse_rms", inverse_rms, "[...]");
    call.dY = arguments.matrix<const float>("d_y", d_y, "[..., D]");
    if (d_x) call.dX = arguments.matrix<float>("d_x", d_x, "[..., D]", {"d_y"});
    if (d_weight) call.dWeight = arguments.vector<float>("d_weight", d_weight, "[D]");
    const fk::cpu::RmsNormKernels& kernels = fk::cpu::rmsNormKernelsFor(lock->isa);
    runWithWorkspace(lock, call, kernels.backwardBytes, kernels.backward);
  });
}
