// Gradient filtering: Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", 2024, section 4.3. Where every
// |dScore| of a micro-tile is below a row's threshold, the micro-tile is left out of a product. A micro-tile is what one
// step of the micro-kernel adds: one column by a lane panel of rows for dX, one row by a broadcast panel of columns for dY.
// The scores themselves stay as they are; what is listed here is which steps remain.
#pragma once

#include <cmath>

#include "cpu/engine/score_tiles-inl.h"

namespace fk::cpu::FK_ISA {

class GradientFilter {
 public:
  GradientFilter() = default;
  GradientFilter(float dXEpsilon, float dYEpsilon, bool reports)
      : dXEpsilon_(dXEpsilon), dYEpsilon_(dYEpsilon), reports_(reports) {}

  bool filtersX() const { return dXEpsilon_ > 0; }
  bool filtersY() const { return dYEpsilon_ > 0; }

  // For blocks of `panels` lane panels and windows of so many columns, out of `columns` altogether.
  void takeWorkspace(WorkspaceCursor& cursor, int64_t panels, int64_t windowColumns, int64_t columns) {
    tilesPerWindow_ = ceilDivide(windowColumns, kColumnTile);
    if (filtersX()) {
      liveColumns_ = cursor.take<LiveColumns>(panels * tilesPerWindow_);
      if (reports_) dropped_ = cursor.take<float>(panels * tilesPerWindow_ * kLanePanel);
    }
    tiles_ = cursor.take<TileCounts>(ceilDivide(columns, kColumnTile));
    tileCount_ = ceilDivide(columns, kColumnTile);
  }

  void clearCounts() { std::fill_n(tiles_, tileCount_, TileCounts{}); }

  // |d(reported loss) / d(row's score)| times the threshold's unit, one per row of the block, 0 for padding.
  void setScales(const float* scales) { scales_ = scales; }

  // dX: which columns of a tile this panel of rows keeps. Called once per panel and tile, by the task that owns the tile.
  void markColumns(int64_t panel, const ScoreTile& tile, int64_t windowBegin) {
    const FloatTag d;
    const int64_t index = panel * tilesPerWindow_ + (tile.columns.begin - windowBegin) / kColumnTile;
    LiveColumns& live = liveColumns_[index];
    float* dropped = reports_ ? dropped_ + index * kLanePanel : nullptr;
    if (dropped) std::fill_n(dropped, kLanePanel, 0.0f);
    const FloatVector epsilon = hn::Set(d, dXEpsilon_);
    const FloatVector left = hn::Mul(epsilon, hn::LoadU(d, scales_ + panel * kLanePanel));
    const FloatVector right = hn::Mul(epsilon, hn::LoadU(d, scales_ + panel * kLanePanel + kLanes));
    live.count = 0;
    for (int64_t c = 0; c < tile.columns.size(); ++c) {
      const float* at = tile.scores + c * kLanePanel;
      const FloatVector first = hn::Abs(hn::Load(d, at)), second = hn::Abs(hn::Load(d, at + kLanes));
      if (hn::AllFalse(d, hn::Or(reaches(first, left), reaches(second, right)))) {
        if (dropped) {
          hn::StoreU(hn::Add(hn::LoadU(d, dropped), first), d, dropped);
          hn::StoreU(hn::Add(hn::LoadU(d, dropped + kLanes), second), d, dropped + kLanes);
        }
        continue;
      }
      live.columns[live.count++] = static_cast<uint8_t>(c);
    }
    TileCounts& counts = tiles_[tile.columns.begin / kColumnTile];
    counts.dXSteps += tile.columns.size();
    counts.dXSkipped += tile.columns.size() - live.count;
  }

  struct LiveColumns {
    uint8_t count = 0;  // at most kColumnTile
    uint8_t columns[kColumnTile];
  };
  static_assert(kColumnTile <= UINT8_MAX);

  const LiveColumns& liveColumns(int64_t panel, int64_t tileOfWindow) const {
    return liveColumns_[panel * tilesPerWindow_ + tileOfWindow];
  }

