// The packing functions as a kernel table, for the tests.
#pragma once

#include "core/operand.h"
#include "core/thread_pool.h"
#include "cpu/dispatch.h"

namespace fk::cpu {

struct PackingKernels {
  int64_t lanePanel;  // items per lane panel
  int64_t (*lanePanelFloats)(int64_t items, int64_t depth);
  int64_t (*broadcastHeight)(int64_t items);  // items per broadcast panel, save the last
  void (*packLanes)(const Operand&, float* packed, const Execution&);
  void (*packBroadcast)(const Operand&, float* packed);
};

FK_KERNELS(PackingKernels, packingKernels)

}  // namespace fk::cpu
