#include "cpu/attention/kv_cache.h"

#include <algorithm>
#include <cstring>

#include "abi/arguments.h"
#include "abi/attention_options.h"
#include "abi/boundary.h"
#include "abi/score_array.h"
#include "core/integers.h"

namespace fk::abi {
namespace {

using Call = cpu::KvCacheArguments;

// The kinds of pages, as they stand in fk_kv_cache.
struct PoolTensors {
  cpu::PageType type;
  DLDataType dataType;
  const char *keysName, *valuesName;
  const DLTensor *keys, *values;
  Shape keysShape, valuesShape;
};

// A call's cache. `written`: its pages are outputs.
class CacheReader {
 public:
  CacheReader(Arguments& arguments, const fk_kv_cache& given, bool written)
      : arguments_(arguments), given_(given), written_(written) {}

  cpu::KvCache read() {
    using cpu::PageType;
    readPool({PageType::kFloat32,
              {kDLFloat, 32, 1},
              "k_f32",
              "v_f32",
              given_.k_f32,
              given_.v_f32,
              "[Pf, T, G, D]",
              "[Pf, T, G, Dv]"});
    readPool({PageType::kBfloat16,
              {kDLBfloat, 16, 1},
              "k_bf16",
              "v_bf16",
              given_.k_bf16,
              given_.v_bf16,
              "[Pb, T, G, D]",
              "[Pb, T, G, Dv]"});
    readPool({PageType::kInt8,
              {kDLInt, 8, 1},
              "k_int8",
              "v_int8",
              given_.k_int8,
              given_.v_int8,
              "[Pi, T, G, D]",
              "[Pi, T, G, Dv]"});
    readScales("k_int8_scales", given_.k_int8_scales, given_.k_int8, "k_int8", cache_.keys);
    readScales("v_int8_scales", given_.v_int8_scales, given_.v_int8, "v_int8", cache_.values);
    if (!given_.k_f32 && !given_.k_bf16 && !given_.k_int8)
      fail(FK_ERROR_INVALID_ARGUMENT, "cache: k_f32, k_bf16 and k_int8 are NULL, needs one of them or more");
    return cache_;
  }

 private:
  cpu::PagePool readRows(const char* name, const DLTensor* tensor, const Shape& shape, const PoolTensors& t, int64_t& dim) {
    const View& view = arguments_.rows(name, tensor, shape, t.dataType, written_);
    cache_.pageTokens = view.extents[1], cache_.heads = view.extents[2], dim = view.extents[3];
    return {view.data, view.extents[0], view.strides[0], view.strides[1], view.strides[2]};
  }

  void readPool(const PoolTensors& t) {
    requireTogether(t.keysName, t.keys, t.valuesName, t.values);
    if (!t.keys) return;
    const auto type = static_cast<int>(t.type);
    cache_.keys.pools[type] = readRows(t.keysName, t.keys, t.keysShape, t, cache_.keys.dim);
    cache_.values.pools[type] = readRows(t.valuesName, t.values, t.valuesShape, t, cache_.values.dim);
  }

  void readScales(const char* name, const DLTensor* tensor, const DLTensor* rows, const char* rowsName, cpu::PagedRows& to) {
    requireTogether(rowsName, rows, name, tensor);
    if (!tensor) return;
    const View& view = written_ ? arguments_.strided<float>(name, tensor, "[Pi, T, G]")
                                : arguments_.strided<const float>(name, tensor, "[Pi, T, G]");
    cpu::PagePool& pool = to.pools[static_cast<int>(cpu::PageType::kInt8)];
    pool.scales = reinterpret_cast<float*>(view.data);
    pool.scalePageStride = view.strides[0], pool.scaleTokenStride = view.strides[1], pool.scaleHeadStride = view.strides[2];
  }

