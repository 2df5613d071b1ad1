#include "cpu/engine/top_k.h"

#include <limits>

#include "cpu/engine/forward-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

struct TopK {
  struct Panel {
    alignas(64) float scores[kMostTopK][kLanePanel];  // descending
    int64_t indices[kMostTopK][kLanePanel];
  };

  int64_t k;

  Range visible(Range, Range columns) const { return columns; }

  void begin(Panel& panel, Range) const {
    std::fill_n(panel.scores[0], k * kLanePanel, -std::numeric_limits<float>::infinity());
    std::fill_n(panel.indices[0], k * kLanePanel, -1);
  }

  // A column costs a comparison with the worst score kept; insertions are rare, k log(M / k) per row in random order.
  void fold(Panel& panel, const ScoreTile& tile) const {
    const FloatTag d;
    for (int64_t column = tile.columns.begin; column < tile.columns.end; ++column) {
      const float* scores = tile.scores + (column - tile.columns.begin) * kLanePanel;
      for (int64_t half = 0; half < kLanePanel; half += kLanes) {
        const auto better = hn::Gt(hn::Load(d, scores + half), hn::Load(d, panel.scores[k - 1] + half));
        if (hn::AllFalse(d, better)) continue;
        for (int64_t lane = half; lane < half + kLanes; ++lane) insert(panel, lane, scores[lane], column);
      }
    }
  }

  void merge(Panel& panel, const Panel& later) const {
    for (int64_t i = 0; i < k; ++i)
      for (int64_t lane = 0; lane < kLanePanel; ++lane) insert(panel, lane, later.scores[i][lane], later.indices[i][lane]);
  }

 private:
  // Columns arrive ascending, so of equal scores the earlier column stays in front.
  void insert(Panel& panel, int64_t lane, float score, int64_t column) const {
    if (!(score > panel.scores[k - 1][lane])) return;
    int64_t at = k - 1;
    for (; at > 0 && score > panel.scores[at - 1][lane]; --at) {
      panel.scores[at][lane] = panel.scores[at - 1][lane];
      panel.indices[at][lane] = panel.indices[at - 1][lane];
    }
    panel.scores[at][lane] = score;
    panel.indices[at][lane] = column;
  }
};

constexpr int64_t kRows = 256;  // per block

struct Buffers {
  Buffers(WorkspaceCursor& cursor, const TopKArguments& a, int threads)
      : packedRows(cursor.take<float>(kRows * a.x.columns)), tiles(cursor, threads, lanePanelCount(kRows), a.x.columns) {
    const int64_t panelCount = lanePanelCount(kRows);
    panels = cursor.take<TopK::Panel>(panelCount);
    partials = cursor.take<TopK::Panel>(panelCount * ColumnChunks(a.y.rows).count);
  }

  float* packedRows;
  TileScratches tiles;
  TopK::Panel *panels, *partials;
};

size_t bytes(const TopKArguments& a, int threads, size_t) {
  WorkspaceCursor measure;
  Buffers(measure, a, threads);
  return measure.used();
}

void run(const TopKArguments& a, const Execution& execution, size_t, std::byte* workspace) {
  WorkspaceCursor cursor(workspace);
  const Buffers buffers(cursor, a, execution.threads);
  for (int64_t first = 0; first < a.x.rows; first += kRows) {
    const PackedRows x{buffers.packedRows, {first, std::min(first + kRows, a.x.rows)}, a.x.columns};
    packLanePanels(rowsOf(a.x, first, x.rows.size()), buffers.packedRows, execution);
    reduceRows(TopK{a.scores.columns}, x, a.y, buffers.panels, buffers.partials, buffers.tiles, execution);
    for (int64_t row = 0; row < x.rows.size(); ++row) {
      const TopK::Panel& panel = buffers.panels[row / kLanePanel];
      for (int64_t i = 0; i < a.scores.columns; ++i) {
        a.scores(first + row, i) = panel.scores[i][row % kLanePanel];
        a.indices(first + row, i) = panel.indices[i][row % kLanePanel];
      }
    }
  }
}

}  // namespace

const TopKKernels topKKernels = {bytes, run};

}  // namespace fk::cpu::FK_ISA
