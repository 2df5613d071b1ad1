// Attention as an operator on the streaming engine: Dao, "FlashAttention-2", 2023. Queries lie along the lanes, keys are the
// score columns, and the values are contracted with each tile of weights while it is in cache.
#pragma once

#include "cpu/attention/dropout-inl.h"
#include "cpu/attention/score_terms-inl.h"
#include "cpu/engine/backward-inl.h"

namespace fk::cpu::FK_ISA {

// What weights are multiplied with after the softmax: the Toeplitz factor and dropout.
struct WeightFactors {
  const Diagonals& diagonals;
  Dropout dropout;
  int64_t firstQuery, firstKey;

  explicit operator bool() const { return diagonals.factor || dropout; }

  // [column][lane], without what `withToeplitz` leaves out.
  void load(const ScoreTile& tile, bool withToeplitz, float* to) const {
    const int64_t columns = tile.columns.size();
    if (diagonals.factor && withToeplitz) {
      for (int64_t c = 0; c < columns; ++c)
        std::copy_n(diagonals.factor + diagonals.index(tile.rows.begin, tile.columns.begin + c), kLanePanel,
                    to + c * kLanePanel);
    } else {
      std::fill_n(to, columns * kLanePanel, 1.0f);
    }
    if (dropout) dropout.multiply(firstQuery + tile.rows.begin, firstKey + tile.columns.begin, columns, to);
  }
};

inline void multiplyInto(const float* factors, int64_t count, float* values) {
  const FloatTag d;
  for (int64_t i = 0; i < count; i += kLanes)
    hn::Store(hn::Mul(hn::Load(d, values + i), hn::Load(d, factors + i)), d, values + i);
}

// One head of one sequence.
struct AttentionOp {
  struct Panel {
    OnlineSoftmax softmax;
    RunningEntropy entropy;
    alignas(64) float rescale[kLanePanel];
  };

  AttentionOp(const AttentionArguments& a, const Sequence& s, int64_t h, const Diagonals& diagonals)
      : arguments(a),
        sequence(s),
        head(h),
        terms(a, s, h, diagonals),
        factors{diagonals,
                {a.dropout, a.dropoutSeed, static_cast<uint32_t>(s.item), static_cast<uint32_t>(h)},
                s.firstQuery,
                s.firstKey} {}

  const AttentionArguments& arguments;
  Sequence sequence;
  int64_t head;
  ScoreTerms terms;
  WeightFactors factors;
  // backward: of the current row block, from firstRow on. Padding, and rows that see no key, have a logSumExp of +inf, which
  // makes their weights 0.
  const float* logSumExp = nullptr;
  const float* delta = nullptr;  // dOutput . output - dLogSumExp
  int64_t firstRow = 0;

  Range visible(Range rows, Range columns) const { return terms.visibility.visible(rows, columns); }

  void begin(Panel& panel, Range) const {
    panel.softmax.begin();
    panel.entropy.begin();
  }

  void fold(Panel& panel, const ScoreTile& tile) const {
    const float remaining = terms.apply(tile);
    if (arguments.entropy)
      foldWithEntropy(panel, tile, remaining);
    else
      panel.softmax.fold<true>(tile.scores, tile.columns.size(), remaining, panel.rescale);
    if (!factors) return;
    alignas(64) float factor[kTileFloats];
    factors.load(tile, true, factor);
    multiplyInto(factor, tile.columns.size() * kLanePanel, tile.scores);
  }

  // weights = exp(s - logSumExp), dScores = weights * (factor * dWeights - delta) through the terms to the dot products.
  void gradient(const ScoreTile& tile, float* dWeights) const {
    if (terms.isPlain() && !factors) return plainGradient(tile, dWeights);
    alignas(64) float capDerivative[kTileFloats], factor[kTileFloats];
    const int64_t floats = tile.columns.size() * kLanePanel;
    toWeights(tile, terms.apply(tile, capDerivative));
    if (factors) {
      if (factors.diagonals.dFactor) addToeplitzGradient(tile, dWeights, factor);
      factors.load(tile, true, factor);
      multiplyInto(factor, floats, dWeights);
    }
    toScoreGradients(tile, dWeights);
    if (factors) multiplyInto(factor, floats, tile.scores);
    terms.addGradients(tile, dWeights);
    terms.scaleGradient(tile, capDerivative, dWeights);
  }

