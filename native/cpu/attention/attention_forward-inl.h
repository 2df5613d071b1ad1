// The forward schedule: blocks of the queries of a head are independent tasks, each of which streams the keys once.
#pragma once

#include "cpu/attention/attention_op-inl.h"
#include "cpu/attention/head_rows-inl.h"

namespace fk::cpu::FK_ISA {

inline void fill(const ScoreArray<float>& array, float value) {
  if (!array) return;
  for (int64_t b = 0; b < array.extents[0]; ++b)
    for (int64_t h = 0; h < array.extents[1]; ++h)
      for (int64_t i = 0; i < array.extents[2]; ++i)
        for (int64_t j = 0; j < array.extents[3]; ++j) *array.at(b, h, i, j) = value;
}

// Queries are cut into blocks that pack the keys and values again: 512 rows make that 1 % to 2 % of the work. Blocks get
// smaller where there would be too few to keep the threads busy, or where the workspace is short.
struct ForwardPlan {
  ForwardPlan(const AttentionArguments& a, int threads, size_t limit);

  int64_t heads, blocks, rows;
  size_t slotBytes;
};

struct ForwardBuffers {
  ForwardBuffers(WorkspaceCursor& cursor, const AttentionArguments& a, int64_t rows)
      : scratch(TileScratch::take(cursor, lanePanelCount(rows), a.q.dim)),
        packedRows(cursor.take<float>(lanePanelCount(rows) * kLanePanel * a.q.dim)),
        packedValues(cursor.take<float>(kColumnTile * a.v.dim)),
        sums(cursor.take<float>(lanePanelCount(rows) * kLanePanel * a.v.dim)),
        panels(cursor.take<AttentionOp::Panel>(lanePanelCount(rows))),
        outputRows(cursor.take<float>(a.output.type == DataType::kFloat32 ? 0 : kLanePanel * a.v.dim)),
        rotatedQueries(cursor.take<float>(Rotations::stagingFloats(a, rows))),
        rotatedKeys(cursor.take<float>(Rotations::stagingFloats(a, a.k.sequence))),
        diagonals(cursor, a, false) {}

  TileScratch scratch;
  float *packedRows, *packedValues, *sums;
  AttentionOp::Panel* panels;
  float *outputRows, *rotatedQueries, *rotatedKeys;
  Diagonals diagonals;
};

inline size_t forwardSlotBytes(const AttentionArguments& a, int64_t rows) {
  WorkspaceCursor measure;
  ForwardBuffers(measure, a, rows);
  return measure.used();
}

inline ForwardPlan::ForwardPlan(const AttentionArguments& a, int threads, size_t limit)
    : heads(a.sequences * a.q.heads),
      rows(std::clamp<int64_t>(ceilDivide(a.q.sequence, kLanePanel) * kLanePanel, kLanePanel, 512)) {
  const auto halve = [&] { rows = ceilDivide(rows / 2, kLanePanel) * kLanePanel; };
  while (heads * ceilDivide(a.q.sequence, rows) < 4 * threads && rows >= 8 * kLanePanel) halve();
  while (forwardSlotBytes(a, rows) > limit / static_cast<size_t>(threads) && rows > kLanePanel) halve();
  blocks = ceilDivide(a.q.sequence, rows);
  slotBytes = forwardSlotBytes(a, rows);
}

// What a panel remembers to the caller's rows.
class PanelOutputs {
 public:
  PanelOutputs(const AttentionArguments& a, const Sequence& s, int64_t h) : a_(a), s_(s), h_(h) {}

  void store(const AttentionOp::Panel& panel, float* sums, Range rows, float* staging) const {
    alignas(64) float logSumExp[kLanePanel], inverse[kLanePanel];
    panel.softmax.logSumExp(logSumExp);
    for (int64_t lane = 0; lane < kLanePanel; ++lane)
      inverse[lane] = panel.softmax.sum[lane] == 0 ? 0 : 1 / panel.softmax.sum[lane];
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const int64_t lane = row - rows.begin;
      float max = panel.softmax.max[lane];
      double total = static_cast<double>(panel.softmax.sum[lane]);
      if (a_.sinks) addSink(max, total, logSumExp[lane], inverse[lane]);
      store(a_.logSumExp, row, logSumExp[lane]);
      store(a_.maxScore, row, max);
      if (a_.entropy) store(a_.entropy, row, entropyOf(panel, lane, total));
    }
    storeOutput(inverse, sums, rows, staging);
  }

 private:
  void store(const ScoreArray<float>& to, int64_t row, float value) const {
    if (to) *to.at(s_.item, h_, s_.firstQuery + row) = value;
  }