  Arguments& arguments_;
  const fk_kv_cache& given_;
  bool written_;
  cpu::KvCache cache_;
};

fk_kv_cache readCacheStruct(const fk_kv_cache* given) {
  requireNotNull(given, "cache");
  const fk_kv_cache cache = readStruct("cache", given, fk_kv_cache_init);
  if (cache.reserved != 0) fail(FK_ERROR_INVALID_ARGUMENT, "cache: reserved is %u, needs 0", cache.reserved);
  return cache;
}

// What a cache has no use for.
void requireCacheOptions(const fk_attention_options& options) {
  fk_attention_options defaults;
  fk_attention_options_init(&defaults);
  const auto require = [](auto value, auto usual, const char* name) {
    if (value != usual)
      fail(FK_ERROR_INVALID_ARGUMENT, "options: %s is %g, needs its default %g here", name, static_cast<double>(value),
           static_cast<double>(usual));
  };
  require(options.alignment, defaults.alignment, "alignment");
  require(options.dropout, defaults.dropout, "dropout");
  require(options.dropout_seed, defaults.dropout_seed, "dropout_seed");
  require(options.mask_block_rows, defaults.mask_block_rows, "mask_block_rows");
  require(options.mask_block_columns, defaults.mask_block_columns, "mask_block_columns");
  require(options.relative_bidirectional, defaults.relative_bidirectional, "relative_bidirectional");
  require(options.relative_max_distance, defaults.relative_max_distance, "relative_max_distance");
  require(options.rotary_query_offset, defaults.rotary_query_offset, "rotary_query_offset");
  require(options.rotary_key_offset, defaults.rotary_key_offset, "rotary_key_offset");
}

void readQueries(Arguments& arguments, const fk_kv_cache_tensors& t, Call& call) {
  requireTogether("q", t.q, "output", t.output);
  if (!t.q) {
    requireAbsent(t.alibi_slopes, "alibi_slopes", "without q");
    requireAbsent(t.sinks, "sinks", "without q");
    requireAbsent(t.log_sum_exp, "log_sum_exp", "without q");
    if (!t.new_k) fail(FK_ERROR_INVALID_ARGUMENT, "tensors: q and new_k are NULL, needs one of them");
    return;
  }
  call.attention.q = arguments.headOperand("q", t.q, "[B, Sq, H, D]");
  if (call.cache.heads == 0 ? call.attention.q.heads > 0 : call.attention.q.heads % call.cache.heads != 0)
    fail(FK_ERROR_INVALID_ARGUMENT, "q: %lld heads, needs a multiple of the cache's %lld",
         static_cast<long long>(call.attention.q.heads), static_cast<long long>(call.cache.heads));
  if (t.alibi_slopes) {
    const View& slopes = arguments.strided<const float>("alibi_slopes", t.alibi_slopes, "[B|1, H]");
    call.attention.alibiSlopes.value = scoreArray<const float>(slopes, {kBatch, kHead});
  }
  if (t.sinks) {
    const View& sinks = arguments.strided<const float>("sinks", t.sinks, "[H]");
    call.attention.sinks.value = scoreArray<const float>(sinks, {kHead});
  }
}

void readOutputs(Arguments& arguments, const fk_kv_cache_tensors& t, Call& call) {
  if (!t.q) return;
  call.attention.output = arguments.headOutput("output", t.output, "[B, Sq, H, Dv]");
  if (!t.log_sum_exp) return;
  const View& logSumExp = arguments.strided<float>("log_sum_exp", t.log_sum_exp, "[B, H, Sq]");
  call.attention.logSumExp = scoreArray<float>(logSumExp, {kBatch, kHead, kRow});
}

// lengths[b] + Sn tokens have a place.
void requireLengths(const Call& call) {
  const cpu::KvCache& cache = call.cache;
  const auto items = static_cast<long long>(call.batch), pages = static_cast<long long>(cache.pages());
  if (!cache.pageTable && items > pages)
    fail(FK_ERROR_INVALID_ARGUMENT, "lengths: %lld items, needs at most %lld, the pages, or a page_table", items, pages);
  int64_t capacity = cache.pageTokens;
  if (cache.pageTable && __builtin_mul_overflow(capacity, cache.pageTable.columns, &capacity)) capacity = INT64_MAX;
  const auto appended = static_cast<long long>(call.newK.sequence), room = static_cast<long long>(capacity) - appended;
  for (int64_t b = 0; b < call.batch; ++b) {
    if (cache.lengths[b] >= 0 && cache.lengths[b] <= room) continue;
    fail(FK_ERROR_INDEX_OUT_OF_RANGE, "lengths: element %lld is %d, needs 0 to %lld: %lld more come to its %lld places",
         static_cast<long long>(b), cache.lengths[b], room, appended, static_cast<long long>(capacity));
  }
}

// visit(index in the page table, page) for an item's pages with the tokens.
template <class Visit>
void forEachPage(const cpu::KvCache& cache, int64_t item, cpu::TokenRange tokens, const Visit& visit) {
  if (tokens.empty()) return;
  for (int64_t index = tokens.begin / cache.pageTokens; index * cache.pageTokens < tokens.end; ++index)
    visit(index, cache.page(item, index));
}

cpu::TokenRange appendedTo(const Call& call, int64_t item) { return {call.cache.lengths[item], call.tokens(item)}; }

// Every page that the call comes to is one.
void requirePages(const Call& call) {
  const cpu::KvCache& cache = call.cache;
  const int64_t queries = call.attention.q.sequence, pages = cache.pages();
  if (!cache.pageTable) return;
  for (int64_t item = 0; item < call.batch; ++item) {
    const auto require = [&](int64_t index, int64_t page) {
      if (page < 0 || page >= pages)
        fail(FK_ERROR_INDEX_OUT_OF_RANGE, "page_table: item %lld's page %lld is %lld, needs 0 to %lld",
             static_cast<long long>(item), static_cast<long long>(index), static_cast<long long>(page),
             static_cast<long long>(pages) - 1);
    };
    forEachPage(cache, item, appendedTo(call, item), require);
    if (call.attention.output && queries > 0) forEachPage(cache, item, call.seenByAny(item, 0, queries), require);
  }
}

size_t pageBits(const Call& call) { return static_cast<size_t>(ceilDivide(call.cache.pages(), 8)); }

// Two items that append to one page would overwrite each other's tokens. `bits`: pageBits(), one for each page.
void requireOwnPages(const Call& call, std::byte* bits) {
  if (!call.cache.pageTable || !call.newK) return;
  std::memset(bits, 0, pageBits(call));
  for (int64_t item = 0; item < call.batch; ++item) {
    forEachPage(call.cache, item, appendedTo(call, item), [&](int64_t index, int64_t page) {
      const auto bit = std::byte{1} << (page % 8);
      if ((bits[page / 8] & bit) != std::byte{0})
        fail(FK_ERROR_INVALID_ARGUMENT,
             "page_table: item %lld's page %lld is %lld, which this call appends to already; needs a page of its own: copy "
             "a shared page with fk_kv_cache_copy_page first",
             static_cast<long long>(item), static_cast<long long>(index), static_cast<long long>(page));
      bits[page / 8] |= bit;
    });
  }
}

Call readCall(Arguments& arguments, const fk_attention_options* options, const fk_kv_cache* cache,
              const fk_kv_cache_tensors* tensors) {
  const fk_attention_options read = readOptions(options, fk_attention_options_init);
  const fk_kv_cache pools = readCacheStruct(cache);
  const fk_kv_cache_tensors t = readTensors(tensors, fk_kv_cache_tensors_init);
  requireCacheOptions(read);
  requireTogether("new_k", t.new_k, "new_v", t.new_v);

  Call call;
  call.cache = CacheReader(arguments, pools, t.new_k != nullptr).read();
  call.cache.lengths = arguments.int32("lengths", pools.lengths, "[B]");
  call.batch = call.cache.lengths.size;
  if (pools.page_table) {
    const View& view = arguments.stridedInt32("page_table", pools.page_table, "[B, M]");
    call.cache.pageTable = {reinterpret_cast<const int32_t*>(view.data), view.extents[0], view.extents[1], view.strides[0],
                            view.strides[1]};
  }
  if (t.new_k) {
    call.newK = arguments.headOperand("new_k", t.new_k, "[B, Sn, G, D]");
    call.newV = arguments.headOperand("new_v", t.new_v, "[B, Sn, G, Dv]");
  }
  call.attention.q.dim = call.cache.keys.dim;
  readQueries(arguments, t, call);
  readOutputs(arguments, t, call);
  readAttentionOptions(read, call.attention);
  requireLengths(call);
  requirePages(call);
  return call;
}

const cpu::KvCacheKernels& kernelsOf(const ContextLock& lock) { return cpu::kvCacheKernelsFor(lock->isa); }

size_t callBytes(const ContextLock& lock, const Call& call, int threads, size_t limit) {
  return std::max(kernelsOf(lock).attentionBytes(call, threads, limit), call.newK ? pageBits(call) : 0);
}

void requirePage(const char* name, int64_t page, int64_t pages) {
  if (page < 0 || page >= pages)
    fail(FK_ERROR_INDEX_OUT_OF_RANGE, "%s: page %lld, needs 0 to %lld", name, static_cast<long long>(page),
         static_cast<long long>(pages) - 1);
}

}  // namespace
}  // namespace fk::abi

