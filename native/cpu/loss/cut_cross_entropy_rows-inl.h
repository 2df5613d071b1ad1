// What happens once per row around the sweeps of cut cross-entropy: which rows and classes are visited, the losses and other
// outputs from what a sweep has found, and the factors of the gradients.
#pragma once

#include <cmath>
#include <numeric>

#include "cpu/loss/cut_cross_entropy-inl.h"
#include "cpu/loss/loss_shape.h"

namespace fk::cpu::FK_ISA {

// Space for Visits: the rows that count, and the order of the vocabulary.
struct VisitBuffers {
  VisitBuffers(WorkspaceCursor& cursor, const CutCrossEntropyArguments& a, bool orders)
      : rowIds(cursor.take<int32_t>(a.rows())) {
    if (!orders) return;
    classIds = cursor.take<int32_t>(a.classes());
    columns = cursor.take<int32_t>(a.classes());
    meanLogits = cursor.take<float>(a.classes());
    meanRow = cursor.take<float>(a.embeddings.columns);
  }

  int32_t *rowIds, *classIds = nullptr, *columns = nullptr;
  float *meanLogits = nullptr, *meanRow = nullptr;
};

inline float elementAt(const Operand& m, int64_t i, int64_t j) {
  const int64_t at = m.rowOffset(i) + m.columnOffset(j);
  switch (m.type) {
    case DataType::kBfloat16:
      return loadFloat(static_cast<const hwy::bfloat16_t*>(m.data) + at);
    case DataType::kFloat16:
      return loadFloat(static_cast<const hwy::float16_t*>(m.data) + at);
    default:
      return static_cast<const float*>(m.data)[at];
  }
}

inline Visits visitRows(const CutCrossEntropyArguments& a, const VisitBuffers& buffers) {
  Visits visits;
  for (int64_t row = 0; row < a.rows(); ++row)
    if (!a.ignored(row)) buffers.rowIds[visits.rows++] = static_cast<int32_t>(row);
  if (visits.rows < a.rows()) visits.rowIds = buffers.rowIds;
  return visits;
}

// Classes by ascending mean logit (before the softcap, which keeps the order). The mean over rows of a dot product is the
// dot product with the mean row: one pass over the classifier.
inline void orderClasses(const CutCrossEntropyArguments& a, const VisitBuffers& buffers, const Execution& execution,
                         Visits& visits) {
  const int64_t depth = a.embeddings.columns;
  std::fill_n(buffers.meanRow, depth, 0.0f);
  const float share = visits.rows > 0 ? 1.0f / static_cast<float>(visits.rows) : 0.0f;
  for (int64_t i = 0; i < visits.rows; ++i)
    for (int64_t d = 0; d < depth; ++d) buffers.meanRow[d] += share * elementAt(a.embeddings, visits.row(i), d);
  constexpr int64_t kClasses = 512;
  execution.forEach(ceilDivide(a.classes(), kClasses), [&](int64_t task, int) {
    for (int64_t v = task * kClasses; v < std::min(a.classes(), (task + 1) * kClasses); ++v) {
      float logit = a.bias ? a.bias[v] : 0.0f;
      for (int64_t d = 0; d < depth; ++d) logit += buffers.meanRow[d] * elementAt(a.classifier, v, d);
      buffers.meanLogits[v] = std::isnan(logit) ? 0.0f : a.logitScale * logit;
    }
  });
  std::iota(buffers.classIds, buffers.classIds + a.classes(), 0);
  std::sort(buffers.classIds, buffers.classIds + a.classes(), [&](int32_t left, int32_t right) {
    const float l = buffers.meanLogits[left], r = buffers.meanLogits[right];
    return l < r || (l == r && left < right);
  });
  for (int64_t column = 0; column < a.classes(); ++column)
    buffers.columns[buffers.classIds[column]] = static_cast<int32_t>(column);
  visits.classIds = buffers.classIds;
  visits.columns = buffers.columns;
}

// targetColumns[i]: the column of position first + i, -1 where none of this call's classes is its target.
inline void findTargets(const CutCrossEntropyArguments& a, const Visits& visits, Range rows, int32_t* targetColumns) {
  for (int64_t position = rows.begin; position < rows.end; ++position) {
    const int64_t target = a.targets ? a.target(visits.row(position)) : -1;
    const bool isHere = target >= 0 && target < a.classes();
    targetColumns[position - rows.begin] = !isHere          ? -1
                                           : visits.columns ? visits.columns[target]
                                                            : static_cast<int32_t>(target);
  }
}

// The denominator of the mean: the weights of the rows that count.
inline double rowWeightSum(const CutCrossEntropyArguments& a) {
  double sum = 0;
  for (int64_t row = 0; row < a.rows(); ++row) {
    if (a.ignored(row)) continue;
    sum += static_cast<double>(a.rowWeight(row)) *
           static_cast<double>(a.targets && a.classWeights ? a.classWeight(a.target(row)) : 1.0f);
  }
  return sum;
}

inline double reductionFactor(const CutCrossEntropyArguments& a) {
  if (a.reduction != FK_REDUCTION_MEAN) return 1;
  const double sum = rowWeightSum(a);
  return sum == 0 ? 0 : 1 / sum;
}

// What a sweep has found of a row.
struct RowState {
  float logSumExp;
  float crossEntropy;  // -log p of the target
  float entropy;
};

// Turns the panels of a row block into outputs, and adds up the loss in double, rows ascending.
class LossOutputs {
 public:
  LossOutputs(const CutCrossEntropyArguments& a, const Visits& visits)
      : a_(a), visits_(visits), shape_{a.lossShape, static_cast<double>(a.lossShapeParameter)} {}

