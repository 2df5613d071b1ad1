// One query row against the cached tokens of its head, as the definition of fk_kv_cache_attention says.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace fk::oracle {

template <class Real>
struct CachedHead {
  std::vector<std::vector<Real>> keys, values;  // [token][dim]
};

template <class Real>
struct CacheRules {
  Real scale = 1;
  double softcap = 0, lengthScaleBase = 0;
  bool causal = false;
  int64_t windowLeft = -1, windowRight = -1;
  double slope = 0;
  std::optional<double> sink;
};

template <class Real>
struct CachedRow {
  std::vector<Real> output;
  Real logSumExp;
};

// The query at `position`, key j being at position j.
template <class Real>
CachedRow<Real> attendToCache(const CacheRules<Real>& rules, const CachedHead<Real>& head, const std::vector<Real>& query,
                              int64_t position, int64_t valueDim) {
  using std::exp, std::log, std::tanh;
  std::vector<size_t> seen;
  for (size_t j = 0; j < head.keys.size(); ++j) {
    const int64_t ahead = static_cast<int64_t>(j) - position;
    if (rules.causal && ahead > 0) continue;
    if (rules.windowRight >= 0 && ahead > rules.windowRight) continue;
    if (rules.windowLeft >= 0 && -ahead > rules.windowLeft) continue;
    seen.push_back(j);
  }
  Real lengthScale = 1;
  if (rules.lengthScaleBase > 0 && !seen.empty())
    lengthScale = Real(std::log(static_cast<double>(seen.size()))) / Real(std::log(rules.lengthScaleBase));

  std::vector<Real> scores;
  Real largest = rules.sink ? Real(*rules.sink) : Real(-std::numeric_limits<double>::infinity());
  for (const size_t j : seen) {
    Real sum = 0;
    for (size_t d = 0; d < query.size(); ++d) sum += query[d] * head.keys[j][d];
    Real score = rules.scale * lengthScale * sum;
    if (rules.softcap > 0) score = Real(rules.softcap) * tanh(score / Real(rules.softcap));
    if (rules.slope != 0)
      score = score - Real(rules.slope) * Real(static_cast<double>(std::abs(static_cast<int64_t>(j) - position)));
    scores.push_back(score);
    if (largest < score) largest = score;
  }

  CachedRow<Real> row{std::vector<Real>(static_cast<size_t>(valueDim), Real(0)), largest};
  if (seen.empty()) return row;  // zeros, and the sink or -inf
  const Real shift = exactly(largest);
  Real total = 0;
  for (size_t at = 0; at < seen.size(); ++at) {
    const Real weight = exp(scores[at] - shift);
    total += weight;
    for (size_t d = 0; d < row.output.size(); ++d) row.output[d] += weight * head.values[seen[at]][d];
  }
  if (rules.sink) total += exp(Real(*rules.sink) - shift);
  for (Real& element : row.output) element = element / total;
  row.logSumExp = shift + log(total);
  return row;
}

}  // namespace fk::oracle
