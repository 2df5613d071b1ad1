// Backward sweeps: score tiles again (recomputed, or kept by the forward), turned into gradients in place and contracted
// with both operands. One row block at a time:
//
//   tile step (side by side over column tiles)    scores -> dScores in the panel buffer, dY[tile] += dScores^T X
//   row step  (side by side over slices of dX)    dX += dScores Y, for the columns of the window
//
// A window of columns bounds the panel buffer. There may be a second operand pair, whose product gradient() sees beside the
// scores. Attention has one, output = weights W with the gradient dZ: its tiles carry the weights beside the gradients of
// the scores, and dW[tile] += weights^T dZ. Distillation has the teacher's scores there, and no dW.
//
// The operator adds to what forward-inl.h asks for
//     void gradient(const ScoreTile& scores, float* weightGradients) const;
// which turns scores into their gradients. With a second pair, weightGradients comes holding dZ W^T, and the call leaves the
// gradients of the scores there and, where there is a dW, the weights in place of the scores. Padding lanes must come out
// finite.
#pragma once

#include <array>

#include "cpu/engine/forward-inl.h"
#include "cpu/engine/gradient_filter-inl.h"

namespace fk::cpu::FK_ISA {

// dX sums over columns in blocks of two tiles: nearly a depth block, so that the sums are fetched half as often.
constexpr int64_t kWindowStep = 2 * kColumnTile;
static_assert(kWindowStep <= kDepthBlock);

// Whether there is a second operand pair, and a gradient of its columns.
enum class SecondPair { kNone, kScoresOnly, kWithGradient };

struct BackwardProblem {
  Operand x, y;                    // rows [N, D], columns [M, D]
  Matrix<float> dX = {}, dY = {};  // either may be null
  SecondPair second = SecondPair::kNone;
  Operand dZ = {}, w = {};  // [N, V], [M, V]
  Matrix<float> dW = {};
  bool addsToColumns = false;  // dY and dW hold sums of earlier sweeps, over other rows
  // Row i of dX is row dXRowIds[i] of memory, where there are such.
  const int32_t *dXRowIds = nullptr, *dYRowIds = nullptr;
};

class BackwardSweep {
 public:
  // Rows per block and columns per window (a multiple of kWindowStep) bound the buffers. dY sums over rows in blocks of
  // min(blockRows, kDepthBlock), so its bits may depend on the former; nothing depends on the latter.
  BackwardSweep(const BackwardProblem& problem, int64_t blockRows, int64_t windowColumns)
      : problem_(problem),
        blockRows_(blockRows),
        windowColumns_(std::min(windowColumns, ceilDivide(problem.y.rows, kColumnTile) * kColumnTile)),
        panels_(lanePanelCount(std::min(blockRows, problem.x.rows))) {}

  // The same size whether or not dX and dY are wanted.
  void takeWorkspace(WorkspaceCursor& cursor, int threads) {
    const int64_t rows = panels_ * kLanePanel, depth = problem_.x.columns;
    xRows_ = cursor.take<float>(rows * depth);
    scores_ = {cursor.take<float>(rows * windowColumns_), windowColumns_ * kLanePanel};
    xDims_ = cursor.take<float>(lanePanelFloats(depth, rows));
    dXPanels_ = cursor.take<float>(rows * depth);
    if (hasSecondPair()) {
      zRows_ = cursor.take<float>(rows * problem_.w.columns);
      weights_ = {cursor.take<float>(rows * windowColumns_), windowColumns_ * kLanePanel};
      if (hasSecondGradient()) zDims_ = cursor.take<float>(lanePanelFloats(problem_.w.columns, rows));
    }
    packed_ = cursor.take<float>(threads * kPackedTileFloats);
  }

  PackedRows packedRows() const { return {xRows_, block_, problem_.x.columns}; }

  // For reduceRows over the block that begin() has packed: scores stay in the panel buffer, where run() finds them. Needs a
  // window of all columns.
  TileScratch keptTile(int slot, Range tile) const {
    return {packedColumns(slot), {scores_.data + tile.begin * kLanePanel, scores_.panelStride}};
  }

  Range block(int64_t index) const { return {index * blockRows_, std::min((index + 1) * blockRows_, problem_.x.rows)}; }
  // At least one, which writes the zeros of a dY without rows.
  int64_t blocks() const { return std::max<int64_t>(1, ceilDivide(problem_.x.rows, blockRows_)); }

