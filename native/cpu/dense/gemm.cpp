// GEMM on the streaming engine: columns of b lie along the lanes as "rows" of scores, rows of a are the score columns, and
// the operator that sees the tiles stores them.
#include "cpu/dense/gemm.h"

#include "cpu/engine/score_tiles-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

constexpr int64_t kMostLanesPerBlock = 1024;

// How the product is cut into tasks of a tile of a's rows by a group of lane panels. Free to depend on the number of
// threads: an element's sum runs over the depth alone.
struct GemmPlan {
  GemmPlan(const GemmArguments& g, int threads, size_t limit)
      : lanes(std::min(rowsPerBlock(g.c.columns, kMostLanesPerBlock), lanePanelCount(g.c.columns) * kLanePanel)) {
    while (true) {
      panels = lanePanelCount(lanes);
      groupPanels = panels;
      tiles = std::max<int64_t>(1, ceilDivide(g.c.rows, kColumnTile));
      // Three tasks a thread even out; below 8 panels or 56 rows, packing would cost more than that gains.
      while (threads > 1 && tiles * groups() < 3 * threads && groupPanels > 8) groupPanels = ceilDivide(groupPanels, 2);
      while (threads > 1 && tiles * groups() < 3 * threads && ceilDivide(g.c.rows, tiles) > 56) tiles *= 2;
      tileRows = std::max<int64_t>(1, ceilDivide(g.c.rows, tiles));
      tiles = ceilDivide(g.c.rows, tileRows);
      WorkspaceCursor measure;
      take(measure, g, threads);
      bytes = measure.used();
      if (bytes <= limit || lanes <= kLanePanel) return;
      lanes = ceilDivide(lanes / 2, kLanePanel) * kLanePanel;
    }
  }

  struct Buffers {
    float *packedLanes, *packedRows, *scores;
  };
  Buffers take(WorkspaceCursor& cursor, const GemmArguments& g, int threads) const {
    const int64_t depth = g.a.columns;
    return {cursor.take<float>(lanePanelFloats(lanes, depth)),
            cursor.take<float>(threads * tileRows * std::min(depth, kDepthBlock)),
            cursor.take<float>(threads * scoreFloats(depth))};
  }
  int64_t scoreFloats(int64_t depth) const { return (depth > kDepthBlock ? groupPanels : 1) * tileRows * kLanePanel; }
  int64_t groups() const { return ceilDivide(panels, groupPanels); }

  int64_t lanes;  // columns of c per block
  int64_t panels, groupPanels, tiles, tileRows;
  size_t bytes;
};

// One panel of scores to c: rows of the tile by up to kLanePanel columns.
void store(const GemmArguments& g, const ScoreTile& tile) {
  const FloatTag d;
  const FloatVector alpha = hn::Set(d, g.alpha), beta = hn::Set(d, g.beta);
  const int64_t lanes = tile.rows.size();
  for (int64_t i = 0; i < tile.columns.size(); ++i) {
    const float* from = tile.scores + i * kLanePanel;
    float* to = &g.c(tile.columns.begin + i, tile.rows.begin);
    int64_t l = 0;
    for (; l + kLanes <= lanes; l += kLanes) {
      const FloatVector product = hn::Mul(alpha, hn::Load(d, from + l));
      hn::StoreU(g.beta == 0 ? product : hn::MulAdd(beta, hn::LoadU(d, to + l), product), d, to + l);
    }
    for (; l < lanes; ++l) to[l] = g.alpha * from[l] + (g.beta == 0 ? 0.0f : g.beta * to[l]);
  }
}

size_t workspaceBytes(const GemmArguments& g, int threads, size_t limit) {
  if (g.c.rows == 0 || g.c.columns == 0) return 0;
  return GemmPlan(g, threads, limit).bytes;
}

void run(const GemmArguments& g, const Execution& execution, size_t limit, std::byte* workspace) {
  if (g.c.rows == 0 || g.c.columns == 0) return;
  const GemmPlan plan(g, execution.threads, limit);
  WorkspaceCursor cursor(workspace);
  const GemmPlan::Buffers buffers = plan.take(cursor, g, execution.threads);
  const int64_t depth = g.a.columns, packedRowFloats = plan.tileRows * std::min(depth, kDepthBlock);

  for (int64_t first = 0; first < g.c.columns; first += plan.lanes) {
    const int64_t lanes = std::min(plan.lanes, g.c.columns - first), panels = lanePanelCount(lanes);
    packLanePanels(rowsOf(g.b.transposed(), first, lanes), buffers.packedLanes, execution);
    const int64_t groups = ceilDivide(panels, plan.groupPanels);
    execution.forEach(plan.tiles * groups, [&](int64_t task, int slot) {
      const int64_t group = task % groups, row = task / groups * plan.tileRows;
      const int64_t firstLane = first + group * plan.groupPanels * kLanePanel;
      const PackedRows x{buffers.packedLanes + group * plan.groupPanels * kLanePanel * depth,
                         {firstLane, std::min(firstLane + plan.groupPanels * kLanePanel, first + lanes)},
                         depth};
      const ScoreBuffer scores{buffers.scores + slot * plan.scoreFloats(depth),
                               depth > kDepthBlock ? plan.tileRows * kLanePanel : 0};
      forEachScorePanel(execution, x, g.a, {row, std::min(row + plan.tileRows, g.c.rows)}, scores,
                        buffers.packedRows + slot * packedRowFloats, kAllColumns,
                        [&](int64_t, const ScoreTile& tile) { store(g, tile); });
    });
  }
}

}  // namespace

const GemmKernels gemmKernels = {workspaceBytes, run};

}  // namespace fk::cpu::FK_ISA
