// The backward schedule, and the column sums of the weights: sweeps over the scores of whole heads, made again from the
// log-sum-exp.
#pragma once

#include "cpu/attention/attention_forward-inl.h"

namespace fk::cpu::FK_ISA {

// What one task owns. Gradients that sum over sequences or heads are summed in one task, in their order.
struct Ownership {
  explicit Ownership(const AttentionArguments& a) {
    const auto reduces = [&](const ScoreParameter& parameter) {
      if (!parameter.gradient) return;
      sequencesTogether |= parameter.gradient.batchStride == 0 && a.q.batch > 1;
      headsTogether |= parameter.gradient.headStride == 0 && a.q.heads > 1;
    };
    for (const ScoreParameter* parameter : a.parameters()) reduces(*parameter);
    // Sequences in one batch item share what does not depend on the query or the key.
    if (a.alibiSlopes.gradient || a.relativeBias.gradient || a.sinks.gradient || a.toeplitz.gradient)
      sequencesTogether |= a.queryStarts && a.sequences > 1;
    oneThread =
        a.alibiSlopes.gradient || a.relativeBias.gradient || a.toeplitz.gradient || a.axialX.gradient || a.axialY.gradient;
    units = (sequencesTogether ? std::min<int64_t>(1, a.sequences) : a.sequences) *
            (headsTogether ? std::min<int64_t>(1, a.k.heads) : a.k.heads);
  }

  // heads: of keys.
  struct Unit {
    Range sequences, heads;
  };
  Unit unit(const AttentionArguments& a, int64_t index) const {
    const int64_t perSequence = headsTogether ? 1 : a.k.heads, n = index / perSequence, g = index % perSequence;
    return {sequencesTogether ? Range{0, a.sequences} : Range{n, n + 1},
            headsTogether ? Range{0, a.k.heads} : Range{g, g + 1}};
  }

  bool sequencesTogether = false, headsTogether = false;
  bool oneThread;  // gradients that tiles of one head share
  int64_t units;
};

// Many units of work run side by side, each on one thread with tiles that stay in its cache; few units one after another,
// each on all threads. The bits are the same: see BackwardSweep.
struct SweepPlan {
  // oneThread: what a unit writes wants its tiles one after another.
  template <class BytesOf>
  SweepPlan(int64_t units, bool oneThread, int threads, size_t limit, const BytesOf& bytesOf)
      : units(units), sideBySide(threads == 1 || oneThread || units >= 2 * threads) {
    choose(threads, bytesOf);
    if (bytes <= limit || !sideBySide || oneThread || threads == 1) return;
    sideBySide = false;
    choose(threads, bytesOf);
  }

  int64_t units;
  bool sideBySide;
  int64_t rows, window;
  size_t slotBytes, bytes;

 private:
  template <class BytesOf>
  void choose(int threads, const BytesOf& bytesOf) {
    rows = sideBySide ? kDepthBlock : 2 * kDepthBlock;
    window = (sideBySide ? 1 : 4) * kWindowStep;
    slotBytes = bytesOf(*this, sideBySide ? 1 : threads);
    bytes = sideBySide ? static_cast<size_t>(threads) * slotBytes : slotBytes;
  }
};

// run(unit, base of its workspace, execution) for all units.
template <class Run>
void forEachUnit(const SweepPlan& plan, const Execution& execution, std::byte* workspace, const Run& run) {
  if (!plan.sideBySide) {
    for (int64_t unit = 0; unit < plan.units; ++unit) run(unit, workspace, execution);
    return;
  }
  execution.forEach(plan.units, [&](int64_t unit, int slot) {
    run(unit, workspace + static_cast<size_t>(slot) * plan.slotBytes, execution.serial());
  });
}

// The gradient of the rows of a head: summed where the caller wants it, or in the workspace where he stores 16 bits.
class GradientRows {
 public:
  GradientRows(WorkspaceCursor& cursor, const HeadOutput& output)
      : output_(output),
        staging_(output && output.type != DataType::kFloat32 ? cursor.take<float>(output.sequence * output.dim) : nullptr) {}

  Matrix<float> of(int64_t b, int64_t h, int64_t first, int64_t count) const {
    if (!output_) return {};
    if (staging_) return {staging_, count, output_.dim, output_.dim, 1};
    return {static_cast<float*>(output_.row(b, h, first)), count, output_.dim, output_.sequenceStride, 1};
  }

