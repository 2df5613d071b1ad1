// Attention of a few query rows to blocks of tokens whose keys and values are read once: the arithmetic of decoding, which
// memory's speed should be the limit of. Head dims lie along the SIMD lanes, since that is how rows lie in memory.
//
// With AVX-512, 4 rows and D = 128 a token costs 64 fused multiply-adds, 16 loads of its own, some 40 of what rows share, 13
// instructions for the sums across lanes and about as many for the soft-max: some 70 cycles at one FMA per cycle, in which
// one core could read 1 KiB of keys and values at 50 GB/s.
#pragma once

#include "cpu/attention/kv_pages-inl.h"
#include "cpu/engine/online_softmax-inl.h"

namespace fk::cpu::FK_ISA {

// Tokens of a tile: four sums of a row are added across lanes together.
constexpr int kTokenTile = 4;

// Tokens whose scores are computed before their values are added: enough that what is done once per block and row, the
// soft-max's maximum and the rescaling of sums, costs little.
constexpr int64_t kTokenBlock = 64;

// Rows of a score or value tile, whose sums stay in registers: 16 of 32 on AVX-512 and NEON, 8 of 16 elsewhere.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kRowTile = 4;
#else
constexpr int kRowTile = 2;
#endif

// Vectors of a value tile.
constexpr int kValueTile = 4;

// The keys or values of a tile, and how many bytes behind each row's memory to ask for.
struct TileRows {
  const float* at[kTokenTile];
  int64_t ahead[kTokenTile];

