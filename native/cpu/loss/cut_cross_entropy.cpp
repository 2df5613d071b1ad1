// Cut cross-entropy as an operator on the streaming engine: Wijmans et al., "Cut Your Losses in Large-Vocabulary Language
// Models", 2024.
//
//   forward            one sweep; a row remembers its running maximum, sum and target score
//   backward           scores again, tile by tile, from the saved log-sum-exp: with forward, 4 GEMM passes
//   lossAndGradient    fused: a block of rows keeps its scores between the sweep and the gradients: 3 GEMM passes
#include "cpu/loss/cut_cross_entropy.h"

#include "cpu/engine/backward-inl.h"
#include "cpu/engine/online_softmax-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

// With R rows to a block, a step of the classifier's gradient reads and writes memory 2.7 P / (R W) as long as it computes
// (P operations, W floats per second): a few hundred rows hide that on any machine we know.
constexpr int64_t kForwardRows = 1024;
constexpr int64_t kFusedRows = 512;
constexpr int64_t kBackwardWindow = 16 * kColumnTile;

struct CutCrossEntropy {
  struct Panel {
    OnlineSoftmax softmax;
    float target[kLanePanel];
  };

  const CutCrossEntropyArguments& arguments;
  const float* logSumExp = nullptr;  // of the current row block, from firstRow on; and the scale of each row's gradient
  const float* gradientScale = nullptr;
  int64_t firstRow = 0;

  Range visible(Range) const { return {0, arguments.classifier.rows}; }

  void begin(Panel& panel, Range) const {
    panel.softmax.begin();
    std::fill_n(panel.target, kLanePanel, 0.0f);
  }

  void fold(Panel& panel, const ScoreTile& tile) const {
    panel.softmax.fold<false>(tile.scores, tile.columns.size(), 1.0f);
    forEachTarget(tile, [&](int64_t lane, float& score) { panel.target[lane] = score; });
  }

  void merge(Panel& panel, const Panel& later) const {
    panel.softmax.merge(later.softmax);
    for (int64_t lane = 0; lane < kLanePanel; ++lane) panel.target[lane] += later.target[lane];  // one of them is 0
  }

  // dScores = (softmax - onehot(target)) * gradientScale; exactly 0 where that scale is, even if the scores are NaN.
  void gradient(const ScoreTile& tile, float*) const {
    const FloatTag d;
    const int64_t row = tile.rows.begin - firstRow;
    for (int64_t half = 0; half < kLanePanel; half += kLanes) {
      const FloatVector shift = hn::LoadU(d, logSumExp + row + half), scale = hn::LoadU(d, gradientScale + row + half);
      const auto unscaled = hn::Eq(scale, hn::Zero(d));
      for (int64_t c = 0; c < tile.columns.size(); ++c) {
        float* at = tile.scores + c * kLanePanel + half;
        const FloatVector probability = ExpBelowOverflow(d, hn::Sub(hn::Load(d, at), shift));
        hn::Store(hn::IfThenZeroElse(unscaled, hn::Mul(scale, probability)), d, at);
      }
    }
    forEachTarget(tile, [&](int64_t lane, float& score) { score -= gradientScale[row + lane]; });
  }

 private:
  template <class Function>
  void forEachTarget(const ScoreTile& tile, Function&& function) const {
    for (int64_t row = tile.rows.begin; row < tile.rows.end; ++row) {
      const int64_t target = arguments.targets[row];
      if (target < tile.columns.begin || target >= tile.columns.end) continue;
      const int64_t lane = row - tile.rows.begin;
      function(lane, tile.scores[(target - tile.columns.begin) * kLanePanel + lane]);
    }
  }
};

using Panel = CutCrossEntropy::Panel;

int64_t validRows(const CutCrossEntropyArguments& a) {
  int64_t valid = 0;
  for (int64_t row = 0; row < a.embeddings.rows; ++row) valid += !a.ignored(row);
  return valid;
}

// Turns the panels of a row block into losses and log-sum-exps, and adds up the loss in double, rows ascending.
class LossSum {
 public:
  explicit LossSum(const CutCrossEntropyArguments& a) : a_(a) {}

  void add(const PackedRows& x, const Panel* panels, float* logSumExp) {
    for (int64_t p = 0; p < x.panels(); ++p) {
      float* block = logSumExp + p * kLanePanel;
      panels[p].softmax.logSumExp(block);
      const Range rows = x.rowsOf(p);
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        const int64_t lane = row - rows.begin;
        const float loss = a_.ignored(row) ? 0.0f : block[lane] - panels[p].target[lane];
        if (a_.logSumExp) a_.logSumExp[row] = block[lane];
        if (a_.reduction == FK_REDUCTION_NONE) a_.loss[row] = loss;
        sum_ += loss;
      }
    }
  }

  void finish() const {
    if (a_.reduction == FK_REDUCTION_NONE) return;
    const int64_t rows = a_.reduction == FK_REDUCTION_MEAN ? std::max<int64_t>(1, validRows(a_)) : 1;
    a_.loss[0] = static_cast<float>(sum_ / static_cast<double>(rows));
  }

 private:
  const CutCrossEntropyArguments& a_;
  double sum_ = 0;
};

