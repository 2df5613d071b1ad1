#include "cpu/rows/rotary_table.h"

#include "cpu/rows/rotary-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

RotaryTable makeTable(WorkspaceCursor& cursor, const RotaryTableArguments& a) {
  return {cursor, {a.dims, a.interleaved}, a.first - a.before, a.before + a.x.rows * a.step + a.behind};
}

size_t workspaceBytes(const RotaryTableArguments& a, int, size_t) {
  WorkspaceCursor cursor;
  makeTable(cursor, a);
  return cursor.used();
}

void run(const RotaryTableArguments& a, const Execution& execution, size_t, std::byte* workspace) {
  WorkspaceCursor cursor(workspace);
  const RotaryTable table = makeTable(cursor, a);
  table.fill(a.base, execution);
  for (int64_t r = 0; r < a.x.rows; ++r) table.rotate(a.x.row(r), a.y.row(r), a.x.columns, a.first + r * a.step, a.inverse);
}

}  // namespace

const RotaryTableKernels rotaryTableKernels = {workspaceBytes, run};

}  // namespace fk::cpu::FK_ISA
