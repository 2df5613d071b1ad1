// Cross-entropy of logits that the caller has stored, and its gradient in their place: see fusedkernels.h.
#pragma once

#include "core/tensor.h"
#include "core/thread_pool.h"
#include "core/workspace.h"
#include "cpu/dispatch.h"
#include "fusedkernels.h"

namespace fk::cpu {

struct SoftmaxCrossEntropyArguments {
  Matrix<float> logits;  // [N, V]: replaced by the gradient
  IndexVector targets;   // [N], checked: in [0, V) or ignored
  bool hasIgnoreIndex = true;
  int64_t ignoreIndex = -100;
  fk_reduction reduction = FK_REDUCTION_MEAN;
  Vector<float> loss;  // one element, or [N] for FK_REDUCTION_NONE

  bool ignored(int64_t row) const { return hasIgnoreIndex && targets[row] == ignoreIndex; }
};

struct SoftmaxCrossEntropyKernels {
  size_t (*workspaceBytes)(const SoftmaxCrossEntropyArguments&, int threads, size_t limit);
  void (*run)(const SoftmaxCrossEntropyArguments&, const Execution&, size_t limit, std::byte* workspace);
};

FK_KERNELS(SoftmaxCrossEntropyKernels, softmaxCrossEntropyKernels)

}  // namespace fk::cpu
