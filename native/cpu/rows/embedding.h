// Token embedding on the CPU: rows of a table by their ids, and the gradient's way back.
#pragma once

#include "core/tensor.h"
#include "core/thread_pool.h"
#include "cpu/dispatch.h"

namespace fk::cpu {

struct EmbeddingGatherArguments {
  Matrix<const float> table;  // [V, D]
  IndexVector ids;            // [N], checked: in [0, V)
  Matrix<float> output;       // [N, D]
};

struct EmbeddingScatterAddArguments {
  Matrix<const float> dOutput;  // [N, D]
  IndexVector ids;              // [N], checked: in [0, V)
  Matrix<float> dTable;         // [V, D]
};

struct EmbeddingKernels {
  void (*gather)(const EmbeddingGatherArguments&, const Execution&);
  void (*scatterAdd)(const EmbeddingScatterAddArguments&, const Execution&);
};

FK_KERNELS(EmbeddingKernels, embeddingKernels)

}  // namespace fk::cpu
