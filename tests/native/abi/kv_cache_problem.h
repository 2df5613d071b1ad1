// A call of fk_kv_cache_attention with its arrays, and what has to come out of it.
#pragma once

#include "abi/calls.h"
#include "oracles/kv_cache.h"
#include "oracles/row_operators.h"
#include "tolerance.h"

namespace fk::test {

enum class Precision { kFloat32, kBFloat16, kInt8 };

// Pages in memory: as the header writes them, heads before tokens, or with unused elements between rows.
enum class PageLayout { kTokensFirst, kHeadsFirst, kGaps };

struct KvCacheCase {
  int64_t queries = 1, appended = 0, keyHeads = 1, group = 1, dim = 8, valueDim = 8, pageTokens = 16;
  std::vector<int64_t> lengths = {20};                        // of each item, before the call
  bool hasTable = true;                                       // else an item has one page, as long as it has to be
  std::vector<Precision> precisions = {Precision::kFloat32};  // of the pools, in the order of the enumeration
  PageLayout layout = PageLayout::kTokensFirst;
  Storage qStorage = Storage::kFloat32, newStorage = Storage::kFloat32, outputStorage = Storage::kFloat32;
  bool causal = false;
  float scale = NAN, softcap = 0, lengthScaleBase = 0;
  int64_t windowLeft = -1, windowRight = -1;
  int32_t rotaryDims = 0;
  bool rotaryInterleaved = false;
  bool sinks = false, logSumExp = true;
  int alibi = 0;  // 1: [1, H], 2: [B, H]
  double range = 1;

  int64_t batch() const { return static_cast<int64_t>(lengths.size()); }
  int64_t heads() const { return keyHeads * group; }
  int64_t tokens(int64_t item) const { return lengths[static_cast<size_t>(item)] + appended; }
  int64_t longest() const { return appended + *std::max_element(lengths.begin(), lengths.end()); }
};

inline std::ostream& operator<<(std::ostream& out, const KvCacheCase& c) {
  out << c.queries << " queries, " << c.appended << " appended, " << c.keyHeads << " x " << c.group << " heads, dims "
      << c.dim << " and " << c.valueDim << ", pages of " << c.pageTokens << (c.hasTable ? "" : ", no table") << ", lengths";
  for (int64_t length : c.lengths) out << " " << length;
  out << ", precisions";
  for (Precision precision : c.precisions) out << " " << static_cast<int>(precision);
  return out << ", layout " << static_cast<int>(c.layout) << ", types " << nameOf(c.qStorage) << " " << nameOf(c.newStorage)
             << " " << nameOf(c.outputStorage) << ", causal " << c.causal << ", scale " << c.scale << ", softcap "
             << c.softcap << ", length scale " << c.lengthScaleBase << ", window " << c.windowLeft << " " << c.windowRight
             << ", rotary " << c.rotaryDims << (c.rotaryInterleaved ? " interleaved" : "") << ", sinks " << c.sinks
             << ", alibi " << c.alibi << ", range " << c.range;
}

// Keys or values of one pool.
struct PageRows {
  AnyArray<double, float, BFloat16, int8_t> numbers;
  StridedArray<float> scales;
  Precision precision = Precision::kFloat32;
  int64_t dim = 0;

