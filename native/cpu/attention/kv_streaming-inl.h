// The schedule of decoding: the tokens of an item are cut into parts, in which all heads go through a block of tokens before
// the next, and the parts are merged in order (Dao et al., "Flash-Decoding", 2023). Keys and values are read from memory
// once, in the order in which [T, G, D] lies there, so that what the hardware fetches past the end of a head's row is the
// next head's.
#pragma once

#include <type_traits>

#include "cpu/attention/merge-inl.h"
#include "cpu/attention/streaming-inl.h"
#include "cpu/rows/rotary-inl.h"
#include "cpu/rows/tiles-inl.h"

namespace fk::cpu::FK_ISA {

// A part has at least this many tokens and an item at most so many parts, whatever the threads: it decides the bits.
constexpr int64_t kPartTokens = 512, kMostParts = 64;
constexpr int64_t kMostRows = 64;                // query rows per key head that stream together
constexpr int64_t kStateFloats = 128 * 1024;     // of queries and sums that a part keeps in the L2 cache
constexpr size_t kWaveBytes = size_t{64} << 20;  // of queries and sums of all parts

inline int64_t partTokens(int64_t tokens) {
  return std::max(kPartTokens, ceilDivide(ceilDivide(tokens, kMostParts), kTokenBlock) * kTokenBlock);
}
inline int64_t padded(int64_t dim) { return ceilDivide(dim, kLanes) * kLanes; }

class StreamingAttention {
 public:
  StreamingAttention(const KvCacheArguments& a, int threads, size_t limit) : a_(a), threads_(threads) {
    group_ = a.group();
    queries_ =
        std::clamp<int64_t>(kMostRows / std::max<int64_t>(1, group_), 1, std::max<int64_t>(1, a.attention.q.sequence));
    rows_ = queries_ * group_;
    keyDim_ = padded(a.cache.keys.dim), valueDim_ = padded(a.cache.values.dim);
    queryBlocks_ = ceilDivide(a.attention.q.sequence, queries_);
    int64_t longest = 0;
    for (int64_t b = 0; b < a.batch; ++b) longest = std::max(longest, a.tokens(b));
    parts_ = std::min(kMostParts, ceilDivide(longest, kPartTokens));
    heads_ = std::max<int64_t>(1, a.cache.heads);
    const auto isTooMuch = [&] {
      return heads_ * rows_ * (keyDim_ + valueDim_) > kStateFloats || columns() * parts_ < 4 * threads || bytes() > limit;
    };
    while (heads_ > 1 && isTooMuch()) heads_ = ceilDivide(heads_, 2);  // bits do not depend on how heads are grouped
    const size_t one = bytes();
    wave_ = 2;
    const size_t more = bytes() - one, budget = std::min(limit, kWaveBytes);
    const auto affordable = static_cast<int64_t>((budget - std::min(one, budget)) / std::max<size_t>(1, more));
    wave_ = std::clamp<int64_t>(1 + affordable, 1, std::max<int64_t>(1, columns()));
  }

  size_t bytes() const {
    WorkspaceCursor cursor;
    Buffers(cursor, *this);
    return cursor.used();
  }

  void run(const Execution& execution, std::byte* workspace) const {
    WorkspaceCursor cursor(workspace);
    const Buffers buffers(cursor, *this);
    buffers.frequencies.fill(a_.attention.rotary.base);
    for (int64_t first = 0; first < columns(); first += wave_) {
      const int64_t count = std::min(wave_, columns() - first);
      forEachRowBlock(execution, count * queries_, heads_ * group_ * keyDim_, [&](int64_t begin, int64_t end, int slot) {
        for (int64_t at = begin; at < end; ++at) prepareQuery(buffers, first, at / queries_, at % queries_, slot);
      });
      execution.forEach(count * parts_, [&](int64_t task, int slot) {
        attendPart(buffers, first, task / parts_, task % parts_, slot, execution);
      });
      forEachRowBlock(execution, count * queries_, heads_ * group_ * valueDim_ * parts_,
                      [&](int64_t begin, int64_t end, int slot) {
                        for (int64_t at = begin; at < end; ++at)
                          mergeQuery(buffers, first, at / queries_, at % queries_, slot);
                      });
    }
  }

