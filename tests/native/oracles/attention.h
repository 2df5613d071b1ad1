// output = softmax(scale * q k^T + mask) v of one head, and its gradients, as the definition says.
#pragma once

#include <algorithm>
#include <cmath>

#include "oracles/cut_cross_entropy.h"
#include "oracles/dense.h"

namespace fk::oracle {

struct Attention {
  Dense<double> q, k, v;
  double scale = 1;
  bool causal = false;
  Dense<double> dOutput;

  // The mask's diagonal ends in the bottom right corner.
  bool sees(int64_t query, int64_t key) const { return !causal || key <= query + k.rows - q.rows; }
};

template <class Real>
struct AttentionResult {
  Dense<Real> output;
  std::vector<Real> logSumExp;
  Dense<Real> dQ, dK, dV;
};

template <class Real>
AttentionResult<Real> attention(const Attention& problem) {
  using std::exp;
  const int64_t queries = problem.q.rows, keys = problem.k.rows, dim = problem.q.columns, valueDim = problem.v.columns;
  AttentionResult<Real> result;
  result.output = Dense<Real>(queries, valueDim);
  result.logSumExp.resize(static_cast<size_t>(queries));
  result.dQ = Dense<Real>(queries, dim);
  result.dK = Dense<Real>(keys, dim);
  result.dV = Dense<Real>(keys, valueDim);

  for (int64_t i = 0; i < queries; ++i) {
    std::vector<int64_t> seen;
    std::vector<Real> scores;
    for (int64_t j = 0; j < keys; ++j) {
      if (!problem.sees(i, j)) continue;
      Real sum = 0;
      for (int64_t d = 0; d < dim; ++d) sum += Real(problem.q(i, d)) * Real(problem.k(j, d));
      seen.push_back(j);
      scores.push_back(Real(problem.scale) * sum);
    }
    const Real lse = logSumExp(scores);
    result.logSumExp[static_cast<size_t>(i)] = lse;

    std::vector<Real> probability;
    for (const Real& s : scores) probability.push_back(exp(s - lse));
    for (size_t at = 0; at < seen.size(); ++at)
      for (int64_t d = 0; d < valueDim; ++d) result.output(i, d) += probability[at] * Real(problem.v(seen[at], d));

    // softmax's Jacobian: dScore = p * (dP - sum p dP), where the sum equals dOutput . output.
    Real projection = 0;
    for (int64_t d = 0; d < valueDim; ++d) projection += Real(problem.dOutput(i, d)) * result.output(i, d);
    for (size_t at = 0; at < seen.size(); ++at) {
      const int64_t j = seen[at];
      Real dProbability = 0;
      for (int64_t d = 0; d < valueDim; ++d) dProbability += Real(problem.dOutput(i, d)) * Real(problem.v(j, d));
      const Real dScore = Real(problem.scale) * probability[at] * (dProbability - projection);
      for (int64_t d = 0; d < dim; ++d) {
        result.dQ(i, d) += dScore * Real(problem.k(j, d));
        result.dK(j, d) += dScore * Real(problem.q(i, d));
      }
      for (int64_t d = 0; d < valueDim; ++d) result.dV(j, d) += probability[at] * Real(problem.dOutput(i, d));
    }
  }
  return result;
}

}  // namespace fk::oracle
