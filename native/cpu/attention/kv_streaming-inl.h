// The schedule of decoding: the tokens of an item are cut into parts, and the parts are merged in order (Dao et al.,
// "Flash-Decoding", 2023). Keys and values are read once, and hardware fetches them ahead, if few streams of addresses run
// on without leaps: so all heads of a token before the next one, where tokens are the outer axis in memory, and the four
// tokens of a tile from four places far apart, each going on to its next token. Measured on a Zen 4 core, that order reads
// memory as fast as a plain sum (29 GB/s); a head's tokens one after another, 512 of every 4096 bytes, at 12 GB/s, or 16
// with prefetch instructions.
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

inline int64_t partTokens(int64_t tokens) { return std::max(kPartTokens, ceilDivide(tokens, kMostParts)); }
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
    heads_ = tokensAreOutermost(a.cache) ? std::max<int64_t>(1, a.cache.heads) : 1;
    const auto isTooMuch = [&] {
      return heads_ * rows_ * (keyDim_ + 2 * valueDim_) > kStateFloats || columns() * parts_ < 4 * threads ||
             bytes() > limit;
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
    std::fill_n(buffers.zeros, std::max(keyDim_, valueDim_), 0.0f);
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
          staging(cursor.take<float>(s.threads_ * kTokenTile * std::max(s.keyDim_, s.valueDim_))),
          scores(cursor.take<float>(s.threads_ * s.heads_ * s.rows_ * kTokenBlock)),
          factors(cursor.take<float>(s.threads_ * s.heads_ * s.rows_)),
          blockSums(cursor.take<float>(s.threads_ * s.heads_ * s.rows_ * s.valueDim_)),
          zeros(cursor.take<float>(std::max(s.keyDim_, s.valueDim_))),
          queries(cursor.take<float>(s.wave_ * s.heads_ * s.rows_ * s.keyDim_)),
          rules(cursor.take<ScoreRule>(s.wave_ * s.queries_)),
          sums(cursor.take<float>(s.wave_ * s.parts_ * s.heads_ * s.rows_ * s.valueDim_)),
          states(cursor.take<RowState>(s.wave_ * s.parts_ * s.heads_ * s.rows_)) {}

    RotaryFrequencies frequencies;
    float *rotations, *staging, *scores, *factors, *blockSums;  // of each thread
    float* zeros;
    float* queries;    // [column][head][row] of the wave, rotated, padded with zeros
    ScoreRule* rules;  // [column][query]
    float* sums;       // [column][part][head][row], and
    RowState* states;  // what they are relative to
  };

  // In memory: heads follow each other within a token. If not, the tokens of a head follow each other.
  static bool tokensAreOutermost(const KvCache& cache) {
    const auto areOutermost = [](const PagePool& pool) { return std::abs(pool.tokenStride) >= std::abs(pool.headStride); };
    return std::all_of(std::begin(cache.keys.pools), std::end(cache.keys.pools), areOutermost);
  }

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

  // A part's tokens, in kTokenTile streams. A block takes some tokens of each stream, tile t the t-th of each.
  struct Part {
    TokenRange tokens, seenByAll;
    int64_t streamTokens;
    float offsets[kTokenBlock];  // from a block's first token to that of each lane
  };

  // One block: where its rows lie, lane by lane.
  struct Block {
    BlockTokens tokens;
    TokenRows keys[kTokenBlock], values[kTokenBlock];
    bool exists[kTokenBlock];
  };

  static constexpr int64_t kBlockTiles = kTokenBlock / kTokenTile;

  Part partOf(const Column& c, int64_t index) const {
    Part part;
    const int64_t size = partTokens(c.tokens.size());
    part.tokens = {c.tokens.begin + index * size, std::min(c.tokens.begin + (index + 1) * size, c.tokens.end)};
    part.seenByAll = {a_.seen(c.item, c.firstQuery + c.queries - 1).begin, a_.seen(c.item, c.firstQuery).end};
    part.streamTokens = ceilDivide(std::max<int64_t>(0, part.tokens.size()), kTokenTile);
    for (int64_t lane = 0; lane < kTokenBlock; ++lane)
      part.offsets[lane] = static_cast<float>(lane % kTokenTile * part.streamTokens + lane / kTokenTile);
    return part;
  }

  void attendPart(const Buffers& buffers, int64_t first, int64_t inWave, int64_t index, int slot,
                  const Execution& execution) const {
    const Column c = column(first + inWave);
    const Part part = partOf(c, index);
    const int64_t firstRow = sumRow(inWave, index, 0), rows = c.heads * rows_;
    std::fill_n(buffers.states + firstRow, rows, RowState{kMinusInfinity, 0});
    if (part.tokens.empty()) return;
    std::fill_n(buffers.sums + firstRow * valueDim_, rows * valueDim_, 0.0f);
    Block block;
    for (int64_t tile = 0; tile < part.streamTokens; tile += kBlockTiles) {
      execution.throwIfCancelled();
      findRows(c, part, tile, block);
      scoreBlock(buffers, c, inWave, block, slot);
      foldBlock(buffers, c, inWave, firstRow, block, slot);
      addBlockValues(buffers, c, part, inWave, firstRow, block, slot);
    }
  }

  void findRows(const Column& c, const Part& part, int64_t firstTile, Block& block) const {
    const int64_t tiles = std::min(kBlockTiles, part.streamTokens - firstTile);
    block.tokens = {part.offsets, part.tokens.begin + firstTile, part.tokens.end, tiles * kTokenTile};
    for (int64_t stream = 0; stream < kTokenTile; ++stream) {
      for (int64_t tile = 0; tile < tiles; ++tile) {
        const int64_t lane = tile * kTokenTile + stream;
        const int64_t token = block.tokens.begin + stream * part.streamTokens + tile;
        block.exists[lane] = token < part.tokens.end;
        if (!block.exists[lane]) continue;
        block.keys[lane] = rowsOfToken(a_.cache, a_.cache.keys, c.item, token);
        block.values[lane] = rowsOfToken(a_.cache, a_.cache.values, c.item, token);
      }
    }
  }

  // The rows of a tile as floats: where they lie, if that is what they are, else in `staging`. Zeros for lanes that
  // hasRow(lane) denies.
  template <class HasRow>
  TileRows tileRows(const Buffers& buffers, const TokenRows* rows, int64_t head, int64_t dim, float* staging,
                    const HasRow& hasRow) const {
    const int64_t width = padded(dim);
    TileRows result{};
    for (int lane = 0; lane < kTokenTile; ++lane) {
      if (!hasRow(lane)) {
        result.at[lane] = buffers.zeros;
        continue;
      }
      const PageRow row = rows[lane].head(head);
      if (row.type == PageType::kFloat32 && dim == width) {
        result.at[lane] = reinterpret_cast<const float*>(row.data);
        result.ahead[lane] = rows[lane].tokenBytes;
        continue;
      }
      float* to = staging + lane * width;
      readPageRow(row, dim, to);
      std::fill(to + dim, to + width, 0.0f);
      result.at[lane] = to;
    }
    return result;
  }

  // visit(tile height, first row) over all rows of a head, the height as a constant.
  template <class Visit>
  static HWY_INLINE void forEachRowTile(int64_t rows, const Visit& visit) {
    int64_t row = 0;
    for (; row + kRowTile <= rows; row += kRowTile) visit(std::integral_constant<int, kRowTile>(), row);
    for (; row < rows; ++row) visit(std::integral_constant<int, 1>(), row);
  }

  float* scoresOf(const Buffers& buffers, int64_t head, int slot) const {
    return buffers.scores + (slot * heads_ + head) * rows_ * kTokenBlock;
  }

  HWY_NOINLINE void scoreBlock(const Buffers& buffers, const Column& c, int64_t inWave, const Block& block, int slot) const {
    const int64_t rows = c.queries * group_, dim = keyDim_;
    float* staging = buffers.staging + slot * kTokenTile * std::max(keyDim_, valueDim_);
    for (int64_t lane = 0; lane < block.tokens.count; lane += kTokenTile) {
      for (int64_t head = 0; head < c.heads; ++head) {
        const TileRows keys = tileRows(buffers, block.keys + lane, c.firstHead + head, a_.cache.keys.dim, staging,
                                       [&](int at) { return block.exists[lane + at]; });
        const float* queries = buffers.queries + queryRow(inWave, head) * dim;
        float* scores = scoresOf(buffers, head, slot) + lane;
        forEachRowTile(rows, [&](auto height, int64_t row) {
          scoreTile<height()>(queries + row * dim, dim, keys, scores + row * kTokenBlock);
        });
      }
    }
  }

  void foldBlock(const Buffers& buffers, const Column& c, int64_t inWave, int64_t firstRow, const Block& block,
                 int slot) const {
    for (int64_t head = 0; head < c.heads; ++head) {
      float* scores = scoresOf(buffers, head, slot);
      for (int64_t row = 0; row < c.queries * group_; ++row) {
        ScoreRule rule = buffers.rules[inWave * queries_ + row / group_];
        if (const auto& slopes = a_.attention.alibiSlopes.value)
          rule.alibiSlope = *slopes.at(c.item, (c.firstHead + head) * group_ + row % group_);
        const int64_t at = head * rows_ + row;
        buffers.factors[slot * heads_ * rows_ + at] =
            foldScores(rule, block.tokens, buffers.states[firstRow + at], scores + row * kTokenBlock);
      }
    }
  }

  // A block's values are summed from zero, so that no chain of additions is as long as a cache, and then added.
  HWY_NOINLINE void addBlockValues(const Buffers& buffers, const Column& c, const Part& part, int64_t inWave,
                                   int64_t firstRow, const Block& block, int slot) const {
    const int64_t rows = c.queries * group_, dim = valueDim_;
    float* staging = buffers.staging + slot * kTokenTile * std::max(keyDim_, valueDim_);
    float* blockSums = buffers.blockSums + slot * heads_ * rows_ * dim;
    for (int64_t lane = 0; lane < block.tokens.count; lane += kTokenTile) {
      const bool allSee = isSeenByAll(part, block, lane);
      for (int64_t head = 0; head < c.heads; ++head) {
        const float* weights = scoresOf(buffers, head, slot) + lane;
        float* sums = blockSums + head * rows_ * dim;
        const TileRows values = tileRows(buffers, block.values + lane, c.firstHead + head, a_.cache.values.dim, staging,
                                         [&](int at) { return block.exists[lane + at]; });
        if (allSee) {
          forEachRowTile(rows, [&](auto height, int64_t row) {
            valueTile<height()>(weights + row * kTokenBlock, values, dim, lane > 0, sums + row * dim);
          });
          continue;
        }
        // Rows see different tokens: one by one, so that what a row does not see cannot make it NaN.
        for (int64_t row = 0; row < rows; ++row) {
          const TokenRange& seen = buffers.rules[inWave * queries_ + row / group_].seen;
          TileRows seenValues = values;
          for (int at = 0; at < kTokenTile; ++at) {
            const int64_t token = tokenOf(part, block, lane + at);
            if (token < seen.begin || token >= seen.end) seenValues.at[at] = buffers.zeros;
          }
          valueTile<1>(weights + row * kTokenBlock, seenValues, dim, lane > 0, sums + row * dim);
        }
      }
    }
    for (int64_t row = 0; row < c.heads * rows_; ++row)
      if (row % rows_ < rows)
        addBlock(buffers.factors[slot * heads_ * rows_ + row], blockSums + row * dim, dim,
                 buffers.sums + (firstRow + row) * dim);
  }

  static int64_t tokenOf(const Part& part, const Block& block, int64_t lane) {
    return block.tokens.begin + lane % kTokenTile * part.streamTokens + lane / kTokenTile;
  }
  static bool isSeenByAll(const Part& part, const Block& block, int64_t lane) {
    for (int64_t at = lane; at < lane + kTokenTile; ++at) {
      const int64_t token = tokenOf(part, block, at);
      if (block.exists[at] && (token < part.seenByAll.begin || token >= part.seenByAll.end)) return false;
    }
    return true;
  }

  void mergeQuery(const Buffers& buffers, int64_t first, int64_t inWave, int64_t query, int slot) const {
    const Column c = column(first + inWave);
    if (query >= c.queries) return;
    const AttentionArguments& attention = a_.attention;
    const int64_t i = c.firstQuery + query, dim = a_.cache.values.dim;
    float* row = buffers.staging + slot * kTokenTile * std::max(keyDim_, valueDim_);  // free by now
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
