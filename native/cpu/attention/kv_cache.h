// Attention over a cache of keys and values, on the CPU: see fusedkernels.h for the mathematics and the layout of pages, and
// kv_cache.cpp for the schedule.
#pragma once

#include <algorithm>

#include "cpu/attention/attention.h"

namespace fk::cpu {

enum class PageType : uint8_t { kFloat32, kBfloat16, kInt8 };
constexpr int kPageTypes = 3;

constexpr int64_t elementSize(PageType type) { return type == PageType::kFloat32 ? 4 : type == PageType::kBfloat16 ? 2 : 1; }

// Keys or values of the pages of one precision, [P, T, G, D] with stride 1 along the last axis.
struct PagePool {
  std::byte* data = nullptr;
  int64_t pages = 0, pageStride = 0, tokenStride = 0, headStride = 0;  // strides in elements
  float* scales = nullptr;                                             // [P, T, G], of int8 alone
  int64_t scalePageStride = 0, scaleTokenStride = 0, scaleHeadStride = 0;
};

// Keys or values of all pages.
struct PagedRows {
  PagePool pools[kPageTypes];
  int64_t dim = 0;
};

struct KvCache {
  PagedRows keys, values;
  int64_t pageTokens = 0, heads = 0;
  Matrix<const int32_t> pageTable;  // [B, M], or null: item b's only page is page b
  Vector<const int32_t> lengths;    // [B], before the call

  int64_t pages() const {
    int64_t count = 0;
    for (const PagePool& pool : keys.pools) count += pool.pages;
    return count;
  }
  int64_t page(int64_t item, int64_t index) const { return pageTable ? pageTable(item, index) : item; }
};

struct TokenRange {
  int64_t begin = 0, end = 0;

  int64_t size() const { return end - begin; }
  bool empty() const { return begin >= end; }
};

struct KvCacheArguments {
  KvCache cache;
  int64_t batch = 0;
  HeadOperand newK, newV;  // absent: nothing is appended
  // q, the output and the options; no keys or values. Without an output nothing is attended to.
  AttentionArguments attention;

  int64_t group() const { return attention.q.heads / std::max<int64_t>(1, cache.heads); }  // query heads per key head
  int64_t tokens(int64_t item) const { return cache.lengths[item] + newK.sequence; }
  int64_t position(int64_t item, int64_t query) const { return query + tokens(item) - attention.q.sequence; }

  // What a query sees of an item's tokens. Windows are far from overflowing.
  TokenRange seen(int64_t item, int64_t query) const {
    const int64_t x = position(item, query);
    TokenRange range{0, tokens(item)};
    const auto endAt = [&](int64_t end) { range.end = std::min(range.end, end); };
    if (attention.causal) endAt(x + 1);
    if (attention.windowRight >= 0) endAt(x + attention.windowRight + 1);
    if (attention.windowLeft >= 0) range.begin = std::max<int64_t>(0, x - attention.windowLeft);
    range.end = std::max(range.begin, range.end);
    return range;
  }
  // What any of the queries [first, first + count) sees, count > 0: both ends of what a query sees only move forwards.
  TokenRange seenByAny(int64_t item, int64_t first, int64_t count) const {
    return {seen(item, first).begin, seen(item, first + count - 1).end};
  }
};

struct PageCopyArguments {
  KvCache cache;
  int64_t from = 0, to = 0;
};

struct KvCacheKernels {
  size_t (*attentionBytes)(const KvCacheArguments&, int threads, size_t limit);
  void (*attention)(const KvCacheArguments&, const Execution&, size_t limit, std::byte* workspace);
  size_t (*copyPageBytes)(const PageCopyArguments&, int threads, size_t limit);
  void (*copyPage)(const PageCopyArguments&, const Execution&, size_t limit, std::byte* workspace);
};

FK_KERNELS(KvCacheKernels, kvCacheKernels)

}  // namespace fk::cpu
