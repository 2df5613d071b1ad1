// The one inner loop of the library: a tile of a matrix product in registers.
//
//     out[i][l] (+)= sum_k broadcast[k][i] * lanes[k][l]        0 <= i < height, 0 <= l < kLanePanel
//
// Two vectors wide (one side of the product lies along the SIMD lanes), as tall as the registers allow (the other side is
// broadcast). At 14 x 2 vectors of AVX-512 a step of k costs 28 fused multiply-adds, 2 vector loads and 14 broadcast loads:
// the arithmetic is the limit, and the operands could stream from the L2 cache at 5 bytes per cycle.
#pragma once

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstdint>

namespace fk::cpu::FK_ISA {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVector = hn::Vec<FloatTag>;

constexpr int64_t kLanes = hn::MaxLanes(FloatTag());
constexpr int64_t kLanePanel = 2 * kLanes;

// Accumulators take 2 * height registers; two more hold the lanes, one the broadcast: 14 fills 32 registers, 6 fills 16.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int64_t kBroadcastPanel = 14;
#else
constexpr int64_t kBroadcastPanel = 6;
#endif

// Every sum over a depth is cut into blocks of this length: a block is summed in registers, from zero, and added to what
// the earlier blocks gave. A constant, so that neither caches nor threads change a bit of the result. Measured on a Zen 4
// core, 512 costs 3 % less than 256 where the depth is large (fewer passes over the sums) and the same elsewhere.
constexpr int64_t kDepthBlock = 512;

// Which steps of the packed operands a tile takes: all of them one after another,
struct EveryStep {
  int64_t broadcast(int64_t k) const { return k; }
  int64_t lane(int64_t k) const { return k; }
};

// or those of two lists, where the others are known to add nothing worth its cost.
struct ListedSteps {
  const uint16_t *broadcasts, *lanes;

  int64_t broadcast(int64_t k) const { return broadcasts[k]; }
  int64_t lane(int64_t k) const { return lanes[k]; }
};

// Where a tile goes, row i at out + i * stride, and what becomes of what is there.
struct TileOutput {
  float* out;
  int64_t stride;
  bool accumulate;
  const float* rescale = nullptr;  // with accumulate: a factor per lane for what is there
};

template <int kHeight, class Steps>
HWY_INLINE void microTile(int64_t depth, const Steps& steps, const float* HWY_RESTRICT broadcasts,
                          const float* HWY_RESTRICT lanePanel, const TileOutput& to) {
  float* HWY_RESTRICT out = to.out;
  const FloatTag d;
  FloatVector sum[kHeight][2];
#pragma GCC unroll 16
  for (int i = 0; i < kHeight; ++i) sum[i][0] = sum[i][1] = hn::Zero(d);
  // The sums come from L2 or beyond. They are asked for row by row while the products run: all at once they would fill the
  // queue of cache misses and hold up the operands.
  const int64_t stepsPerRow = depth / kHeight;
  int64_t k = 0;
  for (int row = 0; row <= kHeight; ++row) {
    const int64_t end = row < kHeight ? k + stepsPerRow : depth;
    for (; k < end; ++k) {
      const float *broadcast = broadcasts + steps.broadcast(k) * kHeight, *lanes = lanePanel + steps.lane(k) * kLanePanel;
      const FloatVector left = hn::Load(d, lanes), right = hn::Load(d, lanes + kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < kHeight; ++i) {
        const FloatVector b = hn::Set(d, broadcast[i]);
        sum[i][0] = hn::MulAdd(b, left, sum[i][0]);
        sum[i][1] = hn::MulAdd(b, right, sum[i][1]);
      }
    }
    if (row == kHeight) break;
    hwy::Prefetch(out + row * to.stride);
    hwy::Prefetch(out + row * to.stride + kLanes);
  }
  if (to.rescale) {
    const FloatVector left = hn::Load(d, to.rescale), right = hn::Load(d, to.rescale + kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kHeight; ++i, out += to.stride) {
      hn::StoreU(hn::MulAdd(left, hn::LoadU(d, out), sum[i][0]), d, out);
      hn::StoreU(hn::MulAdd(right, hn::LoadU(d, out + kLanes), sum[i][1]), d, out + kLanes);
    }
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kHeight; ++i, out += to.stride) {
    if (to.accumulate) {
      sum[i][0] = hn::Add(hn::LoadU(d, out), sum[i][0]);
      sum[i][1] = hn::Add(hn::LoadU(d, out + kLanes), sum[i][1]);
    }
    hn::StoreU(sum[i][0], d, out);
    hn::StoreU(sum[i][1], d, out + kLanes);
  }
}

template <class Steps, int kHeight = kBroadcastPanel>
HWY_INLINE void dispatchHeight(int64_t height, int64_t depth, const Steps& steps, const float* broadcast, const float* lanes,
                               const TileOutput& to) {
  if (height == kHeight) return microTile<kHeight>(depth, steps, broadcast, lanes, to);
  if constexpr (kHeight > 1) dispatchHeight<Steps, kHeight - 1>(height, depth, steps, broadcast, lanes, to);
}

// microTile for a height that is only known at run time, 1 <= height <= kBroadcastPanel: there is one for each, so that a
// short panel costs only what it computes.
template <class Steps>
HWY_NOINLINE void microTileOfHeight(int64_t height, int64_t depth, const Steps& steps, const float* broadcast,
                                    const float* lanes, const TileOutput& to) {
  dispatchHeight(height, depth, steps, broadcast, lanes, to);
}

}  // namespace fk::cpu::FK_ISA
