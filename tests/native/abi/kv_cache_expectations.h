// What a call of the cache has to do, from what it got: the appended rows within the precision of their pages, all else in
// the pages untouched, and attention over what the pages hold then.
#pragma once

#include "abi/kv_cache_problem.h"

namespace fk::test {

inline Roundoff roundoffOf(Storage storage) {
  return storage == Storage::kBFloat16  ? kBFloat16Roundoff
         : storage == Storage::kFloat16 ? kFloat16Roundoff
                                        : kFloat32Roundoff;
}

class KvCacheExpectations {
 public:
  // `after`: the problem after its call; `before`: the same before it.
  KvCacheExpectations(KvCacheProblem& before, KvCacheProblem& after) : before_(before), after_(after), c_(after.c) {}

  // In row-major order.
  struct Attended {
    std::vector<Bounded> output, logSumExp;
  };

  // Attention over what the pages hold after the call.
  Attended attended() {
    Attended result;
    result.logSumExp.resize(static_cast<size_t>(after_.logSumExp.size()));
    for (int64_t item = 0; item < c_.batch(); ++item) {
      const std::vector<oracle::CachedHead<Bounded>> cached = cachedHeads(item);
      for (int64_t i = 0; i < c_.queries; ++i) {
        for (int64_t h = 0; h < c_.heads(); ++h) {
          const int64_t position = i + c_.tokens(item) - c_.queries;
          const auto row =
              oracle::attendToCache(rulesOf(item, h), cached[static_cast<size_t>(h / c_.group)],
                                    rotated(rowOf(after_.q, item, i, h, c_.dim), position), position, c_.valueDim);
          result.output.insert(result.output.end(), row.output.begin(), row.output.end());
          result.logSumExp[static_cast<size_t>((item * c_.heads() + h) * c_.queries + i)] = row.logSumExp;
        }
      }
    }
    return result;
  }

  void check() {
    checkAppended();
    for (size_t i = 0; i < after_.pools.size(); ++i)
      EXPECT_TRUE(after_.pools[i].keys.sameAs(before_.pools[i].keys) &&
                  after_.pools[i].values.sameAs(before_.pools[i].values))
          << "pages are written beyond what is appended";
    EXPECT_TRUE(after_.canariesIntact());
    checkAttention();
  }

 private:
  // A row as rotary embedding turns it: off by at most 2^-22 of a pair's absolute sum, and what does not rotate is exact.
  std::vector<Bounded> rotated(const std::vector<double>& row, int64_t position) const {
    const oracle::RotaryEmbedding rotation{c_.rotaryInterleaved, false, c_.rotaryDims, 10000};
    std::vector<double> turned = row;
    oracle::rotate(rotation, static_cast<double>(position), turned);
    std::vector<Bounded> result(turned.begin(), turned.end());
    for (int64_t i = 0; i < c_.rotaryDims; ++i) {
      const int64_t half = c_.rotaryDims / 2, partner = c_.rotaryInterleaved ? (i ^ 1) : (i < half ? i + half : i - half);
      const auto at = static_cast<size_t>(i);
      result[at] = Bounded::of(turned[at], 0x1p-22 * (std::abs(row[at]) + std::abs(row[static_cast<size_t>(partner)])));
    }
    return result;
  }

  static std::vector<double> rowOf(const FloatArray& array, int64_t b, int64_t s, int64_t h, int64_t dim) {
    std::vector<double> row;
    for (int64_t i = 0; i < dim; ++i) row.push_back(array.at(b, s, h, i));
    return row;
  }

  void checkAppended() {
    for (int64_t item = 0; item < c_.batch(); ++item) {
      for (int64_t index = 0; index < c_.appended; ++index) {
        const int64_t token = c_.lengths[static_cast<size_t>(item)] + index, slot = token % c_.pageTokens;
        const auto [pool, page] = after_.pageOf(item, token);
        KvCacheProblem::Pool& old = *before_.pageOf(item, token).first;
        for (int64_t head = 0; head < c_.keyHeads; ++head) {
          const std::vector<double> value = rowOf(after_.newV, item, index, head, c_.valueDim);
          checkRow(pool->keys, page, slot, head, rotated(rowOf(after_.newK, item, index, head, c_.dim), token));
          checkRow(pool->values, page, slot, head, {value.begin(), value.end()});
          old.keys.copyRow(pool->keys, page, slot, head);
          old.values.copyRow(pool->values, page, slot, head);
        }
      }
    }
  }

