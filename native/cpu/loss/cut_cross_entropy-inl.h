// Cut cross-entropy as an operator on the streaming engine. What a row remembers of the classes it has seen, relative to
// their running maximum m, so that every term of a loss is non-negative and nothing large cancels:
//
//   sum      of exp(z - m)                     log-sum-exp = m + log sum
//   entropy  of exp(z - m) (m - z)             H = log sum + entropy / sum
//   mass     of t                              sum_v t (logSumExp - z) = mass * log sum + gap,
//   gap      of t (m - z)                      t being the class weights, or weights times target probabilities
#pragma once

#include "cpu/loss/logits-inl.h"
#include "cpu/loss/top_tokens-inl.h"

namespace fk::cpu::FK_ISA {

// What becomes of a row's scores in the backward pass, one float per row of a block, 0 for padding:
//   dScore = p (probability + entropy (z - logSumExp)) - smoothing * classWeight - soft * t - [v = target] target
// times the derivative of the softcap.
struct RowFactors {
  explicit RowFactors(WorkspaceCursor& cursor, int64_t rows)
      : logSumExp(cursor.take<float>(rows)),
        probability(cursor.take<float>(rows)),
        entropy(cursor.take<float>(rows)),
        target(cursor.take<float>(rows)),
        smoothing(cursor.take<float>(rows)),
        soft(cursor.take<float>(rows)),
        filterScale(cursor.take<float>(rows)) {}

  void clear(int64_t rows) const {
    for (float* factor : {logSumExp, probability, entropy, target, smoothing, soft, filterScale})
      std::fill_n(factor, rows, 0.0f);
  }
  // Whatever such a row holds, its gradients are 0.
  bool isZero(int64_t row) const {
    return probability[row] == 0 && entropy[row] == 0 && target[row] == 0 && smoothing[row] == 0 && soft[row] == 0;
  }

  float *logSumExp, *probability, *entropy, *target, *smoothing, *soft;
  float* filterScale;  // |d(reported loss) / d(cross-entropy) * logit scale|
};

// The rows and classes that a sweep visits: position i is row rowIds[i] of the caller's arrays, column j class classIds[j].
struct Visits {
  const int32_t* rowIds = nullptr;    // null: all rows in their order
  const int32_t* classIds = nullptr;  // null: all classes in their order
  const int32_t* columns = nullptr;   // the column of a class, when classIds is given
  int64_t rows = 0;

  int64_t row(int64_t position) const { return rowIds ? rowIds[position] : position; }
  int64_t classOf(int64_t column) const { return classIds ? classIds[column] : column; }
};

struct CutCrossEntropy {
  struct Panel {
    OnlineSoftmax softmax;
    alignas(64) float target[kLanePanel];
    RunningEntropy entropy;
    alignas(64) float mass[kLanePanel], gap[kLanePanel];
    TopTokens top;
  };

  CutCrossEntropy(const CutCrossEntropyArguments& a, const Visits& visits, const int32_t* targetColumns)
      : arguments(a),
        visits(visits),
        targetColumns(targetColumns),
        logits{a.bias, a.logitScale, a.softcap, visits.classIds},
        hasDistribution(a.targetProbabilities || a.labelSmoothing > 0) {}

  const CutCrossEntropyArguments& arguments;
  Visits visits;
  const int32_t* targetColumns;  // of the current row block, from firstRow on; -1: none of this call's classes
  Logits logits;
  bool hasDistribution;
  int64_t firstRow = 0;
  bool hasEntropy = false;              // forward: keep it
  const RowFactors* factors = nullptr;  // backward
  bool holdsLogits = false;             // backward: the forward sweep has left logits behind, not dot products

  Range visible(Range, Range columns) const { return columns; }

  void begin(Panel& panel, Range) const {
    panel.softmax.begin();
    for (float* sums : {panel.target, panel.entropy.sum, panel.mass, panel.gap}) std::fill_n(sums, kLanePanel, 0.0f);
    if (panel.top.count > 0) panel.top.begin();
  }

  void fold(Panel& panel, const ScoreTile& tile) const {
    logits.transform(tile);
    forEachTarget(tile, [&](int64_t lane, float& score) { panel.target[lane] = score; });
    const OnlineSoftmax before = panel.softmax;
    panel.softmax.fold<false>(tile.scores, tile.columns.size(), 1.0f);
    if (hasEntropy) panel.entropy.fold(before, panel.softmax, tile.scores, tile.columns.size());
    if (hasDistribution) foldDistribution(panel, before, tile);
    if (panel.top.count > 0) panel.top.fold(tile, visits.classIds);
  }

