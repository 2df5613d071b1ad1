// c = alpha * a * b + beta * c on the CPU. Transposes arrive as strides: a, b and c are plain strided matrices here.
#pragma once

#include "core/tensor.h"
#include "core/thread_pool.h"
#include "core/workspace.h"
#include "cpu/dispatch.h"

namespace fk::cpu {

struct GemmArguments {
  Matrix<const float> a;  // [M, K]
  Matrix<const float> b;  // [K, N]
  Matrix<float> c;        // [M, N], column stride 1
  float alpha = 1, beta = 0;
};

struct GemmKernels {
  // Bytes of workspace that run() takes with this many threads, trying to stay within `limit`.
  size_t (*workspaceBytes)(const GemmArguments&, int threads, size_t limit);
  void (*run)(const GemmArguments&, const Execution&, size_t limit, std::byte* workspace);
};

FK_KERNELS(GemmKernels, gemmKernels)

}  // namespace fk::cpu
