// The table of rotations as a kernel table, for the tests.
#pragma once

#include "core/tensor.h"
#include "core/thread_pool.h"
#include "core/workspace.h"
#include "cpu/dispatch.h"

namespace fk::cpu {

// Row r of x is at position first + r * step, of a table for positions [first - before, first + rows * step + behind).
struct RotaryTableArguments {
  Matrix<const float> x;
  Matrix<float> y;  // may be x
  int64_t dims = 0;
  bool interleaved = false, inverse = false;
  int64_t first = 0, step = 1, before = 0, behind = 0;
  float base = 10000;
};

struct RotaryTableKernels {
  size_t (*workspaceBytes)(const RotaryTableArguments&, int threads, size_t limit);
  void (*run)(const RotaryTableArguments&, const Execution&, size_t limit, std::byte* workspace);
};

FK_KERNELS(RotaryTableKernels, rotaryTableKernels)

}  // namespace fk::cpu
