// Root mean square layer normalisation on the CPU: see fusedkernels.h for the mathematics.
#pragma once

#include "core/tensor.h"
#include "core/thread_pool.h"
#include "core/workspace.h"
#include "cpu/dispatch.h"

namespace fk::cpu {

struct RmsNormArguments {
  Matrix<const float> x;                // [N, D]
  Vector<const float> weight;           // [D]
  float epsilon = 1e-6f;                // forward only: backward finds it in inverseRms
  Matrix<float> y;                      // [N, D]; may be x
  Vector<float> inverseRms;             // [N], optional: forward writes it
  Vector<const float> savedInverseRms;  // [N]: backward reads it
  Matrix<const float> dY;               // [N, D]
  Matrix<float> dX;                     // [N, D], optional; may be dY
  Vector<float> dWeight;                // [D], optional
};

struct RmsNormKernels {
  size_t (*forwardBytes)(const RmsNormArguments&, int threads, size_t limit);
  size_t (*backwardBytes)(const RmsNormArguments&, int threads, size_t limit);
  void (*forward)(const RmsNormArguments&, const Execution&, size_t limit, std::byte* workspace);
  void (*backward)(const RmsNormArguments&, const Execution&, size_t limit, std::byte* workspace);
};

FK_KERNELS(RmsNormKernels, rmsNormKernels)

}  // namespace fk::cpu
