// Cross-entropy of the logits of embeddings and classifier with all options, its other outputs, and its gradients, as
// fusedkernels.h defines them: plain loops over plain arrays.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <type_traits>

#include "fusedkernels.h"
#include "oracles/dense.h"
#include "oracles/loss_shape.h"

namespace fk::oracle {

struct CutCrossEntropy {
  Dense<double> embeddings, classifier;
  std::vector<int64_t> targets;                      // one per row, or none where there are
  std::optional<Dense<double>> targetProbabilities;  // [N, V]
  std::vector<double> bias, classWeights;            // one per class, or empty: 0 and 1
  std::vector<double> rowWeights;                    // one per row, or empty: 1
  std::optional<int64_t> ignoreIndex;
  int64_t shift = 0;
  int64_t sequenceLength = 0;  // rows of each sequence that `shift` looks ahead in; 0: all rows are one
  fk_reduction reduction = FK_REDUCTION_MEAN;
  double logitScale = 1, softcap = 0, labelSmoothing = 0, zLoss = 0;
  LossShape lossShape;
  std::vector<double> gradLoss = {1};              // one element, or one per row for FK_REDUCTION_NONE
  std::vector<double> gradLogSumExp, gradEntropy;  // one per row, or empty: 0
  double (*stored)(double) = nullptr;  // in double: rounds logits and their gradients, as arrays of a smaller type would

  int64_t rows() const { return embeddings.rows; }
  int64_t classes() const { return classifier.rows; }
  bool perRow() const { return reduction == FK_REDUCTION_NONE; }

  // The row whose target judges this one; none for the last `shift` rows of a sequence.
  std::optional<int64_t> judge(int64_t row) const {
    const int64_t length = sequenceLength == 0 ? rows() : sequenceLength;
    if (row % length + shift >= length) return std::nullopt;
    return row + shift;
  }
  bool ignored(int64_t row) const {
    const std::optional<int64_t> by = judge(row);
    return !by || (!targetProbabilities && ignoreIndex && targets[static_cast<size_t>(*by)] == *ignoreIndex);
  }
  // Of a row that is not ignored. None with probabilities.
  std::optional<int64_t> target(int64_t row) const {
    if (targetProbabilities) return std::nullopt;
    return targets[static_cast<size_t>(*judge(row))];
  }
  double targetProbability(int64_t row, int64_t v) const {
    return targetProbabilities ? (*targetProbabilities)(*judge(row), v) : v == *target(row);
  }
  double classWeight(int64_t v) const { return at(classWeights, v, 1); }
  double rowWeight(int64_t row) const { return at(rowWeights, row, 1); }
  double upstream(int64_t row) const { return gradLoss[perRow() ? static_cast<size_t>(row) : 0]; }

  static double at(const std::vector<double>& values, int64_t i, double otherwise) {
    return values.empty() ? otherwise : values[static_cast<size_t>(i)];
  }
};

// Per row, 0 where it is ignored; dScores is d(loss) / d(embeddings . classifier).
template <class Real>
struct CutCrossEntropyResult {
  std::vector<Real> logSumExp, targetLogProbability, entropy;
  std::vector<Real> loss;  // one element, or one per row
  Dense<Real> logits, dScores;
  Dense<Real> dEmbeddings, dClassifier;
  std::vector<Real> dBias;
  Real dLogitScale = 0;
};

template <class Real, std::enable_if_t<std::is_floating_point_v<Real>, int> = 0>
Real exactly(Real x) {
  return x;
}

template <class Real, class Function, std::enable_if_t<std::is_floating_point_v<Real>, int> = 0>
Real mapped(Real x, const Function& f) {
  return static_cast<Real>(f(x));
}

template <class Real>
Real score(const CutCrossEntropy& problem, int64_t row, int64_t column) {
  Real sum = 0;
  for (int64_t d = 0; d < problem.embeddings.columns; ++d)
    sum += Real(problem.embeddings(row, d)) * Real(problem.classifier(column, d));
  return sum;
}

// The maximum is subtracted and added again, so its own error (see tolerance.h) does not count.
template <class Real>
Real logSumExp(const std::vector<Real>& scores) {
  using std::exp, std::log;
  if (scores.empty()) return Real(-std::numeric_limits<double>::infinity());
  const Real maximum = exactly(*std::max_element(scores.begin(), scores.end()));
  Real sum = 0;
  for (const Real& s : scores) sum += exp(s - maximum);
  return maximum + log(sum);
}

template <class Real>
Real stored(const CutCrossEntropy& problem, const Real& x) {
  if constexpr (std::is_same_v<Real, double>) {
    if (problem.stored) return problem.stored(x);
  }
  return x;
}

// One row's way from its logits to its loss and back.
template <class Real>
class CutCrossEntropyRow {
 public:
  CutCrossEntropyRow(const CutCrossEntropy& problem, int64_t row)
      : problem_(problem), row_(static_cast<size_t>(row)), target_(problem.target(row)) {
    computeLogits();
    logSumExp = oracle::logSumExp(logits);
    computeProbabilities();
    if (target_) targetLoss_ = logSumExp - logits[static_cast<size_t>(*target_)];
    if (shaped())
      slope_ =
          Real(problem.classWeight(*target_)) * mapped(targetLoss_, [&](double l) { return problem.lossShape.slope(l); });
    else
      weighTargets();
  }

