// From dot products to logits, a tile at a time and in place: z = softcap * tanh(logit_scale * (dot + bias) / softcap). Two
// more passes over a tile in cache, and only where they are asked for; tiles never hold padded columns, so none leaks.
#pragma once

#include "cpu/engine/score_tiles-inl.h"
#include "cpu/engine/vector_math-inl.h"
#include "cpu/loss/cut_cross_entropy.h"

namespace fk::cpu::FK_ISA {

struct Logits {
  Vector<const float> bias;
  float scale, softcap;
  const int32_t* classIds = nullptr;  // the class of a column; null: the column itself

  bool isIdentity() const { return !bias && scale == 1 && softcap == 0; }

  void transform(const ScoreTile& tile) const {
    if (isIdentity()) return;
    const FloatTag d;
    const FloatVector vScale = hn::Set(d, scale), cap = hn::Set(d, softcap);
    for (int64_t column = tile.columns.begin; column < tile.columns.end; ++column) {
      const FloatVector add = hn::Set(d, bias ? bias[classIds ? classIds[column] : column] : 0.0f);
      float* at = tile.scores + (column - tile.columns.begin) * kLanePanel;
      for (int64_t half = 0; half < kLanePanel; half += kLanes) {
        FloatVector z = hn::Mul(vScale, hn::Add(hn::Load(d, at + half), add));
        if (softcap > 0) z = hn::Mul(cap, Tanh(d, hn::Div(z, cap)));
        hn::Store(z, d, at + half);
      }
    }
  }

  // d(z) / d(scaled logit), from z.
  FloatVector softcapDerivative(FloatVector z) const {
    const FloatTag d;
    const FloatVector tanh = hn::Div(z, hn::Set(d, softcap));
    return hn::NegMulAdd(tanh, tanh, hn::Set(d, 1.0f));
  }
  // The same arithmetic for one: what it multiplies may have to cancel.
  float softcapDerivative(float z) const {
    return softcap > 0 ? hn::GetLane(softcapDerivative(hn::Set(FloatTag(), z))) : 1.0f;
  }
};

}  // namespace fk::cpu::FK_ISA