  // Zeros for the rows that nobody visits.
  void clearIgnored() const {
    if (!visits_.rowIds) return;
    for (int64_t row = 0; row < a_.rows(); ++row) {
      if (!a_.ignored(row)) continue;
      for (const Vector<float>& output : {a_.logSumExp, a_.targetLogProbability, a_.entropy, a_.shardSum, a_.shardTarget})
        if (output) output[row] = 0;
      if (a_.shardMax) a_.shardMax[row] = kMinusInfinity;
      if (a_.loss && a_.reduction == FK_REDUCTION_NONE) a_.loss[row] = 0;
      for (int64_t i = 0; i < a_.topTokens32.columns; ++i) a_.topTokens32(row, i) = -1;
      for (int64_t i = 0; i < a_.topTokens64.columns; ++i) a_.topTokens64(row, i) = -1;
      for (int64_t i = 0; i < a_.topLogProbabilities.columns; ++i) a_.topLogProbabilities(row, i) = 0;
    }
  }

  // states: one per row of the block, for the gradients.
  void add(const PackedRows& x, const CutCrossEntropy::Panel* panels, const int32_t* targetColumns, RowState* states) {
    for (int64_t p = 0; p < x.panels(); ++p) {
      alignas(64) float logSum[kLanePanel];
      const FloatTag d;
      for (int64_t half = 0; half < kLanePanel; half += kLanes)
        hn::Store(Log(d, hn::Load(d, panels[p].softmax.sum + half)), d, logSum + half);
      const Range rows = x.rowsOf(p);
      for (int64_t position = rows.begin; position < rows.end; ++position)
        states[position - x.rows.begin] = addRow(panels[p], position - rows.begin, logSum[position - rows.begin],
                                                 visits_.row(position), targetColumns[position - x.rows.begin]);
    }
  }

  void finish(double factor) const {
    if (a_.loss && a_.reduction != FK_REDUCTION_NONE) a_.loss[0] = static_cast<float>(sum_ * factor);
    if (a_.accuracy)
      a_.accuracy[0] =
          visits_.rows == 0 ? 0.0f : static_cast<float>(static_cast<double>(hits_) / static_cast<double>(visits_.rows));
  }

 private:
  RowState addRow(const CutCrossEntropy::Panel& panel, int64_t lane, float logSum, int64_t row, int32_t targetColumn) {
    const float max = panel.softmax.max[lane], shift = max == kMinusInfinity ? 0.0f : max;
    const float logSumExp = shift + logSum;
    // Both parts are non-negative, and the first is exact where the target is near the maximum.
    const float crossEntropy = a_.targets ? (shift - panel.target[lane]) + logSum : 0.0f;
    const float entropy = logSum + panel.entropy.sum[lane] / panel.softmax.sum[lane];
    if (a_.logSumExp) a_.logSumExp[row] = logSumExp;
    if (a_.targetLogProbability) a_.targetLogProbability[row] = -crossEntropy;
    if (a_.entropy) a_.entropy[row] = entropy;
    if (a_.shardMax) {
      a_.shardMax[row] = max;
      a_.shardSum[row] = panel.softmax.sum[lane];
      a_.shardTarget[row] = panel.target[lane];
    }
    if (a_.loss) addLoss(row, logSumExp, logSum, crossEntropy, panel.mass[lane], panel.gap[lane]);
    if (panel.top.count > 0) writeTop(panel.top, lane, row, logSumExp, targetColumn);
    return {logSumExp, crossEntropy, entropy};
  }

  void addLoss(int64_t row, float logSumExp, float logSum, float crossEntropy, float mass, float gap) {
    double loss;
    const double spread = static_cast<double>(mass) * static_cast<double>(logSum) + static_cast<double>(gap);
    if (!a_.targets) {
      loss = spread;
    } else {
      loss = static_cast<double>(a_.classWeights ? a_.classWeight(a_.target(row)) : 1.0f) *
             shape_.value(static_cast<double>(crossEntropy));
      if (a_.labelSmoothing > 0) {
        const double smoothing = static_cast<double>(a_.labelSmoothing);
        loss = (1 - smoothing) * loss + smoothing / static_cast<double>(a_.classes()) * spread;
      }
    }
    if (a_.zLoss > 0)
      loss += static_cast<double>(a_.zLoss) * static_cast<double>(logSumExp) * static_cast<double>(logSumExp);
    loss *= static_cast<double>(a_.rowWeight(row));
    if (a_.reduction == FK_REDUCTION_NONE) a_.loss[row] = static_cast<float>(loss);
    sum_ += loss;
  }

