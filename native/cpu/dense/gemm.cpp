// GEMM in the engine's micro-kernel, blocked as in Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication",
// 2008: columns of b lie along the lanes and are packed once for a block of c's columns and a block of the depth; rows of a
// are broadcast, packed tile by tile into the L2 cache; sums go straight to c.
#include "cpu/dense/gemm.h"

#include "cpu/engine/score_tiles-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

// A tile of a is packed again for every block of lanes: at 4096 that costs 1 % of the products.
constexpr int64_t kMostLanesPerBlock = 4096;

// How the product is cut into tasks of a tile of a's rows by a group of lane panels. Free to depend on the number of
// threads and the workspace: an element's sum runs over the depth alone, in depth blocks.
struct GemmPlan {
  GemmPlan(const GemmArguments& g, int threads, size_t limit)
      : depth(std::min(g.a.columns, kDepthBlock)), panels(lanePanelCount(std::min(g.c.columns, kMostLanesPerBlock))) {
    const int64_t blocks = ceilDivide(lanePanelCount(g.c.columns), panels);
    panels = ceilDivide(lanePanelCount(g.c.columns), blocks);
    for (;; panels = ceilDivide(panels, 2)) {
      groupPanels = panels;
      tiles = ceilDivide(g.c.rows, kColumnTile);
      // Three tasks a thread even out; below 8 panels or 56 rows, packing would cost more than that gains.
      while (threads > 1 && tiles * groups() < 3 * threads && groupPanels > 8) groupPanels = ceilDivide(groupPanels, 2);
      while (threads > 1 && tiles * groups() < 3 * threads && ceilDivide(g.c.rows, tiles) > 56) tiles *= 2;
      tileRows = ceilDivide(g.c.rows, tiles);
      tiles = ceilDivide(g.c.rows, tileRows);
      WorkspaceCursor measure;
      take(measure, threads);
      bytes = measure.used();
      if (bytes <= limit || panels <= 1) return;
    }
  }

  struct Buffers {
    float *packedLanes, *packedRows;
  };
  Buffers take(WorkspaceCursor& cursor, int threads) const {
    return {cursor.take<float>(panels * kLanePanel * depth), cursor.take<float>(threads * tileFloats())};
  }
  int64_t tileFloats() const { return tileRows * depth; }
  int64_t groups() const { return ceilDivide(panels, groupPanels); }

  int64_t depth;   // of a block
  int64_t panels;  // of a block of c's columns
  int64_t groupPanels, tiles, tileRows;
  size_t bytes;
};

void scale(const Matrix<float>& c, float beta) {
  for (int64_t i = 0; i < c.rows; ++i)
    for (int64_t j = 0; j < c.columns; ++j) c(i, j) = beta == 0 ? 0.0f : beta * c(i, j);
}

size_t workspaceBytes(const GemmArguments& g, int threads, size_t limit) {
  if (g.c.rows == 0 || g.c.columns == 0) return 0;
  return GemmPlan(g, threads, limit).bytes;
}

// One task and one block of the depth: c's tile (+)= alpha * a's tile * packed lanes.
void multiplyTile(const Matrix<const float>& a, float alpha, const float* lanes, float* packed, const Matrix<float>& c,
                  bool accumulate) {
  const BroadcastPanels split(a.rows);
  packBroadcastPanels(a, split, packed);
  if (alpha != 1)
    for (int64_t i = 0; i < a.rows * a.columns; ++i) packed[i] *= alpha;
  for (int64_t p = 0; p < lanePanelCount(c.columns); ++p)
    multiplyPanels({split, packed, a.columns}, {0, a.rows}, lanes + p * kLanePanel * a.columns,
                   {.depthBegin = 0,
                    .depthCount = a.columns,
                    .out = c.data + p * kLanePanel,
                    .outStride = c.rowStride,
                    .accumulate = accumulate,
                    .validLanes = std::min(kLanePanel, c.columns - p * kLanePanel)});
}

void run(const GemmArguments& g, const Execution& execution, size_t limit, std::byte* workspace) {
  if (g.c.rows == 0 || g.c.columns == 0) return;
  const GemmPlan plan(g, execution.threads, limit);
  WorkspaceCursor cursor(workspace);
  const GemmPlan::Buffers buffers = plan.take(cursor, execution.threads);
  if (g.a.columns == 0) return scale(g.c, g.beta);

  for (int64_t first = 0; first < g.c.columns; first += plan.panels * kLanePanel) {
    const int64_t lanes = std::min(plan.panels * kLanePanel, g.c.columns - first);
    const int64_t groups = ceilDivide(lanes, plan.groupPanels * kLanePanel);
    for (int64_t k = 0; k < g.a.columns; k += plan.depth) {
      const int64_t depth = std::min(plan.depth, g.a.columns - k);
      packLanePanels(columnsOf(rowsOf(g.b.transposed(), first, lanes), k, depth), buffers.packedLanes, execution);
      execution.forEach(plan.tiles * groups, [&](int64_t task, int slot) {
        execution.throwIfCancelled();
        const int64_t lane = task % groups * plan.groupPanels * kLanePanel, row = task / groups * plan.tileRows;
        const int64_t rows = std::min(plan.tileRows, g.c.rows - row);
        const Matrix<float> c =
            columnsOf(rowsOf(g.c, row, rows), first + lane, std::min(plan.groupPanels * kLanePanel, lanes - lane));
        if (k == 0 && g.beta != 0 && g.beta != 1) scale(c, g.beta);
        multiplyTile(columnsOf(rowsOf(g.a, row, rows), k, depth), g.alpha, buffers.packedLanes + lane * depth,
                     buffers.packedRows + slot * plan.tileFloats(), c, k > 0 || g.beta != 0);
      });
    }
  }
}

}  // namespace

const GemmKernels gemmKernels = {workspaceBytes, run};

}  // namespace fk::cpu::FK_ISA
