// Conversions of rows as a kernel table, for the tests.
#pragma once

#include "core/operand.h"
#include "cpu/dispatch.h"

namespace fk::cpu {

struct StoredRowsKernels {
  void (*store)(const float* from, int64_t count, DataType type, void* to);
  void (*load)(const void* from, int64_t count, DataType type, float* to);
};

FK_KERNELS(StoredRowsKernels, storedRowsKernels)

}  // namespace fk::cpu