using namespace fk::abi;

void fk_kv_cache_init(fk_kv_cache* cache) noexcept {
  *cache = {};
  cache->struct_size = sizeof(*cache);
}

void fk_kv_cache_tensors_init(fk_kv_cache_tensors* tensors) noexcept {
  *tensors = {};
  tensors->struct_size = sizeof(*tensors);
}

fk_status fk_kv_cache_attention(fk_context* context, const fk_attention_options* options, const fk_kv_cache* cache,
                                const fk_kv_cache_tensors* tensors) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    const Call call = readCall(arguments, options, cache, tensors);
    runWithWorkspace(
        lock, call, [&](const Call& call, int threads, size_t limit) { return callBytes(lock, call, threads, limit); },
        [&](const Call& call, const fk::Execution& execution, size_t limit, std::byte* workspace) {
          requireOwnPages(call, workspace);
          kernelsOf(lock).attention(call, execution, limit, workspace);
        });
  });
}

fk_status fk_kv_cache_attention_workspace_size(fk_context* context, const fk_attention_options* options,
                                               const fk_kv_cache* cache, const fk_kv_cache_tensors* tensors,
                                               uint64_t* bytes) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    requireNotNull(bytes, "bytes");
    Arguments arguments;
    const Call call = readCall(arguments, options, cache, tensors);
    *bytes = callBytes(lock, call, lock->threads, lock->workspaceLimit);
  });
}

fk_status fk_kv_cache_copy_page(fk_context* context, const fk_kv_cache* cache, int64_t from, int64_t to) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    const fk::cpu::PageCopyArguments call{CacheReader(arguments, readCacheStruct(cache), true).read(), from, to};
    requirePage("from", from, call.cache.pages());
    requirePage("to", to, call.cache.pages());
    const fk::cpu::KvCacheKernels& kernels = fk::cpu::kvCacheKernelsFor(lock->isa);
    runWithWorkspace(lock, call, kernels.copyPageBytes, kernels.copyPage);
  });
}