  // What the elements of a row are worth.
  std::vector<Bounded> row(int64_t page, int64_t slot, int64_t head) const {
    std::vector<Bounded> result;
    for (int64_t i = 0; i < dim; ++i) {
      const Bounded number = numbers.at(page, slot, head, i);
      result.push_back(precision == Precision::kInt8 ? number * Bounded(scales(page, slot, head)) : number);
    }
    return result;
  }
  void fill(int64_t page, int64_t slot, int64_t head, double range, Random& random) {
    const bool isInt8 = precision == Precision::kInt8;
    for (int64_t i = 0; i < dim; ++i)
      numbers.set(isInt8 ? static_cast<double>(random.between(-127, 127)) : random.uniform(-range, range), page, slot, head,
                  i);
    if (isInt8) scales(page, slot, head) = static_cast<float>(random.uniform(0.1, 1) * range / 127);
  }
  // The row as its bits are, to be compared and carried over.
  void copyRow(const PageRows& from, int64_t page, int64_t slot, int64_t head) {
    for (int64_t i = 0; i < dim; ++i) numbers.set(from.numbers.at(page, slot, head, i), page, slot, head, i);
    if (precision == Precision::kInt8) scales(page, slot, head) = from.scales(page, slot, head);
  }
  bool sameAs(const PageRows& other) const {
    return sameBits(numbers.values(), other.numbers.values()) && sameBits(scales.values(), other.scales.values());
  }
  bool canariesIntact() const { return numbers.canariesIntact() && scales.canariesIntact(); }
};

inline PageRows makePages(Precision precision, PageLayout layout, int64_t pages, int64_t tokens, int64_t heads,
                          int64_t dim) {
  const auto strides = [=](int64_t row, int64_t gap) -> std::vector<int64_t> {
    const int64_t width = row + gap;
    if (layout == PageLayout::kHeadsFirst) return {heads * tokens * width, width, tokens * width, 1};
    return {tokens * (heads * width + gap) + 3 * gap, heads * width + gap, width, 1};
  };
  const int64_t gap = layout == PageLayout::kGaps ? 3 : 0;
  PageRows result;
  result.precision = precision;
  result.dim = dim;
  const std::vector<int64_t> shape = {pages, tokens, heads, dim};
  if (precision == Precision::kFloat32) result.numbers = StridedArray<float>(shape, strides(dim, gap));
  if (precision == Precision::kBFloat16) result.numbers = StridedArray<BFloat16>(shape, strides(dim, gap));
  if (precision != Precision::kInt8) return result;
  result.numbers = StridedArray<int8_t>(shape, strides(dim, gap));
  std::vector<int64_t> scaleStrides = strides(1, gap);
  scaleStrides.pop_back();
  result.scales = StridedArray<float>({pages, tokens, heads}, scaleStrides);
  return result;
}

// All that a call of the cache reads and writes. Copies are independent.
class KvCacheProblem {
 public:
  struct Pool {
    Precision precision;
    int64_t firstPage, pages;
    PageRows keys, values;
  };

  KvCacheProblem(const KvCacheCase& given, uint64_t seed) : c(given), random_(seed) {
    assignPages();
    makePools();
    const int64_t b = c.batch();
    fillCache();
    q = floatArray(c.qStorage, {b, c.queries, c.heads(), c.dim});
    newK = floatArray(c.newStorage, {b, c.appended, c.keyHeads, c.dim});
    newV = floatArray(c.newStorage, {b, c.appended, c.keyHeads, c.valueDim});
    for (FloatArray* array : {&q, &newK, &newV}) array->fill([&] { return random_.uniform(-c.range, c.range); });
    alibi = StridedArray<float>({c.alibi == 2 ? b : 1, c.heads()}, {c.heads() * 2, 2});
    alibi.fill([&] { return random_.uniform(0, 0.5); });
    sinks = StridedArray<float>({c.heads()}, {-3});
    sinks.fill([&] { return random_.uniform(-1, 2); });
    output = floatArray(c.outputStorage, {b, c.queries, c.heads(), c.valueDim});
    logSumExp = StridedArray<float>({b, c.heads(), c.queries}, {1, b, b * c.heads()});
  }

  fk_status run(fk_context* context) {
    KvTensors tensors;
    PoolTensors pools;
    fillTensors(tensors, pools);
    const fk_attention_options options = attentionOptions();
    return fk_kv_cache_attention(context, &options, &pools.value, &tensors.value);
  }

  using KvTensors = CallTensors<fk_kv_cache_tensors, fk_kv_cache_tensors_init>;
  using PoolTensors = CallTensors<fk_kv_cache, fk_kv_cache_init>;

  void fillTensors(KvTensors& t, PoolTensors& p) {
    for (Pool& pool : pools) {
      DLTensor* const k = p.keep(pool.keys.numbers);
      DLTensor* const v = p.keep(pool.values.numbers);
      if (pool.precision == Precision::kFloat32) p.value.k_f32 = k, p.value.v_f32 = v;
      if (pool.precision == Precision::kBFloat16) p.value.k_bf16 = k, p.value.v_bf16 = v;
      if (pool.precision != Precision::kInt8) continue;
      p.value.k_int8 = k, p.value.v_int8 = v;
      p.value.k_int8_scales = p.keep(pool.keys.scales), p.value.v_int8_scales = p.keep(pool.values.scales);
    }
    p.value.page_table = p.keep(table, c.hasTable);
    p.value.lengths = p.keep(lengths);
    t.value.q = t.keep(q);
    t.value.new_k = t.keep(newK, c.appended > 0), t.value.new_v = t.keep(newV, c.appended > 0);
    t.value.alibi_slopes = t.keep(alibi, c.alibi > 0);
    t.value.sinks = t.keep(sinks, c.sinks);
    t.value.output = t.keep(output);
    t.value.log_sum_exp = t.keep(logSumExp, c.logSumExp);
  }

