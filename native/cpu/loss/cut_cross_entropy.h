// Cut cross-entropy on the CPU: see fusedkernels.h for the mathematics and cut_cross_entropy.cpp for the schedules.
#pragma once

#include "core/tensor.h"
#include "core/thread_pool.h"
#include "core/workspace.h"
#include "cpu/dispatch.h"
#include "fusedkernels.h"

namespace fk::cpu {

struct CutCrossEntropyArguments {
  Matrix<const float> embeddings;  // [N, D]
  Matrix<const float> classifier;  // [V, D]
  IndexVector targets;             // [N], checked: in [0, V) or ignored
  bool hasIgnoreIndex = true;
  int64_t ignoreIndex = -100;
  fk_reduction reduction = FK_REDUCTION_MEAN;
  fk_schedule schedule = FK_SCHEDULE_AUTO;

  Vector<float> loss;            // one element, or [N] for FK_REDUCTION_NONE
  Vector<float> logSumExp;       // [N]: written by forward and lossAndGradient when present, read by backward
  Vector<const float> gradLoss;  // backward: one element or [N], null means 1
  Matrix<float> dEmbeddings;     // optional
  Matrix<float> dClassifier;     // optional

  bool ignored(int64_t row) const { return hasIgnoreIndex && targets[row] == ignoreIndex; }
};

struct CutCrossEntropyKernels {
  // Bytes of workspace with this many threads, trying to stay within `limit`.
  size_t (*forwardBytes)(const CutCrossEntropyArguments&, int threads, size_t limit);
  size_t (*backwardBytes)(const CutCrossEntropyArguments&, int threads, size_t limit);
  size_t (*lossAndGradientBytes)(const CutCrossEntropyArguments&, int threads, size_t limit);
  void (*forward)(const CutCrossEntropyArguments&, const Execution&, size_t limit, std::byte* workspace);
  void (*backward)(const CutCrossEntropyArguments&, const Execution&, size_t limit, std::byte* workspace);
  void (*lossAndGradient)(const CutCrossEntropyArguments&, const Execution&, size_t limit, std::byte* workspace);
};

FK_KERNELS(CutCrossEntropyKernels, cutCrossEntropyKernels)

}  // namespace fk::cpu