// Space for the sweep of one row block.
struct ReduceBuffers {
  ReduceBuffers(WorkspaceCursor& cursor, const CutCrossEntropyArguments& a, int64_t rows)
      : panels(cursor.take<Panel>(lanePanelCount(rows))),
        partials(cursor.take<Panel>(lanePanelCount(rows) * ColumnChunks(a.classifier.rows).count)),
        logSumExp(cursor.take<float>(lanePanelCount(rows) * kLanePanel)) {}

  Panel *panels, *partials;
  float* logSumExp;
};

struct ForwardBuffers {
  ForwardBuffers(WorkspaceCursor& cursor, const CutCrossEntropyArguments& a, int64_t rows, int threads)
      : reduce(cursor, a, rows),
        packedRows(cursor.take<float>(lanePanelFloats(rows, a.embeddings.columns))),
        tiles(cursor, threads, lanePanelCount(rows), a.embeddings.columns) {}

  ReduceBuffers reduce;
  float* packedRows;
  TileScratches tiles;
};

// Fewer rows to a block where the limit asks for it.
struct ForwardPlan {
  ForwardPlan(const CutCrossEntropyArguments& a, int threads, size_t limit)
      : rows(std::min(rowsPerBlock(a.embeddings.rows, kForwardRows), std::max<int64_t>(1, a.embeddings.rows))) {
    for (;; rows = ceilDivide(rows / 2, kLanePanel) * kLanePanel) {
      WorkspaceCursor measure;
      ForwardBuffers(measure, a, rows, threads);
      bytes = measure.used();
      if (bytes <= limit || rows <= kLanePanel) return;
    }
  }

  int64_t rows;
  size_t bytes;
};

void forward(const CutCrossEntropyArguments& a, const Execution& execution, size_t limit, std::byte* workspace) {
  const ForwardPlan plan(a, execution.threads, limit);
  WorkspaceCursor cursor(workspace);
  const ForwardBuffers buffers(cursor, a, plan.rows, execution.threads);
  LossSum loss(a);
  for (int64_t first = 0; first < a.embeddings.rows; first += plan.rows) {
    const PackedRows x{buffers.packedRows, {first, std::min(first + plan.rows, a.embeddings.rows)}, a.embeddings.columns};
    packLanePanels(rowsOf(a.embeddings, first, x.rows.size()), buffers.packedRows, execution);
    reduceRows(CutCrossEntropy{a}, x, a.classifier, buffers.reduce.panels, buffers.reduce.partials, buffers.tiles,
               execution);
    loss.add(x, buffers.reduce.panels, buffers.reduce.logSumExp);
  }
  loss.finish();
}

// Both gradient schedules: fused when the window is the whole vocabulary.
struct GradientPlan {
  GradientPlan(const CutCrossEntropyArguments& a, bool fused, int threads, size_t limit)
      : rows(rowsPerBlock(a.embeddings.rows, fused ? kFusedRows : kForwardRows)),
        window(fused ? std::max<int64_t>(1, a.classifier.rows) : kBackwardWindow) {
    while (true) {
      WorkspaceCursor measure;
      take(measure, a, threads);
      bytes = measure.used();
      if (bytes <= limit) return;
      if (!fused && window > kColumnTile)
        window = ceilDivide(window / 2, kColumnTile) * kColumnTile;
      else if (rows > kDepthBlock)
        rows = ceilDivide(rows / 2, kDepthBlock) * kDepthBlock;
      else
        return;
    }
  }

  struct Buffers {
    BackwardSweep sweep;
    ReduceBuffers reduce;
    float* gradientScale;
  };
  Buffers take(WorkspaceCursor& cursor, const CutCrossEntropyArguments& a, int threads) const {
    const int64_t blockRows = std::min(rows, std::max<int64_t>(1, a.embeddings.rows));
    BackwardSweep sweep({a.embeddings, a.classifier, a.dEmbeddings, a.dClassifier}, rows, window);
    sweep.takeWorkspace(cursor, threads);
    return {sweep, {cursor, a, blockRows}, cursor.take<float>(lanePanelCount(blockRows) * kLanePanel)};
  }

  int64_t rows, window;
  size_t bytes;
};

// d(reported loss) / d(row's loss), 0 for ignored rows and padding.
void fillGradientScale(const CutCrossEntropyArguments& a, const PackedRows& x, float* scale) {
  const float mean = a.reduction == FK_REDUCTION_MEAN ? 1.0f / static_cast<float>(std::max<int64_t>(1, validRows(a))) : 1.0f;
  std::fill_n(scale, x.panels() * kLanePanel, 0.0f);
  for (int64_t row = x.rows.begin; row < x.rows.end; ++row) {
    if (a.ignored(row)) continue;
    const float upstream = a.gradLoss ? a.gradLoss[a.reduction == FK_REDUCTION_NONE ? row : 0] : 1.0f;
    scale[row - x.rows.begin] = upstream * mean;
  }
}