  // Packs the operands of a row block. Rows for which excluded(row) holds have zero gradients whatever they hold, NaN too:
  // the operator makes their score gradients zero, and they are left out of the operand those multiply.
  template <class Excluded>
  void begin(Range block, const Execution& execution, const Excluded& excluded) {
    block_ = block;
    const Operand x = rowsOf(problem_.x, block.begin, block.size());
    packLanePanels(x, xRows_, execution);
    if (problem_.dY) {
      packLanePanels(x.transposed(), xDims_, execution);
      for (int64_t row = 0; row < x.rows; ++row)
        if (excluded(block.begin + row)) clearDepth(xDims_, lanePanelCount(x.columns), x.rows, row);
    }
    if (problem_.dX) std::fill_n(dXPanels_, lanePanelFloats(block.size(), x.columns), 0.0f);
    if (!hasSecondPair()) return;
    const Operand dZ = rowsOf(problem_.dZ, block.begin, block.size());
    packLanePanels(dZ, zRows_, execution);
    if (hasSecondGradient()) packLanePanels(dZ.transposed(), zDims_, execution);
  }

  // The gradients of a block. scoresKept: reduceRows has left the scores of all columns behind, see keptTile(). afterWindow:
  // called with each window, when the filter's marks of its columns are complete.
  template <class Op, class AfterWindow>
  void run(const Op& op, bool scoresKept, const Execution& execution, GradientFilter* filter,
           const AfterWindow& afterWindow) {
    for (int64_t first = 0; first < problem_.y.rows; first += windowColumns_) {
      const Range window{first, std::min(first + windowColumns_, problem_.y.rows)};
      execution.forEach(ceilDivide(window.size(), kColumnTile), [&](int64_t task, int slot) {
        tileStep(execution, op, window, tileAt(window.begin + task * kColumnTile, window.end), scoresKept, filter,
                 packedColumns(slot));
      });
      afterWindow(window);
      if (problem_.dX) rowStep(op, window, execution, filter);
    }
    if (!problem_.dX) return;
    execution.forEach(lanePanelCount(block_.size()), [&](int64_t p, int) { storeRows(p); });
  }

  template <class Op>
  void run(const Op& op, bool scoresKept, const Execution& execution) {
    run(op, scoresKept, execution, nullptr, [](Range) {});
  }

 private:
  bool hasSecondPair() const { return problem_.second != SecondPair::kNone; }
  bool hasSecondGradient() const { return problem_.second == SecondPair::kWithGradient; }
  bool addsToColumns() const { return problem_.addsToColumns || block_.begin > 0; }
  float* packedColumns(int slot) const { return packed_ + slot * kPackedTileFloats; }

  static void clearDepth(float* lanePanels, int64_t panels, int64_t depth, int64_t k) {
    for (int64_t p = 0; p < panels; ++p) std::fill_n(lanePanels + (p * depth + k) * kLanePanel, kLanePanel, 0.0f);
  }

  // A panel of finished dX to the caller's rows.
  void storeRows(int64_t p) {
    const Matrix<float>& dX = problem_.dX;
    const float* sums = dXPanels_ + p * kLanePanel * dX.columns;
    if (!problem_.dXRowIds) return unpackLanePanel(sums, p, rowsOf(dX, block_.begin, block_.size()));
    const Range rows = packedRows().rowsOf(p);
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      float* to = dX.row(problem_.dXRowIds[row]);
      for (int64_t d = 0; d < dX.columns; ++d) to[d] = sums[d * kLanePanel + row - rows.begin];
    }
  }

  template <class Op>
  void tileStep(const Execution& execution, const Op& op, Range window, Range tile, bool scoresKept, GradientFilter* filter,
                float* packed) {
    const auto visible = [&](Range rows, Range columns) { return op.visible(rows, columns); };
    const int64_t offset = (tile.begin - window.begin) * kLanePanel;
    const ScoreBuffer scores{scores_.data + offset, scores_.panelStride};
    const ScoreBuffer weights{weights_.data + offset, weights_.panelStride};
    const PackedRows x = packedRows();
    if (hasSecondPair())
      forEachScorePanel(execution, {zRows_, block_, problem_.w.columns}, problem_.w, tile, scores, packed, visible,
                        [](int64_t, const ScoreTile&) {});
    // With a second pair, "scores" holds dZ W^T until gradient() makes it the gradients of the scores, which `weights` gets
    // first.
    const ScoreBuffer& target = hasSecondPair() ? weights : scores;
    const auto gradient = [&](int64_t p, const ScoreTile& s) {
      op.gradient(s, hasSecondPair() ? scores.panel(p) + (s.columns.begin - tile.begin) * kLanePanel : nullptr);
      if (filter && filter->filtersX() && problem_.dX) filter->markColumns(p, s, window.begin);
    };
    if (scoresKept) {
      execution.throwIfCancelled();
      for (int64_t p = 0; p < x.panels(); ++p) gradient(p, ScoreTile{scores.panel(p), x.rowsOf(p), tile});
    } else {
      forEachScorePanel(execution, x, problem_.y, tile, target, packed, visible, gradient);
    }
    const Range panels = seenPanels(op, tile, {0, x.panels()});
    clearUnseen(op, scores, tile, panels);
    if (problem_.dY && filter && filter->filtersY())
      contractListedRows(scores, tile, *filter, packed);
    else if (problem_.dY)
      contractRows(op, scores, tile, xDims_, problem_.dY, problem_.dYRowIds, packed);
    if (!hasSecondGradient()) return;
    clearUnseen(op, weights, tile, panels);
    contractRows(op, weights, tile, zDims_, problem_.dW, nullptr, packed);
  }

