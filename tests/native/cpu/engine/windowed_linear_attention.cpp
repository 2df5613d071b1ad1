#include "cpu/engine/windowed_linear_attention.h"

#include <cstdlib>

#include "cpu/engine/backward-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

using Arguments = WindowedLinearAttentionArguments;

struct WindowedLinearAttention {
  struct Panel {
    alignas(64) float rescale[kLanePanel];
  };

  int64_t window;

  Range visible(Range rows, Range columns) const { return columns.intersect({rows.begin - window, rows.end + window}); }

  void begin(Panel& panel, Range) const { std::fill_n(panel.rescale, kLanePanel, 1.0f); }
  void fold(Panel&, const ScoreTile& tile) const { clearOutside(tile, tile.scores); }

  void gradient(const ScoreTile& tile, float* dWeights) const {
    clearOutside(tile, tile.scores);
    clearOutside(tile, dWeights);
  }

 private:
  void clearOutside(const ScoreTile& tile, float* scores) const {
    for (int64_t column = tile.columns.begin; column < tile.columns.end; ++column)
      for (int64_t lane = 0; lane < kLanePanel; ++lane, ++scores)
        if (std::abs(tile.rows.begin + lane - column) > window) *scores = 0;
  }
};

constexpr int64_t kRows = kDepthBlock;  // per block

struct ForwardBuffers {
  ForwardBuffers(WorkspaceCursor& cursor, const Arguments& a)
      : scratch(TileScratch::take(cursor, lanePanelCount(kRows), a.q.columns)),
        packedRows(cursor.take<float>(kRows * a.q.columns)),
        packedValues(cursor.take<float>(kColumnTile * a.v.columns)),
        sums(cursor.take<float>(kRows * a.v.columns)),
        panels(cursor.take<WindowedLinearAttention::Panel>(lanePanelCount(kRows))) {}

  TileScratch scratch;
  float *packedRows, *packedValues, *sums;
  WindowedLinearAttention::Panel* panels;
};

size_t forwardBytes(const Arguments& a, int, size_t) {
  WorkspaceCursor measure;
  ForwardBuffers(measure, a);
  return measure.used();
}

void forward(const Arguments& a, const Execution& execution, size_t, std::byte* workspace) {
  WorkspaceCursor cursor(workspace);
  const ForwardBuffers buffers(cursor, a);
  for (int64_t first = 0; first < a.q.rows; first += kRows) {
    const PackedRows x{buffers.packedRows, {first, std::min(first + kRows, a.q.rows)}, a.q.columns};
    packLanePanels(rowsOf(a.q, first, x.rows.size()), buffers.packedRows, execution);
    reduceRowsWithValues(WindowedLinearAttention{a.window}, x, a.k, a.v, buffers.panels, buffers.sums, buffers.scratch,
                         buffers.packedValues, execution);
    for (int64_t p = 0; p < x.panels(); ++p)
      unpackLanePanel(buffers.sums + p * kLanePanel * a.v.columns, p, rowsOf(a.output, first, x.rows.size()));
  }
}

BackwardSweep makeSweep(const Arguments& a) {
  return {{.x = a.q,
           .y = a.k,
           .dX = a.dQ,
           .dY = a.dK,
           .second = SecondPair::kWithGradient,
           .dZ = a.dOutput,
           .w = a.v,
           .dW = a.dV},
          kRows,
          kWindowStep};
}

size_t backwardBytes(const Arguments& a, int threads, size_t) {
  WorkspaceCursor measure;
  makeSweep(a).takeWorkspace(measure, threads);
  return measure.used();
}

void backward(const Arguments& a, const Execution& execution, size_t, std::byte* workspace) {
  WorkspaceCursor cursor(workspace);
  BackwardSweep sweep = makeSweep(a);
  sweep.takeWorkspace(cursor, execution.threads);
  for (int64_t block = 0; block < sweep.blocks(); ++block) {
    sweep.begin(sweep.block(block), execution, [](int64_t) { return false; });
    sweep.run(WindowedLinearAttention{a.window}, false, execution);
  }
}

}  // namespace

const WindowedLinearAttentionKernels windowedLinearAttentionKernels = {forwardBytes, backwardBytes, forward, backward};

}  // namespace fk::cpu::FK_ISA