  // sum |dScore| that dX leaves out, added per row for the window's columns, tiles ascending.
  void addDropped(int64_t panels, int64_t windowColumns, float* perRow) const {
    const int64_t tiles = ceilDivide(windowColumns, kColumnTile);
    for (int64_t p = 0; p < panels; ++p)
      for (int64_t tile = 0; tile < tiles; ++tile)
        for (int64_t lane = 0; lane < kLanePanel; ++lane)
          perRow[p * kLanePanel + lane] += dropped_[(p * tilesPerWindow_ + tile) * kLanePanel + lane];
  }

  // dY: which rows of lane panel `panel` a broadcast panel of columns keeps; `gradients` is [height][kLanePanel]. Appends
  // them to `rows`, counted from `firstRow`, and returns the new count.
  int64_t listRows(const float* gradients, int64_t height, int64_t panel, int64_t validRows, int64_t firstRow,
                   int64_t columnTile, uint16_t* rows, int64_t count) {
    const FloatTag d;
    TileCounts& counts = tiles_[columnTile];
    counts.dYSteps += validRows;
    for (int64_t half = 0; half < kLanePanel && half < validRows; half += kLanes) {
      const FloatVector threshold = hn::Mul(hn::Set(d, dYEpsilon_), hn::LoadU(d, scales_ + panel * kLanePanel + half));
      FloatVector largest = hn::Zero(d), sum = hn::Zero(d);
      for (int64_t i = 0; i < height; ++i) {
        const FloatVector magnitude = hn::Abs(hn::Load(d, gradients + i * kLanePanel + half));
        largest = hn::Max(largest, magnitude);
        sum = hn::Add(sum, magnitude);
      }
      const auto live = hn::Or(hn::IsNaN(sum), reaches(largest, threshold));
      alignas(64) float sums[kLanes], isLive[kLanes];
      hn::Store(sum, d, sums);
      hn::Store(hn::IfThenElseZero(live, hn::Set(d, 1.0f)), d, isLive);
      for (int64_t lane = 0; lane < kLanes && half + lane < validRows; ++lane) {
        if (isLive[lane] != 0) {
          rows[count++] = static_cast<uint16_t>(panel * kLanePanel + half + lane - firstRow);
        } else {
          ++counts.dYSkipped;
          counts.dYDropped += static_cast<double>(sums[lane]);
        }
      }
    }
    return count;
  }

  struct TileCounts {
    int64_t dXSteps = 0, dXSkipped = 0, dYSteps = 0, dYSkipped = 0;
    double dYDropped = 0;  // sum |dScore|
  };

  TileCounts totals() const {
    TileCounts sum;
    for (int64_t t = 0; t < tileCount_; ++t) {
      sum.dXSteps += tiles_[t].dXSteps;
      sum.dXSkipped += tiles_[t].dXSkipped;
      sum.dYSteps += tiles_[t].dYSteps;
      sum.dYSkipped += tiles_[t].dYSkipped;
      sum.dYDropped += tiles_[t].dYDropped;
    }
    return sum;
  }

 private:
  // Not below the threshold, and not zero; NaN counts.
  static hn::Mask<FloatTag> reaches(FloatVector magnitude, FloatVector threshold) {
    const FloatTag d;
    return hn::Not(hn::Or(hn::Lt(magnitude, threshold), hn::Eq(magnitude, hn::Zero(d))));
  }

  float dXEpsilon_ = 0, dYEpsilon_ = 0;
  bool reports_ = false;
  int64_t tilesPerWindow_ = 0, tileCount_ = 0;
  const float* scales_ = nullptr;
  LiveColumns* liveColumns_ = nullptr;  // [panel][tile of the window]
  float* dropped_ = nullptr;            // [panel][tile of the window][kLanePanel]
  TileCounts* tiles_ = nullptr;         // of all columns: a tile's task alone writes to it
};

}  // namespace fk::cpu::FK_ISA
