// SwiGLU, the gated activation of Llama's feed-forward block, on the CPU: see fusedkernels.h for the mathematics.
#pragma once

#include "core/tensor.h"
#include "core/thread_pool.h"
#include "cpu/dispatch.h"

namespace fk::cpu {

// All [N, D]. output may be gate or up, dGate may be gate or dOutput, dUp may be up or dOutput.
struct SwigluArguments {
  Matrix<const float> gate, up;
  Matrix<float> output;         // forward
  Matrix<const float> dOutput;  // backward
  Matrix<float> dGate, dUp;
};

struct SwigluKernels {
  void (*forward)(const SwigluArguments&, const Execution&);
  void (*backward)(const SwigluArguments&, const Execution&);
};

FK_KERNELS(SwigluKernels, swigluKernels)

}  // namespace fk::cpu
