// The schedule of many query rows: the tokens that an item's queries see are copied to arrays of floats, some heads at a
// time, and go through attention's own kernel, whose tiles reuse them from the caches.
#pragma once

#include "cpu/attention/kv_pages-inl.h"
#include "cpu/rows/rotary-inl.h"
#include "cpu/rows/tiles-inl.h"

namespace fk::cpu::FK_ISA {

class PrefillAttention {
 public:
  PrefillAttention(const KvCacheArguments& a, int threads, size_t limit) : a_(a), threads_(threads), limit_(limit) {
    const size_t comfortable = std::min(limit, kStagingBytes);
    for (heads_ = std::max<int64_t>(1, a.cache.heads); heads_ > 1 && bytes() > comfortable;) heads_ = ceilDivide(heads_, 2);
  }

  bool fits() const { return bytes() <= limit_; }

  size_t bytes() const {
    WorkspaceCursor cursor;
    const Buffers buffers(cursor, *this);
    size_t most = 0;
    for (int64_t item = 0; item < a_.batch; ++item)
      most = std::max(most, attentionKernels.forwardBytes(itemCall(buffers, item, {0, heads_}), threads_, left(cursor)));
    return cursor.used() + most;
  }

  void run(const Execution& execution, std::byte* workspace) const {
    WorkspaceCursor cursor(workspace);
    const Buffers buffers(cursor, *this);
    buffers.frequencies.fill(a_.attention.rotary.base);
    for (int64_t item = 0; item < a_.batch; ++item) {
      for (int64_t first = 0; first < a_.cache.heads; first += heads_) {
        const TokenRange heads{first, std::min(first + heads_, a_.cache.heads)};
        stage(buffers, item, heads, execution);
        attentionKernels.forward(itemCall(buffers, item, heads), execution, left(cursor), workspace + cursor.used());
      }
    }
  }

 private:
  static constexpr size_t kStagingBytes = size_t{64} << 20;  // more than one head's is not worth more memory

  struct Buffers {
    Buffers(WorkspaceCursor& cursor, const PrefillAttention& p)
        : frequencies(cursor, {p.a_.attention.rotary.dims, p.a_.attention.rotary.interleaved}),
          rotations(cursor.take<float>(p.threads_ * p.a_.attention.rotary.dims)),
          queries(cursor.take<float>(p.rotates() ? p.a_.attention.q.sequence * p.rowFloats() : 0)),
          keys(cursor.take<float>(p.heads_ * p.longest() * p.a_.cache.keys.dim)),
          values(cursor.take<float>(p.heads_ * p.longest() * p.a_.cache.values.dim)) {}

    RotaryFrequencies frequencies;
    float* rotations;      // of each thread
    float* queries;        // [query][head], turned
    float *keys, *values;  // [head][token]
  };

  size_t left(const WorkspaceCursor& cursor) const { return limit_ - std::min(limit_, cursor.used()); }
  bool rotates() const { return a_.attention.rotary.dims > 0; }
  int64_t rowFloats() const { return heads_ * a_.group() * a_.attention.q.dim; }
  TokenRange seen(int64_t item) const { return a_.seenByAny(item, 0, a_.attention.q.sequence); }
  int64_t longest() const {
    int64_t most = 0;
    for (int64_t item = 0; item < a_.batch; ++item) most = std::max(most, seen(item).size());
    return most;
  }

  // Attention of an item's queries of some key heads. What an item sees ends with its last token, so that queries and keys
  // stay aligned when tokens before it are left out.
  AttentionArguments itemCall(const Buffers& buffers, int64_t item, TokenRange heads) const {
    AttentionArguments call = a_.attention;
    const int64_t keys = seen(item).size(), keyDim = a_.cache.keys.dim, valueDim = a_.cache.values.dim;
    const int64_t firstQueryHead = heads.begin * a_.group();
    call.sequences = call.q.batch = call.output.batch = 1;
    call.q.heads = call.output.heads = heads.size() * a_.group();
    call.q.data = call.q.data ? a_.attention.q.head(item, firstQueryHead, 0, 0).data : nullptr;
    if (rotates()) {
      call.q = {buffers.queries, DataType::kFloat32, 1, call.q.sequence, call.q.heads, call.q.dim, 0,
                rowFloats(),     call.q.dim};
      call.rotary = {};
    }
    call.k = {buffers.keys, DataType::kFloat32, 1, keys, heads.size(), keyDim, 0, keyDim, keys * keyDim};
    call.v = {buffers.values, DataType::kFloat32, 1, keys, heads.size(), valueDim, 0, valueDim, keys * valueDim};
    call.output.data = a_.attention.output.row(item, firstQueryHead, 0);
    const auto forItem = [&](auto& array) {
      if (array) array.data = array.at(item, firstQueryHead);
    };
    forItem(call.alibiSlopes.value);
    forItem(call.logSumExp);
    if (auto& sinks = call.sinks.value) sinks.data = sinks.at(0, firstQueryHead);
    return call;
  }

  void stage(const Buffers& buffers, int64_t item, TokenRange heads, const Execution& execution) const {
    const TokenRange tokens = seen(item);
    const int64_t dims = a_.cache.keys.dim + a_.cache.values.dim;
    forEachRowPart(execution, heads.size(), tokens.size() * dims, [&](int64_t head, int64_t begin, int64_t end) {
      const TokenRange part{tokens.begin + begin / dims, tokens.begin + end / dims};
      execution.throwIfCancelled();
      const auto copy = [&](const PagedRows& rows, float* to) {
        to += (head * tokens.size() + part.begin - tokens.begin) * rows.dim;
        for (int64_t token = part.begin; token < part.end; ++token, to += rows.dim)
          readPageRow(rowsOfToken(a_.cache, rows, item, token).head(heads.begin + head), rows.dim, to);
      };
      copy(a_.cache.keys, buffers.keys);
      copy(a_.cache.values, buffers.values);
    });
    if (rotates()) turnQueries(buffers, item, heads, execution);
  }

  void turnQueries(const Buffers& buffers, int64_t item, TokenRange heads, const Execution& execution) const {
    const RotaryLayout& layout = buffers.frequencies.layout();
    const HeadOperand& q = a_.attention.q;
    const int64_t group = a_.group();
    forEachRowBlock(execution, q.sequence, rowFloats(), [&](int64_t begin, int64_t end, int slot) {
      float *cosines = buffers.rotations + slot * layout.dims, *sines = cosines + layout.pairs();
      for (int64_t i = begin; i < end; ++i) {
        buffers.frequencies.tabulate(static_cast<double>(a_.position(item, i)), cosines, sines);
        for (int64_t h = 0; h < heads.size() * group; ++h) {
          float* to = buffers.queries + i * rowFloats() + h * q.dim;
          loadRow(q.head(item, heads.begin * group + h, i, 1).data, q.dim, q.type, to);
          rotateRow(to, to, q.dim, layout, {cosines, sines});
        }
      }
    });
  }

  const KvCacheArguments& a_;
  int threads_;
  size_t limit_;
  int64_t heads_;  // key heads at a time
};

}  // namespace fk::cpu::FK_ISA
