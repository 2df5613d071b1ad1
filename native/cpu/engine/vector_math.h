// The functions of vector_math-inl.h over arrays, for code outside the kernels and for their tests. In place is allowed.
#pragma once

#include <cstdint>

#include "cpu/dispatch.h"

namespace fk::cpu {

struct VectorMathKernels {
  using Function = void (*)(const float* x, float* y, int64_t count);
  Function exp;
  Function expBelowOverflow;
  Function sigmoid;
  Function tanh;
  Function log;
  int lanes;  // of the widest vector: 1 scalar, 4 sse4, 8 avx2, 16 avx512
};

FK_KERNELS(VectorMathKernels, vectorMathKernels)

}  // namespace fk::cpu
