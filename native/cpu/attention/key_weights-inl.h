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
    const FloatTag d;
    const Sequence& s = op.sequence;
    for (int64_t c = 0; c < tile.columns.size(); ++c) {
      const float* at = tile.scores + c * kLanePanel;
      *op.arguments.keyWeights.at(s.item, op.head, 0, s.firstKey + tile.columns.begin + c) +=
          hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Load(d, at), hn::Load(d, at + kLanes))));
    }
  }
};

struct KeyWeightBuffers {
  KeyWeightBuffers(WorkspaceCursor& cursor, const AttentionArguments& a, const SweepPlan& plan)
      : diagonals(cursor, a, false),
        logSumExp(cursor.take<float>(plan.rows)),
        rotatedQueries(cursor.take<float>(a.rotary.dims ? a.q.sequence * a.q.dim : 0)),
        rotatedKeys(cursor.take<float>(a.rotary.dims ? a.k.sequence * a.q.dim : 0)) {}

  Diagonals diagonals;
  float *logSumExp, *rotatedQueries, *rotatedKeys;
};

inline SweepPlan keyWeightsPlan(const AttentionArguments& a, int threads, size_t limit) {
  Ownership everyHead(a);
  everyHead.units = a.sequences * a.q.heads;
  everyHead.oneThread = false;
  return {everyHead, threads, limit, [&](const SweepPlan& plan, int unitThreads) {
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
  forEachUnit(
      a.sequences * a.q.heads, plan, execution, workspace, [&](int64_t unit, std::byte* base, const Execution& inner) {
        const Sequence s = sequenceAt(a, unit / a.q.heads);
        const int64_t h = unit % a.q.heads;
        WorkspaceCursor cursor(base);
        KeyWeightBuffers buffers(cursor, a, plan);
        Operand q = a.q.head(s.item, h, s.firstQuery, s.queries), k = a.k.head(s.item, h / a.group(), s.firstKey, s.keys);
        if (a.rotary.dims > 0) {
          q = rotatedRows(q, rotations.queries, s.position + a.rotary.queryOffset, buffers.rotatedQueries);
          k = rotatedRows(k, rotations.keys, a.rotary.keyOffset, buffers.rotatedKeys);
        }
        BackwardSweep sweep({.x = q, .y = k}, plan.rows, plan.window);
        sweep.takeWorkspace(cursor, inner.threads);
        buffers.diagonals.begin(a, s, h);
        AttentionOp op(a, s, h, buffers.diagonals);
        op.logSumExp = buffers.logSumExp;
        for (int64_t index = 0; index < sweep.blocks(); ++index) {
          const Range block = sweep.block(index);
          std::fill_n(buffers.logSumExp, plan.rows, -kMinusInfinity);
          for (int64_t row = block.begin; row < block.end; ++row) {
            const float logSumExp = *a.logSumExp.at(s.item, h, s.firstQuery + row);
            if (logSumExp != kMinusInfinity) buffers.logSumExp[row - block.begin] = logSumExp;
          }
          op.firstRow = block.begin;
          sweep.begin(block, inner, [](int64_t) { return false; });
          sweep.run(KeyWeights{op}, false, inner);
        }
      });
}

}  // namespace fk::cpu::FK_ISA