void clear(const Matrix<float>& m) {
  for (int64_t i = 0; m && i < m.rows; ++i) std::fill_n(m.row(i), m.columns, 0.0f);
}

void backward(const CutCrossEntropyArguments& a, const Execution& execution, size_t limit, std::byte* workspace) {
  if (a.embeddings.rows == 0) return clear(a.dClassifier);
  const GradientPlan plan(a, false, execution.threads, limit);
  WorkspaceCursor cursor(workspace);
  GradientPlan::Buffers buffers = plan.take(cursor, a, execution.threads);
  for (int64_t block = 0; block < buffers.sweep.blocks(); ++block) {
    buffers.sweep.begin(buffers.sweep.block(block), execution, [&](int64_t row) { return a.ignored(row); });
    const PackedRows x = buffers.sweep.packedRows();
    std::fill_n(buffers.reduce.logSumExp, x.panels() * kLanePanel, 0.0f);
    for (int64_t row = x.rows.begin; row < x.rows.end; ++row)
      buffers.reduce.logSumExp[row - x.rows.begin] = a.logSumExp[row];
    fillGradientScale(a, x, buffers.gradientScale);
    buffers.sweep.run(CutCrossEntropy{a, buffers.reduce.logSumExp, buffers.gradientScale, x.rows.begin}, false, execution);
  }
}

bool isFused(const CutCrossEntropyArguments& a, int threads, size_t limit) {
  if (a.schedule != FK_SCHEDULE_AUTO) return a.schedule == FK_SCHEDULE_FUSED;
  return GradientPlan(a, true, threads, limit).bytes <= limit;
}

void fusedLossAndGradient(const CutCrossEntropyArguments& a, const Execution& execution, size_t limit,
                          std::byte* workspace) {
  const GradientPlan plan(a, true, execution.threads, limit);
  WorkspaceCursor cursor(workspace);
  GradientPlan::Buffers buffers = plan.take(cursor, a, execution.threads);
  BackwardSweep& sweep = buffers.sweep;
  LossSum loss(a);
  for (int64_t block = 0; block < sweep.blocks(); ++block) {
    sweep.begin(sweep.block(block), execution, [&](int64_t row) { return a.ignored(row); });
    const PackedRows x = sweep.packedRows();
    reduceRows(
        CutCrossEntropy{a}, x, a.classifier, buffers.reduce.panels, buffers.reduce.partials,
        [&](int slot, Range tile) { return sweep.keptTile(slot, tile); }, execution);
    loss.add(x, buffers.reduce.panels, buffers.reduce.logSumExp);
    fillGradientScale(a, x, buffers.gradientScale);
    sweep.run(CutCrossEntropy{a, buffers.reduce.logSumExp, buffers.gradientScale, x.rows.begin}, true, execution);
  }
  if (a.embeddings.rows == 0) clear(a.dClassifier);
  loss.finish();
}

// The recomputing schedule is forward, then backward from its log-sum-exp, which the workspace keeps if the caller does not.
struct RecomputePlan {
  RecomputePlan(const CutCrossEntropyArguments& a, size_t limit, std::byte* workspace)
      : arguments(a), cursor(workspace), limit(limit) {
    const int64_t rows = a.embeddings.rows;
    if (!arguments.logSumExp) arguments.logSumExp = {cursor.take<float>(rows), rows, 1};
    this->limit -= std::min(limit, cursor.used());
  }

  CutCrossEntropyArguments arguments;
  WorkspaceCursor cursor;
  size_t limit;  // what is left for either half
};

void lossAndGradient(const CutCrossEntropyArguments& a, const Execution& execution, size_t limit, std::byte* workspace) {
  if (isFused(a, execution.threads, limit)) return fusedLossAndGradient(a, execution, limit, workspace);
  const RecomputePlan plan(a, limit, workspace);
  forward(plan.arguments, execution, plan.limit, workspace + plan.cursor.used());
  backward(plan.arguments, execution, plan.limit, workspace + plan.cursor.used());
}

size_t forwardBytes(const CutCrossEntropyArguments& a, int threads, size_t limit) {
  return ForwardPlan(a, threads, limit).bytes;
}

size_t backwardBytes(const CutCrossEntropyArguments& a, int threads, size_t limit) {
  return GradientPlan(a, false, threads, limit).bytes;
}

size_t lossAndGradientBytes(const CutCrossEntropyArguments& a, int threads, size_t limit) {
  if (isFused(a, threads, limit)) return GradientPlan(a, true, threads, limit).bytes;
  const RecomputePlan plan(a, limit, nullptr);
  return plan.cursor.used() + std::max(forwardBytes(a, threads, plan.limit), backwardBytes(a, threads, plan.limit));
}

}  // namespace

const CutCrossEntropyKernels cutCrossEntropyKernels = {forwardBytes, backwardBytes, lossAndGradientBytes,
                                                       forward,      backward,      lossAndGradient};

}  // namespace fk::cpu::FK_ISA
