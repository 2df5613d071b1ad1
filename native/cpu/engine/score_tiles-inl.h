// The one tile loop of the library: scores of packed rows against a tile of columns, shown to an operator panel by panel.
//
//     scores[column][lane] = columns[column] . rows[lane]
//
// Rows lie along the SIMD lanes, so that what an operator keeps per row (a running maximum, a sum) is a vector, and no
// reduction over columns ever crosses lanes. A score panel, [columns][kLanePanel], is at the same time a packed lane panel:
// it multiplies the next operand (values, classifier rows) without being moved.
#pragma once

#include <algorithm>

#include "core/workspace.h"
#include "cpu/engine/packing-inl.h"

namespace fk::cpu::FK_ISA {

// Columns are visited in tiles of this many: whole broadcast panels on every instruction set, and one depth block where a
// gradient or an output sums over columns. A constant, because it decides the order of those sums.
constexpr int64_t kColumnTile = 252;
static_assert(kColumnTile % kBroadcastPanel == 0 && kColumnTile <= kDepthBlock);

// Floats that hold any packed operand tile: columns by depth, rows by depth, or columns by rows.
constexpr int64_t kPackedTileFloats = kColumnTile * kDepthBlock;

// A block of score rows in lane panels, [panel][depth][kLanePanel].
struct PackedRows {
  const float* data;
  Range rows;  // of the whole problem
  int64_t depth;

  int64_t panels() const { return lanePanelCount(rows.size()); }
  const float* panel(int64_t p) const { return data + p * kLanePanel * depth; }
  Range rowsOf(int64_t p) const {
    const int64_t first = rows.begin + p * kLanePanel;
    return {first, std::min(first + kLanePanel, rows.end)};
  }
};

// What an operator gets to see: scores[(column - columns.begin) * kLanePanel + lane] for lane = row - rows.begin. Lanes
// behind rows.size() hold finite padding that the operator may overwrite.
struct ScoreTile {
  float* scores;
  Range rows, columns;
};

// The sum of a column over its rows.
inline float sumOfLanes(const float* lanes) {
  const FloatTag d;
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Load(d, lanes), hn::Load(d, lanes + kLanes))));
}

// Where the score panels of a tile go. panelStride 0: every panel reuses the same place, which needs a depth of one block.
struct ScoreBuffer {
  float* data;
  int64_t panelStride;

  float* panel(int64_t p) const { return data + p * panelStride; }

  static int64_t floats(int64_t panels, int64_t depth) {
    return (depth > kDepthBlock ? panels : 1) * kColumnTile * kLanePanel;
  }
  static ScoreBuffer forTile(float* data, int64_t depth) {
    return {data, depth > kDepthBlock ? kColumnTile * kLanePanel : 0};
  }
};

// Whether any panel sees any of the columns.
template <class Visible>
bool anyPanelSees(const PackedRows& x, Range columns, const Visible& visible) {
  for (int64_t p = 0; p < x.panels(); ++p)
    if (!visible(x.rowsOf(p), columns).empty()) return true;
  return false;
}

// Computes the panels of `tile`, whose columns are rows of `columns`, and calls visit(panel, ScoreTile) for each that sees
// any of it: visible(rows, tile) -> Range within the tile. Scores outside that range are not computed, save that whole
// broadcast panels are; a tile that no panel sees is not even packed. `packed` has room for kPackedTileFloats. Depth
// outermost: the packed columns of a depth block stay in the L2 cache while all rows pass. A cancellation is seen before
// every depth block.
template <class Visible, class Visit>
void forEachScorePanel(const Execution& execution, const PackedRows& x, const Operand& columns, Range tile,
                       ScoreBuffer buffer, float* packed, const Visible& visible, const Visit& visit) {
  if (!anyPanelSees(x, tile, visible)) return;
  const BroadcastPanels split(tile.size());
  const Operand tileColumns = rowsOf(columns, tile.begin, tile.size());
  int64_t k = 0;
  do {
    execution.throwIfCancelled();
    const int64_t depth = std::min(kDepthBlock, x.depth - k);
    packBroadcastPanels(columnsOf(tileColumns, k, depth), split, packed);
    for (int64_t p = 0; p < x.panels(); ++p) {
      const Range rows = x.rowsOf(p), seen = visible(rows, tile);
      if (seen.empty()) continue;
      float* scores = buffer.panel(p);
      multiplyPanels({split, packed, depth}, {seen.begin - tile.begin, seen.end - tile.begin}, x.panel(p) + k * kLanePanel,
                     {.depthBegin = 0, .depthCount = depth, .out = scores, .outStride = kLanePanel, .accumulate = k > 0});
      if (k + depth == x.depth) visit(p, ScoreTile{scores + (seen.begin - tile.begin) * kLanePanel, rows, seen});
    }
    k += depth;
  } while (k < x.depth);
}

// Rows per block: as equal as multiples of the depth block allow, because gradients sum over rows in depth blocks and the
// result must not depend on this choice.
inline int64_t rowsPerBlock(int64_t rows, int64_t most) {
  const int64_t blocks = std::max<int64_t>(1, ceilDivide(rows, most));
  return std::max(kDepthBlock, ceilDivide(ceilDivide(rows, blocks), kDepthBlock) * kDepthBlock);
}

// Rows per block of a forward sweep, whose bits do not depend on them, and the bytes that they take.
struct RowPlan {
  // Fewer rows, down to a lane panel, where bytesOf(rows) is above the limit.
  template <class BytesOf>
  RowPlan(int64_t count, int64_t most, size_t limit, const BytesOf& bytesOf)
      : rows(std::min(rowsPerBlock(count, most), std::max<int64_t>(1, count))), bytes(bytesOf(rows)) {
    while (bytes > limit && rows > kLanePanel) {
      rows = ceilDivide(rows / 2, kLanePanel) * kLanePanel;
      bytes = bytesOf(rows);
    }
  }

  int64_t rows;
  size_t bytes;
};

}  // namespace fk::cpu::FK_ISA
