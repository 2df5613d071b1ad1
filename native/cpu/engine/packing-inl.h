// Packing: copies of operand slices in the order in which the micro-kernel reads them.
//
//   lane panels        [panel][depth][kLanePanel]   the last panel padded with zeros to full width
//   broadcast panels   [panel][depth][height]       no padding: the last panel has its own height
//
// The rows of an Operand are the items that lie side by side in a panel, its columns are the depth. Packing costs one read
// and one write per element, and pays when an element is used often: 1 % at 1,000 uses. It is also where stored types end
// and where gathers happen: panels are floats, and the loops over them know neither.
#pragma once

#include <hwy/cache_control.h>

#include <algorithm>
#include <limits>
#include <type_traits>

#include "core/integers.h"
#include "core/operand.h"
#include "core/thread_pool.h"
#include "cpu/engine/micro_kernel-inl.h"

namespace fk::cpu::FK_ISA {

struct Range {
  int64_t begin, end;

  int64_t size() const { return end - begin; }
  bool empty() const { return begin >= end; }
  Range intersect(Range other) const { return {std::max(begin, other.begin), std::min(end, other.end)}; }
};

// `items` cut into the fewest panels of at most kBroadcastPanel, as equal as they come: 128 gives 10 panels of 13 and 11
// rather than 9 of 14 and one of 2, which would wait for its additions.
struct BroadcastPanels {
  explicit BroadcastPanels(int64_t items)
      : items(items), count(ceilDivide(items, kBroadcastPanel)), height(count ? ceilDivide(items, count) : 0) {
    if (count) count = ceilDivide(items, height);
  }
  int64_t heightOf(int64_t panel) const { return std::min(height, items - panel * height); }

  int64_t items, count, height;
};

// A vector of elements as floats. Exact: infinities, subnormals and the payloads of NaN survive (a signalling NaN of 16 bits
// may come out quiet).
template <class D, class T>
HWY_INLINE hn::Vec<D> loadFloats(D d, const T* HWY_RESTRICT from) {
  if constexpr (std::is_same_v<T, float>) {
    return hn::LoadU(d, from);
  } else {
    const hn::Vec<D> value = hn::PromoteTo(d, hn::LoadU(hn::Rebind<T, D>(), from));
    // Where the instruction is missing, Highway reads half precision's infinities and NaN as the numbers from 2^16 on that
    // their bits would be with one more exponent.
    constexpr bool kEmulated = HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_SSE4;
    if constexpr (!kEmulated || !std::is_same_v<T, hwy::float16_t>) return value;
    const hn::Vec<D> infinity = hn::Set(d, std::numeric_limits<float>::infinity());
    return hn::IfThenElse(hn::Ge(hn::Abs(value), hn::Set(d, 0x1p16f)), hn::Or(value, infinity), value);
  }
}

template <class T>
HWY_INLINE float loadFloat(const T* from) {
  return hn::GetLane(loadFloats(hn::FixedTag<float, 1>(), from));
}

// memcpy, converting, for runs of a few vectors at most, where a call would cost more than the copy.
template <class T>
HWY_INLINE void copyRun(const T* HWY_RESTRICT from, int64_t count, float* HWY_RESTRICT to) {
  const FloatTag d;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(loadFloats(d, from + i), d, to + i);
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<float, 4> d4;
  for (; i + 4 <= count; i += 4) hn::StoreU(loadFloats(d4, from + i), d4, to + i);
#endif
  for (; i < count; ++i) to[i] = loadFloat(from + i);
}

// Asks for at[elements], which may lie behind the operand: formed as an integer, and never read.
template <class T>
HWY_INLINE void prefetchAhead(const T* at, int64_t elements) {
  hwy::Prefetch(reinterpret_cast<const T*>(reinterpret_cast<uintptr_t>(at) + static_cast<uintptr_t>(elements) * sizeof(T)));
}

// Where step k of the depth lies, and how far behind it the step to ask for: the eighth from here, or with ids, which end,
// the last before that. In elements.
struct StridedDepth {
  static constexpr bool kGathered = false;
  int64_t stride;

  int64_t offset(int64_t k) const { return k * stride; }
  int64_t ahead(int64_t, int64_t) const { return 8 * stride; }
};

struct GatheredDepth {
  static constexpr bool kGathered = true;
  const int32_t* ids;
  int64_t stride;