  // Asks for the line that is as far into the rows ahead as element i is into these: where floats lie in memory, a line of
  // each for every line that is read, because more at a time are dropped. Formed as integers, since they may lie anywhere.
  HWY_INLINE void ask(int64_t i) const {
    if (i % 16 != 0) return;
#pragma GCC unroll 4
    for (int t = 0; t < kTokenTile; ++t)
      __builtin_prefetch(
          reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(at[t] + i) + static_cast<uintptr_t>(ahead[t])), 0, 2);
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

// scores[r][t] = queries[r] . keys[t] for kRows rows and a tile's tokens. dim: a multiple of kLanes.
template <int kRows>
HWY_INLINE void scoreTile(const float* HWY_RESTRICT queries, int64_t dim, const TileRows& keys, float* HWY_RESTRICT scores) {
  const FloatTag d;
  const float *k0 = keys.at[0], *k1 = keys.at[1], *k2 = keys.at[2], *k3 = keys.at[3];
  FloatVector sums[kRows][kTokenTile];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = sums[r][2] = sums[r][3] = hn::Zero(d);
  for (int64_t i = 0; i < dim; i += kLanes) {
    keys.ask(i);
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
  for (int r = 0; r < kRows; ++r) storeLaneSums(sums[r], scores + r * kTokenBlock);
}

// sums[r][i] (+)= sum over a tile's tokens of weights[r][t] * values[t][i], for kVectors vectors of i.
template <int kRows, int kVectors>
HWY_INLINE void valueVectors(const float* HWY_RESTRICT weights, const TileRows& values, int64_t column, bool accumulate,
                             float* HWY_RESTRICT sums, int64_t stride) {
  const FloatTag d;
  FloatVector sum[kRows][kVectors];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < kVectors; ++c)
      sum[r][c] = accumulate ? hn::Load(d, sums + r * stride + column + c * kLanes) : hn::Zero(d);
#pragma GCC unroll 4
  for (int c = 0; c < kVectors; ++c) values.ask(column + c * kLanes);
#pragma GCC unroll 4
  for (int t = 0; t < kTokenTile; ++t) {
    FloatVector v[kVectors];
#pragma GCC unroll 4
    for (int c = 0; c < kVectors; ++c) v[c] = hn::LoadU(d, values.at[t] + column + c * kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const FloatVector weight = hn::Set(d, weights[r * kTokenBlock + t]);
#pragma GCC unroll 4
      for (int c = 0; c < kVectors; ++c) sum[r][c] = hn::MulAdd(weight, v[c], sum[r][c]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < kVectors; ++c) hn::Store(sum[r][c], d, sums + r * stride + column + c * kLanes);
}

// All columns of kRows rows. dim: a multiple of kLanes, and the stride of sums.
template <int kRows>
HWY_INLINE void valueTile(const float* weights, const TileRows& values, int64_t dim, bool accumulate, float* sums) {
  int64_t column = 0;
  for (; column + kValueTile * kLanes <= dim; column += kValueTile * kLanes)
    valueVectors<kRows, kValueTile>(weights, values, column, accumulate, sums, dim);
  for (; column < dim; column += kLanes) valueVectors<kRows, 1>(weights, values, column, accumulate, sums, dim);
}

// What a query row does to its products with keys, see fusedkernels.h, and which tokens it sees.
struct ScoreRule {
  float scale;  // with the length's
  float softcap, alibiSlope;
  int64_t position;
  TokenRange seen;
};

// Which tokens a block's scores belong to: lane l to token begin + offsets[l], if that is before `end`; lanes from `count`
// on to none.
struct BlockTokens {
  const float* offsets;
  int64_t begin, end, count;
};

// The running soft-max of a row: the largest score so far and the sum of exp(score - max).
struct RowState {
  float max, sum;
};

// scores = softcap * tanh(scale * scores / softcap). A loop of its own: of a condition around vectors within a loop, GCC 12
// makes a mask that has one lane for AVX-512.
inline void capScores(float scale, float softcap, int64_t count, float* HWY_RESTRICT scores) {
  const FloatTag d;
  const FloatVector vScale = hn::Set(d, scale), cap = hn::Set(d, softcap);
  for (int64_t lane = 0; lane < count; lane += kLanes) {
    const FloatVector x = hn::Div(hn::Mul(vScale, hn::Load(d, scores + lane)), cap);
    hn::Store(hn::Mul(cap, Tanh(d, x)), d, scores + lane);
  }
}

// Replaces a block's products by weights exp(score - max), 0 where the row does not see the token. Returns what earlier
// weights have to be multiplied with. A NaN reaches the sum whatever the maxima make of it.
inline float foldScores(const ScoreRule& rule, const BlockTokens& tokens, RowState& state, float* HWY_RESTRICT scores) {
  const FloatTag d;
  if (rule.softcap > 0) capScores(rule.scale, rule.softcap, tokens.count, scores);
  const auto offsetOf = [&](int64_t token) {
    return hn::Set(d, static_cast<float>(std::clamp(token, tokens.begin, tokens.end) - tokens.begin));
  };
  const FloatVector begin = offsetOf(rule.seen.begin), end = offsetOf(rule.seen.end);
  const FloatVector count = hn::Set(d, static_cast<float>(tokens.count)),
                    scale = hn::Set(d, rule.softcap > 0 ? 1 : rule.scale);
  const FloatVector position = hn::Set(d, static_cast<float>(rule.position - tokens.begin));
  FloatVector largest = hn::Set(d, kMinusInfinity);
  for (int64_t lane = 0; lane < tokens.count; lane += kLanes) {
    const FloatVector offset = hn::LoadU(d, tokens.offsets + lane);
    FloatVector score = hn::Mul(scale, hn::Load(d, scores + lane));
    score = hn::NegMulAdd(hn::Set(d, rule.alibiSlope), hn::Abs(hn::Sub(position, offset)), score);
    const auto isSeen =
        hn::And(hn::And(hn::Ge(offset, begin), hn::Lt(offset, end)), hn::Lt(hn::Iota(d, static_cast<float>(lane)), count));
    score = hn::IfThenElse(isSeen, score, hn::Set(d, kMinusInfinity));
    largest = hn::Max(largest, score);
    hn::Store(score, d, scores + lane);
  }
  const float newMax = std::max(state.max, hn::GetLane(hn::MaxOfLanes(d, largest)));
  const FloatVector shift = OnlineSoftmax::finiteShift(hn::Set(d, newMax));
  FloatVector sum = hn::Zero(d);
  for (int64_t lane = 0; lane < tokens.count; lane += kLanes) {
    const FloatVector weight = ExpBelowOverflow(d, hn::Sub(hn::Load(d, scores + lane), shift));
    hn::Store(weight, d, scores + lane);
    sum = hn::Add(sum, weight);
  }
  const float factor = hn::GetLane(ExpBelowOverflow(d, hn::Sub(hn::Set(d, state.max), shift)));
  state = {newMax, state.sum * factor + hn::GetLane(hn::SumOfLanes(d, sum))};
  return factor;
}

// sums = factor * sums + block. dim: a multiple of kLanes.
inline void addBlock(float factor, const float* HWY_RESTRICT block, int64_t dim, float* HWY_RESTRICT sums) {
  const FloatTag d;
  for (int64_t i = 0; i < dim; i += kLanes)
    hn::Store(hn::MulAdd(hn::Set(d, factor), hn::Load(d, sums + i), hn::Load(d, block + i)), d, sums + i);
}

}  // namespace fk::cpu::FK_ISA
