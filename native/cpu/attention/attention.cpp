// Exact attention as an operator on the streaming engine: Dao, "FlashAttention-2", 2023. Queries lie along the lanes, keys
// are the score columns, and the values are contracted with each tile of weights while it is in cache.
#include "cpu/attention/attention.h"

#include "cpu/engine/backward-inl.h"
#include "cpu/engine/online_softmax-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

struct AttentionOp {
  struct Panel {
    OnlineSoftmax softmax;
    alignas(64) float rescale[kLanePanel];
  };

  int64_t queries, keys;
  float scale;
  bool causal;
  const float* logSumExp = nullptr;  // backward: of the current row block, from firstRow on, and
  const float* delta = nullptr;      // sum over v of output * dOutput per row
  int64_t firstRow = 0;

  // Bottom-right alignment: the last query sees the last key.
  int64_t lastKey(int64_t query) const { return query + keys - queries; }

  Range visible(Range rows) const { return {0, causal ? std::clamp<int64_t>(lastKey(rows.end - 1) + 1, 0, keys) : keys}; }

  void begin(Panel& panel, Range) const { panel.softmax.begin(); }

  void fold(Panel& panel, const ScoreTile& tile) const {
    const float remaining = applyMask(tile);
    panel.softmax.fold<true>(tile.scores, tile.columns.size(), remaining, panel.rescale);
  }

  // weights = exp(scale * s - logSumExp), dScores = scale * weights * (dWeights - delta)
  void gradient(const ScoreTile& tile, float* dWeights) const {
    const FloatTag d;
    const FloatVector remaining = hn::Set(d, applyMask(tile)), vScale = hn::Set(d, scale);
    const int64_t row = tile.rows.begin - firstRow;
    for (int64_t half = 0; half < kLanePanel; half += kLanes) {
      const FloatVector shift = hn::LoadU(d, logSumExp + row + half), vDelta = hn::LoadU(d, delta + row + half);
      for (int64_t c = 0; c < tile.columns.size(); ++c) {
        float *score = tile.scores + c * kLanePanel + half, *gradient = dWeights + c * kLanePanel + half;
        const FloatVector weight = ExpBelowOverflow(d, hn::MulSub(remaining, hn::Load(d, score), shift));
        hn::Store(weight, d, score);
        hn::Store(hn::Mul(hn::Mul(vScale, weight), hn::Sub(hn::Load(d, gradient), vDelta)), d, gradient);
      }
    }
  }

 private:
  // Scales a tile that the mask cuts and sets what is hidden to -inf. Returns the scale that scores still need: tiles wholly
  // in sight are left alone, and are scaled on the way into exp.
  float applyMask(const ScoreTile& tile) const {
    if (!causal || lastKey(tile.rows.begin) + 1 >= tile.columns.end) return scale;
    const FloatTag d;
    const FloatVector vScale = hn::Set(d, scale), hidden = hn::Set(d, kMinusInfinity);
    for (int64_t column = tile.columns.begin; column < tile.columns.end; ++column) {
      float* at = tile.scores + (column - tile.columns.begin) * kLanePanel;
      const int64_t hiddenLanes = std::clamp<int64_t>(column - lastKey(tile.rows.begin), 0, kLanePanel);
      for (int64_t half = 0; half < kLanePanel; half += kLanes) {
        const auto mask = hn::FirstN(d, static_cast<size_t>(std::clamp<int64_t>(hiddenLanes - half, 0, kLanes)));
        hn::Store(hn::IfThenElse(mask, hidden, hn::Mul(vScale, hn::Load(d, at + half))), d, at + half);
      }
    }
    return 1.0f;
  }
};

using Panel = AttentionOp::Panel;

AttentionOp makeOp(const AttentionArguments& a) { return {a.q.sequence, a.k.sequence, a.scale, a.causal}; }

int64_t heads(const AttentionArguments& a) { return a.q.batch * a.q.heads; }

Vector<float> logSumExpOf(const AttentionArguments& a, int64_t b, int64_t h) {
  if (!a.logSumExp.data) return {};
  return {a.logSumExp.data + b * a.logSumExp.batchStride + h * a.logSumExp.headStride, a.q.sequence, a.logSumExp.rowStride};
}

