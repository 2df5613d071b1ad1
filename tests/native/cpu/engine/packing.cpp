#include "cpu/engine/packing.h"

#include "cpu/engine/packing-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

int64_t broadcastHeight(int64_t items) { return BroadcastPanels(items).height; }

void packBroadcast(const Operand& source, float* packed) {
  packBroadcastPanels(source, BroadcastPanels(source.rows), packed);
}

}  // namespace

const PackingKernels packingKernels = {kLanePanel, lanePanelFloats, broadcastHeight, packLanePanels, packBroadcast};

}  // namespace fk::cpu::FK_ISA
