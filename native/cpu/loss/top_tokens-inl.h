// The K most likely classes of each row, in the same sweep as the log-sum-exp.
#pragma once

#include <climits>

#include "cpu/engine/online_softmax-inl.h"

namespace fk::cpu::FK_ISA {

// Of one lane panel; the arrays, [K][kLanePanel], belong to the workspace.
struct TopTokens {
  float* scores = nullptr;  // descending
  int32_t* tokens = nullptr;
  int64_t count = 0;

  static constexpr int32_t kNone = INT_MAX;

  void begin() const {
    std::fill_n(scores, count * kLanePanel, kMinusInfinity);
    std::fill_n(tokens, count * kLanePanel, kNone);
  }

  // A column costs a comparison with the worst score kept; insertions are rare, K log(V / K) per row in random order.
  void fold(const ScoreTile& tile, const int32_t* classIds) const {
    const FloatTag d;
    const float* worst = scores + (count - 1) * kLanePanel;
    for (int64_t column = tile.columns.begin; column < tile.columns.end; ++column) {
      const float* at = tile.scores + (column - tile.columns.begin) * kLanePanel;
      for (int64_t half = 0; half < kLanePanel; half += kLanes) {
        if (hn::AllFalse(d, hn::Ge(hn::Load(d, at + half), hn::Load(d, worst + half)))) continue;
        const auto token = static_cast<int32_t>(classIds ? classIds[column] : column);
        for (int64_t lane = half; lane < half + kLanes; ++lane) insert(lane, at[lane], token);
      }
    }
  }

  void merge(const TopTokens& later) const {
    for (int64_t i = 0; i < count; ++i)
      for (int64_t lane = 0; lane < kLanePanel; ++lane)
        insert(lane, later.scores[i * kLanePanel + lane], later.tokens[i * kLanePanel + lane]);
  }

 private:
  void insert(int64_t lane, float score, int32_t token) const {
    for (int64_t i = count - 1; i >= 0; --i) {
      float& otherScore = scores[i * kLanePanel + lane];
      int32_t& otherToken = tokens[i * kLanePanel + lane];
      if (!(score > otherScore || (score == otherScore && token < otherToken))) return;
      if (i + 1 < count) {
        scores[(i + 1) * kLanePanel + lane] = otherScore;
        tokens[(i + 1) * kLanePanel + lane] = otherToken;
      }
      otherScore = score;
      otherToken = token;
    }
  }
};

}  // namespace fk::cpu::FK_ISA