  void merge(Panel& panel, const Panel& later) const {
    const OnlineSoftmax before = panel.softmax;
    panel.softmax.merge(later.softmax);
    for (int64_t lane = 0; lane < kLanePanel; ++lane) panel.target[lane] += later.target[lane];  // one of them is 0
    if (hasEntropy) panel.entropy.merge(before, panel.softmax, later.entropy, later.softmax);
    if (hasDistribution) mergeDistribution(panel, before, later);
    if (panel.top.count > 0) panel.top.merge(later.top);
  }

  void gradient(const ScoreTile& tile, float*) const {
    if (!holdsLogits) logits.transform(tile);
    const bool isPlain = logits.softcap == 0 && !hasDistribution && !arguments.gradEntropy;
    float targetDerivative[kLanePanel];
    forEachTarget(tile, [&](int64_t lane, float& z) { targetDerivative[lane] = logits.softcapDerivative(z); });
    if (isPlain)
      scaleProbabilities(tile);
    else
      scaleEverything(tile);
    const float* target = factors->target + tile.rows.begin - firstRow;
    forEachTarget(tile, [&](int64_t lane, float& score) { score -= target[lane] * targetDerivative[lane]; });
    if (arguments.dBias) addColumnSums(tile);
  }

 private:
  template <class Function>
  void forEachTarget(const ScoreTile& tile, Function&& function) const {
    for (int64_t row = tile.rows.begin; row < tile.rows.end; ++row) {
      const int64_t column = targetColumns[row - firstRow];
      if (column < tile.columns.begin || column >= tile.columns.end) continue;
      const int64_t lane = row - tile.rows.begin;
      function(lane, tile.scores[(column - tile.columns.begin) * kLanePanel + lane]);
    }
  }

  void foldDistribution(Panel& panel, const OnlineSoftmax& before, const ScoreTile& tile) const {
    const FloatTag d;
    alignas(64) float probabilities[kColumnTile * kLanePanel];
    if (arguments.targetProbabilities) loadTargets(tile, probabilities);
    for (int64_t half = 0; half < kLanePanel; half += kLanes) {
      const FloatVector shift = panel.softmax.shift(half), zero = hn::Zero(d);
      const FloatVector earlierGap = movedGap(panel.gap, panel.mass, before, half, shift);
      FloatVector mass = hn::Zero(d), gap = hn::Zero(d);
      for (int64_t c = 0; c < tile.columns.size(); ++c) {
        const FloatVector t = arguments.targetProbabilities ? hn::Load(d, probabilities + c * kLanePanel + half)
                                                            : hn::Set(d, classWeight(tile.columns.begin + c));
        const FloatVector below = hn::Sub(shift, hn::Load(d, tile.scores + c * kLanePanel + half));
        mass = hn::Add(mass, t);
        gap = hn::Add(gap, hn::IfThenZeroElse(hn::Eq(t, zero), hn::Mul(t, below)));
      }
      hn::Store(hn::Add(hn::Load(d, panel.mass + half), mass), d, panel.mass + half);
      hn::Store(hn::Add(earlierGap, gap), d, panel.gap + half);
    }
  }

  void mergeDistribution(Panel& panel, const OnlineSoftmax& before, const Panel& later) const {
    const FloatTag d;
    for (int64_t half = 0; half < kLanePanel; half += kLanes) {
      const FloatVector shift = panel.softmax.shift(half);
      hn::Store(hn::Add(movedGap(panel.gap, panel.mass, before, half, shift),
                        movedGap(later.gap, later.mass, later.softmax, half, shift)),
                d, panel.gap + half);
      hn::Store(hn::Add(hn::Load(d, panel.mass + half), hn::Load(d, later.mass + half)), d, panel.mass + half);
    }
  }

  static FloatVector movedGap(const float* gap, const float* mass, const OnlineSoftmax& softmax, int64_t half,
                              FloatVector shift) {
    const FloatTag d;
    return hn::MulAdd(hn::Load(d, mass + half), hn::Sub(shift, softmax.shift(half)), hn::Load(d, gap + half));
  }