  // out[column] (+)= sum over rows of gradients[column][row] * operand[row], for the columns of a tile. `dims` holds the
  // operand with its dimensions along the lanes. Overwrites in the first row block.
  template <class Op>
  void contractRows(const Op& op, ScoreBuffer gradients, Range tile, const float* dims, const Matrix<float>& out,
                    const int32_t* rowIds, float* packed) {
    const TileRows to(out, tile, rowIds);
    const int64_t blockRows = block_.size(), panelsPerDepth = kDepthBlock / kLanePanel;
    bool accumulate = addsToColumns();
    for (int64_t p = 0; p < lanePanelCount(blockRows); p += panelsPerDepth) {
      const Range panels = seenPanels(op, tile, {p, std::min(p + panelsPerDepth, lanePanelCount(blockRows))});
      if (panels.empty()) continue;
      const Range rows{panels.begin * kLanePanel, std::min(panels.end * kLanePanel, blockRows)};
      const PackedBroadcast transposed = packTransposed(gradients, tile, rows, packed);
      for (int64_t dim = 0; dim < out.columns; dim += kLanePanel)
        multiplyPanels(transposed, {0, tile.size()}, dims + dim * blockRows + rows.begin * kLanePanel,
                       {.depthBegin = 0,
                        .depthCount = rows.size(),
                        .out = to.data + dim,
                        .outStride = out.rowStride,
                        .accumulate = accumulate,
                        .validLanes = std::min(kLanePanel, out.columns - dim),
                        .outRowIds = to.ids});
      accumulate = true;
    }
    if (!accumulate) to.clear(tile.size());
  }

  // Where the gradients of a tile's columns go.
  struct TileRows {
    TileRows(const Matrix<float>& out, Range tile, const int32_t* rowIds)
        : out(out), data(rowIds ? out.data : out.row(tile.begin)), ids(rowIds ? rowIds + tile.begin : nullptr) {}

    void clear(int64_t count) const {
      for (int64_t c = 0; c < count; ++c) std::fill_n(data + (ids ? ids[c] : c) * out.rowStride, out.columns, 0.0f);
    }

    const Matrix<float>& out;
    float* data;
    const int32_t* ids;
  };

  // contractRows with the filter: every broadcast panel of columns has its own list of rows, and only those are packed.
  void contractListedRows(ScoreBuffer gradients, Range tile, GradientFilter& filter, float* packed) {
    const TileRows to(problem_.dY, tile, problem_.dYRowIds);
    const BroadcastPanels split(tile.size());
    const int64_t blockRows = block_.size();
    const std::array<uint16_t, kDepthBlock> ascending = firstNumbers();
    uint16_t rows[kDepthBlock];
    bool accumulate = addsToColumns();
    for (int64_t first = 0; first < blockRows; first += kDepthBlock, accumulate = true) {
      const int64_t depth = std::min(kDepthBlock, blockRows - first);
      for (int64_t panel = 0; panel < split.count; ++panel) {
        const int64_t column = panel * split.height, height = split.heightOf(panel);
        const int64_t live = packListedRows(gradients, {first, first + depth}, column, height, tile, filter, rows, packed);
        if (live == 0 && accumulate) continue;
        const Range items{0, height};
        for (int64_t dim = 0; dim < problem_.dY.columns; dim += kLanePanel)
          multiplyPanels(PackedBroadcast{BroadcastPanels(height), packed, live}, items,
                         xDims_ + dim * blockRows + first * kLanePanel,
                         {.depthBegin = 0,
                          .depthCount = live,
                          .out = to.data + (to.ids ? 0 : column * problem_.dY.rowStride) + dim,
                          .outStride = problem_.dY.rowStride,
                          .accumulate = accumulate,
                          .validLanes = std::min(kLanePanel, problem_.dY.columns - dim),
                          .outRowIds = to.ids ? to.ids + column : nullptr},
                         ListedSteps{ascending.data(), rows});
      }
    }
    if (!accumulate) to.clear(tile.size());
  }

