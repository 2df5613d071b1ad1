// Attention over the parts of a key set, put together by their log-sum-exps.
#pragma once

#include "cpu/engine/online_softmax-inl.h"
#include "cpu/engine/vector_loop-inl.h"

namespace fk::cpu::FK_ISA {

// A row's share of one part: `values` is the sum of exp(score - max) * value, `sum` that of exp(score - max). A part that
// knows its log-sum-exp alone has that as max, a sum of 1 and the normalised output.
struct PartialRow {
  float max, sum;
  const float* values;
};

// row = the output over all parts, added in order, and `sink` in the soft-max's denominator (-inf: none). Returns the
// log-sum-exp. Zeros and -inf where no part saw a key and there is no sink.
template <class PartAt>
float mergeParts(int64_t parts, const PartAt& partAt, float sink, int64_t dim, float* row) {
  const hn::CappedTag<float, 1> d1;
  float max = sink;
  for (int64_t p = 0; p < parts; ++p) max = std::max(max, partAt(p).max);
  const float shift = max == kMinusInfinity ? 0 : max;
  const auto weightOf = [&](float score) { return hn::GetLane(ExpBelowOverflow(d1, hn::Set(d1, score - shift))); };

  std::fill_n(row, dim, 0.0f);
  float total = weightOf(sink);
  for (int64_t p = 0; p < parts; ++p) {
    const PartialRow part = partAt(p);
    if (part.max == kMinusInfinity && part.sum == 0) continue;  // saw no key, and a NaN would have reached the sum
    const float weight = weightOf(part.max);
    total += weight * part.sum;
    forEachVector(dim, [&](auto d, int64_t i) {
      hn::StoreU(hn::MulAdd(hn::Set(d, weight), hn::LoadU(d, part.values + i), hn::LoadU(d, row + i)), d, row + i);
    });
  }
  if (total == 0) return kMinusInfinity;
  const float inverse = 1 / total;
  forEachVector(dim,
                [&](auto d, int64_t i) { hn::StoreU(hn::Mul(hn::Set(d, inverse), hn::LoadU(d, row + i)), d, row + i); });
  return shift + hn::GetLane(Log(d1, hn::Set(d1, total)));
}

}  // namespace fk::cpu::FK_ISA
