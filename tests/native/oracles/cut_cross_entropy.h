// Cross-entropy of the logits embeddings * classifier^T, and its gradient, as the definition says.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>

#include "fusedkernels.h"
#include "oracles/dense.h"

namespace fk::oracle {

struct CutCrossEntropy {
  Dense<double> embeddings, classifier;
  std::vector<int64_t> targets;
  std::optional<int64_t> ignoreIndex;
  fk_reduction reduction = FK_REDUCTION_MEAN;
  std::vector<double> gradLoss = {1};  // one element, or one per row for FK_REDUCTION_NONE

  bool ignored(int64_t row) const { return ignoreIndex && targets[static_cast<size_t>(row)] == *ignoreIndex; }
};

template <class Real>
struct CutCrossEntropyResult {
  std::vector<Real> logSumExp;  // per row, ignored rows too
  std::vector<Real> loss;       // one element, or one per row
  Dense<Real> dEmbeddings, dClassifier;
};

template <class Real>
Real score(const CutCrossEntropy& problem, int64_t row, int64_t column) {
  Real sum = 0;
  for (int64_t d = 0; d < problem.embeddings.columns; ++d)
    sum += Real(problem.embeddings(row, d)) * Real(problem.classifier(column, d));
  return sum;
}

inline double exactly(double x) { return x; }

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
CutCrossEntropyResult<Real> cutCrossEntropy(const CutCrossEntropy& problem) {
  using std::exp;
  const int64_t rows = problem.embeddings.rows, dim = problem.embeddings.columns, classes = problem.classifier.rows;
  int64_t counted = 0;
  for (int64_t n = 0; n < rows; ++n) counted += !problem.ignored(n);
  const bool perRow = problem.reduction == FK_REDUCTION_NONE;
  const double weight = problem.reduction == FK_REDUCTION_MEAN && counted > 0 ? 1.0 / static_cast<double>(counted) : 1;

  CutCrossEntropyResult<Real> result;
  result.logSumExp.resize(static_cast<size_t>(rows));
  result.loss.assign(perRow ? static_cast<size_t>(rows) : 1, Real(0));
  result.dEmbeddings = Dense<Real>(rows, dim);
  result.dClassifier = Dense<Real>(classes, dim);

  for (int64_t n = 0; n < rows; ++n) {
    std::vector<Real> scores;
    for (int64_t v = 0; v < classes; ++v) scores.push_back(score<Real>(problem, n, v));
    const Real lse = logSumExp(scores);
    result.logSumExp[static_cast<size_t>(n)] = lse;
    if (problem.ignored(n)) continue;

    const int64_t target = problem.targets[static_cast<size_t>(n)];
    result.loss[perRow ? static_cast<size_t>(n) : 0] += Real(weight) * (lse - scores[static_cast<size_t>(target)]);

    const Real gradient = Real(weight) * Real(problem.gradLoss[perRow ? static_cast<size_t>(n) : 0]);
    for (int64_t v = 0; v < classes; ++v) {
      const Real probability = exp(scores[static_cast<size_t>(v)] - lse);
      const Real dScore = gradient * (v == target ? probability - Real(1) : probability);
      for (int64_t d = 0; d < dim; ++d) {
        result.dEmbeddings(n, d) += dScore * Real(problem.classifier(v, d));
        result.dClassifier(v, d) += dScore * Real(problem.embeddings(n, d));
      }
    }
  }
  return result;
}

}  // namespace fk::oracle