  fk_attention_options attentionOptions() const {
    fk_attention_options options;
    fk_attention_options_init(&options);
    options.causal = c.causal, options.scale = c.scale, options.softcap = c.softcap;
    options.length_scale_base = c.lengthScaleBase;
    options.window_left = c.windowLeft, options.window_right = c.windowRight;
    options.rotary_dims = c.rotaryDims, options.rotary_interleaved = c.rotaryInterleaved;
    return options;
  }

  // Where an item's token lies.
  std::pair<Pool*, int64_t> pageOf(int64_t item, int64_t token) {
    int64_t page = c.hasTable ? table(item, token / c.pageTokens) : item;
    for (Pool& pool : pools)
      if (page >= pool.firstPage && page < pool.firstPage + pool.pages) return {&pool, page - pool.firstPage};
    ADD_FAILURE() << "page " << page << " is in no pool";
    return {&pools[0], 0};
  }

  bool sameBitsAs(const KvCacheProblem& other) const {
    for (size_t i = 0; i < pools.size(); ++i)
      if (!pools[i].keys.sameAs(other.pools[i].keys) || !pools[i].values.sameAs(other.pools[i].values)) return false;
    return sameBits(output.values(), other.output.values()) && sameBits(logSumExp.values(), other.logSumExp.values());
  }

  bool canariesIntact() const {
    for (const Pool& pool : pools)
      if (!pool.keys.canariesIntact() || !pool.values.canariesIntact()) return false;
    return output.canariesIntact() && logSumExp.canariesIntact();
  }

  KvCacheCase c;
  std::vector<Pool> pools;
  StridedArray<int32_t> table, lengths;
  FloatArray q, newK, newV, output;
  StridedArray<float> alibi, sinks, logSumExp;

 private:
  // A page of its own for every place that holds tokens, in any order; what a call does not come to is no page at all.
  void assignPages() {
    const int64_t b = c.batch();
    lengths = StridedArray<int32_t>({b}, {-2});
    for (int64_t item = 0; item < b; ++item) lengths(item) = static_cast<int32_t>(c.lengths[static_cast<size_t>(item)]);
    if (!c.hasTable) {
      c.pageTokens = c.longest() + 2;
      pageCount_ = b + 1;
      return;
    }
    const int64_t columns = (c.longest() + c.pageTokens - 1) / c.pageTokens + 1;
    table = StridedArray<int32_t>({b, columns}, {1, b + 1});
    table.fill([&] { return random_.pick<int64_t>({-1, INT32_MIN, INT32_MAX}); });
    std::vector<std::pair<int64_t, int64_t>> places;
    for (int64_t item = 0; item < b; ++item)
      for (int64_t token = 0; token < c.tokens(item); token += c.pageTokens) places.push_back({item, token / c.pageTokens});
    pageCount_ = static_cast<int64_t>(places.size()) + 2;
    std::vector<int32_t> ids(static_cast<size_t>(pageCount_));
    std::iota(ids.begin(), ids.end(), 0);
    for (size_t i = ids.size(); i > 1; --i)
      std::swap(ids[i - 1], ids[static_cast<size_t>(random_.between(0, static_cast<int64_t>(i) - 1))]);
    for (size_t i = 0; i < places.size(); ++i) table(places[i].first, places[i].second) = ids[i];
  }

  void makePools() {
    int64_t first = 0;
    for (size_t i = 0; i < c.precisions.size(); ++i) {
      const bool isLast = i + 1 == c.precisions.size();
      const int64_t pages = isLast ? pageCount_ - first : random_.between(0, pageCount_ - first);
      pools.push_back({c.precisions[i], first, pages,
                       makePages(c.precisions[i], c.layout, pages, c.pageTokens, c.keyHeads, c.dim),
                       makePages(c.precisions[i], c.layout, pages, c.pageTokens, c.keyHeads, c.valueDim)});
      first += pages;
    }
  }

  // Tokens that a call may see; the rest of the pages stays NaN, or of a scale that is NaN.
  void fillCache() {
    for (int64_t item = 0; item < c.batch(); ++item)
      for (int64_t token = firstSeen(item); token < c.lengths[static_cast<size_t>(item)]; ++token) {
        const auto [pool, page] = pageOf(item, token);
        for (int64_t head = 0; head < c.keyHeads; ++head) {
          pool->keys.fill(page, token % c.pageTokens, head, c.range, random_);
          pool->values.fill(page, token % c.pageTokens, head, c.range, random_);
        }
      }
  }

  int64_t firstSeen(int64_t item) const {
    return c.windowLeft < 0 ? 0 : std::max<int64_t>(0, c.tokens(item) - c.queries - c.windowLeft);
  }

  Random random_;
  int64_t pageCount_ = 0;
};

}  // namespace fk::test