  Real targetLogProbability() const { return Real(0) - targetLoss_; }

  // Without the row's weight.
  Real loss() const {
    const Real loss = shaped() ? shapedLoss() : crossEntropy();
    return problem_.zLoss == 0 ? loss : loss + Real(problem_.zLoss) * (logSumExp * logSumExp);
  }

  // d(everything that flows back) / d(embeddings . classifier); dLoss is d(reported loss) / d(loss()).
  Real dScore(int64_t v, const Real& dLoss) const {
    const size_t at = static_cast<size_t>(v);
    const Real& p = probabilities_[at];
    Real sum = 0;
    sum += dLoss * dCrossEntropy(v);
    if (problem_.zLoss != 0) sum += dLoss * (Real(2 * problem_.zLoss) * logSumExp) * p;
    if (!problem_.gradLogSumExp.empty()) sum += Real(problem_.gradLogSumExp[row_]) * p;
    if (!problem_.gradEntropy.empty()) sum += Real(problem_.gradEntropy[row_]) * (p * ((logSumExp - logits[at]) - entropy));
    if (problem_.softcap != 0) sum = sum * (Real(1) - squashed_[at] * squashed_[at]);
    return stored(problem_, problem_.logitScale == 1 ? sum : Real(problem_.logitScale) * sum);
  }

  std::vector<Real> logits;
  Real logSumExp = 0, entropy = 0;

 private:
  void computeLogits() {
    using std::tanh;
    const bool capped = problem_.softcap != 0;
    for (int64_t v = 0; v < problem_.classes(); ++v) {
      Real x = score<Real>(problem_, static_cast<int64_t>(row_), v);
      if (!problem_.bias.empty()) x = x + Real(problem_.bias[static_cast<size_t>(v)]);
      if (problem_.logitScale != 1) x = Real(problem_.logitScale) * x;
      x = stored(problem_, x);
      if (capped) squashed_.push_back(tanh(x / Real(problem_.softcap)));
      logits.push_back(capped ? Real(problem_.softcap) * squashed_.back() : x);
    }
  }

  void computeProbabilities() {
    using std::exp;
    for (const Real& z : logits) {
      probabilities_.push_back(exp(z - logSumExp));
      entropy += probabilities_.back() * (logSumExp - z);
    }
  }

  bool shaped() const { return problem_.lossShape.shape != FK_LOSS_SHAPE_CROSS_ENTROPY; }

  Real shapedLoss() const {
    const Real f = mapped(targetLoss_, [&](double l) { return problem_.lossShape.value(l); });
    return Real(problem_.classWeight(*target_)) * f;
  }

  bool hasTarget(int64_t v) const {
    return problem_.labelSmoothing != 0 || problem_.targetProbability(static_cast<int64_t>(row_), v) != 0;
  }

  // class_weights[v] * q[v], and their sum.
  void weighTargets() {
    const Real smoothing = problem_.labelSmoothing, classes = static_cast<double>(problem_.classes());
    for (int64_t v = 0; v < problem_.classes(); ++v) {
      Real q = problem_.targetProbability(static_cast<int64_t>(row_), v);
      if (problem_.labelSmoothing != 0) q = (Real(1) - smoothing) * q + smoothing / classes;
      weightedTargets_.push_back(Real(problem_.classWeight(v)) * q);
      if (hasTarget(v)) totalTarget_ += weightedTargets_.back();
    }
  }

  Real crossEntropy() const {
    Real sum = 0;
    for (int64_t v = 0; v < problem_.classes(); ++v) {
      const size_t at = static_cast<size_t>(v);
      if (hasTarget(v)) sum += weightedTargets_[at] * (logSumExp - logits[at]);
    }
    return sum;
  }