  static std::array<uint16_t, kDepthBlock> firstNumbers() {
    std::array<uint16_t, kDepthBlock> numbers;
    for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<uint16_t>(i);
    return numbers;
  }

  // packed[k][i] = gradients of column + i at the k-th live row; returns how many there are.
  int64_t packListedRows(ScoreBuffer gradients, Range rows, int64_t column, int64_t height, Range tile,
                         GradientFilter& filter, uint16_t* list, float* packed) const {
    int64_t live = 0;
    for (int64_t row = rows.begin; row < rows.end; row += kLanePanel) {
      const int64_t panel = row / kLanePanel;
      const float* from = gradients.panel(panel) + column * kLanePanel;
      const int64_t before = live;
      live = filter.listRows(from, height, panel, std::min(kLanePanel, rows.end - row), rows.begin, tile.begin / kColumnTile,
                             list, live);
      for (int64_t k = before; k < live; ++k)
        for (int64_t i = 0; i < height; ++i) packed[k * height + i] = from[i * kLanePanel + rows.begin + list[k] - row];
    }
    return live;
  }

  // dX[row] += sum over the window's columns of gradients[column][row] * y[column]. Tasks are slices of dX: some dimensions
  // of some panels.
  template <class Op>
  void rowStep(const Op& op, Range window, const Execution& execution, const GradientFilter* filter) {
    constexpr int64_t kGroupPanels = 16;
    const int64_t dims = problem_.y.columns, panelCount = lanePanelCount(block_.size());
    const int64_t slices = std::max<int64_t>(1, ceilDivide(dims, kColumnTile)), sliceDims = ceilDivide(dims, slices);
    const int64_t groups = ceilDivide(panelCount, kGroupPanels);
    execution.forEach(slices * groups, [&](int64_t task, int slot) {
      const int64_t slice = task / groups, dim = slice * sliceDims, group = task % groups;
      const Range panels{group * kGroupPanels, std::min((group + 1) * kGroupPanels, panelCount)};
      const Operand y = columnsOf(problem_.y, dim, std::min(sliceDims, dims - dim)).transposed();
      float* out = dXPanels_ + dim * kLanePanel;
      for (int64_t first = window.begin; first < window.end; first += kWindowStep) {
        execution.throwIfCancelled();
        const Range columns{first, std::min(first + kWindowStep, window.end)};
        if (filter && filter->filtersX())
          contractListedColumns(window, columns, y, panels, *filter, out, packedColumns(slot));
        else
          contractColumns(op, window, columns, y, panels, out, packedColumns(slot));
      }
    });
  }

  template <class Op>
  void contractColumns(const Op& op, Range window, Range columns, const Operand& y, Range panels, float* out,
                       float* packed) {
    if (seenPanels(op, columns, panels).empty()) return;
    const BroadcastPanels split(y.rows);
    packBroadcastPanels(columnsOf(y, columns.begin, columns.size()), split, packed);
    const PackedRows x = packedRows();
    for (int64_t p = panels.begin; p < panels.end; ++p) {
      const Range seen = op.visible(x.rowsOf(p), columns);
      if (seen.empty()) continue;
      multiplyPanels({split, packed, columns.size()}, {0, y.rows},
                     scores_.panel(p) + (seen.begin - window.begin) * kLanePanel,
                     {.depthBegin = seen.begin - columns.begin,
                      .depthCount = seen.size(),
                      .out = out + p * kLanePanel * problem_.y.columns,
                      .outStride = kLanePanel,
                      .accumulate = true});
    }
  }

