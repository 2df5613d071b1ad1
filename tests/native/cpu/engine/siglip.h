// The sigmoid loss of Zhai et al., "Sigmoid Loss for Language Image Pre-Training", 2023, on the streaming engine:
//     loss = 1/N sum_ij log(1 + exp(-l_ij (scale * x_i . y_j + bias))),     l_ij = 1 for i = j, -1 otherwise
// A test of the engine's hooks: its reduction is no soft-max, and positive and negative pairs differ.
#pragma once

#include "core/operand.h"
#include "core/thread_pool.h"
#include "core/workspace.h"
#include "cpu/dispatch.h"

namespace fk::cpu {

struct SiglipArguments {
  Operand x, y;  // [N, D], [M, D]: row i belongs to column i
  float scale = 1, bias = 0;
  float* loss = nullptr;
  Matrix<float> dX, dY;
};

struct SiglipKernels {
  size_t (*bytes)(const SiglipArguments&, int threads, size_t limit);
  void (*lossAndGradient)(const SiglipArguments&, const Execution&, size_t limit, std::byte* workspace);
};

FK_KERNELS(SiglipKernels, siglipKernels)

}  // namespace fk::cpu
