// Attention where sizes and visibility are at their edges: every tile's, nothing at all, and what must not be read.
#include "abi/attention_members.h"

namespace fk::test {
namespace {

using Case = AttentionCase;
using Problem = AttentionProblem;

void expectCorrect(const Case& c, uint64_t seed) { Problem(c, Random(seed)).expectCorrect(); }

Case causal(Case c) {
  c.options.causal = 1;
  return c;
}

Case withHeads(Case c, int64_t batch, int64_t heads, int64_t keyHeads) {
  c.batch = batch, c.heads = heads, c.keyHeads = keyHeads;
  return c;
}

// ---- Shapes ----------------------------------------------------------------------------------------------------------

TEST(AttentionEdges, EverySmallShape) {
  for (int64_t queries : {0, 1, 2, 3, 17})
    for (int64_t keys : {0, 1, 2, 3, 17})
      for (int64_t dim : {1, 3})
        for (int64_t valueDim : {1, 2}) {
          expectCorrect(Case(queries, keys, dim, valueDim), 1);
          expectCorrect(causal(Case(queries, keys, dim, valueDim)), 1);
          if (queries + keys > 0) expectCorrect(attentionWithEverything(causal(Case(queries, keys, dim, valueDim))), 1);
        }
}

TEST(AttentionEdges, EmptyAxes) {
  for (const Case& c : {withHeads({5, 6, 4, 4}, 0, 2, 2), withHeads({5, 6, 4, 4}, 2, 0, 0), withHeads({5, 6, 0, 4}, 2, 2, 2),
                        withHeads({5, 6, 4, 0}, 2, 2, 2)}) {
    expectCorrect(c, 2);
    expectCorrect(causal(c), 2);
    expectCorrect(attentionWithEverything(c), 2);
  }
}

// Panels have 2, 8, 16 or 32 queries and 4, 6 or 14 keys; column tiles 252 keys, depth blocks 512 and row blocks 512 or 1024
// elements.
TEST(AttentionEdges, SequencesAroundTheTileEdges) {
  for (int64_t queries : {7, 8, 9, 15, 16, 31, 32, 33, 63, 64, 65, 129, 255, 256, 257, 511, 512, 513}) {
    expectCorrect(Case(queries, 37, 5, 6), 3);
    expectCorrect(causal(Case(queries, 37, 5, 6)), 3);
  }
  for (int64_t keys : {4, 5, 6, 7, 13, 14, 15, 27, 28, 29, 33, 63, 65, 251, 252, 253, 503, 504, 505}) {
    expectCorrect(Case(37, keys, 5, 6), 4);
    expectCorrect(causal(Case(37, keys, 5, 6)), 4);
  }
}

TEST(AttentionEdges, TileEdgesWithEverything) {
  for (auto [queries, keys] : {std::pair{31, 13}, {32, 14}, {33, 15}, {9, 251}, {16, 252}, {17, 253}, {65, 505}})
    expectCorrect(withHeads(attentionWithEverything(causal(Case(queries, keys, 6, 5))), 2, 2, 1), 5);
}

TEST(AttentionEdges, HeadDims) {
  for (int64_t dim : {1, 2, 3, 31, 32, 64, 65, 128, 129, 256, 511, 512, 513})
    for (int64_t valueDim : {dim, int64_t{3}, int64_t{70}}) expectCorrect(causal(Case(19, 35, dim, valueDim)), 6);
  expectCorrect(attentionWithEverything(Case(19, 35, 512, 130)), 7);
}

TEST(AttentionEdges, SeveralBlocksInEveryDirection) {
  expectCorrect(causal(Case(70, 300, 515, 520)), 8);
  expectCorrect(causal(Case(530, 2100, 2, 2)), 9);
  for (int64_t queries : {1023, 1025, 1537}) expectCorrect(Case(queries, 260, 2, 3), 10);
  expectCorrect(withHeads(causal(Case(530, 300, 2, 2)), 1, 4, 4), 11);  // heads side by side
  expectCorrect(withHeads(attentionWithEverything(causal(Case(530, 300, 2, 2))), 1, 2, 1), 12);
}

// ---- What is seen ----------------------------------------------------------------------------------------------------

TEST(AttentionEdges, CausalWithUnequalLengths) {
  for (auto [queries, keys] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 300}, {300, 1}, {70, 65}, {65, 70}, {33, 300}, {300, 33}, {256, 257}, {257, 256}, {290, 290}})
    for (int32_t alignment : {FK_ALIGNMENT_BOTTOM_RIGHT, FK_ALIGNMENT_TOP_LEFT}) {
      Case c = withHeads(causal(Case(queries, keys, 16, 8)), 1, 2, 2);
      c.options.alignment = alignment;
      expectCorrect(c, 13);
    }
}

