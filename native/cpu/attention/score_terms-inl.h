// From dot products to scores, a tile at a time and in place: s = cap(scale * lengthScale * dot) + biases, with -inf where
// the query does not see the key. Each term is one more pass over a tile in cache, and only where it is asked for.
#pragma once

#include <cmath>

#include "cpu/attention/diagonals-inl.h"
#include "cpu/attention/visibility-inl.h"

namespace fk::cpu::FK_ISA {

constexpr int64_t kTileFloats = kColumnTile * kLanePanel;

class ScoreTerms {
 public:
  ScoreTerms(const AttentionArguments& a, const Sequence& s, int64_t h, const Diagonals& diagonals)
      : visibility(a, s, h),
        a_(a),
        s_(s),
        h_(h),
        diagonals_(diagonals),
        isPlain_(!visibility.hasMasks() && a.softcap == 0 && a.lengthScaleBase == 0 && !a.keyBias && !diagonals.bias &&
                 !a.bias && !a.axialX && !a.axialY) {}

  Visibility visibility;

  // Nothing but the scale and the band.
  bool isPlain() const { return isPlain_; }

  // Returns the factor that the scores still need: plain tiles that the band does not cut are left alone, and are scaled on
  // the way into exp. capDerivative [kTileFloats]: d(capped) / d(uncapped), where there is a softcap.
  float apply(const ScoreTile& tile, float* capDerivative = nullptr) const {
    const bool cut = visibility.cuts(tile);
    if (isPlain_ && !cut) return a_.scale;
    if (!isPlain_) {
      scale(tile, capDerivative);
      if (a_.keyBias || diagonals_.bias) addColumnsAndDiagonals(tile);
      if (a_.bias) addBias(tile);
      if (a_.axialX || a_.axialY) addAxial(tile);
    }
    if (cut) visibility.hideOutsideBand(tile, isPlain_ ? a_.scale : 1.0f);
    if (visibility.hasMasks()) visibility.hideMasked(tile);
    return 1.0f;
  }

  // Adds the gradients of a tile's scores to those of the terms. Nobody else may be at these columns, nor, for terms that
  // depend on the diagonal or on one axis of the keys, at this head.
  void addGradients(const ScoreTile& tile, const float* dScores) const {
    if (a_.keyBias.gradient) addKeyGradient(tile, dScores);
    if (a_.bias.gradient) addBiasGradient(tile, dScores);
    if (a_.axialX.gradient || a_.axialY.gradient) addAxialGradient(tile, dScores);
    if (!diagonals_.dBias) return;
    for (int64_t c = 0; c < tile.columns.size(); ++c)
      addLanes(dScores + c * kLanePanel, diagonals_.dBias + diagonals_.index(tile.rows.begin, tile.columns.begin + c));
  }

  // dScores becomes the gradient of the dot products.
  void scaleGradient(const ScoreTile& tile, const float* capDerivative, float* dScores) const {
    const FloatTag d;
    alignas(64) float scales[kLanePanel];
    fillScales(tile.rows, scales);
    for (int64_t i = 0; i < tile.columns.size() * kLanePanel; i += kLanes) {
      FloatVector gradient = hn::Mul(hn::Load(d, dScores + i), hn::Load(d, scales + i % kLanePanel));
      if (a_.softcap > 0) gradient = hn::Mul(gradient, hn::Load(d, capDerivative + i));
      hn::Store(gradient, d, dScores + i);
    }
  }

 private:
  // scale * lengthScale of each row.
  void fillScales(Range rows, float* scales) const {
    std::fill_n(scales, kLanePanel, a_.scale);
    if (a_.lengthScaleBase == 0) return;
    const double logBase = std::log(static_cast<double>(a_.lengthScaleBase));
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const auto keys = static_cast<double>(std::max<int64_t>(1, visibility.keysOf(row)));
      scales[row - rows.begin] = static_cast<float>(static_cast<double>(a_.scale) * (std::log(keys) / logBase));
    }
  }

  void scale(const ScoreTile& tile, float* capDerivative) const {
    const FloatTag d;
    alignas(64) float scales[kLanePanel];
    fillScales(tile.rows, scales);
    const FloatVector cap = hn::Set(d, a_.softcap);
    for (int64_t i = 0; i < tile.columns.size() * kLanePanel; i += kLanes) {
      FloatVector score = hn::Mul(hn::Load(d, tile.scores + i), hn::Load(d, scales + i % kLanePanel));
      if (a_.softcap > 0) {
        const FloatVector tanh = Tanh(d, hn::Div(score, cap));
        score = hn::Mul(cap, tanh);
        if (capDerivative) hn::Store(hn::NegMulAdd(tanh, tanh, hn::Set(d, 1.0f)), d, capDerivative + i);
      }
      hn::Store(score, d, tile.scores + i);
    }
  }

