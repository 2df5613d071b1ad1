// The rows of one head on their way into the engine and out of it: rotations, and the 16-bit types of outputs.
#pragma once

#include "cpu/attention/sequence.h"
#include "cpu/engine/stored_rows-inl.h"
#include "cpu/rows/rotary-inl.h"

namespace fk::cpu::FK_ISA {

// A row of an operand, whose elements are adjacent, as floats.
inline void loadRow(const Operand& from, int64_t row, float* to) {
  loadRow(rowsOf(from, row, 1).data, from.columns, from.type, to);
}

inline void clearRows(const HeadOutput& output) {
  const int64_t rowBytes = output.dim * elementSize(output.type);
  for (int64_t b = 0; b < output.batch; ++b)
    for (int64_t h = 0; h < output.heads; ++h)
      for (int64_t i = 0; i < output.sequence; ++i)
        std::fill_n(static_cast<std::byte*>(output.row(b, h, i)), rowBytes, std::byte{0});
}

// The rotations of a call: of queries and of keys, at the positions that any sequence has.
class Rotations {
 public:
  Rotations(WorkspaceCursor& cursor, const AttentionArguments& a)
      : a_(a),
        queries_(cursor, {a.rotary.dims, a.rotary.interleaved}, a.rotary.queryOffset - a.q.sequence,
                 a.rotary.dims ? 2 * a.q.sequence + a.k.sequence : 0),
        keys_(cursor, {a.rotary.dims, a.rotary.interleaved}, a.rotary.keyOffset, a.rotary.dims ? a.k.sequence : 0) {}

  // Floats that the rows of a head take while they are turned.
  static int64_t stagingFloats(const AttentionArguments& a, int64_t rows) { return a.rotary.dims ? rows * a.q.dim : 0; }

  void fill(const Execution& execution) const {
    if (a_.rotary.dims == 0) return;
    queries_.fill(a_.rotary.base, execution);
    keys_.fill(a_.rotary.base, execution);
  }

  // The caller's rows where nothing turns, turned rows in `staging` otherwise.
  Operand queries(const Sequence& s, int64_t h, Range rows, float* staging) const {
    return turned(a_.q.head(s.item, h, s.firstQuery + rows.begin, rows.size()), queries_, position(s) + rows.begin, staging);
  }
  Operand keys(const Sequence& s, int64_t g, float* staging) const {
    return turned(a_.k.head(s.item, g, s.firstKey, s.keys), keys_, a_.rotary.keyOffset, staging);
  }

  // Gradients of turned rows, turned back in place.
  void turnQueriesBack(const Sequence& s, const Matrix<float>& rows) const { turnBack(rows, queries_, position(s)); }
  void turnKeysBack(const Matrix<float>& rows) const { turnBack(rows, keys_, a_.rotary.keyOffset); }

 private:
  static_assert(RotaryArguments::kMostDims <= RotaryTable::kMaxDims);

  int64_t position(const Sequence& s) const { return s.position + a_.rotary.queryOffset; }

  Operand turned(const Operand& rows, const RotaryTable& table, int64_t position, float* staging) const {
    if (a_.rotary.dims == 0) return rows;
    for (int64_t i = 0; i < rows.rows; ++i) {
      float* to = staging + i * rows.columns;
      loadRow(rows, i, to);
      table.rotate(to, to, rows.columns, position + i);
    }
    return Matrix<const float>{staging, rows.rows, rows.columns, rows.columns, 1};
  }

  void turnBack(const Matrix<float>& rows, const RotaryTable& table, int64_t position) const {
    if (a_.rotary.dims == 0) return;
    for (int64_t i = 0; i < rows.rows; ++i) table.rotate(rows.row(i), rows.row(i), rows.columns, position + i, true);
  }

  const AttentionArguments& a_;
  RotaryTable queries_, keys_;
};

}  // namespace fk::cpu::FK_ISA