  // The weights of a tile from the scores that are left in it, `remaining` being the factor that those still need.
  void toWeights(const ScoreTile& tile, float remaining) const {
    const FloatTag d;
    const FloatVector scale = hn::Set(d, remaining);
    for (int64_t half = 0; half < kLanePanel; half += kLanes) {
      const FloatVector shift = hn::LoadU(d, logSumExp + tile.rows.begin - firstRow + half);
      for (int64_t c = 0; c < tile.columns.size(); ++c) {
        float* at = tile.scores + c * kLanePanel + half;
        hn::Store(ExpBelowOverflow(d, hn::MulSub(scale, hn::Load(d, at), shift)), d, at);
      }
    }
  }

 private:
  void foldWithEntropy(Panel& panel, const ScoreTile& tile, float remaining) const {
    const FloatTag d;
    const int64_t floats = tile.columns.size() * kLanePanel;
    alignas(64) float scores[kTileFloats];
    for (int64_t i = 0; i < floats; i += kLanes)
      hn::Store(hn::Mul(hn::Set(d, remaining), hn::Load(d, tile.scores + i)), d, scores + i);
    const OnlineSoftmax before = panel.softmax;
    panel.softmax.fold<true>(tile.scores, tile.columns.size(), remaining, panel.rescale);
    panel.entropy.fold(before, panel.softmax, scores, tile.columns.size());
  }

  // All of gradient() in one pass over the tile, where only the scale and the band take part.
  void plainGradient(const ScoreTile& tile, float* dWeights) const {
    const FloatTag d;
    const FloatVector remaining = hn::Set(d, terms.apply(tile)), scale = hn::Set(d, arguments.scale);
    const int64_t row = tile.rows.begin - firstRow;
    for (int64_t half = 0; half < kLanePanel; half += kLanes) {
      const FloatVector shift = hn::LoadU(d, logSumExp + row + half), vDelta = hn::LoadU(d, delta + row + half);
      for (int64_t c = 0; c < tile.columns.size(); ++c) {
        float *score = tile.scores + c * kLanePanel + half, *gradient = dWeights + c * kLanePanel + half;
        const FloatVector weight = ExpBelowOverflow(d, hn::MulSub(remaining, hn::Load(d, score), shift));
        hn::Store(weight, d, score);
        hn::Store(hn::Mul(hn::Mul(scale, weight), hn::Sub(hn::Load(d, gradient), vDelta)), d, gradient);
      }
    }
  }

  void toScoreGradients(const ScoreTile& tile, float* dWeights) const {
    const FloatTag d;
    for (int64_t half = 0; half < kLanePanel; half += kLanes) {
      const FloatVector vDelta = hn::LoadU(d, delta + tile.rows.begin - firstRow + half);
      for (int64_t c = 0; c < tile.columns.size(); ++c) {
        float* gradient = dWeights + c * kLanePanel + half;
        const FloatVector weight = hn::Load(d, tile.scores + c * kLanePanel + half);
        hn::Store(hn::Mul(weight, hn::Sub(hn::Load(d, gradient), vDelta)), d, gradient);
      }
    }
  }

  // d(factor) = sum over a diagonal of weight * dropout * dWeights. `scratch` holds a tile.
  void addToeplitzGradient(const ScoreTile& tile, const float* dWeights, float* scratch) const {
    factors.load(tile, false, scratch);
    multiplyInto(tile.scores, tile.columns.size() * kLanePanel, scratch);
    multiplyInto(dWeights, tile.columns.size() * kLanePanel, scratch);
    const Diagonals& diagonals = factors.diagonals;
    for (int64_t c = 0; c < tile.columns.size(); ++c)
      addLanes(scratch + c * kLanePanel, diagonals.dFactor + diagonals.index(tile.rows.begin, tile.columns.begin + c));
  }
};

}  // namespace fk::cpu::FK_ISA