  void addColumnsAndDiagonals(const ScoreTile& tile) const {
    const FloatTag d;
    for (int64_t column = tile.columns.begin; column < tile.columns.end; ++column) {
      float* at = tile.scores + (column - tile.columns.begin) * kLanePanel;
      const FloatVector ofKey = hn::Set(d, a_.keyBias ? *a_.keyBias.value.at(s_.item, h_, 0, s_.firstKey + column) : 0.0f);
      for (int64_t half = 0; half < kLanePanel; half += kLanes) {
        FloatVector bias = ofKey;
        if (diagonals_.bias)
          bias = hn::Add(bias, hn::LoadU(d, diagonals_.bias + diagonals_.index(tile.rows.begin, column) + half));
        hn::Store(hn::Add(hn::Load(d, at + half), bias), d, at + half);
      }
    }
  }

  // Rows of an array over queries, as [column][lane] behind padding that is 0.
  void loadLanes(const float* first, int64_t rowStride, int64_t columnStride, Range rows, int64_t columns, float* to) const {
    if (rows.size() < kLanePanel) std::fill_n(to, columns * kLanePanel, 0.0f);
    transpose(Matrix<const float>{first, rows.size(), columns, rowStride, columnStride}, kLanePanel, to);
  }

  void addBias(const ScoreTile& tile) const {
    alignas(64) float lanes[kTileFloats];
    const ScoreArray<const float>& bias = a_.bias.value;
    loadLanes(bias.at(s_.item, h_, s_.firstQuery + tile.rows.begin, s_.firstKey + tile.columns.begin), bias.rowStride,
              bias.columnStride, tile.rows, tile.columns.size(), lanes);
    for (int64_t c = 0; c < tile.columns.size(); ++c) addLanes(lanes + c * kLanePanel, tile.scores + c * kLanePanel);
  }

  // The tile's keys, cut where a row of the key grid ends: run(first column of the tile, count, x, y).
  template <class Run>
  void forEachAxialRun(const ScoreTile& tile, const Run& run) const {
    for (int64_t c = 0; c < tile.columns.size();) {
      const int64_t key = s_.firstKey + tile.columns.begin + c, x = key % a_.axialWidth, y = key / a_.axialWidth;
      const int64_t count = std::min(a_.axialWidth - x, tile.columns.size() - c);
      run(c, count, x, y);
      c += count;
    }
  }

  void addAxial(const ScoreTile& tile) const {
    alignas(64) float lanes[kTileFloats];
    const int64_t query = s_.firstQuery + tile.rows.begin;
    const ScoreArray<const float>&ofX = a_.axialX.value, &ofY = a_.axialY.value;
    forEachAxialRun(tile, [&](int64_t first, int64_t count, int64_t x, int64_t y) {
      float* scores = tile.scores + first * kLanePanel;
      if (ofX) {
        loadLanes(ofX.at(s_.item, h_, query, x), ofX.rowStride, ofX.columnStride, tile.rows, count, lanes);
        for (int64_t c = 0; c < count; ++c) addLanes(lanes + c * kLanePanel, scores + c * kLanePanel);
      }
      if (ofY) {
        loadLanes(ofY.at(s_.item, h_, query, y), ofY.rowStride, ofY.columnStride, tile.rows, 1, lanes);
        for (int64_t c = 0; c < count; ++c) addLanes(lanes, scores + c * kLanePanel);
      }
    });
  }

  void addKeyGradient(const ScoreTile& tile, const float* dScores) const {
    for (int64_t c = 0; c < tile.columns.size(); ++c)
      *a_.keyBias.gradient.at(s_.item, h_, 0, s_.firstKey + tile.columns.begin + c) += sumOfLanes(dScores + c * kLanePanel);
  }

  void addBiasGradient(const ScoreTile& tile, const float* dScores) const {
    const ScoreArray<float>& to = a_.bias.gradient;
    for (int64_t row = tile.rows.begin; row < tile.rows.end; ++row) {
      const float* from = dScores + row - tile.rows.begin;
      float* at = to.at(s_.item, h_, s_.firstQuery + row, s_.firstKey + tile.columns.begin);
      for (int64_t c = 0; c < tile.columns.size(); ++c) at[c * to.columnStride] += from[c * kLanePanel];
    }
  }

  void addAxialGradient(const ScoreTile& tile, const float* dScores) const {
    const ScoreArray<float>&toX = a_.axialX.gradient, &toY = a_.axialY.gradient;
    forEachAxialRun(tile, [&](int64_t first, int64_t count, int64_t x, int64_t y) {
      for (int64_t row = tile.rows.begin; row < tile.rows.end; ++row) {
        const float* from = dScores + first * kLanePanel + row - tile.rows.begin;
        float sum = 0;
        for (int64_t c = 0; c < count; ++c) {
          sum += from[c * kLanePanel];
          if (toX) *toX.at(s_.item, h_, s_.firstQuery + row, x + c) += from[c * kLanePanel];
        }
        if (toY) *toY.at(s_.item, h_, s_.firstQuery + row, y) += sum;
      }
    });
  }

  const AttentionArguments& a_;
  Sequence s_;
  int64_t h_;
  const Diagonals& diagonals_;
  bool isPlain_;
};

}  // namespace fk::cpu::FK_ISA
