// The column sums of the weights, for pruning tokens: Kim et al., "Learned Token Pruning for Transformers", 2022. One more
// pass over the scores, when the log-sum-exps are known.
#pragma once

#include "cpu/attention/attention_backward-inl.h"

namespace fk::cpu::FK_ISA {

struct KeyWeights {
  const AttentionOp& op;

  Range visible(Range rows, Range columns) const { return op.visible(rows, columns); }

  void gradient(const ScoreTile& tile, float*) const {
    op.toWeights(tile, op.terms.apply(tile));
    const Sequence& s = op.sequence;
    for (int64_t c = 0; c < tile.columns.size(); ++c)
      *op.arguments.keyWeights.at(s.item, op.head, 0, s.firstKey + tile.columns.begin + c) +=
          sumOfLanes(tile.scores + c * kLanePanel);
  }
};

struct KeyWeightBuffers {
  KeyWeightBuffers(WorkspaceCursor& cursor, const AttentionArguments& a, const SweepPlan& plan)
      : diagonals(cursor, a, false),
        logSumExp(cursor.take<float>(plan.rows)),
        rotatedQueries(cursor.take<float>(Rotations::stagingFloats(a, a.q.sequence))),
        rotatedKeys(cursor.take<float>(Rotations::stagingFloats(a, a.k.sequence))) {}

  Diagonals diagonals;
  float *logSumExp, *rotatedQueries, *rotatedKeys;
};

inline SweepPlan keyWeightsPlan(const AttentionArguments& a, int threads, size_t limit) {
  return {a.sequences * a.q.heads, false, threads, limit, [&](const SweepPlan& plan, int unitThreads) {
            WorkspaceCursor measure;
            KeyWeightBuffers(measure, a, plan);
            BackwardSweep({.x = a.q.head(0, 0, 0, a.q.sequence), .y = a.k.head(0, 0, 0, a.k.sequence)}, plan.rows,
                          plan.window)
                .takeWorkspace(measure, unitThreads);
            return measure.used();
          }};
}

inline void sumKeyWeights(const AttentionArguments& a, const Rotations& rotations, const Execution& execution, size_t limit,
                          std::byte* workspace) {
  const SweepPlan plan = keyWeightsPlan(a, execution.threads, limit);
  fill(a.keyWeights, 0);
  forEachUnit(plan, execution, workspace, [&](int64_t unit, std::byte* base, const Execution& inner) {
    const Sequence s = sequenceAt(a, unit / a.q.heads);
    const int64_t h = unit % a.q.heads;
    WorkspaceCursor cursor(base);
    KeyWeightBuffers buffers(cursor, a, plan);
    BackwardSweep sweep({.x = rotations.queries(s, h, {0, s.queries}, buffers.rotatedQueries),
                         .y = rotations.keys(s, h / a.group(), buffers.rotatedKeys)},
                        plan.rows, plan.window);
    sweep.takeWorkspace(cursor, inner.threads);
    buffers.diagonals.begin(a, s, h);
    AttentionOp op(a, s, h, buffers.diagonals);
    op.logSumExp = buffers.logSumExp;
    for (int64_t index = 0; index < sweep.blocks(); ++index) {
      const Range block = sweep.block(index);
      loadLogSumExps(a, s, h, block, plan.rows, buffers.logSumExp);
      op.firstRow = block.begin;
      sweep.begin(block, inner, [](int64_t) { return false; });
      sweep.run(KeyWeights{op}, false, inner);
    }
  });
}

}  // namespace fk::cpu::FK_ISA