// Queries are cut into blocks that pack the keys and values again: 512 rows make that 1 % to 2 % of the work. Blocks get
// smaller where there would be too few to keep the threads busy.
struct ForwardPlan {
  ForwardPlan(const AttentionArguments& a, int threads) {
    rows = std::clamp<int64_t>(ceilDivide(a.q.sequence, kLanePanel) * kLanePanel, kLanePanel, 512);
    while (heads(a) * blocks(a) < 4 * threads && rows >= 8 * kLanePanel)
      rows = ceilDivide(rows / 2, kLanePanel) * kLanePanel;
  }
  int64_t blocks(const AttentionArguments& a) const { return ceilDivide(a.q.sequence, rows); }

  int64_t rows;
};

struct ForwardBuffers {
  ForwardBuffers(WorkspaceCursor& cursor, const AttentionArguments& a, const ForwardPlan& plan)
      : scratch(TileScratch::take(cursor, lanePanelCount(plan.rows), a.q.dim)),
        packedRows(cursor.take<float>(plan.rows * a.q.dim)),
        packedValues(cursor.take<float>(kColumnTile * a.v.dim)),
        sums(cursor.take<float>(plan.rows * a.v.dim)),
        panels(cursor.take<Panel>(lanePanelCount(plan.rows))) {}

  TileScratch scratch;
  float *packedRows, *packedValues, *sums;
  Panel* panels;
};

size_t bytesOf(const AttentionArguments& a, const ForwardPlan& plan) {
  WorkspaceCursor measure;
  ForwardBuffers(measure, a, plan);
  return measure.used();
}

// sums / softmax.sum to the output, and the log-sum-exp.
void finishPanel(const Panel& panel, float* sums, int64_t p, const Matrix<float>& output, Vector<float> logSumExp,
                 Range rows) {
  const FloatTag d;
  for (int64_t half = 0; half < kLanePanel; half += kLanes) {
    const FloatVector sum = hn::Load(d, panel.softmax.sum + half);
    const FloatVector inverse = hn::IfThenZeroElse(hn::Eq(sum, hn::Zero(d)), hn::Div(hn::Set(d, 1.0f), sum));
    for (int64_t i = half; i < output.columns * kLanePanel; i += kLanePanel)
      hn::Store(hn::Mul(hn::Load(d, sums + i), inverse), d, sums + i);
  }
  unpackLanePanel(sums, p, output);
  if (!logSumExp) return;
  float values[kLanePanel];
  panel.softmax.logSumExp(values);
  for (int64_t row = rows.begin; row < rows.end; ++row) logSumExp[row] = values[row - rows.begin];
}

void forward(const AttentionArguments& a, const Execution& execution, size_t, std::byte* workspace) {
  const ForwardPlan plan(a, execution.threads);
  const size_t slotBytes = bytesOf(a, plan);
  const AttentionOp op = makeOp(a);
  execution.forEach(heads(a) * plan.blocks(a), [&](int64_t task, int slot) {
    WorkspaceCursor cursor(workspace + slot * slotBytes);
    const ForwardBuffers buffers(cursor, a, plan);
    const int64_t head = task / plan.blocks(a), first = task % plan.blocks(a) * plan.rows;
    const int64_t b = head / a.q.heads, h = head % a.q.heads;
    const PackedRows x{buffers.packedRows, {first, std::min(first + plan.rows, a.q.sequence)}, a.q.dim};
    packLanePanels(rowsOf(a.q.head(b, h), first, x.rows.size()), buffers.packedRows, execution.serial());
    reduceRowsWithValues(op, x, a.k.head(b, h), a.v.head(b, h), buffers.panels, buffers.sums, buffers.scratch,
                         buffers.packedValues, execution.serial());
    const Matrix<float> output = rowsOf(a.output.head(b, h), first, x.rows.size());
    for (int64_t p = 0; p < x.panels(); ++p)
      finishPanel(buffers.panels[p], buffers.sums + p * kLanePanel * a.v.dim, p, output, logSumExpOf(a, b, h), x.rowsOf(p));
  });
}

// Many heads run side by side, each on one thread with tiles that stay in its cache; few heads one after another, each on
// all threads. The bits are the same: see BackwardSweep.
struct BackwardPlan {
  BackwardPlan(const AttentionArguments& a, int threads)
      : headsSideBySide(threads == 1 || heads(a) >= 2 * threads),
        rows(headsSideBySide ? kDepthBlock : 2 * kDepthBlock),
        window((headsSideBySide ? 1 : 4) * kWindowStep) {}