 private:
  // Some heads and queries of an item: they go through its tokens together.
  struct Column {
    int64_t item, firstHead, heads, firstQuery, queries;
    TokenRange tokens;  // that any of its queries sees
  };

  struct Buffers {
    Buffers(WorkspaceCursor& cursor, const StreamingAttention& s)
        : frequencies(cursor, {s.a_.attention.rotary.dims, s.a_.attention.rotary.interleaved}),
          rotations(cursor.take<float>(s.threads_ * s.a_.attention.rotary.dims)),
          keys(cursor.take<float>(s.threads_ * kTokenBlock * s.keyDim_)),
          values(cursor.take<float>(s.threads_ * kTokenBlock * s.valueDim_)),
          scores(cursor.take<float>(s.threads_ * s.rows_ * kTokenBlock)),
          factors(cursor.take<float>(s.threads_ * s.rows_)),
          queries(cursor.take<float>(s.wave_ * s.heads_ * s.rows_ * s.keyDim_)),
          rules(cursor.take<ScoreRule>(s.wave_ * s.queries_)),
          sums(cursor.take<float>(s.wave_ * s.parts_ * s.heads_ * s.rows_ * s.valueDim_)),
          states(cursor.take<RowState>(s.wave_ * s.parts_ * s.heads_ * s.rows_)) {}

    RotaryFrequencies frequencies;
    float *rotations, *keys, *values, *scores, *factors;  // of each thread
    float* queries;                                       // [column][head][row] of the wave, rotated, padded with zeros
    ScoreRule* rules;                                     // [column][query]
    float* sums;                                          // [column][part][head][row], and
    RowState* states;                                     // what they are relative to
  };

  int64_t headBlocks() const { return ceilDivide(a_.cache.heads, heads_); }
  int64_t columns() const { return a_.batch * headBlocks() * queryBlocks_; }

  Column column(int64_t index) const {
    Column c;
    c.firstQuery = index % queryBlocks_ * queries_;
    c.queries = std::min(queries_, a_.attention.q.sequence - c.firstQuery);
    c.firstHead = index / queryBlocks_ % headBlocks() * heads_;
    c.heads = std::min(heads_, a_.cache.heads - c.firstHead);
    c.item = index / queryBlocks_ / headBlocks();
    c.tokens = a_.seenByAny(c.item, c.firstQuery, c.queries);
    return c;
  }

  // Of a head's first row.
  int64_t queryRow(int64_t column, int64_t head) const { return (column * heads_ + head) * rows_; }
  int64_t sumRow(int64_t column, int64_t part, int64_t head) const {
    return ((column * parts_ + part) * heads_ + head) * rows_;
  }

  void prepareQuery(const Buffers& buffers, int64_t first, int64_t inWave, int64_t query, int slot) const {
    const Column c = column(first + inWave);
    if (query >= c.queries) return;
    const AttentionArguments& attention = a_.attention;
    const int64_t i = c.firstQuery + query, position = a_.position(c.item, i), dim = attention.q.dim;
    const TokenRange seen = a_.seen(c.item, i);
    float lengthScale = 1;
    if (attention.lengthScaleBase > 0)
      lengthScale = seen.empty() ? 0
                                 : static_cast<float>(::log(static_cast<double>(seen.size())) /
                                                      ::log(static_cast<double>(attention.lengthScaleBase)));
    buffers.rules[inWave * queries_ + query] = {attention.scale * lengthScale, attention.softcap, 0, position, seen};

    const RotaryLayout& layout = buffers.frequencies.layout();
    float* cosines = buffers.rotations + slot * layout.dims;
    const Rotation rotation{cosines, cosines + layout.pairs()};
    buffers.frequencies.tabulate(static_cast<double>(position), cosines, cosines + layout.pairs());
    for (int64_t head = 0; head < c.heads; ++head) {
      for (int64_t j = 0; j < group_; ++j) {
        float* row = buffers.queries + (queryRow(inWave, head) + query * group_ + j) * keyDim_;
        loadRow(attention.q.head(c.item, (c.firstHead + head) * group_ + j, i, 1).data, dim, attention.q.type, row);
        rotateRow(row, row, dim, layout, rotation);
        std::fill(row + dim, row + keyDim_, 0.0f);
      }
    }
  }

