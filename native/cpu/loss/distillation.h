// Distillation on the CPU: see fusedkernels.h for the mathematics and distillation.cpp for how it is computed.
#pragma once

#include "core/operand.h"
#include "core/thread_pool.h"
#include "core/workspace.h"
#include "cpu/dispatch.h"
#include "cpu/loss/upstream.h"
#include "fusedkernels.h"

namespace fk::cpu {

struct DistillationArguments {
  Operand studentEmbeddings;       // [N, D]
  Operand studentClassifier;       // [V, D]
  Operand teacherEmbeddings;       // [N, T]
  Operand teacherClassifier;       // [V, T]
  Vector<const float> rowWeights;  // [N], null means 1
  fk_reduction reduction = FK_REDUCTION_MEAN;
  float temperature = 1;  // FLT_MIN or more

  Vector<float> loss;              // one element, or [N] for FK_REDUCTION_NONE
  Vector<float> studentLogSumExp;  // [N]: written by forward when present, read by backward
  Vector<float> teacherLogSumExp;
  Vector<const float> gradLoss;      // backward: one element or [N], null means 1
  Matrix<float> dStudentEmbeddings;  // optional
  Matrix<float> dStudentClassifier;  // optional

  int64_t rows() const { return studentEmbeddings.rows; }
  int64_t classes() const { return studentClassifier.rows; }
  float rowWeight(int64_t row) const { return rowWeights ? rowWeights[row] : 1.0f; }
  float upstream(int64_t row) const { return upstreamOf(gradLoss, reduction, row); }
};

struct DistillationKernels {
  // Bytes of workspace with this many threads, trying to stay within `limit`.
  size_t (*forwardBytes)(const DistillationArguments&, int threads, size_t limit);
  size_t (*backwardBytes)(const DistillationArguments&, int threads, size_t limit);
  void (*forward)(const DistillationArguments&, const Execution&, size_t limit, std::byte* workspace);
  void (*backward)(const DistillationArguments&, const Execution&, size_t limit, std::byte* workspace);
};

FK_KERNELS(DistillationKernels, distillationKernels)

}  // namespace fk::cpu