  static void checkRow(const PageRows& pages, int64_t page, int64_t slot, int64_t head,
                       const std::vector<Bounded>& expected) {
    std::vector<double> actual;
    for (const Bounded& element : pages.row(page, slot, head)) actual.push_back(element.value);
    if (pages.precision != Precision::kInt8) {
      EXPECT_TRUE(
          allWithin(actual, expected, pages.precision == Precision::kFloat32 ? kFloat32Roundoff : kBFloat16Roundoff));
      return;
    }
    double largest = 0, error = 0;
    for (const Bounded& element : expected) {
      largest = std::max(largest, std::abs(element.value));
      error = std::max(error, element.error());
    }
    const double scale = pages.scales(page, slot, head);
    EXPECT_NEAR(scale, largest / 127, (error + kUnitRoundoff * largest) / 127 + kSmallestNormal);
    // Half a step; the quotient x / scale rounds three times, which moves at most that part of 127 steps.
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(actual[i], expected[i].value, scale / 2 + 127 * 3 * kUnitRoundoff * scale + expected[i].error());
  }

  void checkAttention() {
    const Attended expected = attended();
    EXPECT_TRUE(allWithin(after_.output.values(), expected.output, roundoffOf(c_.outputStorage))) << "output";
    if (c_.logSumExp) {
      EXPECT_TRUE(allWithin(after_.logSumExp.values(), expected.logSumExp)) << "log_sum_exp";
    }
  }

  std::vector<oracle::CachedHead<Bounded>> cachedHeads(int64_t item) {
    std::vector<oracle::CachedHead<Bounded>> heads(static_cast<size_t>(c_.keyHeads));
    for (int64_t token = 0; token < c_.tokens(item); ++token) {
      const auto [pool, page] = after_.pageOf(item, token);
      for (int64_t head = 0; head < c_.keyHeads; ++head) {
        heads[static_cast<size_t>(head)].keys.push_back(pool->keys.row(page, token % c_.pageTokens, head));
        heads[static_cast<size_t>(head)].values.push_back(pool->values.row(page, token % c_.pageTokens, head));
      }
    }
    return heads;
  }

  oracle::CacheRules<Bounded> rulesOf(int64_t item, int64_t head) const {
    oracle::CacheRules<Bounded> rules;
    const double exact = std::isnan(c_.scale) ? 1 / std::sqrt(static_cast<double>(c_.dim)) : c_.scale;
    rules.scale = Bounded::of(exact, 2 * kUnitRoundoff * std::abs(exact));  // a square root and a quotient in float
    rules.softcap = c_.softcap, rules.lengthScaleBase = c_.lengthScaleBase, rules.causal = c_.causal;
    rules.windowLeft = c_.windowLeft, rules.windowRight = c_.windowRight;
    if (c_.alibi > 0) rules.slope = after_.alibi(c_.alibi == 2 ? item : 0, head);
    if (c_.sinks) rules.sink = after_.sinks(head);
    return rules;
  }

  KvCacheProblem &before_, &after_;
  const KvCacheCase& c_;
};

// Runs a case on 1, 2 and 3 threads and checks everything.
inline void expectMatches(Isa isa, const KvCacheCase& c, uint64_t seed) {
  std::ostringstream description;
  description << isaName(isa) << ", seed " << seed << ": " << c;
  SCOPED_TRACE(description.str());
  const KvCacheProblem problem(c, seed);
  KvCacheProblem after = onAnyThreads(isa, [&](fk_context* context) {
    KvCacheProblem copy = problem;
    EXPECT_EQ(copy.run(context), FK_OK) << fk_last_error();
    return copy;
  });
  KvCacheProblem before = problem;
  KvCacheExpectations(before, after).check();
}

}  // namespace fk::test