  int64_t offset(int64_t k) const { return ids[k] * stride; }
  int64_t ahead(int64_t k, int64_t end) const { return offset(std::min(k + 8, end - 1)) - offset(k); }
};

// Items adjacent in memory: a run per step of depth, whose strides no hardware foresees.
template <class T, class Depth>
HWY_INLINE void copyRuns(Depth along, const T* first, int64_t items, Range depth, int64_t width, float* HWY_RESTRICT to) {
  for (int64_t k = depth.begin; k < depth.end; ++k, to += width) {
    const T* run = first + along.offset(k);
    const int64_t ahead = along.ahead(k, depth.end);
    prefetchAhead(run, ahead);
    prefetchAhead(run, ahead + items - 1);
    copyRun(run, items, to);
  }
}

template <class T, class Depth>
HWY_INLINE void transposeAlong(Depth along, const Operand& source, Range items, Range depth, int64_t width,
                               float* HWY_RESTRICT to) {
  const T* data = static_cast<const T*>(source.data);
  int64_t item = items.begin;
  if (source.rowsAreAdjacent() && items.size() > 1) {
    if (items.size() == kLanePanel)  // nearly always, and loops of known length are faster
      copyRuns(along, data + items.begin, kLanePanel, depth, width, to);
    else
      copyRuns(along, data + items.begin, items.size(), depth, width, to);
    item = items.end;
  }
#if HWY_TARGET != HWY_SCALAR
  if (!Depth::kGathered && source.columnStride == 1) {  // depth adjacent: transpose blocks of 4 x 4
    const hn::FixedTag<float, 4> d4;
    const T* first = data + depth.begin;
    for (; item + 4 <= items.end; item += 4) {
      const T *a = first + source.rowOffset(item), *b = first + source.rowOffset(item + 1);
      const T *c = first + source.rowOffset(item + 2), *e = first + source.rowOffset(item + 3);
      // The rows after these, a cache line at a time: runs this short end before the hardware has learnt them.
      const int64_t ahead = item + 8 <= items.end || !source.rowIds ? 4 * source.rowStride : 0;
      constexpr int64_t kLine = 64 / sizeof(T);
      float* at = to + (item - items.begin);
      int64_t k = 0;
      for (; k + 4 <= depth.size(); k += 4, at += 4 * width) {
        if (k % kLine == 0)
          for (const T* row : {a, b, c, e}) prefetchAhead(row + k, ahead);
        const auto va = loadFloats(d4, a + k), vb = loadFloats(d4, b + k);
        const auto vc = loadFloats(d4, c + k), ve = loadFloats(d4, e + k);
        const auto lowAb = hn::InterleaveLower(d4, va, vb), lowCe = hn::InterleaveLower(d4, vc, ve);
        const auto highAb = hn::InterleaveUpper(d4, va, vb), highCe = hn::InterleaveUpper(d4, vc, ve);
        hn::StoreU(hn::ConcatLowerLower(d4, lowCe, lowAb), d4, at);
        hn::StoreU(hn::ConcatUpperUpper(d4, lowCe, lowAb), d4, at + width);
        hn::StoreU(hn::ConcatLowerLower(d4, highCe, highAb), d4, at + 2 * width);
        hn::StoreU(hn::ConcatUpperUpper(d4, highCe, highAb), d4, at + 3 * width);
      }
      for (; k < depth.size(); ++k, at += width)
        at[0] = loadFloat(a + k), at[1] = loadFloat(b + k), at[2] = loadFloat(c + k), at[3] = loadFloat(e + k);
    }
  }
#endif
  for (; item < items.end; ++item) {
    const T* row = data + source.rowOffset(item);
    float* at = to + (item - items.begin);
    for (int64_t k = depth.begin; k < depth.end; ++k, at += width) *at = loadFloat(row + along.offset(k));
  }
}

template <class T>
HWY_NOINLINE void transposeOf(const Operand& source, Range items, Range depth, int64_t width, float* HWY_RESTRICT to) {
  if (source.columnIds)
    transposeAlong<T>(GatheredDepth{source.columnIds, source.columnStride}, source, items, depth, width, to);
  else
    transposeAlong<T>(StridedDepth{source.columnStride}, source, items, depth, width, to);
}

// to[k * width + item] = source(items.begin + item, depth.begin + k): a panel of `width` places per step of depth. Ranges,
// because a panel of eight steps costs less than slicing an operand.
inline void transpose(const Operand& source, Range items, Range depth, int64_t width, float* HWY_RESTRICT to) {
  switch (source.type) {
    case DataType::kFloat32:
      return transposeOf<float>(source, items, depth, width, to);
    case DataType::kBfloat16:
      return transposeOf<hwy::bfloat16_t>(source, items, depth, width, to);
    case DataType::kFloat16:
      return transposeOf<hwy::float16_t>(source, items, depth, width, to);
  }
}

// All of what the engine itself has computed.
inline void transpose(const Matrix<const float>& source, int64_t width, float* HWY_RESTRICT to) {
  transposeAlong<float>(StridedDepth{source.columnStride}, source, {0, source.rows}, {0, source.columns}, width, to);
}

template <class T>
Matrix<T> rowsOf(const Matrix<T>& m, int64_t first, int64_t count) {
  return {m.data + first * m.rowStride, count, m.columns, m.rowStride, m.columnStride};
}

template <class T>
Matrix<T> columnsOf(const Matrix<T>& m, int64_t first, int64_t count) {
  return {m.data + first * m.columnStride, m.rows, count, m.rowStride, m.columnStride};
}

// A few steps of depth at a time where items are adjacent in memory, so that it is read in runs as long as all panels.
inline void packBroadcastPanels(const Operand& source, const BroadcastPanels& panels, float* packed) {
  const int64_t step = source.rowsAreAdjacent() ? 8 : std::max<int64_t>(1, source.columns);
  for (int64_t k = 0; k < source.columns; k += step) {
    const Range depth{k, std::min(k + step, source.columns)};
    for (int64_t panel = 0; panel < panels.count; ++panel) {
      const int64_t first = panel * panels.height, height = panels.heightOf(panel);
      transpose(source, {first, first + height}, depth, height, packed + first * source.columns + k * height);
    }
  }
}

inline int64_t lanePanelCount(int64_t items) { return ceilDivide(items, kLanePanel); }
inline int64_t lanePanelFloats(int64_t items, int64_t depth) { return lanePanelCount(items) * kLanePanel * depth; }

inline void packLanePanel(const Operand& source, int64_t panel, Range depth, float* packed) {
  const int64_t first = panel * kLanePanel, items = std::min(kLanePanel, source.rows - first);
  float* to = packed + first * source.columns + depth.begin * kLanePanel;
  if (items < kLanePanel) std::fill_n(to, kLanePanel * depth.size(), 0.0f);
  transpose(source, {first, first + items}, depth, kLanePanel, to);
}

// Panels whose items are adjacent in memory are packed eight at a time, a few steps of depth at a time, so that memory is
// read in runs of kilobytes; those whose depth is adjacent, one after another.
inline void packLanePanels(const Operand& source, float* packed, const Execution& execution) {
  const bool itemsAdjacent = source.rowsAreAdjacent();
  const int64_t panels = lanePanelCount(source.rows), group = itemsAdjacent ? 8 : 1;
  const int64_t step = itemsAdjacent ? 8 : std::max<int64_t>(1, source.columns);
  execution.forEach(ceilDivide(panels, group), [&](int64_t task, int) {
    for (int64_t k = 0; k < source.columns; k += step)
      for (int64_t panel = task * group; panel < std::min(panels, (task + 1) * group); ++panel)
        packLanePanel(source, panel, {k, std::min(k + step, source.columns)}, packed);
  });
}

// The way back from a lane panel of sums, [depth][kLanePanel]: destination(item, k) = packed[k][item] for its valid items.
inline void unpackLanePanel(const float* HWY_RESTRICT packed, int64_t panel, const Matrix<float>& destination) {
  const int64_t first = panel * kLanePanel, items = std::min(kLanePanel, destination.rows - first);
  transpose(Matrix<const float>{packed, destination.columns, items, kLanePanel, 1}, destination.rowStride,
            destination.row(first));
}

// A packed operand of the broadcast side, [panel][depth][height].
struct PackedBroadcast {
  BroadcastPanels panels;
  const float* data;
  int64_t depth;
};

// Which part of the depth a product sums, and where it goes: out(i, l) belongs to item i and lane l, lanes from validLanes
// on are not written, and item i's row is outRowIds[i] where there are such.
struct PanelProduct {
  int64_t depthBegin, depthCount;
  float* out;
  int64_t outStride;
  bool accumulate;
  const float* rescale = nullptr;  // with accumulate, where all lanes are valid: see TileOutput
  int64_t validLanes = kLanePanel;
  const int32_t* outRowIds = nullptr;
};

// out(i, l) (+)= sum_k broadcast[k][i] * lanes[k][l] over the steps k, for every broadcast panel that touches `items` and
// one lane panel.
template <class Steps = EveryStep>
void multiplyPanels(const PackedBroadcast& broadcast, Range items, const float* lanes, const PanelProduct& p,
                    const Steps& steps = {}) {
  if (items.empty()) return;
  const BroadcastPanels& panels = broadcast.panels;
  const int64_t endPanel = ceilDivide(items.end, panels.height);
  for (int64_t panel = items.begin / panels.height; panel < endPanel; ++panel) {
    const int64_t first = panel * panels.height, height = panels.heightOf(panel);
    const float* from = broadcast.data + first * broadcast.depth + p.depthBegin * height;
    if (p.validLanes == kLanePanel && !p.outRowIds) {
      microTileOfHeight(height, p.depthCount, steps, from, lanes,
                        {p.out + first * p.outStride, p.outStride, p.accumulate, p.rescale});
      continue;
    }
    alignas(64) float tile[kBroadcastPanel * kLanePanel];
    microTileOfHeight(height, p.depthCount, steps, from, lanes, {tile, kLanePanel, false});
    for (int64_t i = 0; i < height; ++i) {
      float* to = p.out + (p.outRowIds ? p.outRowIds[first + i] : first + i) * p.outStride;
      for (int64_t l = 0; l < p.validLanes; ++l)
        to[l] = p.accumulate ? to[l] + tile[i * kLanePanel + l] : tile[i * kLanePanel + l];
    }
  }
}

}  // namespace fk::cpu::FK_ISA
