// What the random cases of the cache do not reach: very long caches, NaN, shared pages, memory's ends, small workspaces.
#include "abi/expect_error.h"
#include "abi/kv_cache_expectations.h"
#include "cpu/attention/kv_cache.h"

namespace fk::test {
namespace {

class KvCacheEdges : public testing::TestWithParam<Isa> {
 protected:
  fk_context* context(int threads = 2) const { return contextFor(GetParam(), threads); }

  KvCacheProblem ran(KvCacheProblem problem) const {
    EXPECT_EQ(problem.run(context()), FK_OK) << fk_last_error();
    return problem;
  }
};

// A million keys of 1 to 4 dims, by a plain loop over the array.
TEST_P(KvCacheEdges, MillionKeys) {
  for (int64_t dim = 1; dim <= 4; ++dim) {
    KvCacheCase c;
    c.dim = dim, c.valueDim = 1, c.lengths = {(1 << 20) + 5}, c.hasTable = false, c.range = 3;
    const KvCacheProblem after = ran(KvCacheProblem(c, static_cast<uint64_t>(dim)));
    const PageRows &keys = after.pools[0].keys, &values = after.pools[0].values;
    std::vector<Bounded> scores;
    for (int64_t j = 0; j < c.lengths[0]; ++j) {
      Bounded sum = 0;
      for (int64_t i = 0; i < dim; ++i) sum += Bounded(after.q.at(0, 0, 0, i)) * Bounded(keys.numbers.at(0, j, 0, i));
      scores.push_back(sum * Bounded::of(1 / std::sqrt(static_cast<double>(dim)), 2 * kUnitRoundoff));
    }
    const Bounded shift = exactly(largestOf(scores));
    Bounded total = 0, weighted = 0;
    for (int64_t j = 0; j < c.lengths[0]; ++j) {
      const Bounded weight = exp(scores[static_cast<size_t>(j)] - shift);
      total += weight;
      weighted += weight * Bounded(values.numbers.at(0, j, 0, 0));
    }
    EXPECT_TRUE(isWithin(after.output.at(0, 0, 0, 0), weighted / total)) << dim;
    EXPECT_TRUE(isWithin(after.logSumExp(0, 0, 0), shift + log(total))) << dim;
  }
}

TEST_P(KvCacheEdges, LongCachesOfEveryPrecision) {
  for (const Precision precision : {Precision::kFloat32, Precision::kBFloat16, Precision::kInt8}) {
    KvCacheCase c;
    c.dim = 20, c.valueDim = 12, c.lengths = {40000, 3000, 0}, c.pageTokens = 256, c.group = 2, c.appended = 1;
    c.precisions = {precision};
    expectMatches(GetParam(), c, 1);
    c.windowLeft = 33000;
    expectMatches(GetParam(), c, 2);
  }
}

TEST_P(KvCacheEdges, EmptyCalls) {
  for (const bool hasTable : {false, true}) {
    KvCacheCase c;
    c.hasTable = hasTable;
    c.lengths = {0, 0};
    expectMatches(GetParam(), c, 3);  // no tokens: zeros and -inf
    c.sinks = true;
    expectMatches(GetParam(), c, 3);  // zeros and the sink
    c.queries = 0, c.appended = 3;
    expectMatches(GetParam(), c, 3);
    c.queries = 2, c.keyHeads = 0;
    expectMatches(GetParam(), c, 3);
  }
}

// More queries than tokens: the first see nothing.
TEST_P(KvCacheEdges, QueriesBeforeTheFirstToken) {
  for (const int64_t queries : {7, 110}) {
    KvCacheCase c;
    c.queries = queries, c.lengths = {3, 0, 49}, c.causal = true, c.rotaryDims = 6, c.lengthScaleBase = 2.5f;
    expectMatches(GetParam(), c, 4);
    c.sinks = true, c.alibi = 2;
    expectMatches(GetParam(), c, 4);
  }
}

// A token that a query does not see may hold anything; one that it sees makes it NaN, and no other query.
TEST_P(KvCacheEdges, NanStaysWithTheQueriesThatSeeIt) {
  KvCacheCase c;
  c.queries = c.appended = 6, c.lengths = {70}, c.causal = true, c.group = 3;
  const auto nanQueries = [&](bool inKey, int64_t token) {
    KvCacheProblem problem(c, 5);
    (inKey ? problem.newK : problem.newV).set(kNan, 0, token, 0, 2);
    problem = ran(problem);
    int64_t count = 0;
    for (int64_t i = 0; i < c.queries; ++i)
      for (int64_t h = 0; h < c.group; ++h) {
        const bool isNan = std::isnan(problem.output.at(0, i, h, 2));
        EXPECT_EQ(isNan, i >= token) << "query " << i << ", NaN in token " << token;
        count += isNan;
      }
    return count;
  };
  for (int64_t token = 0; token < c.appended; ++token)
    for (const bool inKey : {false, true}) EXPECT_EQ(nanQueries(inKey, token), (c.queries - token) * c.group);
}

// Sequences with a common beginning may share its pages.
TEST_P(KvCacheEdges, ItemsShareFullPages) {
  KvCacheCase c;
  c.lengths = {40, 40}, c.pageTokens = 16, c.appended = 2, c.precisions = {Precision::kFloat32, Precision::kInt8};
  KvCacheProblem problem(c, 6);
  problem.table(1, 0) = problem.table(0, 0), problem.table(1, 1) = problem.table(0, 1);
  KvCacheProblem before = problem, after = ran(problem);
  KvCacheExpectations(before, after).check();
}

TEST_P(KvCacheEdges, ItemsDoNotAppendToOnePage) {
  KvCacheCase c;
  c.lengths = {40, 35}, c.appended = 2;
  KvCacheProblem problem(c, 7);
  problem.table(1, 2) = problem.table(0, 2);
  const KvCacheProblem before = problem;
  EXPECT_STATUS(problem.run(context()), FK_ERROR_INVALID_ARGUMENT,
                "page_table: item 1's page 2 is " + std::to_string(problem.table(0, 2)) + ", which this call appends to");
  EXPECT_TRUE(problem.sameBitsAs(before));
}

// Values and unrotated keys in f32 arrive as they are, bit for bit; bf16 from bf16 too.
TEST_P(KvCacheEdges, AppendsExactlyWhatFits) {
  for (const bool bf16 : {false, true}) {
    KvCacheCase c;
    c.lengths = {5, 0}, c.appended = 19, c.keyHeads = 2;
    c.precisions = {bf16 ? Precision::kBFloat16 : Precision::kFloat32};
    c.newStorage = bf16 ? Storage::kBFloat16 : Storage::kFloat32;
    KvCacheProblem after = ran(KvCacheProblem(c, 8));
    for (int64_t item = 0; item < 2; ++item)
      for (int64_t n = 0; n < c.appended; ++n)
        for (int64_t head = 0; head < 2; ++head)
          for (int64_t i = 0; i < c.dim; ++i) {
            const int64_t token = c.lengths[static_cast<size_t>(item)] + n;
            const auto [pool, page] = after.pageOf(item, token);
            EXPECT_EQ(pool->keys.numbers.at(page, token % c.pageTokens, head, i), after.newK.at(item, n, head, i));
            EXPECT_EQ(pool->values.numbers.at(page, token % c.pageTokens, head, i), after.newV.at(item, n, head, i));
          }
  }
}

// Zeros have the scale 0, tiny rows the smallest normal number, and a row with a NaN or an infinity is all NaN.
TEST_P(KvCacheEdges, Int8RowsOfEveryMagnitude) {
  KvCacheCase c;
  c.precisions = {Precision::kInt8}, c.lengths = {0}, c.appended = 9, c.queries = 0, c.dim = c.valueDim = 21;
  const float magnitudes[] = {0, 1e-45f, 1e-40f, 1e-37f, 1, 1e30f, 3.4e38f, kInfinity, kNan};
  KvCacheProblem problem(c, 9);
  for (int64_t n = 0; n < c.appended; ++n) {
    for (int64_t i = 0; i < c.dim; ++i)
      problem.newK.set(problem.newK.at(0, n, 0, i) * (std::isfinite(magnitudes[n]) ? magnitudes[n] : 1), 0, n, 0, i);
    problem.newK.set(magnitudes[n], 0, n, 0, 17);
  }
  problem = ran(problem);
  for (int64_t n = 0; n < c.appended; ++n) {
    const auto [pool, page] = problem.pageOf(0, n);
    const double scale = pool->keys.scales(page, n % c.pageTokens, 0);
    if (!std::isfinite(magnitudes[n])) {
      EXPECT_TRUE(std::isnan(scale));
      continue;
    }
    EXPECT_NEAR(scale, magnitudes[n] == 0 ? 0 : std::max<double>(magnitudes[n] / 127.0, kSmallestNormal), scale * 0x1p-23);
    for (int64_t i = 0; i < c.dim; ++i)
      EXPECT_NEAR(pool->keys.numbers.at(page, n % c.pageTokens, 0, i) * scale, problem.newK.at(0, n, 0, i),
                  scale * (0.5 + 127 * 3 * kUnitRoundoff))
          << magnitudes[n] << ", " << i;
  }
}

// Decoding gives what attention gives for the same keys and values, both within the bounds of one oracle.
TEST_P(KvCacheEdges, AgreesWithAttention) {
  KvCacheCase c;
  c.lengths = {300}, c.hasTable = false, c.queries = 3, c.keyHeads = 2, c.group = 2, c.dim = 32, c.valueDim = 24;
  c.causal = true, c.softcap = 3, c.windowLeft = 250;
  KvCacheProblem before(c, 10), problem = ran(before);
  const auto expected = KvCacheExpectations(before, problem).attended();
  EXPECT_TRUE(allWithin(problem.output.values(), expected.output));

  const int64_t first = problem.c.tokens(0) - c.queries - c.windowLeft;  // the tokens before are NaN
  const auto rows = [&](const PageRows& pages) {
    StridedArray<float> result({1, c.lengths[0] - first, c.keyHeads, pages.dim});
    for (int64_t t = first; t < c.lengths[0]; ++t)
      for (int64_t h = 0; h < c.keyHeads; ++h)
        for (int64_t i = 0; i < pages.dim; ++i)
          result(0, t - first, h, i) = static_cast<float>(pages.numbers.at(0, t, h, i));
    return result;
  };
  StridedArray<float> k = rows(problem.pools[0].keys), v = rows(problem.pools[0].values);
  FloatArray output = floatArray(Storage::kFloat32, {1, c.queries, c.heads(), c.valueDim});
  CallTensors<fk_attention_tensors, fk_attention_tensors_init> tensors;
  tensors.value.q = tensors.keep(problem.q), tensors.value.k = tensors.keep(k), tensors.value.v = tensors.keep(v);
  tensors.value.output = tensors.keep(output);
  const fk_attention_options options = problem.attentionOptions();
  ASSERT_EQ(fk_attention_forward(context(), &options, &tensors.value), FK_OK) << fk_last_error();
  EXPECT_TRUE(allWithin(output.values(), expected.output));
}

uint64_t workspaceOf(KvCacheProblem& problem, fk_context* context) {
  KvCacheProblem::KvTensors tensors;
  KvCacheProblem::PoolTensors pools;
  problem.fillTensors(tensors, pools);
  const fk_attention_options options = problem.attentionOptions();
  uint64_t bytes = 0;
  EXPECT_EQ(fk_kv_cache_attention_workspace_size(context, &options, &pools.value, &tensors.value, &bytes), FK_OK)
      << fk_last_error();
  return bytes;
}

// Less workspace: fewer items and heads at a time, and streaming where prefill would need the tokens as floats.
TEST_P(KvCacheEdges, SmallWorkspaces) {
  for (const int64_t queries : {1, 100}) {
    KvCacheCase c;
    c.queries = queries, c.lengths = {900, 130, 2000}, c.keyHeads = 3, c.group = 2, c.rotaryDims = 8, c.causal = true;
    c.dim = 32, c.valueDim = 40;
    if (queries > 1) c.lengths = {200, 0, 130};
    const KvCacheProblem problem(c, 11);
    KvCacheProblem roomy = ran(problem), refused = problem;
    const uint64_t comfortable = workspaceOf(roomy, context());
    fk_context none(GetParam(), 2, std::make_shared<ThreadPool>(2), 1);
    const uint64_t least = workspaceOf(refused, &none);
    EXPECT_STATUS(refused.run(&none), FK_ERROR_WORKSPACE_LIMIT, "workspace_limit is 1");
    ASSERT_LT(least, comfortable);
    for (const uint64_t limit : {least, (least + comfortable) / 2, comfortable - 1}) {
      fk_context tight(GetParam(), 2, std::make_shared<ThreadPool>(2), limit);
      KvCacheProblem copy = problem, before = problem;
      ASSERT_EQ(copy.run(&tight), FK_OK) << fk_last_error();
      EXPECT_EQ(tight.workspace.bytes(), workspaceOf(copy, &tight));
      EXPECT_LE(tight.workspace.bytes(), limit);
      KvCacheExpectations(before, copy).check();
      if (queries == 1) {
        EXPECT_TRUE(copy.sameBitsAs(roomy));
      }
    }
  }
}

// Arrays of exactly their size against forbidden pages, inputs unwritable: a stray access ends the test.
TEST_P(KvCacheEdges, NothingOutsideTheArraysIsTouched) {
  for (const Guard guard : {Guard::kAtStart, Guard::kAtEnd})
    for (const int64_t queries : {1, 3, 97})
      for (const auto [dim, valueDim] : {std::array<int64_t, 2>{16, 32}, {17, 5}, {1, 1}}) {
        const int64_t heads = 2, pageTokens = 5, pages = 3, length = 12;
        const auto one = [] { return 0.5; };
        GuardedArray<float> q(queries * heads * dim, guard, one), newK(heads * dim, guard, one);
        GuardedArray<float> newV(heads * valueDim, guard, one), output(queries * heads * valueDim, guard);
        GuardedArray<int32_t> table(pages, guard, [next = 3]() mutable { return --next; });
        GuardedArray<int32_t> lengths(1, guard, [&] { return length; });
        GuardedArray<int8_t> k(pages * pageTokens * heads * dim, guard), v(pages * pageTokens * heads * valueDim, guard);
        GuardedArray<float> kScales(pages * pageTokens * heads, guard), vScales(pages * pageTokens * heads, guard);
        GuardedArray<float> kFloat(k.size(), guard), vFloat(v.size(), guard);
        for (const bool isInt8 : {false, true}) {
          std::deque<std::vector<int64_t>> shapes;
          const auto tensor = [&](void* data, DLDataType type, std::vector<int64_t> shape) -> DLTensor {
            shapes.push_back(std::move(shape));
            return {data, {kDLCPU, 0}, static_cast<int32_t>(shapes.back().size()), type, shapes.back().data(), nullptr, 0};
          };
          const DLDataType f32 = {kDLFloat, 32, 1}, int8 = {kDLInt, 8, 1}, int32 = {kDLInt, 32, 1};
          DLTensor tk = tensor(isInt8 ? static_cast<void*>(k.data()) : kFloat.data(), isInt8 ? int8 : f32,
                               {pages, pageTokens, heads, dim});
          DLTensor tv = tensor(isInt8 ? static_cast<void*>(v.data()) : vFloat.data(), isInt8 ? int8 : f32,
                               {pages, pageTokens, heads, valueDim});
          DLTensor tks = tensor(kScales.data(), f32, {pages, pageTokens, heads});
          DLTensor tvs = tensor(vScales.data(), f32, {pages, pageTokens, heads});
          DLTensor tt = tensor(table.data(), int32, {1, pages}), tl = tensor(lengths.data(), int32, {1});
          DLTensor tq = tensor(q.data(), f32, {1, queries, heads, dim}), tn = tensor(newK.data(), f32, {1, 1, heads, dim});
          DLTensor tw = tensor(newV.data(), f32, {1, 1, heads, valueDim});
          DLTensor to = tensor(output.data(), f32, {1, queries, heads, valueDim});
          fk_kv_cache cache;
          fk_kv_cache_init(&cache);
          (isInt8 ? cache.k_int8 : cache.k_f32) = &tk, (isInt8 ? cache.v_int8 : cache.v_f32) = &tv;
          if (isInt8) cache.k_int8_scales = &tks, cache.v_int8_scales = &tvs;
          cache.page_table = &tt, cache.lengths = &tl;
          fk_kv_cache_tensors tensors;
          fk_kv_cache_tensors_init(&tensors);
          tensors.q = &tq, tensors.new_k = &tn, tensors.new_v = &tw, tensors.output = &to;
          ASSERT_EQ(fk_kv_cache_attention(context(), nullptr, &cache, &tensors), FK_OK) << fk_last_error();
        }
      }
}

TEST_P(KvCacheEdges, Cancels) {
  StridedArray<float> pages({1, 64, 1, 8}), q({1, 1, 1, 8}), output({1, 1, 1, 8});
  StridedArray<int32_t> lengths({1});
  pages.fill([] { return 1; });
  q.fill([] { return 1; });
  lengths(0) = 64;
  cpu::KvCacheArguments a;
  a.cache.keys.pools[0] = {reinterpret_cast<std::byte*>(pages.data()), 1, 512, 8, 8};
  a.cache.values = a.cache.keys;
  a.cache.keys.dim = a.cache.values.dim = 8, a.cache.pageTokens = 64, a.cache.heads = 1, a.batch = 1;
  a.cache.lengths = lengths;
  a.attention.q = {q.data(), DataType::kFloat32, 1, 1, 1, 8, 8, 8, 8};
  a.attention.output = {output.data(), DataType::kFloat32, 1, 1, 1, 8, 8, 8, 8};
  const auto run = [&](const Execution& execution) {
    const cpu::KvCacheKernels& kernels = cpu::kvCacheKernelsFor(GetParam());
    runKernel(kernels.attentionBytes, kernels.attention, a, execution);
  };
  run(executionWith(1));
  EXPECT_EQ(output(0, 0, 0, 0), 1);
  const std::atomic<bool> cancelled{true};
  EXPECT_ERROR(run(Execution(nullptr, 1, &cancelled)), FK_ERROR_CANCELLED, "cancelled");
}

INSTANTIATE_TEST_SUITE_P(, KvCacheEdges, testing::ValuesIn(supportedIsas()), isaTestName);

}  // namespace
}  // namespace fk::test
