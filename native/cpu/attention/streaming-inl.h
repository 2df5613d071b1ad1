// Attention of a few query rows to a block of tokens whose keys and values are read once: the arithmetic of decoding, which
// memory's speed should be the limit of. Head dims lie along the SIMD lanes, since that is how rows lie in memory.
//
// With AVX-512, 4 rows and D = 128 a token costs 64 fused multiply-adds, 16 loads of its own and 32 that rows share, 13
// instructions for the sums across lanes and about as many for the soft-max: some 70 cycles at one FMA per cycle, in which
// one core could read 1 KiB of keys and values at 50 GB/s.
#pragma once

#include "cpu/attention/kv_pages-inl.h"
#include "cpu/engine/online_softmax-inl.h"

namespace fk::cpu::FK_ISA {

// Tokens whose scores are computed before their values are added: enough that the sums across lanes and the soft-max, which
// are per block, cost little; few enough that what is in flight fits into the nearer caches.
constexpr int64_t kTokenBlock = 32;

// Tokens of a score tile: four sums of a row are added across lanes together.
constexpr int kTokenTile = 4;

// Rows of a score or value tile, whose sums stay in registers: 16 of 32 on AVX-512 and NEON, 8 of 16 elsewhere.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kRowTile = 4;
#else
constexpr int kRowTile = 2;
#endif

// Vectors of a value tile.
constexpr int kValueTile = 4;

// The rows of floats that a tile reads: kTokenBlock pointers, those behind `count` valid too up to the next multiple of
// kTokenTile, whose scores are then dropped.
struct BlockRows {
  const float* at[kTokenBlock];
};

// Rows of the block after this one, asked for while this one is computed, a row for a row. Into the L2 cache: rows of one
// head are often 4 KiB apart, and so share the few places that the L1 cache has for them.
struct RowsAhead {
  const PageRow* rows = nullptr;
  int64_t count = 0, dim = 0;

  // Always inlined: GCC drops calls of a function that does nothing but prefetch.
  HWY_INLINE void ask(int64_t first, int64_t last) const {
    for (int64_t i = first; i < std::min(last, count); ++i) {
      const std::byte *at = rows[i].data, *end = at + dim * elementSize(rows[i].type);
      for (; at < end; at += 64) __builtin_prefetch(at, 0, 2);
    }
  }
};

#if HWY_TARGET != HWY_SCALAR
// to[0 .. 3] = the sum of the vector's blocks of four lanes.
template <class D>
HWY_INLINE void storeBlockSum(D d, hn::Vec<D> v, float* to) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    hn::StoreU(v, d, to);
  } else {
    const hn::Half<D> half;
    storeBlockSum(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)), to);
  }
}
#endif

// to[t] = the sum over the lanes of sums[t].
HWY_INLINE void storeLaneSums(const FloatVector (&sums)[kTokenTile], float* to) {
#if HWY_TARGET == HWY_SCALAR
  for (int t = 0; t < kTokenTile; ++t) to[t] = hn::GetLane(sums[t]);
#else
  const FloatTag d;
  const hn::RepartitionToWide<hn::RebindToUnsigned<FloatTag> > wide;
  // Per block of four lanes (a0 + a2, b0 + b2, a1 + a3, b1 + b3), and then (a, b, c, e) of it.
  const auto halve = [&](FloatVector a, FloatVector b) {
    return hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));
  };
  const auto ab = hn::BitCast(wide, halve(sums[0], sums[1])), ce = hn::BitCast(wide, halve(sums[2], sums[3]));
  const FloatVector perBlock =
      hn::Add(hn::BitCast(d, hn::InterleaveLower(wide, ab, ce)), hn::BitCast(d, hn::InterleaveUpper(wide, ab, ce)));
  storeBlockSum(d, perBlock, to);
#endif
}

// scores[r][t] = queries[r] . keys[t] for the kRows rows and all of the block's tokens. dim: a multiple of kLanes.
template <int kRows>
HWY_NOINLINE void scoreRows(const float* HWY_RESTRICT queries, int64_t dim, const BlockRows& keys, int64_t count,
                            const RowsAhead& ahead, float* HWY_RESTRICT scores) {
  const FloatTag d;
  for (int64_t t = 0; t < count; t += kTokenTile) {
    ahead.ask(t, t + kTokenTile);
    const float* const* key = keys.at + t;
    const float *k0 = key[0], *k1 = key[1], *k2 = key[2], *k3 = key[3];
    FloatVector sums[kRows][kTokenTile];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = sums[r][2] = sums[r][3] = hn::Zero(d);
    for (int64_t i = 0; i < dim; i += kLanes) {
      const FloatVector v0 = hn::LoadU(d, k0 + i), v1 = hn::LoadU(d, k1 + i);
      const FloatVector v2 = hn::LoadU(d, k2 + i), v3 = hn::LoadU(d, k3 + i);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const FloatVector q = hn::Load(d, queries + r * dim + i);
        sums[r][0] = hn::MulAdd(q, v0, sums[r][0]);
        sums[r][1] = hn::MulAdd(q, v1, sums[r][1]);
        sums[r][2] = hn::MulAdd(q, v2, sums[r][2]);
        sums[r][3] = hn::MulAdd(q, v3, sums[r][3]);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) storeLaneSums(sums[r], scores + r * kTokenBlock + t);
  }
}

