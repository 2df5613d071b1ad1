#include "cpu/attention/kv_cache.h"

#include "cpu/attention/kv_prefill-inl.h"
#include "cpu/attention/kv_streaming-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

// Appending: each new token's rows as floats, keys turned, and rounded into its page.
class Append {
 public:
  Append(const KvCacheArguments& a, int threads, WorkspaceCursor& cursor)
      : a_(a),
        frequencies_(cursor, {a.attention.rotary.dims, a.attention.rotary.interleaved}),
        width_(std::max(a.newK.dim, a.newV.dim)),
        rows_(cursor.take<float>(threads * width_)),
        rotations_(cursor.take<float>(threads * a.attention.rotary.dims)) {}

  void run(const Execution& execution) const {
    frequencies_.fill(a_.attention.rotary.base);
    const int64_t tokens = a_.newK.sequence, floats = a_.cache.heads * (a_.newK.dim + a_.newV.dim);
    forEachRowBlock(execution, a_.batch * tokens, floats, [&](int64_t begin, int64_t end, int slot) {
      for (int64_t at = begin; at < end; ++at) appendToken(at / tokens, at % tokens, slot);
    });
  }

 private:
  void appendToken(int64_t item, int64_t index, int slot) const {
    const int64_t token = a_.cache.lengths[item] + index;
    const RotaryLayout& layout = frequencies_.layout();
    float *row = rows_ + slot * width_, *cosines = rotations_ + slot * layout.dims;
    frequencies_.tabulate(static_cast<double>(token), cosines, cosines + layout.pairs());
    const auto append = [&](const HeadOperand& from, const PagedRows& pages, bool isKey) {
      const TokenRows to = rowsOfToken(a_.cache, pages, item, token);
      for (int64_t head = 0; head < a_.cache.heads; ++head) {
        loadRow(from.head(item, head, index, 1).data, from.dim, from.type, row);
        if (isKey) rotateRow(row, row, from.dim, layout, {cosines, cosines + layout.pairs()});
        writePageRow(row, from.dim, to.head(head));
      }
    };
    append(a_.newK, a_.cache.keys, true);
    append(a_.newV, a_.cache.values, false);
  }

  const KvCacheArguments& a_;
  RotaryFrequencies frequencies_;
  int64_t width_;
  float *rows_, *rotations_;  // of each thread
};

size_t appendBytes(const KvCacheArguments& a, int threads) {
  WorkspaceCursor cursor;
  Append(a, threads, cursor);
  return cursor.used();
}

// Queries of a head from which on attention's own tiles are faster than streaming, copies included. Measured on a Zen 4
// core: with D = 128 and 4096 tokens, 32, 128 and 512 queries stream in 0.5, 1 and 1.8 of the tiles' time, and with groups
// of 4 heads 32 and 128 in 0.8 and 1.3 of it.
constexpr int64_t kPrefillQueries = 96;

bool prefills(const KvCacheArguments& a, int threads, size_t limit) {
  return a.attention.q.sequence >= kPrefillQueries && PrefillAttention(a, threads, limit).fits();
}

size_t attentionBytes(const KvCacheArguments& a, int threads, size_t limit) {
  size_t bytes = a.newK ? appendBytes(a, threads) : 0;
  if (!a.attention.output) return bytes;
  return std::max(bytes, prefills(a, threads, limit) ? PrefillAttention(a, threads, limit).bytes()
                                                     : StreamingAttention(a, threads, limit).bytes());
}

void attention(const KvCacheArguments& a, const Execution& execution, size_t limit, std::byte* workspace) {
  if (a.newK) {
    WorkspaceCursor cursor(workspace);
    Append(a, execution.threads, cursor).run(execution);
  }
  if (!a.attention.output) return;
  if (prefills(a, execution.threads, limit))
    PrefillAttention(a, execution.threads, limit).run(execution, workspace);
  else
    StreamingAttention(a, execution.threads, limit).run(execution, workspace);
}

size_t copyPageBytes(const PageCopyArguments& a, int threads, size_t) {
  WorkspaceCursor cursor;
  cursor.take<float>(threads * std::max(a.cache.keys.dim, a.cache.values.dim));
  return cursor.used();
}

// From number to number within a precision, so that an int8 row stays what it is.
void copyRow(const PageRow& from, int64_t dim, const PageRow& to, float* floats) {
  if (from.type != to.type) {
    readPageRow(from, dim, floats);
    writePageRow(floats, dim, to);
    return;
  }
  std::memmove(to.data, from.data, static_cast<size_t>(dim * elementSize(from.type)));
  if (from.type == PageType::kInt8) *to.scale = *from.scale;
}

void copyPage(const PageCopyArguments& a, const Execution& execution, size_t, std::byte* workspace) {
  WorkspaceCursor cursor(workspace);
  const int64_t tokens = a.cache.pageTokens, width = std::max(a.cache.keys.dim, a.cache.values.dim);
  float* rows = cursor.take<float>(execution.threads * width);
  forEachRowBlock(execution, tokens, a.cache.heads * 2 * width, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t slot = begin; slot < end; ++slot) {
      for (const PagedRows* pages : {&a.cache.keys, &a.cache.values}) {
        const TokenRows from = rowsAt(*pages, a.from, slot), to = rowsAt(*pages, a.to, slot);
        for (int64_t head = 0; head < a.cache.heads; ++head)
          copyRow(from.head(head), pages->dim, to.head(head), rows + thread * width);
      }
    }
  });
}

}  // namespace

const KvCacheKernels kvCacheKernels = {attentionBytes, attention, copyPageBytes, copyPage};

}  // namespace fk::cpu::FK_ISA
