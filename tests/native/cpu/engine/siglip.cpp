#include "cpu/engine/siglip.h"

#include "cpu/engine/backward-inl.h"
#include "cpu/engine/vector_math-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

struct Siglip {
  struct Panel {
    alignas(64) float loss[kLanePanel];
  };

  float scale, bias, weight;  // weight: 1 / N

  Range visible(Range, Range columns) const { return columns; }
  void begin(Panel& panel, Range) const { std::fill_n(panel.loss, kLanePanel, 0.0f); }

  // Leaves u = -l (scale * s + bias) in place of the scores s, where gradient() finds it.
  void fold(Panel& panel, const ScoreTile& tile) const {
    const FloatTag d;
    forEachVector(tile, [&](float* at, int64_t) {
      hn::Store(hn::MulAdd(hn::Set(d, scale), hn::Load(d, at), hn::Set(d, bias)), d, at);
    });
    forEachPositive(tile, [](float& u) { u = -u; });
    forEachVector(tile, [&](const float* at, int64_t half) {
      const FloatVector u = hn::Load(d, at), one = hn::Set(d, 1.0f);
      const FloatVector softplus = hn::Add(hn::Max(u, hn::Zero(d)), Log(d, hn::Add(one, Exp(d, hn::Neg(hn::Abs(u))))));
      hn::Store(hn::Add(hn::Load(d, panel.loss + half), softplus), d, panel.loss + half);
    });
  }

  void merge(Panel& panel, const Panel& later) const {
    for (int64_t lane = 0; lane < kLanePanel; ++lane) panel.loss[lane] += later.loss[lane];
  }

  void gradient(const ScoreTile& tile, float*) const {
    const FloatTag d;
    forEachVector(tile, [&](float* at, int64_t) {
      hn::Store(hn::Mul(hn::Set(d, scale * weight), Sigmoid(d, hn::Load(d, at))), d, at);
    });
    forEachPositive(tile, [](float& gradient) { gradient = -gradient; });
  }

 private:
  template <class Function>
  static void forEachVector(const ScoreTile& tile, Function&& function) {
    for (int64_t c = 0; c < tile.columns.size(); ++c)
      for (int64_t half = 0; half < kLanePanel; half += kLanes) function(tile.scores + c * kLanePanel + half, half);
  }

  template <class Function>
  static void forEachPositive(const ScoreTile& tile, Function&& function) {
    const Range pairs = tile.rows.intersect(tile.columns);
    for (int64_t i = pairs.begin; i < pairs.end; ++i)
      function(tile.scores[(i - tile.columns.begin) * kLanePanel + i - tile.rows.begin]);
  }
};

struct Buffers {
  Buffers(WorkspaceCursor& cursor, const SiglipArguments& a, int threads)
      : sweep({a.x, a.y, a.dX, a.dY}, kDepthBlock, std::max<int64_t>(1, a.y.rows)) {
    sweep.takeWorkspace(cursor, threads);
    const int64_t panelCount = lanePanelCount(kDepthBlock);
    panels = cursor.take<Siglip::Panel>(panelCount);
    partials = cursor.take<Siglip::Panel>(panelCount * ColumnChunks(a.y.rows).count);
  }

  BackwardSweep sweep;
  Siglip::Panel *panels, *partials;
};

size_t bytes(const SiglipArguments& a, int threads, size_t) {
  WorkspaceCursor measure;
  Buffers(measure, a, threads);
  return measure.used();
}

void lossAndGradient(const SiglipArguments& a, const Execution& execution, size_t, std::byte* workspace) {
  WorkspaceCursor cursor(workspace);
  Buffers buffers(cursor, a, execution.threads);
  BackwardSweep& sweep = buffers.sweep;
  const Siglip op{a.scale, a.bias, 1.0f / static_cast<float>(a.x.rows)};
  const auto scratch = [&](int slot, Range tile) { return sweep.keptTile(slot, tile); };
  double loss = 0;
  for (int64_t block = 0; block < sweep.blocks(); ++block) {
    sweep.begin(sweep.block(block), execution, [](int64_t) { return false; });
    const PackedRows x = sweep.packedRows();
    reduceRows(op, x, a.y, buffers.panels, buffers.partials, scratch, execution);
    for (int64_t row = 0; row < x.rows.size(); ++row) loss += buffers.panels[row / kLanePanel].loss[row % kLanePanel];
    sweep.run(op, true, execution);
  }
  *a.loss = static_cast<float>(loss * op.weight);
}

}  // namespace

const SiglipKernels siglipKernels = {bytes, lossAndGradient};

}  // namespace fk::cpu::FK_ISA