  bool headsSideBySide;
  int64_t rows, window;
};

struct BackwardBuffers {
  BackwardBuffers(WorkspaceCursor& cursor, const AttentionArguments& a, const BackwardPlan& plan, int64_t b, int64_t h,
                  int threads)
      : sweep({.x = a.q.head(b, h),
               .y = a.k.head(b, h),
               .dX = a.dQ.head(b, h),
               .dY = a.dK.head(b, h),
               .second = SecondPair::kWithGradient,
               .dZ = a.dOutput.head(b, h),
               .w = a.v.head(b, h),
               .dW = a.dV.head(b, h)},
              plan.rows, plan.window) {
    sweep.takeWorkspace(cursor, threads);
    logSumExp = cursor.take<float>(plan.rows);
    delta = cursor.take<float>(plan.rows);
  }

  BackwardSweep sweep;
  float *logSumExp, *delta;
};

float dot(const float* a, const float* b, int64_t count) {
  const FloatTag d;
  FloatVector sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) sum = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum);
  float result = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < count; ++i) result += a[i] * b[i];
  return result;
}

void backwardHead(const AttentionArguments& a, int64_t b, int64_t h, BackwardBuffers& buffers, const Execution& execution) {
  const Matrix<const float> output = a.savedOutput.head(b, h), dOutput = a.dOutput.head(b, h);
  const Vector<float> logSumExp = logSumExpOf(a, b, h);
  for (int64_t index = 0; index < buffers.sweep.blocks(); ++index) {
    const Range block = buffers.sweep.block(index);
    std::fill_n(buffers.logSumExp, lanePanelCount(block.size()) * kLanePanel, 0.0f);
    std::fill_n(buffers.delta, lanePanelCount(block.size()) * kLanePanel, 0.0f);
    for (int64_t row = block.begin; row < block.end; ++row) {
      if (logSumExp[row] == kMinusInfinity) continue;  // sees no key: all its weights are 0 relative to any shift
      buffers.logSumExp[row - block.begin] = logSumExp[row];
      buffers.delta[row - block.begin] = dot(output.row(row), dOutput.row(row), output.columns);
    }
    AttentionOp op = makeOp(a);
    op.logSumExp = buffers.logSumExp, op.delta = buffers.delta, op.firstRow = block.begin;
    buffers.sweep.begin(block, execution, [](int64_t) { return false; });
    buffers.sweep.run(op, false, execution);
  }
}

size_t bytesOf(const AttentionArguments& a, const BackwardPlan& plan, int threads) {
  WorkspaceCursor measure;
  BackwardBuffers(measure, a, plan, 0, 0, threads);
  return measure.used();
}

void backward(const AttentionArguments& a, const Execution& execution, size_t, std::byte* workspace) {
  const BackwardPlan plan(a, execution.threads);
  const auto headAt = [&](int64_t head, std::byte* base, const Execution& inner) {
    WorkspaceCursor cursor(base);
    const int64_t b = head / a.q.heads, h = head % a.q.heads;
    BackwardBuffers buffers(cursor, a, plan, b, h, inner.threads);
    backwardHead(a, b, h, buffers, inner);
  };
  if (!plan.headsSideBySide) {
    for (int64_t head = 0; head < heads(a); ++head) headAt(head, workspace, execution);
    return;
  }
  const size_t slotBytes = bytesOf(a, plan, 1);
  execution.forEach(heads(a),
                    [&](int64_t head, int slot) { headAt(head, workspace + slot * slotBytes, execution.serial()); });
}

size_t forwardBytes(const AttentionArguments& a, int threads, size_t) {
  return threads * bytesOf(a, ForwardPlan(a, threads));
}

size_t backwardBytes(const AttentionArguments& a, int threads, size_t) {
  const BackwardPlan plan(a, threads);
  return plan.headsSideBySide ? threads * bytesOf(a, plan, 1) : bytesOf(a, plan, threads);
}

}  // namespace

const AttentionKernels attentionKernels = {forwardBytes, backwardBytes, forward, backward};

}  // namespace fk::cpu::FK_ISA
