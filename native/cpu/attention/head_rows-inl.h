// The rows of one head on their way into the engine and out of it: rotations, and the 16-bit types of outputs.
#pragma once

#include "cpu/attention/sequence.h"
#include "cpu/engine/stored_rows-inl.h"
#include "cpu/rows/rotary-inl.h"

namespace fk::cpu::FK_ISA {

// A row of an operand as floats.
inline void loadRow(const Operand& from, int64_t row, float* to) {
  transpose(from, {row, row + 1}, {0, from.columns}, 1, to);
}

inline void clearRows(const HeadOutput& output) {
  const int64_t rowBytes = output.dim * elementSize(output.type);
  for (int64_t b = 0; b < output.batch; ++b)
    for (int64_t h = 0; h < output.heads; ++h)
      for (int64_t i = 0; i < output.sequence; ++i)
        std::fill_n(static_cast<std::byte*>(output.row(b, h, i)), rowBytes, std::byte{0});
}

// The rotations of a call: of queries and of keys, at the positions that any sequence has.
struct Rotations {
  Rotations(WorkspaceCursor& cursor, const AttentionArguments& a)
      : queries(cursor, {a.rotary.dims, a.rotary.interleaved}, a.rotary.queryOffset - a.q.sequence,
                a.rotary.dims ? 2 * a.q.sequence + a.k.sequence : 0),
        keys(cursor, {a.rotary.dims, a.rotary.interleaved}, a.rotary.keyOffset, a.rotary.dims ? a.k.sequence : 0) {}

  void fill(const AttentionArguments& a, const Execution& execution) const {
    if (a.rotary.dims == 0) return;
    queries.fill(a.rotary.base, execution);
    keys.fill(a.rotary.base, execution);
  }

  RotaryTable queries, keys;
};

// Where the rows of an operand are turned on their way in: the rows themselves where nothing turns.
inline Operand rotatedRows(const Operand& rows, const RotaryTable& table, int64_t position, float* staging) {
  for (int64_t i = 0; i < rows.rows; ++i) {
    float* to = staging + i * rows.columns;
    loadRow(rows, i, to);
    table.rotate(to, to, rows.columns, position + i);
  }
  return Matrix<const float>{staging, rows.rows, rows.columns, rows.columns, 1};
}

}  // namespace fk::cpu::FK_ISA