TEST(AttentionEdges, Windows) {
  for (auto [left, right] : std::vector<std::pair<int64_t, int64_t>>{
           {0, 0}, {0, -1}, {-1, 0}, {1, 0}, {13, 14}, {15, 31}, {64, 0}, {255, 0}, {400, 400}, {INT64_MAX, INT64_MAX}})
    for (auto [queries, keys] : {std::pair{70, 300}, std::pair{300, 70}, std::pair{290, 290}}) {
      Case c(queries, keys, 6, 4);
      c.options.window_left = left;
      c.options.window_right = right;
      expectCorrect(c, 14);
      c.prefixLengths = c.limitsSight();
      expectCorrect(causal(c), 14);
    }
}

// Each of the reasons hides every key from the first half of the queries.
TEST(AttentionEdges, QueriesThatSeeNoKeyGiveZeros) {
  const int64_t queries = 40, half = 20, keys = 30;
  const Case plain = withHeads(Case(queries, keys, 6, 4), 1, 2, 1).with([](Case& c) {
    c.maxScore = c.entropy = c.keyWeights = c.dLogSumExp = true;
    c.parameters[oracle::kKeyBias] = c.parameters[oracle::kToeplitzFactor] = 0;
    c.dParameters[oracle::kKeyBias] = c.dParameters[oracle::kToeplitzFactor] = true;
  });
  const auto hidesRow = [&](int64_t at, int64_t perRow) { return at / perRow % queries < half; };
  std::vector<std::pair<const char*, std::unique_ptr<Problem>>> problems;
  const auto add = [&](const char* reason, const Case& c) -> Problem& {
    problems.emplace_back(reason, std::make_unique<Problem>(c, Random(15)));
    return *problems.back().second;
  };
  add("causal", plain.with([&](Case& c) { c.options.causal = 1, c.keys = queries - half; }));
  add("window", plain.with([&](Case& c) { c.options.window_right = 0, c.keys = queries - half; }));
  change(add("mask", plain.with([](Case& c) { c.mask = 3; })).mask,
         [&](int64_t at, int64_t) { return hidesRow(at, keys) ? 0 : 1; });
  change(add("block mask", plain.with([&](Case& c) { c.blockMask = 3, c.options.mask_block_rows = half; })).blockMask,
         [&](int64_t at, int64_t) { return at; });
  change(add("segments", plain.with([](Case& c) { c.segments = true; })).querySegments,
         [&](int64_t at, int32_t) { return at < half ? 7 : 0; });
  problems.back().second->keySegments.fill([] { return 0; });
  change(add("bias", plain.with([](Case& c) { c.parameters[oracle::kBias] = 3; })).parameters[oracle::kBias],
         [&](int64_t at, float value) { return hidesRow(at, keys) ? -kInfinity : value; });
  Problem& starts = add("starts", plain.with([](Case& c) { c.starts = 2; }));
  change(starts.queryStarts, [&](int64_t at, int32_t) { return at == 0 ? 0 : at == 1 ? half : queries; });
  change(starts.keyStarts, [&](int64_t at, int32_t) { return at < 2 ? 0 : keys; });
  Random random(16);
  for (FloatArray* array : {&starts.q, &starts.k, &starts.v, &starts.dOutput})
    array->fill([&] { return random.uniform(-1, 1); });  // what was behind the starts that were drawn is NaN

  for (const auto& [reason, problem] : problems) {
    SCOPED_TRACE(reason);
    problem->expectCorrect();
    for (Isa isa : supportedIsas()) {
      const AttentionOutputs out = problem->run(contextFor(isa, 2));
      const auto expectFirstHalf = [&](const FloatArray& array, int64_t perRow, double expected) {
        const std::vector<double> values = array.values();
        for (size_t i = 0; i < values.size(); ++i) {
          if (!hidesRow(static_cast<int64_t>(i), perRow)) continue;
          ASSERT_EQ(values[i], expected) << isaName(isa) << ", " << i;
        }
      };
      expectFirstHalf(out.output, 2 * 4, 0);
      expectFirstHalf(out.dQ, 2 * 6, 0);
      expectFirstHalf(out.entropy, 1, 0);
      expectFirstHalf(out.logSumExp, 1, -kInfinity);
      expectFirstHalf(out.maxScore, 1, -kInfinity);
    }
  }
}