  // The sink is a key of its own without a value. Summed with the keys from the start, it would take their digits. `total`
  // stays relative to the keys' maximum.
  void addSink(float& max, double& total, float& logSumExp, float& inverse) const {
    const float sink = *a_.sinks.value.at(0, h_);
    if (sink == kMinusInfinity) return;
    total += std::exp(static_cast<double>(sink) - static_cast<double>(max));
    inverse = static_cast<float>(1 / total);
    logSumExp = std::isinf(total) ? sink : static_cast<float>(static_cast<double>(max) + std::log(total));
    max = std::max(max, sink);
  }

  // sums * inverse, one factor per row.
  void storeOutput(const float* inverse, float* sums, Range rows, float* staging) const {
    const FloatTag d;
    const int64_t dim = a_.v.dim;
    for (int64_t half = 0; half < kLanePanel; half += kLanes) {
      const FloatVector factor = hn::Load(d, inverse + half);
      for (int64_t i = half; i < dim * kLanePanel; i += kLanePanel)
        hn::Store(hn::Mul(hn::Load(d, sums + i), factor), d, sums + i);
    }
    void* first = a_.output.row(s_.item, h_, s_.firstQuery + rows.begin);
    if (a_.output.type == DataType::kFloat32)
      return unpackLanePanel(sums, 0, {static_cast<float*>(first), rows.size(), dim, a_.output.sequenceStride, 1});
    unpackLanePanel(sums, 0, {staging, rows.size(), dim, dim, 1});
    for (int64_t row = rows.begin; row < rows.end; ++row)
      storeRow(staging + (row - rows.begin) * dim, dim, a_.output.type, a_.output.row(s_.item, h_, s_.firstQuery + row));
  }

  // Of the keys alone: sum of exp(s - max) (log(total) + max - s) / total, the sink's share being no key's.
  static float entropyOf(const AttentionOp::Panel& panel, int64_t lane, double total) {
    if (total == 0 || std::isinf(total)) return 0;
    const auto sum = static_cast<double>(panel.softmax.sum[lane]), below = static_cast<double>(panel.entropy.sum[lane]);
    const double entropy = (sum * std::log(total) + below) / total;
    return entropy < 0 ? 0 : static_cast<float>(entropy);  // NaN stay
  }

  const AttentionArguments& a_;
  const Sequence& s_;
  int64_t h_;
};

inline void forwardBlock(const AttentionArguments& a, const Rotations& rotations, const Sequence& s, int64_t h, Range rows,
                         ForwardBuffers& buffers, const Execution& execution) {
  const Operand q = rotations.queries(s, h, rows, buffers.rotatedQueries);
  const Operand k = rotations.keys(s, h / a.group(), buffers.rotatedKeys);
  const Operand v = a.v.head(s.item, h / a.group(), s.firstKey, s.keys);
  buffers.diagonals.begin(a, s, h);
  const AttentionOp op(a, s, h, buffers.diagonals);
  const PackedRows x{buffers.packedRows, rows, a.q.dim};
  packLanePanels(q, buffers.packedRows, execution);
  reduceRowsWithValues(op, x, k, v, buffers.panels, buffers.sums, buffers.scratch, buffers.packedValues, execution);
  const PanelOutputs outputs(a, s, h);
  for (int64_t p = 0; p < x.panels(); ++p)
    outputs.store(buffers.panels[p], buffers.sums + p * kLanePanel * a.v.dim, x.rowsOf(p), buffers.outputRows);
}

// What no sequence's rows are written to.
inline void clearForwardOutputs(const AttentionArguments& a) {
  if (sequencesCoverEverything(a)) return;
  clearRows(a.output);
  fill(a.logSumExp, kMinusInfinity);
  fill(a.maxScore, kMinusInfinity);
  fill(a.entropy, 0);
}

inline void forwardOutputs(const AttentionArguments& a, const Rotations& rotations, const Execution& execution, size_t limit,
                           std::byte* workspace) {
  const ForwardPlan plan(a, execution.threads, limit);
  clearForwardOutputs(a);
  execution.forEach(plan.heads * plan.blocks, [&](int64_t task, int slot) {
    const int64_t head = task / plan.blocks, first = task % plan.blocks * plan.rows;
    const Sequence s = sequenceAt(a, head / a.q.heads);
    if (first >= s.queries) return;
    WorkspaceCursor cursor(workspace + slot * plan.slotBytes);
    ForwardBuffers buffers(cursor, a, plan.rows);
    forwardBlock(a, rotations, s, head % a.q.heads, {first, std::min(first + plan.rows, s.queries)}, buffers,
                 execution.serial());
  });
}

}  // namespace fk::cpu::FK_ISA