  float classWeight(int64_t column) const { return arguments.classWeight(visits.classOf(column)); }

  // t of a tile's columns, [column][lane]: class weight times smoothed target probability.
  void loadTargets(const ScoreTile& tile, float* to) const {
    const Matrix<const float>& q = arguments.targetProbabilities;
    const float keep = 1 - arguments.labelSmoothing;
    const float uniform = arguments.labelSmoothing / static_cast<float>(arguments.classes());
    std::fill_n(to, tile.columns.size() * kLanePanel, 0.0f);
    for (int64_t row = tile.rows.begin; row < tile.rows.end; ++row) {
      const float* from = q.row(visits.row(row));
      for (int64_t column = tile.columns.begin; column < tile.columns.end; ++column)
        to[(column - tile.columns.begin) * kLanePanel + row - tile.rows.begin] =
            classWeight(column) * (keep * from[visits.classOf(column)] + uniform);
    }
  }

  void scaleProbabilities(const ScoreTile& tile) const {
    const FloatTag d;
    const int64_t row = tile.rows.begin - firstRow;
    for (int64_t half = 0; half < kLanePanel; half += kLanes) {
      const FloatVector shift = hn::LoadU(d, factors->logSumExp + row + half);
      const FloatVector scale = hn::LoadU(d, factors->probability + row + half);
      const auto unscaled = hn::Eq(scale, hn::Zero(d));
      for (int64_t c = 0; c < tile.columns.size(); ++c) {
        float* at = tile.scores + c * kLanePanel + half;
        const FloatVector probability = ExpBelowOverflow(d, hn::Sub(hn::Load(d, at), shift));
        hn::Store(hn::IfThenZeroElse(unscaled, hn::Mul(scale, probability)), d, at);
      }
    }
  }

  void scaleEverything(const ScoreTile& tile) const {
    const FloatTag d;
    const FloatVector zero = hn::Zero(d);
    alignas(64) float probabilities[kColumnTile * kLanePanel];
    if (arguments.targetProbabilities) loadTargets(tile, probabilities);
    for (int64_t half = 0; half < kLanePanel; half += kLanes) {
      const int64_t row = tile.rows.begin - firstRow + half;
      const FloatVector shift = hn::LoadU(d, factors->logSumExp + row), scale = hn::LoadU(d, factors->probability + row);
      const FloatVector entropy = hn::LoadU(d, factors->entropy + row), soft = hn::LoadU(d, factors->soft + row);
      const FloatVector smoothing = hn::LoadU(d, factors->smoothing + row);
      const auto unscaled =
          hn::And(hn::And(hn::Eq(scale, zero), hn::Eq(entropy, zero)), hn::And(hn::Eq(smoothing, zero), hn::Eq(soft, zero)));
      for (int64_t c = 0; c < tile.columns.size(); ++c) {
        float* at = tile.scores + c * kLanePanel + half;
        const FloatVector z = hn::Load(d, at), logProbability = hn::Sub(z, shift);
        const FloatVector probability = ExpBelowOverflow(d, logProbability);
        FloatVector g = hn::Mul(scale, probability);
        // p log p is 0 where p is, and where nothing asked for it.
        const auto noEntropy = hn::Or(hn::Eq(probability, zero), hn::Eq(entropy, zero));
        g = hn::Add(g, hn::IfThenZeroElse(noEntropy, hn::Mul(hn::Mul(entropy, probability), logProbability)));
        g = hn::NegMulAdd(smoothing, hn::Set(d, classWeight(tile.columns.begin + c)), g);
        if (arguments.targetProbabilities) g = hn::NegMulAdd(soft, hn::Load(d, probabilities + c * kLanePanel + half), g);
        if (logits.softcap > 0) g = hn::Mul(g, logits.softcapDerivative(z));
        hn::Store(hn::IfThenZeroElse(unscaled, g), d, at);
      }
    }
  }

  // One tile is one task, so nobody else adds to its columns; row panels come in order.
  void addColumnSums(const ScoreTile& tile) const {
    for (int64_t c = 0; c < tile.columns.size(); ++c)
      arguments.dBias[visits.classOf(tile.columns.begin + c)] += sumOfLanes(tile.scores + c * kLanePanel);
  }
};

}  // namespace fk::cpu::FK_ISA
