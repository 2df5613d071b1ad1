// Forward sweeps: every row's columns pass once, tile by tile, and are folded into what the operator remembers of the row.
//
// An operator is a struct with
//     struct Panel { ... };                          what kLanePanel rows remember, an array of kLanePanel per quantity
//     Range visible(Range rows, Range columns) const;  of these columns, from the first to the last that any of the rows
//     sees void begin(Panel&, Range rows) const;          before the first tile void fold(Panel&, const ScoreTile&) const;
//     one tile of scores, columns ascending void merge(Panel&, const Panel& later) const;  two neighbouring column ranges of
//     the same rows
// and, for sweeps with values, fold() leaves the weights in place of the scores and the factor for what the rows have summed
// so far in Panel::rescale. For sweeps over pairs of scores it is fold(Panel&, const ScoreTile&, float* pairedScores).
#pragma once

#include "cpu/engine/score_tiles-inl.h"

namespace fk::cpu::FK_ISA {

// Columns are cut into at most 64 chunks of whole tiles that can be folded side by side; the cut depends on nothing but
// their number, and merges go in order, so the bits do not depend on the threads.
struct ColumnChunks {
  explicit ColumnChunks(int64_t columns)
      : columns(columns),
        size(kColumnTile * std::max<int64_t>(1, ceilDivide(ceilDivide(columns, 64), kColumnTile))),
        count(ceilDivide(columns, size)) {}
  Range operator[](int64_t chunk) const { return {chunk * size, std::min((chunk + 1) * size, columns)}; }

  int64_t columns, size, count;
};

// What a thread needs to compute a tile: room for packed columns, and where the tile's scores go.
struct TileScratch {
  static TileScratch take(WorkspaceCursor& cursor, int64_t panels, int64_t depth) {
    float* packedColumns = cursor.take<float>(kPackedTileFloats);
    return {packedColumns, ScoreBuffer::forTile(cursor.take<float>(ScoreBuffer::floats(panels, depth)), depth)};
  }

  float* packedColumns;
  ScoreBuffer scores;
};

// One TileScratch per thread.
class TileScratches {
 public:
  TileScratches(WorkspaceCursor& cursor, int threads, int64_t panels, int64_t depth) : panels_(panels), depth_(depth) {
    WorkspaceCursor measure;
    TileScratch::take(measure, panels, depth);
    bytes_ = static_cast<int64_t>(measure.used());
    data_ = cursor.take<std::byte>(threads * bytes_);
  }

  TileScratch operator()(int slot, Range) const {
    WorkspaceCursor cursor(data_ + slot * bytes_);
    return TileScratch::take(cursor, panels_, depth_);
  }

 private:
  int64_t panels_, depth_, bytes_;
  std::byte* data_;
};

inline Range tileAt(int64_t first, int64_t end) { return {first, std::min(first + kColumnTile, end)}; }

// panels[p] becomes the fold of all columns for the rows of lane panel p. `partials` has room for one Panel per chunk and
// panel. foldTile(states, tile, slot) folds a tile of columns into one Panel per lane panel.
template <class Op, class FoldTile>
void reduceTiles(const Op& op, const PackedRows& x, int64_t columns, typename Op::Panel* panels,
                 typename Op::Panel* partials, const Execution& execution, const FoldTile& foldTile) {
  const ColumnChunks chunks(columns);
  const int64_t panelCount = x.panels();
  execution.forEach(chunks.count, [&](int64_t chunk, int slot) {
    typename Op::Panel* states = partials + chunk * panelCount;
    for (int64_t p = 0; p < panelCount; ++p) op.begin(states[p], x.rowsOf(p));
    const Range range = chunks[chunk];
    for (int64_t first = range.begin; first < range.end; first += kColumnTile)
      foldTile(states, tileAt(first, range.end), slot);
  });
  for (int64_t p = 0; p < panelCount; ++p) {
    op.begin(panels[p], x.rowsOf(p));
    for (int64_t chunk = 0; chunk < chunks.count; ++chunk) op.merge(panels[p], partials[chunk * panelCount + p]);
  }
}

// Sweeps over the scores of x and columns. scratch(slot, tile) is the TileScratch of a thread for a tile.
template <class Op, class Scratch>
void reduceRows(const Op& op, const PackedRows& x, const Operand& columns, typename Op::Panel* panels,
                typename Op::Panel* partials, const Scratch& scratch, const Execution& execution) {
  const auto visible = [&](Range rows, Range tile) { return op.visible(rows, tile); };
  const auto foldTile = [&](typename Op::Panel* states, Range tile, int slot) {
    const TileScratch own = scratch(slot, tile);
    forEachScorePanel(execution, x, columns, tile, own.scores, own.packedColumns, visible,
                      [&](int64_t p, const ScoreTile& scores) { op.fold(states[p], scores); });
  };
  reduceTiles(op, x, columns.rows, panels, partials, execution, foldTile);
}

// The second side of a sweep over pairs of scores: the same rows and as many columns, with a depth of its own.
struct PairedScores {
  PackedRows x;
  Operand columns;
  float* scores;  // room for floats() of the sweep's threads

