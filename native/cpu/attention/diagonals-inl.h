// What depends on the distance between a query and a key alone: one array per head, of queries + keys - 1 diagonals. Index
// i - j + keys - 1, so that the lanes of a column, which are ascending queries, are adjacent.
#pragma once

#include <cmath>

#include "cpu/attention/sequence.h"
#include "cpu/engine/score_tiles-inl.h"

namespace fk::cpu::FK_ISA {

// T5's bucket of the distance n = query position - key position. The formula of fusedkernels.h, in double.
class RelativeBuckets {
 public:
  explicit RelativeBuckets(const AttentionArguments& a)
      : bidirectional_(a.relativeBidirectional),
        buckets_(bidirectional_ ? a.relativeBuckets / 2 : a.relativeBuckets),
        exact_(std::max<int64_t>(1, buckets_ / 2)),
        logRange_(std::log(static_cast<double>(a.relativeMaxDistance) / static_cast<double>(exact_))),
        maxDistance_(a.relativeMaxDistance) {}

  int64_t operator()(int64_t n) const {
    if (bidirectional_) return n < 0 ? buckets_ + bucketOf(-n) : bucketOf(n);
    return bucketOf(std::max<int64_t>(n, 0));
  }

 private:
  int64_t bucketOf(int64_t n) const {
    if (n < exact_) return n;
    if (n >= maxDistance_) return buckets_ - 1;
    const double share = std::log(static_cast<double>(n) / static_cast<double>(exact_)) / logRange_;
    const auto beyond = static_cast<int64_t>(std::floor(share * static_cast<double>(buckets_ - exact_)));
    return std::min(buckets_ - 1, exact_ + beyond);
  }

  bool bidirectional_;
  int64_t buckets_, exact_;
  double logRange_;
  int64_t maxDistance_;
};

struct Diagonals {
  // Room for the longest of all sequences; arrays that the call does not need stay null.
  Diagonals(WorkspaceCursor& cursor, const AttentionArguments& a, bool wantsGradients) {
    const int64_t room = a.q.sequence + a.k.sequence + kLanePanel;
    const auto take = [&](bool wanted) { return wanted ? cursor.take<float>(room) : nullptr; };
    bias = take(a.alibiSlopes || a.relativeBias);
    factor = take(static_cast<bool>(a.toeplitz));
    dBias = take(wantsGradients && (a.alibiSlopes.gradient || a.relativeBias.gradient));
    dFactor = take(wantsGradients && a.toeplitz.gradient);
  }

  // Of query i and key j; the following queries lie behind.
  int64_t index(int64_t i, int64_t j) const { return i - j + keys - 1; }

  void begin(const AttentionArguments& a, const Sequence& s, int64_t h) {
    keys = s.keys;
    const int64_t count = std::max<int64_t>(0, s.queries + s.keys - 1);
    for (float* array : {bias, factor})
      if (array) std::fill_n(array + count, kLanePanel, 0.0f);  // what padding lanes read
    for (float* array : {dBias, dFactor})
      if (array) std::fill_n(array, count + kLanePanel, 0.0f);
    if (bias) fillBias(a, s, h, count);
    if (factor)
      for (int64_t t = 0; t < count; ++t) factor[t] = *a.toeplitz.value.at(0, h, 0, a.q.sequence - 1 - (t - (keys - 1)));
  }

  // From sums over diagonals to the gradients of what was spread over them.
  void addGradients(const AttentionArguments& a, const Sequence& s, int64_t h) const {
    const int64_t count = std::max<int64_t>(0, s.queries + s.keys - 1);
    if (dFactor)
      for (int64_t t = 0; t < count; ++t)
        *a.toeplitz.gradient.at(0, h, 0, a.q.sequence - 1 - (t - (keys - 1))) += dFactor[t];
    if (!dBias) return;
    const RelativeBuckets bucketOf(a);
    double dSlope = 0;
    for (int64_t t = 0; t < count; ++t) {
      const int64_t n = t - (keys - 1) + s.position;
      dSlope -= static_cast<double>(std::abs(n)) * static_cast<double>(dBias[t]);
      if (a.relativeBias.gradient) *a.relativeBias.gradient.at(0, h, 0, bucketOf(n)) += dBias[t];
    }
    if (a.alibiSlopes.gradient) *a.alibiSlopes.gradient.at(s.item, h) += static_cast<float>(dSlope);
  }

  int64_t keys = 0;
  float *bias, *factor;
  float *dBias, *dFactor;  // sums of gradients

 private:
  void fillBias(const AttentionArguments& a, const Sequence& s, int64_t h, int64_t count) {
    const RelativeBuckets bucketOf(a);
    const float slope = a.alibiSlopes ? *a.alibiSlopes.value.at(s.item, h) : 0.0f;
    for (int64_t t = 0; t < count; ++t) {
      const int64_t n = t - (keys - 1) + s.position;
      bias[t] = -slope * static_cast<float>(std::abs(n));
      if (a.relativeBias) bias[t] += *a.relativeBias.value.at(0, h, 0, bucketOf(n));
    }
  }
};

// Adds a row of lanes to a diagonal array.
inline void addLanes(const float* lanes, float* to) {
  const FloatTag d;
  for (int64_t half = 0; half < kLanePanel; half += kLanes)
    hn::StoreU(hn::Add(hn::LoadU(d, to + half), hn::Load(d, lanes + half)), d, to + half);
}

}  // namespace fk::cpu::FK_ISA
