#include "cpu/loss/softmax_cross_entropy.h"

#include "abi/arguments.h"
#include "abi/boundary.h"
#include "abi/loss.h"
#include "abi/options.h"

using namespace fk::abi;

void fk_softmax_cross_entropy_options_init(fk_softmax_cross_entropy_options* options) noexcept {
  *options = {.struct_size = sizeof(*options),
              .reduction = FK_REDUCTION_MEAN,
              .has_ignore_index = 1,
              .reserved = 0,
              .ignore_index = -100};
}

fk_status fk_softmax_cross_entropy(fk_context* context, const fk_softmax_cross_entropy_options* options, DLTensor* logits,
                                   const DLTensor* targets, DLTensor* loss) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    const fk_softmax_cross_entropy_options read = readOptions(options, fk_softmax_cross_entropy_options_init);
    Arguments arguments;
    fk::cpu::SoftmaxCrossEntropyArguments call;
    call.reduction = readEnum(read.reduction, FK_REDUCTION_NONE, "reduction");
    call.hasIgnoreIndex = readFlag(read.has_ignore_index, "has_ignore_index");
    call.ignoreIndex = read.ignore_index;
    call.logits = arguments.matrix<float>("logits", logits, "[..., V]");
    call.targets = arguments.indices("targets", targets, "[...]");
    call.loss = readLoss<float>(arguments, call.reduction, "loss", loss);
    requireInRange("targets", call.targets, call.logits.columns, call.hasIgnoreIndex, call.ignoreIndex);
    const fk::cpu::SoftmaxCrossEntropyKernels& kernels = fk::cpu::softmaxCrossEntropyKernelsFor(lock->isa);
    runWithWorkspace(lock, call, kernels.workspaceBytes, kernels.run);
  });
}