  static int64_t floats(int64_t panels, int threads) { return threads * panels * kColumnTile * kLanePanel; }
  ScoreBuffer buffer(int slot) const { return {scores + floats(x.panels(), slot), kColumnTile * kLanePanel}; }
};

// Sweeps in which fold() sees the scores of two sides at once. The second side's wait in a buffer of all panels, 1 KB per
// row, until the first side's panel comes.
template <class Op, class Scratch>
void reduceRowPairs(const Op& op, const PackedRows& x, const Operand& columns, const PairedScores& pair,
                    typename Op::Panel* panels, typename Op::Panel* partials, const Scratch& scratch,
                    const Execution& execution) {
  const auto visible = [&](Range rows, Range tile) { return op.visible(rows, tile); };
  const auto foldTile = [&](typename Op::Panel* states, Range tile, int slot) {
    const TileScratch own = scratch(slot, tile);
    const ScoreBuffer paired = pair.buffer(slot);
    forEachScorePanel(execution, pair.x, pair.columns, tile, paired, own.packedColumns, visible,
                      [](int64_t, const ScoreTile&) {});
    forEachScorePanel(execution, x, columns, tile, own.scores, own.packedColumns, visible,
                      [&](int64_t p, const ScoreTile& scores) {
                        op.fold(states[p], scores, paired.panel(p) + (scores.columns.begin - tile.begin) * kLanePanel);
                      });
  };
  reduceTiles(op, x, columns.rows, panels, partials, execution, foldTile);
}

// Sweeps with values: sums[p][v][lane] = sum over columns of weight * values[column][v], rescaled as fold() asks. Serial;
// the caller runs row blocks side by side. packedValues has room for kColumnTile * values.columns.
template <class Op>
void reduceRowsWithValues(const Op& op, const PackedRows& x, const Operand& columns, const Operand& values,
                          typename Op::Panel* panels, float* sums, const TileScratch& scratch, float* packedValues,
                          const Execution& execution) {
  const BroadcastPanels split(values.columns);
  const int64_t sumFloats = values.columns * kLanePanel;
  const auto visible = [&](Range rows, Range tile) { return op.visible(rows, tile); };
  for (int64_t p = 0; p < x.panels(); ++p) op.begin(panels[p], x.rowsOf(p));
  std::fill_n(sums, x.panels() * sumFloats, 0.0f);
  for (int64_t first = 0; first < columns.rows; first += kColumnTile) {
    const Range tile = tileAt(first, columns.rows);
    if (!anyPanelSees(x, tile, visible)) continue;
    packBroadcastPanels(columnsOf(values.transposed(), tile.begin, tile.size()), split, packedValues);
    forEachScorePanel(execution, x, columns, tile, scratch.scores, scratch.packedColumns, visible,
                      [&](int64_t p, const ScoreTile& scores) {
                        op.fold(panels[p], scores);
                        multiplyPanels({split, packedValues, tile.size()}, {0, values.columns}, scores.scores,
                                       {.depthBegin = scores.columns.begin - tile.begin,
                                        .depthCount = scores.columns.size(),
                                        .out = sums + p * sumFloats,
                                        .outStride = kLanePanel,
                                        .accumulate = true,
                                        .rescale = panels[p].rescale});
                      });
  }
}

}  // namespace fk::cpu::FK_ISA