  void writeTop(const TopTokens& top, int64_t lane, int64_t row, float logSumExp, int32_t targetColumn) {
    for (int64_t i = 0; i < top.count; ++i) {
      const int32_t found = top.tokens[i * kLanePanel + lane], token = found == TopTokens::kNone ? -1 : found;
      if (i < a_.topTokens32.columns) a_.topTokens32(row, i) = token;
      if (i < a_.topTokens64.columns) a_.topTokens64(row, i) = token;
      if (i < a_.topLogProbabilities.columns) {
        const float score = top.scores[i * kLanePanel + lane];
        a_.topLogProbabilities(row, i) = token < 0 || score == kMinusInfinity ? kMinusInfinity : score - logSumExp;
      }
    }
    if (a_.targets && targetColumn >= 0) hits_ += top.tokens[lane] == visits_.classOf(targetColumn);
  }

  const CutCrossEntropyArguments& a_;
  const Visits& visits_;
  LossShape shape_;
  double sum_ = 0;
  int64_t hits_ = 0;
};

// Rows with neither a weight nor an upstream gradient: their gradients are 0 whatever they hold.
inline bool isIdle(const CutCrossEntropyArguments& a, int64_t row) {
  const bool loss = a.hasLoss() && a.rowWeight(row) != 0 && a.upstream(row) != 0;
  return !loss && (!a.gradLogSumExp || a.gradLogSumExp[row] == 0) && (!a.gradEntropy || a.gradEntropy[row] == 0);
}

// Sums that the gradients of all rows share.
struct GradientConstants {
  GradientConstants(const CutCrossEntropyArguments& a)
      : reduction(reductionFactor(a)),
        smoothing(static_cast<double>(a.labelSmoothing) / static_cast<double>(std::max<int64_t>(1, a.classes()))),
        classWeights(0) {
    for (int64_t v = 0; a.labelSmoothing > 0 && v < a.classes(); ++v) classWeights += static_cast<double>(a.classWeight(v));
  }

  double reduction;     // of the sum of losses to the reported loss
  double smoothing;     // label_smoothing / V
  double classWeights;  // their sum, where smoothing needs it
};

// sum_v class weight * smoothed target probability.
inline double targetMass(const CutCrossEntropyArguments& a, const GradientConstants& constants, int64_t row) {
  double sum = 0;
  for (int64_t v = 0; v < a.classes(); ++v)
    sum += static_cast<double>(a.classWeight(v)) * static_cast<double>(a.targetProbabilities(row, v));
  return (1 - static_cast<double>(a.labelSmoothing)) * sum + constants.smoothing * constants.classWeights;
}

inline void fillFactors(const CutCrossEntropyArguments& a, const Visits& visits, const GradientConstants& constants,
                        Range rows, const RowState* states, const RowFactors& factors) {
  const LossShape shape{a.lossShape, static_cast<double>(a.lossShapeParameter)};
  const double scale = static_cast<double>(a.logitScale);
  factors.clear(ceilDivide(rows.size(), kLanePanel) * kLanePanel);
  for (int64_t position = rows.begin; position < rows.end; ++position) {
    const int64_t row = visits.row(position), i = position - rows.begin;
    const RowState& state = states[i];
    factors.logSumExp[i] = state.logSumExp;
    if (isIdle(a, row)) continue;
    const double g =
        a.hasLoss() ? static_cast<double>(a.upstream(row)) * constants.reduction * static_cast<double>(a.rowWeight(row)) : 0;
    const double gEntropy = a.gradEntropy ? static_cast<double>(a.gradEntropy[row]) : 0;
    const double gLogSumExp = a.gradLogSumExp ? static_cast<double>(a.gradLogSumExp[row]) : 0;

    double mass = 0, target = 0;
    if (a.targets) {
      target = static_cast<double>(a.classWeights ? a.classWeight(a.target(row)) : 1.0f) *
               (1 - static_cast<double>(a.labelSmoothing)) * shape.derivative(static_cast<double>(state.crossEntropy));
      mass = target + constants.smoothing * constants.classWeights;
      factors.smoothing[i] = static_cast<float>(scale * g * constants.smoothing);
    } else if (a.targetProbabilities) {
      mass = targetMass(a, constants, row);
      factors.soft[i] = static_cast<float>(scale * g);
    }
    const double zLoss = 2 * static_cast<double>(a.zLoss) * static_cast<double>(state.logSumExp);
    const double entropy = a.gradEntropy ? gEntropy * static_cast<double>(state.entropy) : 0;
    factors.probability[i] = static_cast<float>(scale * (g * (mass + (a.zLoss > 0 ? zLoss : 0)) + gLogSumExp - entropy));
    factors.entropy[i] = static_cast<float>(-scale * gEntropy);
    factors.target[i] = static_cast<float>(scale * g * target);
    factors.filterScale[i] = static_cast<float>(std::abs(scale * g));
  }
}

}  // namespace fk::cpu::FK_ISA
