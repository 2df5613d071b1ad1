// One step of AdamW on the CPU: see fusedkernels.h for the source.
#pragma once

#include "core/tensor.h"
#include "core/thread_pool.h"
#include "cpu/dispatch.h"
#include "fusedkernels.h"

namespace fk::cpu {

// All of one size and stride 1.
struct AdamWArguments {
  Vector<float> parameter;
  Vector<const float> gradient;
  Vector<float> firstMoment, secondMoment;
  fk_adamw_options options;  // checked
};

struct AdamWKernels {
  void (*step)(const AdamWArguments&, const Execution&);
};

FK_KERNELS(AdamWKernels, adamWKernels)

}  // namespace fk::cpu