// A sink is what such a query is left with, and its log-sum-exp is the sink's own: d_log_sum_exp flows into the sink.
TEST(AttentionEdges, QueriesThatSeeNothingButTheSink) {
  Case c = withHeads(causal(Case(40, 20, 6, 4)), 2, 2, 1);
  c.parameters[oracle::kSinks] = 0;
  c.dParameters[oracle::kSinks] = c.dLogSumExp = c.maxScore = c.entropy = true;
  expectCorrect(c, 16);
  c.keys = 0;
  Problem(c, Random(17)).expectCorrect();
  for (const float sink : {-kInfinity, -50.0f, 8.0f, 14.0f, 50.0f, 1e4f})
    for (int64_t keys : {0, 20, 300}) {
      c.keys = keys;
      Problem problem(c, Random(18));
      problem.parameters[oracle::kSinks].fill([&] { return sink; });
      SCOPED_TRACE("sink " + std::to_string(sink));
      problem.expectCorrect();
    }
}

// ---- What is not read ------------------------------------------------------------------------------------------------

// Rows of q, k, v and d_output behind the lengths are NaN in every problem; here so is all that belongs to them.
TEST(AttentionEdges, NothingBehindLengthsIsRead) {
  for (const Case& plain : {Case(40, 60, 6, 5), causal(Case(300, 290, 4, 4))}) {
    Case c = withHeads(attentionWithEverything(plain), 3, 2, 1);
    c.queryLengths = c.keyLengths = true;
    Problem problem(c, Random(19));
    const auto query = [&](int64_t b, int64_t i) { return i < problem.queryLengths(b); };
    const auto key = [&](int64_t b, int64_t j) { return j < problem.keyLengths(b); };
    const int64_t perBatch = c.heads * c.queries * c.keys;
    change(problem.parameters[oracle::kBias], [&](int64_t at, float value) {
      const int64_t b = at / perBatch;
      return query(b, at / c.keys % c.queries) && key(b, at % c.keys) ? value : kNan;
    });
    change(problem.parameters[oracle::kKeyBias],
           [&](int64_t at, float value) { return key(at / (c.heads * c.keys), at % c.keys) ? value : kNan; });
    change(problem.dLogSumExp,
           [&](int64_t at, float value) { return query(at / (c.heads * c.queries), at % c.queries) ? value : kNan; });
    for (oracle::AttentionParameter axial : {oracle::kAxialBiasX, oracle::kAxialBiasY}) {
      const int64_t columns = problem.parameterShape(axial)[3];
      change(problem.parameters[axial], [&](int64_t at, float value) {
        return query(at / (c.heads * c.queries * columns), at / columns % c.queries) ? value : kNan;
      });
    }
    problem.expectCorrect();
  }
}

// NaN in keys and values whose tiles no query sees: a kernel that reads such a tile spreads them.
TEST(AttentionEdges, HiddenTilesAreSkipped) {
  const auto poisoned = [](const Case& c, int64_t first, int64_t end) {
    auto problem = std::make_unique<Problem>(c, Random(20));
    for (auto [array, dim] : {std::pair{&problem->k, c.dim}, std::pair{&problem->v, c.valueDim}})
      change(*array, [&, perRow = dim * c.keyHeads](int64_t at, double value) {
        const int64_t row = at / perRow % c.keys;
        return row >= first && row < end ? kNan : value;
      });
    return problem;
  };
  Case window(40, 2000, 5, 4);
  window.options.window_left = 100;
  poisoned(window, 0, 1800)->expectCorrect();

  Case blocks(70, 2016, 5, 4);  // blocks of two tiles; the second and the last are hidden
  blocks.blockMask = 0;
  blocks.options.mask_block_columns = 504;
  for (int64_t hidden : {0, 1, 3}) {
    const auto problem = poisoned(blocks, hidden * 504, (hidden + 1) * 504);
    change(problem->blockMask, [&](int64_t at, int64_t) { return at % 4 != hidden; });
    problem->expectCorrect();
  }

  Case documents(40, 1000, 5, 4);
  documents.segments = true;
  const auto problem = poisoned(documents, 0, 700);
  problem->querySegments.fill([] { return 1; });
  change(problem->keySegments, [](int64_t at, int32_t) { return at >= 700; });
  problem->expectCorrect();
}

TEST(AttentionEdges, NanInAKeyThatCausalHidesDoesNotShow) {
  const Case c = causal(Case(70, 70, 20, 8));
  Problem problem(c, Random(21));
  const auto clean = problem.expected();
  change(problem.k, [](int64_t at, double value) { return at == 69 * 20 + 3 ? kNan : value; });
  for (Isa isa : supportedIsas()) {
    const std::vector<double> output = problem.forward(contextFor(isa, 2)).output.values();
    for (size_t i = 0; i < output.size(); ++i)
      EXPECT_TRUE(i / 8 == 69 ? std::isnan(output[i]) : isWithin(output[i], clean.output.values[i])) << isaName(isa) << i;
  }
}

}  // namespace
}  // namespace fk::test