  // Finished rows to the caller.
  void store(int64_t b, int64_t h, int64_t first, int64_t count) const {
    if (!staging_) return;
    for (int64_t i = 0; i < count; ++i)
      storeRow(staging_ + i * output_.dim, output_.dim, output_.type, output_.row(b, h, first + i));
  }

 private:
  const HeadOutput& output_;
  float* staging_;
};

// The log-sum-exps of a block's rows, as AttentionOp wants them; `room` floats.
inline void loadLogSumExps(const AttentionArguments& a, const Sequence& s, int64_t h, Range block, int64_t room, float* to) {
  std::fill_n(to, room, -kMinusInfinity);
  for (int64_t row = block.begin; row < block.end; ++row) {
    const float logSumExp = *a.logSumExp.at(s.item, h, s.firstQuery + row);
    if (logSumExp != kMinusInfinity) to[row - block.begin] = logSumExp;
  }
}

// The workspace of a unit, and one head after another in it.
class BackwardHead {
 public:
  BackwardHead(WorkspaceCursor& cursor, const AttentionArguments& a, const Rotations& rotations, const SweepPlan& plan)
      : a_(a),
        rotations_(rotations),
        plan_(plan),
        diagonals_(cursor, a, true),
        dQ_(cursor, a.dQ),
        dK_(cursor, a.dK),
        dV_(cursor, a.dV),
        logSumExp_(cursor.take<float>(plan.rows)),
        delta_(cursor.take<float>(plan.rows)),
        outputRow_(cursor.take<float>(a.v.dim)),
        dOutputRow_(cursor.take<float>(a.v.dim)),
        rotatedQueries_(cursor.take<float>(Rotations::stagingFloats(a, a.q.sequence))),
        rotatedKeys_(cursor.take<float>(Rotations::stagingFloats(a, a.k.sequence))) {}

  // A head of keys and the heads of queries that share it. `cursor`: behind the constructor's.
  void run(WorkspaceCursor cursor, const Sequence& s, int64_t g, const Execution& execution) {
    const Operand k = rotations_.keys(s, g, rotatedKeys_);
    for (int64_t h = g * a_.group(); h < (g + 1) * a_.group(); ++h) {
      BackwardProblem problem = problemOf(s, h, rotations_.queries(s, h, {0, s.queries}, rotatedQueries_), k);
      problem.addsToColumns = h > g * a_.group();
      WorkspaceCursor own = cursor;
      BackwardSweep sweep(problem, plan_.rows, plan_.window);
      sweep.takeWorkspace(own, execution.threads);
      runHead(s, h, sweep, execution);
      rotations_.turnQueriesBack(s, problem.dX);
      dQ_.store(s.item, h, s.firstQuery, s.queries);
    }
    rotations_.turnKeysBack(dK_.of(s.item, g, s.firstKey, s.keys));
    dK_.store(s.item, g, s.firstKey, s.keys);
    dV_.store(s.item, g, s.firstKey, s.keys);
  }

  // Takes the most that a sequence needs.
  void takeSweep(WorkspaceCursor& cursor, int threads) const {
    const Sequence longest{0, 0, a_.q.sequence, 0, a_.k.sequence, 0, 0};
    BackwardProblem problem = problemOf(longest, 0, a_.q.head(0, 0, 0, a_.q.sequence), a_.k.head(0, 0, 0, a_.k.sequence));
    BackwardSweep(problem, plan_.rows, plan_.window).takeWorkspace(cursor, threads);
  }

 private:
  BackwardProblem problemOf(const Sequence& s, int64_t h, const Operand& q, const Operand& k) const {
    const int64_t g = h / a_.group();
    return {.x = q,
            .y = k,
            .dX = dQ_.of(s.item, h, s.firstQuery, s.queries),
            .dY = dK_.of(s.item, g, s.firstKey, s.keys),
            .second = a_.dV ? SecondPair::kWithGradient : SecondPair::kScoresOnly,
            .dZ = a_.dOutput.head(s.item, h, s.firstQuery, s.queries),
            .w = a_.v.head(s.item, g, s.firstKey, s.keys),
            .dW = dV_.of(s.item, g, s.firstKey, s.keys)};
  }

