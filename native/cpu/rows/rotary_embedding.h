// Rotary position embedding on the CPU: see fusedkernels.h for the mathematics.
#pragma once

#include "core/tensor.h"
#include "core/thread_pool.h"
#include "core/workspace.h"
#include "cpu/dispatch.h"

namespace fk::cpu {

struct RotaryEmbeddingArguments {
  HeadTensor<const float> x;
  IndexVector positions;  // [S], optional: 0..S-1
  HeadTensor<float> y;    // may be x
  bool interleaved = false;
  bool inverse = false;
  int64_t rotaryDims = 0;  // even, 0 <= rotaryDims <= D
  int64_t positionOffset = 0;
  float base = 10000;
};

struct RotaryEmbeddingKernels {
  size_t (*workspaceBytes)(const RotaryEmbeddingArguments&, int threads, size_t limit);
  void (*run)(const RotaryEmbeddingArguments&, const Execution&, size_t limit, std::byte* workspace);
};

FK_KERNELS(RotaryEmbeddingKernels, rotaryEmbeddingKernels)

}  // namespace fk::cpu
