// The whole vocabulary's log-sum-exp from those of its shards: O(S N), in double, so that one build serves every instruction
// set and shards add up to the same bits everywhere.
#pragma once

#include <cmath>
#include <limits>

#include "core/tensor.h"

namespace fk::cpu {

struct ShardMerge {
  Matrix<const float> maximum, sum, target;  // [S, N]
  Vector<float> logSumExp;                   // [N]
  Vector<float> targetLogProbability;        // [N], optional
};

inline void mergeShards(const ShardMerge& m) {
  for (int64_t row = 0; row < m.logSumExp.size; ++row) {
    float maximum = -std::numeric_limits<float>::infinity();
    for (int64_t s = 0; s < m.maximum.rows; ++s) maximum = std::fmax(maximum, m.maximum(s, row));
    const double shift = std::isinf(maximum) && maximum < 0 ? 0 : static_cast<double>(maximum);
    double sum = 0, target = 0;
    for (int64_t s = 0; s < m.maximum.rows; ++s) {
      sum += static_cast<double>(m.sum(s, row)) * std::exp(static_cast<double>(m.maximum(s, row)) - shift);
      target += static_cast<double>(m.target(s, row));
    }
    // An ignored row has no classes in any shard: zeros, as in the whole.
    const bool isEmpty = sum == 0;
    m.logSumExp[row] = isEmpty ? 0.0f : static_cast<float>(shift + std::log(sum));
    if (m.targetLogProbability)
      m.targetLogProbability[row] = isEmpty ? 0.0f : static_cast<float>((target - shift) - std::log(sum));
  }
}

}  // namespace fk::cpu