  void runHead(const Sequence& s, int64_t h, BackwardSweep& sweep, const Execution& execution) {
    diagonals_.begin(a_, s, h);
    AttentionOp op(a_, s, h, diagonals_);
    op.logSumExp = logSumExp_, op.delta = delta_;
    double dSink = 0;
    for (int64_t index = 0; index < sweep.blocks(); ++index) {
      const Range block = sweep.block(index);
      dSink += prepareRows(s, h, block);
      op.firstRow = block.begin;
      sweep.begin(block, execution, [](int64_t) { return false; });
      sweep.run(op, false, execution);
    }
    diagonals_.addGradients(a_, s, h);
    if (a_.sinks.gradient) *a_.sinks.gradient.at(0, h) += static_cast<float>(dSink);
  }

  // logSumExp_ and delta_ of a block's rows; returns what they add to the sink's gradient.
  double prepareRows(const Sequence& s, int64_t h, Range block) {
    loadLogSumExps(a_, s, h, block, plan_.rows, logSumExp_);
    std::fill_n(delta_, plan_.rows, 0.0f);
    const Operand output = a_.savedOutput.head(s.item, h, s.firstQuery, s.queries);
    const Operand dOutput = a_.dOutput.head(s.item, h, s.firstQuery, s.queries);
    double dSink = 0;
    for (int64_t row = block.begin; row < block.end; ++row) {
      const float logSumExp = *a_.logSumExp.at(s.item, h, s.firstQuery + row);
      if (logSumExp == kMinusInfinity) continue;
      loadRow(output, row, outputRow_);
      loadRow(dOutput, row, dOutputRow_);
      float delta = dot(outputRow_, dOutputRow_, a_.v.dim);
      if (a_.dLogSumExp) delta -= *a_.dLogSumExp.at(s.item, h, s.firstQuery + row);
      delta_[row - block.begin] = delta;
      if (a_.sinks)
        dSink -= std::exp(static_cast<double>(*a_.sinks.value.at(0, h)) - static_cast<double>(logSumExp)) *
                 static_cast<double>(delta);
    }
    return dSink;
  }

  static float dot(const float* a, const float* b, int64_t count) {
    const FloatTag d;
    FloatVector sum = hn::Zero(d);
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) sum = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum);
    float result = hn::GetLane(hn::SumOfLanes(d, sum));
    for (; i < count; ++i) result += a[i] * b[i];
    return result;
  }

  const AttentionArguments& a_;
  const Rotations& rotations_;
  const SweepPlan& plan_;
  Diagonals diagonals_;
  GradientRows dQ_, dK_, dV_;
  float *logSumExp_, *delta_, *outputRow_, *dOutputRow_, *rotatedQueries_, *rotatedKeys_;
};

inline SweepPlan backwardPlan(const AttentionArguments& a, const Ownership& ownership, int threads, size_t limit) {
  return {ownership.units, ownership.oneThread, threads, limit, [&](const SweepPlan& plan, int unitThreads) {
            WorkspaceCursor measure;
            const Rotations rotations(measure, a);
            WorkspaceCursor unit;
            BackwardHead(unit, a, rotations, plan).takeSweep(unit, unitThreads);
            return unit.used();
          }};
}

inline void clearGradients(const AttentionArguments& a) {
  for (const ScoreParameter* parameter : a.parameters()) fill(parameter->gradient, 0);
  if (sequencesCoverEverything(a)) return;
  for (const HeadOutput* gradient : {&a.dQ, &a.dK, &a.dV})
    if (*gradient) clearRows(*gradient);
}

inline void backwardGradients(const AttentionArguments& a, const Rotations& rotations, const Execution& execution,
                              size_t limit, std::byte* workspace) {
  const Ownership ownership(a);
  const SweepPlan plan = backwardPlan(a, ownership, execution.threads, limit);
  clearGradients(a);
  forEachUnit(plan, execution, workspace, [&](int64_t index, std::byte* base, const Execution& inner) {
    WorkspaceCursor cursor(base);
    BackwardHead head(cursor, a, rotations, plan);
    const Ownership::Unit unit = ownership.unit(a, index);
    for (int64_t n = unit.sequences.begin; n < unit.sequences.end; ++n)
      for (int64_t g = unit.heads.begin; g < unit.heads.end; ++g) head.run(cursor, sequenceAt(a, n), g, inner);
  });
}

}  // namespace fk::cpu::FK_ISA