  // What a step goes through: a block of tokens of one head.
  struct Step {
    TokenRange tokens;
    int64_t head;  // of the column
    PageRow keys[kTokenBlock], values[kTokenBlock];
  };

  void findRows(const Column& c, TokenRange part, int64_t index, Step& step) const {
    const int64_t begin = part.begin + index / c.heads * kTokenBlock;
    step.tokens = {begin, std::min(begin + kTokenBlock, part.end)};
    step.head = index % c.heads;
    const auto find = [&](const PagedRows& rows, PageRow* to) {
      forEachPageRow(a_.cache, rows, c.item, step.tokens, c.firstHead + step.head,
                     [&](int64_t at, const PageRow& row) { to[at] = row; });
    };
    find(a_.cache.keys, step.keys);
    find(a_.cache.values, step.values);
  }

  void attendPart(const Buffers& buffers, int64_t first, int64_t inWave, int64_t part, int slot,
                  const Execution& execution) const {
    const Column c = column(first + inWave);
    const int64_t size = partTokens(c.tokens.size());
    const TokenRange tokens{c.tokens.begin + part * size, std::min(c.tokens.begin + (part + 1) * size, c.tokens.end)};
    const int64_t firstRow = sumRow(inWave, part, 0), rows = c.heads * rows_;
    std::fill_n(buffers.states + firstRow, rows, RowState{kMinusInfinity, 0});
    if (tokens.empty()) return;
    std::fill_n(buffers.sums + firstRow * valueDim_, rows * valueDim_, 0.0f);

    const int64_t steps = ceilDivide(tokens.size(), kTokenBlock) * c.heads;
    Step buffer[2];
    findRows(c, tokens, 0, buffer[0]);
    for (int64_t index = 0; index < steps; ++index) {
      Step &step = buffer[index % 2], &next = buffer[(index + 1) % 2];
      if (index % c.heads == 0) execution.throwIfCancelled();
      next.tokens = {};
      if (index + 1 < steps) findRows(c, tokens, index + 1, next);
      attendStep(buffers, c, inWave, part, step, next, slot);
    }
  }

  // The rows as floats: where they lie, if that is what they are, else in `staging`.
  static BlockRows floatRows(const PageRow* rows, int64_t count, int64_t dim, float* staging) {
    const int64_t width = padded(dim);
    BlockRows result;
    for (int64_t t = 0; t < count; ++t) {
      if (rows[t].type == PageType::kFloat32 && dim == width) {
        result.at[t] = reinterpret_cast<const float*>(rows[t].data);
        continue;
      }
      float* to = staging + t * width;
      readPageRow(rows[t], dim, to);
      std::fill(to + dim, to + width, 0.0f);
      result.at[t] = to;
    }
    for (int64_t t = count; t % kTokenTile != 0; ++t) result.at[t] = result.at[count - 1];
    return result;
  }

  // visit(tile height, first row) over all rows of a head, the height as a constant.
  template <class Visit>
  void forEachRowTile(int64_t rows, const Visit& visit) const {
    int64_t row = 0;
    for (; row + kRowTile <= rows; row += kRowTile) visit(std::integral_constant<int, kRowTile>(), row);
    switch (rows - row) {
      case 1:
        return visit(std::integral_constant<int, 1>(), row);
      case 2:
        return visit(std::integral_constant<int, std::min(2, kRowTile)>(), row);
      case 3:
        return visit(std::integral_constant<int, std::min(3, kRowTile)>(), row);
    }
  }

