// Attention without soft-max inside a window, on the streaming engine:
//     output_i = sum over |i - j| <= window of (q_i . k_j) v_j
// A test of the engine's hooks: a visible range that starts and ends in the middle of a tile, and the sweeps with values.
// Every step is a sum of products, so with small integers the results are exact.
#pragma once

#include "core/operand.h"
#include "core/thread_pool.h"
#include "core/workspace.h"
#include "cpu/dispatch.h"

namespace fk::cpu {

struct WindowedLinearAttentionArguments {
  Operand q, k, v;  // [N, D], [M, D], [M, V]
  int64_t window = 0;
  Matrix<float> output;  // [N, V]
  Operand dOutput;       // [N, V]
  Matrix<float> dQ, dK, dV;
};

struct WindowedLinearAttentionKernels {
  size_t (*forwardBytes)(const WindowedLinearAttentionArguments&, int threads, size_t limit);
  size_t (*backwardBytes)(const WindowedLinearAttentionArguments&, int threads, size_t limit);
  void (*forward)(const WindowedLinearAttentionArguments&, const Execution&, size_t limit, std::byte* workspace);
  void (*backward)(const WindowedLinearAttentionArguments&, const Execution&, size_t limit, std::byte* workspace);
};

FK_KERNELS(WindowedLinearAttentionKernels, windowedLinearAttentionKernels)

}  // namespace fk::cpu