  Real dCrossEntropy(int64_t v) const {
    const Real& p = probabilities_[static_cast<size_t>(v)];
    if (shaped()) return slope_ * (v == *target_ ? p - Real(1) : p);
    return hasTarget(v) ? totalTarget_ * p - weightedTargets_[static_cast<size_t>(v)] : totalTarget_ * p;
  }

  const CutCrossEntropy& problem_;
  size_t row_;
  std::optional<int64_t> target_;
  std::vector<Real> squashed_;  // tanh(x / softcap)
  std::vector<Real> probabilities_, weightedTargets_;
  Real totalTarget_ = 0;
  Real targetLoss_ = 0;  // -log p of the target
  Real slope_ = 0;       // of a loss shape
};

// What the mean divides by.
template <class Real>
Real meanDenominator(const CutCrossEntropy& problem) {
  Real sum = 0;
  for (int64_t n = 0; n < problem.rows(); ++n) {
    if (problem.ignored(n)) continue;
    const std::optional<int64_t> target = problem.target(n);
    sum += Real(problem.rowWeight(n)) * Real(target ? problem.classWeight(*target) : 1);
  }
  return sum;
}

// What the reported loss makes of a row's; 0 for a mean over nothing.
template <class Real>
Real rowScale(const CutCrossEntropy& problem, int64_t row) {
  if (problem.reduction != FK_REDUCTION_MEAN) return problem.rowWeight(row);
  if (meanDenominator<double>(problem) == 0) return 0;
  return Real(problem.rowWeight(row)) / meanDenominator<Real>(problem);
}

// By Euler's theorem: every logit before the softcap is linear in logit_scale, as it is in embeddings and bias together.
template <class Real>
Real dLogitScale(const CutCrossEntropy& problem, const CutCrossEntropyResult<Real>& result) {
  Real sum = 0;
  for (int64_t n = 0; n < problem.rows(); ++n)
    for (int64_t d = 0; d < problem.embeddings.columns && !problem.ignored(n); ++d)
      sum += Real(problem.embeddings(n, d)) * result.dEmbeddings(n, d);
  for (size_t v = 0; v < problem.bias.size(); ++v) sum += Real(problem.bias[v]) * result.dBias[v];
  return sum / Real(problem.logitScale);
}

template <class Real>
CutCrossEntropyResult<Real> cutCrossEntropy(const CutCrossEntropy& problem) {
  const int64_t rows = problem.rows(), dim = problem.embeddings.columns, classes = problem.classes();
  CutCrossEntropyResult<Real> result;
  for (std::vector<Real>* perRow : {&result.logSumExp, &result.targetLogProbability, &result.entropy})
    perRow->resize(static_cast<size_t>(rows), Real(0));
  result.loss.resize(problem.perRow() ? static_cast<size_t>(rows) : 1, Real(0));
  result.logits = Dense<Real>(rows, classes);
  result.dScores = Dense<Real>(rows, classes);
  result.dEmbeddings = Dense<Real>(rows, dim);
  result.dClassifier = Dense<Real>(classes, dim);
  result.dBias.resize(static_cast<size_t>(classes), Real(0));

  for (int64_t n = 0; n < rows; ++n) {
    if (problem.ignored(n)) continue;
    const CutCrossEntropyRow<Real> row(problem, n);
    const size_t at = static_cast<size_t>(n);
    result.logSumExp[at] = row.logSumExp;
    result.entropy[at] = row.entropy;
    if (problem.target(n)) result.targetLogProbability[at] = row.targetLogProbability();
    const Real scale = rowScale<Real>(problem, n);
    result.loss[problem.perRow() ? at : 0] += scale * row.loss();

    const Real dLoss = Real(problem.upstream(n)) * scale;
    for (int64_t v = 0; v < classes; ++v) {
      const Real dScore = row.dScore(v, dLoss);
      result.logits(n, v) = row.logits[static_cast<size_t>(v)];
      result.dScores(n, v) = dScore;
      result.dBias[static_cast<size_t>(v)] += dScore;
      for (int64_t d = 0; d < dim; ++d) {
        result.dEmbeddings(n, d) += dScore * Real(problem.classifier(v, d));
        result.dClassifier(v, d) += dScore * Real(problem.embeddings(n, d));
      }
    }
  }
  result.dLogitScale = dLogitScale(problem, result);
  return result;
}

}  // namespace fk::oracle
