// Rows of the pages of a key-value cache, to and from floats.
#pragma once

#include <cstring>

#include "cpu/attention/kv_cache.h"
#include "cpu/engine/stored_rows-inl.h"

namespace fk::cpu::FK_ISA {

// A token's key or value of one head, where it lies. scale: of int8 alone.
struct PageRow {
  std::byte* data;
  float* scale;
  PageType type;
};

// The rows of all heads of a token.
struct TokenRows {
  std::byte* data;
  float* scale;
  int64_t headBytes, tokenBytes, scaleHeadStride;
  PageType type;

  PageRow head(int64_t h) const { return {data + h * headBytes, scale + h * scaleHeadStride, type}; }
};

inline TokenRows rowsAt(const PagedRows& rows, int64_t page, int64_t slot) {
  int type = 0;
  while (page >= rows.pools[type].pages) page -= rows.pools[type++].pages;
  const PagePool& pool = rows.pools[type];
  const int64_t size = elementSize(static_cast<PageType>(type));
  return {pool.data + (page * pool.pageStride + slot * pool.tokenStride) * size,
          pool.scales + page * pool.scalePageStride + slot * pool.scaleTokenStride,
          pool.headStride * size,
          pool.tokenStride * size,
          pool.scaleHeadStride,
          static_cast<PageType>(type)};
}

inline TokenRows rowsOfToken(const KvCache& cache, const PagedRows& rows, int64_t item, int64_t token) {
  return rowsAt(rows, cache.page(item, token / cache.pageTokens), token % cache.pageTokens);
}

inline void readPageRow(const PageRow& row, int64_t dim, float* to) {
  if (row.type == PageType::kFloat32) return loadRow(row.data, dim, DataType::kFloat32, to);
  if (row.type == PageType::kBfloat16) return loadRow(row.data, dim, DataType::kBfloat16, to);
  const auto* from = reinterpret_cast<const int8_t*>(row.data);
  const float scale = *row.scale;
  forEachVector(dim, [=](auto d, int64_t i) {
    const hn::RebindToSigned<decltype(d)> di;
    const auto number = hn::PromoteTo(di, hn::LoadU(hn::Rebind<int8_t, decltype(d)>(), from + i));
    hn::StoreU(hn::Mul(hn::ConvertTo(d, number), hn::Set(d, scale)), d, to + i);
  });
}

// The bits of the largest |x|: as integers they are in the order of the numbers, with infinity and NaN at the end.
inline int32_t largestMagnitudeBits(const float* x, int64_t count) {
  int32_t largest = 0;
  forEachVector(count, [&](auto d, int64_t i) {
    const hn::RebindToSigned<decltype(d)> di;
    const auto bits = hn::And(hn::BitCast(di, hn::LoadU(d, x + i)), hn::Set(di, 0x7fffffff));
    largest = std::max(largest, hn::GetLane(hn::MaxOfLanes(di, bits)));
  });
  return largest;
}

// x ~ scale * to with scale = max |x| / 127, so that an element is off by at most half a scale. No smaller than the smallest
// normal number, whose half is below anything that counts; 0 for zeros; NaN, which makes the whole row NaN, where x is not
// finite.
inline float quantiseRow(const float* x, int64_t count, int8_t* to) {
  const int32_t bits = largestMagnitudeBits(x, count);
  const bool isFinite = bits < 0x7f800000;
  float largest;
  std::memcpy(&largest, &bits, sizeof largest);
  const float scale = largest > 0 ? std::max(largest / 127.0f, std::numeric_limits<float>::min()) : 0.0f;
  const float inverse = isFinite && largest > 0 ? 1 / scale : 0.0f;
  forEachVector(count, [=](auto d, int64_t i) {
    const hn::Rebind<int8_t, decltype(d)> d8;
    const auto number = hn::Mul(hn::LoadU(d, x + i), hn::Set(d, inverse));
    const auto finite = hn::IfThenElseZero(hn::Eq(number, number), number);
    hn::StoreU(hn::DemoteTo(d8, hn::NearestInt(finite)), d8, to + i);
  });
  return isFinite ? scale : std::numeric_limits<float>::quiet_NaN();
}

inline void writePageRow(const float* from, int64_t dim, const PageRow& row) {
  if (row.type == PageType::kFloat32) return storeRow(from, dim, DataType::kFloat32, row.data);
  if (row.type == PageType::kBfloat16) return storeRow(from, dim, DataType::kBfloat16, row.data);
  *row.scale = quantiseRow(from, dim, reinterpret_cast<int8_t*>(row.data));
}

}  // namespace fk::cpu::FK_ISA
