// The gradient that arrives at a row's loss, for losses with a reduction.
#pragma once

#include "core/tensor.h"
#include "fusedkernels.h"

namespace fk::cpu {

// gradLoss: one element, or one per row for FK_REDUCTION_NONE; null means 1.
inline float upstreamOf(const Vector<const float>& gradLoss, fk_reduction reduction, int64_t row) {
  return gradLoss ? gradLoss[reduction == FK_REDUCTION_NONE ? row : 0] : 1.0f;
}

}  // namespace fk::cpu