// sums[r][i] = factors[r] * sums[r][i] + sum over tokens of weights[r][t] * values[t][i], for kVectors vectors of i: a block
// is summed from zero, so that no chain of additions is as long as a cache.
template <int kRows, int kVectors>
HWY_NOINLINE void valueTile(const float* HWY_RESTRICT weights, const float* factors, const BlockRows& values,
                            TokenRange tokens, int64_t column, const RowsAhead& ahead, float* HWY_RESTRICT sums,
                            int64_t stride) {
  const FloatTag d;
  FloatVector sum[kRows][kVectors];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < kVectors; ++c) sum[r][c] = hn::Zero(d);
  for (int64_t t = tokens.begin; t < tokens.end; ++t) {
    ahead.ask(t, t + 1);
    const float* value = values.at[t] + column;
    FloatVector v[kVectors];
#pragma GCC unroll 4
    for (int c = 0; c < kVectors; ++c) v[c] = hn::LoadU(d, value + c * kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const FloatVector weight = hn::Set(d, weights[r * kTokenBlock + t]);
#pragma GCC unroll 4
      for (int c = 0; c < kVectors; ++c) sum[r][c] = hn::MulAdd(weight, v[c], sum[r][c]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    const FloatVector factor = hn::Set(d, factors[r]);
#pragma GCC unroll 4
    for (int c = 0; c < kVectors; ++c) {
      float* at = sums + r * stride + column + c * kLanes;
      hn::Store(hn::MulAdd(factor, hn::Load(d, at), sum[r][c]), d, at);
    }
  }
}

// All columns of kRows rows of sums. dim: a multiple of kLanes, and the stride of sums.
template <int kRows>
void addValues(const float* weights, const float* factors, const BlockRows& values, TokenRange tokens, int64_t dim,
               RowsAhead ahead, float* sums) {
  int64_t column = 0;
  for (; column + kValueTile * kLanes <= dim; column += kValueTile * kLanes, ahead = {})
    valueTile<kRows, kValueTile>(weights, factors, values, tokens, column, ahead, sums, dim);
  switch ((dim - column) / kLanes) {
    case 1:
      return valueTile<kRows, 1>(weights, factors, values, tokens, column, ahead, sums, dim);
    case 2:
      return valueTile<kRows, 2>(weights, factors, values, tokens, column, ahead, sums, dim);
    case 3:
      return valueTile<kRows, 3>(weights, factors, values, tokens, column, ahead, sums, dim);
  }
}

// What a query row does to its products with keys, see fusedkernels.h, and which tokens it sees.
struct ScoreRule {
  float scale;  // with the length's
  float softcap, alibiSlope;
  int64_t position;
  TokenRange seen;
};

// The running soft-max of a row: the largest score so far and the sum of exp(score - max).
struct RowState {
  float max, sum;
};

// Replaces the products of a block with `tokens` by weights exp(score - max), 0 where the row does not see the token.
// Returns what earlier weights have to be multiplied with. A NaN reaches the sum whatever the maxima make of it.
inline float foldScores(const ScoreRule& rule, TokenRange tokens, RowState& state, float* HWY_RESTRICT scores) {
  const FloatTag d;
  const auto clipped = [&](int64_t token) {
    return hn::Set(d, static_cast<float>(std::clamp(token, tokens.begin, tokens.end) - tokens.begin));
  };
  const FloatVector begin = clipped(rule.seen.begin), end = clipped(rule.seen.end);
  const FloatVector hidden = hn::Set(d, kMinusInfinity), scale = hn::Set(d, rule.scale);
  const FloatVector ahead = hn::Set(d, static_cast<float>(rule.position - tokens.begin));
  FloatVector largest = hidden;
  for (int64_t t = 0; t < kTokenBlock; t += kLanes) {
    const FloatVector index = hn::Iota(d, static_cast<float>(t));
    FloatVector score = hn::Mul(scale, hn::Load(d, scores + t));
    if (rule.softcap > 0) {
      const FloatVector cap = hn::Set(d, rule.softcap);
      score = hn::Mul(cap, Tanh(d, hn::Div(score, cap)));
    }
    score = hn::NegMulAdd(hn::Set(d, rule.alibiSlope), hn::Abs(hn::Sub(ahead, index)), score);
    score = hn::IfThenElse(hn::And(hn::Ge(index, begin), hn::Lt(index, end)), score, hidden);
    largest = hn::Max(largest, score);
    hn::Store(score, d, scores + t);
  }
  const float newMax = std::max(state.max, hn::GetLane(hn::MaxOfLanes(d, largest)));
  const FloatVector shift = OnlineSoftmax::finiteShift(hn::Set(d, newMax));
  FloatVector sum = hn::Zero(d);
  for (int64_t t = 0; t < kTokenBlock; t += kLanes) {
    const FloatVector weight = ExpBelowOverflow(d, hn::Sub(hn::Load(d, scores + t), shift));
    hn::Store(weight, d, scores + t);
    sum = hn::Add(sum, weight);
  }
  const float factor = hn::GetLane(ExpBelowOverflow(d, hn::Sub(hn::Set(d, state.max), shift)));
  state = {newMax, state.sum * factor + hn::GetLane(hn::SumOfLanes(d, sum))};
  return factor;
}

}  // namespace fk::cpu::FK_ISA