  // contractColumns with the filter: only columns that some panel keeps are packed, and each panel takes its own.
  void contractListedColumns(Range window, Range columns, const Operand& y, Range panels, const GradientFilter& filter,
                             float* out, float* packed) {
    int16_t position[kWindowStep];
    int32_t ids[kWindowStep];
    const int64_t live = listColumns(window, columns, y, panels, filter, position, ids);
    if (live == 0) return;
    Operand kept = y;
    kept.columns = live;
    kept.columnIds = ids;
    const BroadcastPanels split(y.rows);
    packBroadcastPanels(kept, split, packed);
    uint16_t broadcasts[kWindowStep], lanes[kWindowStep];
    for (int64_t p = panels.begin; p < panels.end; ++p) {
      int64_t steps = 0;
      forEachLiveColumn(window, columns, p, filter, [&](int64_t column) {
        broadcasts[steps] = static_cast<uint16_t>(position[column]);
        lanes[steps++] = static_cast<uint16_t>(column);
      });
      if (steps == 0) continue;
      multiplyPanels({split, packed, live}, {0, y.rows}, scores_.panel(p) + (columns.begin - window.begin) * kLanePanel,
                     {.depthBegin = 0,
                      .depthCount = steps,
                      .out = out + p * kLanePanel * problem_.y.columns,
                      .outStride = kLanePanel,
                      .accumulate = true},
                     ListedSteps{broadcasts, lanes});
    }
  }

  // The columns that any of the panels keeps: their memory ids, ascending, and each one's position in that list.
  static int64_t listColumns(Range window, Range columns, const Operand& y, Range panels, const GradientFilter& filter,
                             int16_t* position, int32_t* ids) {
    std::fill_n(position, kWindowStep, int16_t{-1});
    for (int64_t p = panels.begin; p < panels.end; ++p)
      forEachLiveColumn(window, columns, p, filter, [&](int64_t column) { position[column] = 0; });
    int64_t live = 0;
    for (int64_t c = 0; c < columns.size(); ++c) {
      if (position[c] < 0) continue;
      position[c] = static_cast<int16_t>(live);
      ids[live++] = y.columnIds ? y.columnIds[columns.begin + c] : static_cast<int32_t>(columns.begin + c);
    }
    return live;
  }

  template <class Function>
  static void forEachLiveColumn(Range window, Range columns, int64_t panel, const GradientFilter& filter,
                                const Function& function) {
    for (int64_t first = columns.begin; first < columns.end; first += kColumnTile) {
      const auto& live = filter.liveColumns(panel, (first - window.begin) / kColumnTile);
      for (int64_t i = 0; i < live.count; ++i) function(first - columns.begin + live.columns[i]);
    }
  }

  // The panels from the first to the last that see any of the tile.
  template <class Op>
  Range seenPanels(const Op& op, Range tile, Range panels) const {
    const PackedRows x = packedRows();
    while (!panels.empty() && op.visible(x.rowsOf(panels.begin), tile).empty()) ++panels.begin;
    while (!panels.empty() && op.visible(x.rowsOf(panels.end - 1), tile).empty()) --panels.end;
    return panels;
  }

  // Gradients are zero where a row does not see a column, but nobody has written that yet.
  template <class Op>
  void clearUnseen(const Op& op, ScoreBuffer gradients, Range tile, Range panels) const {
    const PackedRows x = packedRows();
    for (int64_t p = panels.begin; p < panels.end; ++p) {
      Range seen = op.visible(x.rowsOf(p), tile);
      if (seen.empty()) seen = {tile.end, tile.end};
      float* at = gradients.panel(p);
      std::fill(at, at + (seen.begin - tile.begin) * kLanePanel, 0.0f);
      std::fill(at + (seen.end - tile.begin) * kLanePanel, at + tile.size() * kLanePanel, 0.0f);
    }
  }

  // Columns of the tile as broadcast panels, with the rows as depth.
  static PackedBroadcast packTransposed(ScoreBuffer gradients, Range tile, Range rows, float* packed) {
    const BroadcastPanels split(tile.size());
    for (int64_t panel = 0; panel < split.count; ++panel) {
      const int64_t first = panel * split.height, height = split.heightOf(panel);
      float* to = packed + first * rows.size();
      for (int64_t row = rows.begin; row < rows.end; row += kLanePanel, to += kLanePanel * height)
        transpose(Matrix<const float>{gradients.panel(row / kLanePanel) + first * kLanePanel, height,
                                      std::min(kLanePanel, rows.end - row), kLanePanel, 1},
                  height, to);
    }
    return {split, packed, rows.size()};
  }

  BackwardProblem problem_;
  int64_t blockRows_, windowColumns_, panels_;
  Range block_ = {0, 0};
  float *xRows_ = nullptr, *xDims_ = nullptr, *zRows_ = nullptr, *zDims_ = nullptr, *dXPanels_ = nullptr, *packed_ = nullptr;
  ScoreBuffer scores_ = {nullptr, 0}, weights_ = {nullptr, 0};
};

}  // namespace fk::cpu::FK_ISA
