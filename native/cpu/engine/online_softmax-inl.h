// The streaming log-sum-exp, a row per lane: Milakov & Gimelshein, "Online normalizer calculation for softmax", 2018.
#pragma once

#include <limits>

#include "cpu/engine/score_tiles-inl.h"
#include "cpu/engine/vector_math-inl.h"

namespace fk::cpu::FK_ISA {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

struct OnlineSoftmax {
  alignas(64) float max[kLanePanel];
  alignas(64) float sum[kLanePanel];  // of exp(score - max)

  void begin() {
    std::fill_n(max, kLanePanel, kMinusInfinity);
    std::fill_n(sum, kLanePanel, 0.0f);
  }

  // Adds scale * scores of a tile. With kKeepWeights, exp(scale * score - max) replaces the scores, and rescale (kLanePanel
  // floats) is what earlier weights have to be multiplied with. Two passes over a tile in cache, an exp per score. A NaN
  // reaches the sum whatever the maxima make of it.
  template <bool kKeepWeights>
  void fold(float* scores, int64_t columns, float scale, float* rescale = nullptr) {
    const FloatTag d;
    const FloatVector vScale = hn::Set(d, scale);
    for (int64_t half = 0; half < kLanePanel; half += kLanes) {
      float* at = scores + half;
      FloatVector newMax = hn::Load(d, max + half), otherMax = newMax;
      int64_t c = 0;
      for (; c + 2 <= columns; c += 2) {
        newMax = hn::Max(newMax, hn::Mul(vScale, hn::Load(d, at + c * kLanePanel)));
        otherMax = hn::Max(otherMax, hn::Mul(vScale, hn::Load(d, at + (c + 1) * kLanePanel)));
      }
      if (c < columns) newMax = hn::Max(newMax, hn::Mul(vScale, hn::Load(d, at + c * kLanePanel)));
      newMax = hn::Max(newMax, otherMax);

      const FloatVector shift = finiteShift(newMax);
      FloatVector tileSum = hn::Zero(d);
      for (c = 0; c < columns; ++c) {
        const FloatVector weight = ExpBelowOverflow(d, hn::MulSub(vScale, hn::Load(d, at + c * kLanePanel), shift));
        if constexpr (kKeepWeights) hn::Store(weight, d, at + c * kLanePanel);
        tileSum = hn::Add(tileSum, weight);
      }
      const FloatVector factor = ExpBelowOverflow(d, hn::Sub(hn::Load(d, max + half), shift));
      hn::Store(hn::MulAdd(hn::Load(d, sum + half), factor, tileSum), d, sum + half);
      hn::Store(newMax, d, max + half);
      if constexpr (kKeepWeights) hn::Store(factor, d, rescale + half);
    }
  }

  void merge(const OnlineSoftmax& later) {
    const FloatTag d;
    for (int64_t half = 0; half < kLanePanel; half += kLanes) {
      const FloatVector a = hn::Load(d, max + half), b = hn::Load(d, later.max + half), newMax = hn::Max(a, b);
      const FloatVector shift = finiteShift(newMax);
      const FloatVector first = hn::Mul(hn::Load(d, sum + half), ExpBelowOverflow(d, hn::Sub(a, shift)));
      const FloatVector second = hn::Mul(hn::Load(d, later.sum + half), ExpBelowOverflow(d, hn::Sub(b, shift)));
      hn::Store(hn::Add(first, second), d, sum + half);
      hn::Store(newMax, d, max + half);
    }
  }

  // -inf for a row that saw nothing.
  void logSumExp(float* result) const {
    const FloatTag d;
    for (int64_t half = 0; half < kLanePanel; half += kLanes)
      hn::StoreU(hn::Add(finiteShift(hn::Load(d, max + half)), Log(d, hn::Load(d, sum + half))), d, result + half);
  }

  // What the exponents of these lanes are taken relative to.
  FloatVector shift(int64_t half) const { return finiteShift(hn::Load(FloatTag(), max + half)); }

  // What exponents are taken relative to: the maximum, or 0 while that is -inf, since -inf - -inf would be NaN.
  static FloatVector finiteShift(FloatVector max) {
    const FloatTag d;
    return hn::IfThenZeroElse(hn::Eq(max, hn::Set(d, kMinusInfinity)), max);
  }
};

// The streaming entropy beside an OnlineSoftmax with the maximum m: H = log(softmax.sum) + sum / softmax.sum. All terms are
// non-negative, so nothing large cancels.
struct RunningEntropy {
  alignas(64) float sum[kLanePanel];  // of exp(score - m) (m - score)

  void begin() { std::fill_n(sum, kLanePanel, 0.0f); }

  // Adds a tile that took the softmax from `before` to `after`. One more exp per score.
  void fold(const OnlineSoftmax& before, const OnlineSoftmax& after, const float* scores, int64_t columns) {
    const FloatTag d;
    for (int64_t half = 0; half < kLanePanel; half += kLanes) {
      const FloatVector shift = after.shift(half);
      FloatVector tileSum = hn::Zero(d);
      for (int64_t c = 0; c < columns; ++c) {
        const FloatVector below = hn::Sub(shift, hn::Load(d, scores + c * kLanePanel + half));
        const FloatVector weight = ExpBelowOverflow(d, hn::Neg(below));
        tileSum = hn::Add(tileSum, hn::IfThenZeroElse(hn::Eq(weight, hn::Zero(d)), hn::Mul(weight, below)));
      }
      hn::Store(hn::Add(moved(before, half, shift), tileSum), d, sum + half);
    }
  }

  void merge(const OnlineSoftmax& before, const OnlineSoftmax& after, const RunningEntropy& later,
             const OnlineSoftmax& laterSoftmax) {
    const FloatTag d;
    for (int64_t half = 0; half < kLanePanel; half += kLanes) {
      const FloatVector shift = after.shift(half);
      hn::Store(hn::Add(moved(before, half, shift), later.moved(laterSoftmax, half, shift)), d, sum + half);
    }
  }

 private:
  // The sum relative to a new maximum.
  FloatVector moved(const OnlineSoftmax& softmax, int64_t half, FloatVector shift) const {
    const FloatTag d;
    const FloatVector rise = hn::Sub(shift, softmax.shift(half)), weights = hn::Load(d, softmax.sum + half);
    const FloatVector factor = ExpBelowOverflow(d, hn::Neg(rise));
    const FloatVector result = hn::Mul(factor, hn::MulAdd(weights, rise, hn::Load(d, sum + half)));
    return hn::IfThenZeroElse(hn::Eq(weights, hn::Zero(d)), result);
  }
};

}  // namespace fk::cpu::FK_ISA