  void attendStep(const Buffers& buffers, const Column& c, int64_t inWave, int64_t part, const Step& step, const Step& next,
                  int slot) const {
    const int64_t count = step.tokens.size(), rows = c.queries * group_, ahead = next.tokens.size();
    float* scores = buffers.scores + slot * rows_ * kTokenBlock;
    const BlockRows keys = floatRows(step.keys, count, a_.cache.keys.dim, buffers.keys + slot * kTokenBlock * keyDim_);
    const float* queries = buffers.queries + queryRow(inWave, step.head) * keyDim_;
    forEachRowTile(rows, [&](auto height, int64_t row) {
      const RowsAhead keysAhead{next.keys, row == 0 ? ahead : 0, a_.cache.keys.dim};
      scoreRows<height()>(queries + row * keyDim_, keyDim_, keys, count, keysAhead, scores + row * kTokenBlock);
    });

    const int64_t firstRow = sumRow(inWave, part, step.head);
    float* factors = buffers.factors + slot * rows_;
    const ScoreRule* rules = buffers.rules + inWave * queries_;
    for (int64_t row = 0; row < rows; ++row) {
      ScoreRule rule = rules[row / group_];
      if (const auto& slopes = a_.attention.alibiSlopes.value)
        rule.alibiSlope = *slopes.at(c.item, (c.firstHead + step.head) * group_ + row % group_);
      factors[row] = foldScores(rule, step.tokens, buffers.states[firstRow + row], scores + row * kTokenBlock);
    }

    const BlockRows values =
        floatRows(step.values, count, a_.cache.values.dim, buffers.values + slot * kTokenBlock * valueDim_);
    // Rows that see different tokens of the block go one by one, so that what a row does not see cannot make it NaN.
    const auto seenBy = [&](int64_t row) {
      const TokenRange seen = rules[row / group_].seen;
      return TokenRange{std::max(seen.begin, step.tokens.begin) - step.tokens.begin,
                        std::min(seen.end, step.tokens.end) - step.tokens.begin};
    };
    forEachRowTile(rows, [&](auto height, int64_t row) {
      const auto add = [&](auto tileHeight, int64_t at) {
        const RowsAhead valuesAhead{next.values, row == 0 && at == row ? ahead : 0, a_.cache.values.dim};
        addValues<tileHeight()>(scores + at * kTokenBlock, factors + at, values, seenBy(at), valueDim_, valuesAhead,
                                buffers.sums + (firstRow + at) * valueDim_);
      };
      const TokenRange first = seenBy(row), last = seenBy(row + height() - 1);
      if (first.begin == last.begin && first.end == last.end) return add(height, row);
      for (int64_t at = row; at < row + height(); ++at) add(std::integral_constant<int, 1>(), at);
    });
  }

  void mergeQuery(const Buffers& buffers, int64_t first, int64_t inWave, int64_t query, int slot) const {
    const Column c = column(first + inWave);
    if (query >= c.queries) return;
    const AttentionArguments& attention = a_.attention;
    const int64_t i = c.firstQuery + query, dim = a_.cache.values.dim;
    float* row = buffers.values + slot * kTokenBlock * valueDim_;  // free by now
    for (int64_t head = 0; head < c.heads; ++head) {
      for (int64_t j = 0; j < group_; ++j) {
        const int64_t h = (c.firstHead + head) * group_ + j;
        const auto partAt = [&](int64_t part) {
          const int64_t at = sumRow(inWave, part, head) + query * group_ + j;
          return PartialRow{buffers.states[at].max, buffers.states[at].sum, buffers.sums + at * valueDim_};
        };
        const auto& sinks = attention.sinks.value;
        const float logSumExp = mergeParts(parts_, partAt, sinks ? *sinks.at(0, h) : kMinusInfinity, dim, row);
        storeRow(row, dim, attention.output.type, attention.output.row(c.item, h, i));
        if (attention.logSumExp) *attention.logSumExp.at(c.item, h, i) = logSumExp;
      }
    }
  }

  const KvCacheArguments& a_;
  int threads_;
  int64_t group_, queries_, rows_, keyDim_, valueDim_;
  int64_t queryBlocks_, parts_;
  int64_t heads_;     // of a column
  int64_t wave_ = 1;  // columns at a time
};

}  // namespace fk::cpu::FK_ISA
