// Attention on every instruction set that this CPU has, against plain loops in double.
#include "cpu/attention/attention.h"

#include "core/error.h"
#include "cpu/attention/attention_problem.h"

namespace fk::test {
namespace {

// ---- Shapes ----------------------------------------------------------------------------------------------------------

TEST(Attention, EverySmallShape) {
  for (bool causal : {false, true})
    for (int64_t queries : {0, 1, 2, 3, 17})
      for (int64_t keys : {0, 1, 2, 3, 17})
        for (int64_t dim : {1, 3})
          for (int64_t valueDim : {1, 2})
            AttentionProblem({queries, keys, dim, valueDim, causal}, Random(1)).expectCorrect();
}

TEST(Attention, EmptyAxes) {
  for (bool causal : {false, true}) {
    AttentionProblem({5, 6, 4, 4, causal, 0, 2}, Random(2)).expectCorrect();
    AttentionProblem({5, 6, 4, 4, causal, 2, 0}, Random(2)).expectCorrect();
    AttentionProblem({5, 6, 0, 4, causal, 2, 2}, Random(2)).expectCorrect();
    AttentionProblem({5, 6, 4, 0, causal, 2, 2}, Random(2)).expectCorrect();
  }
}

// Panels have 2, 8, 16 or 32 rows, micro-panels 4, 6 or 14 columns; depth blocks are 512, column
// tiles 252.
TEST(Attention, SequencesAroundTheTileEdges) {
  for (bool causal : {false, true}) {
    for (int64_t queries : {8, 9, 15, 16, 31, 32, 33, 63, 64, 65, 129, 255, 256, 257, 513})
      AttentionProblem({queries, 37, 5, 6, causal}, Random(3)).expectCorrect();
    for (int64_t keys : {4, 6, 13, 14, 15, 28, 31, 32, 33, 63, 64, 65, 129, 251, 252, 253, 257, 505})
      AttentionProblem({37, keys, 5, 6, causal}, Random(4)).expectCorrect();
  }
}

TEST(Attention, HeadDims) {
  for (int64_t dim : {1, 2, 3, 31, 32, 64, 65, 128, 129, 256, 511, 512, 513})
    for (int64_t valueDim : {dim, int64_t{3}, int64_t{70}})
      AttentionProblem({19, 35, dim, valueDim, true}, Random(5)).expectCorrect();
}

TEST(Attention, SeveralBlocksInEveryDirection) {
  AttentionProblem({70, 300, 515, 520, true}, Random(23)).expectCorrect();
  AttentionProblem({530, 2100, 2, 2, true}, Random(24)).expectCorrect();
  AttentionProblem({1030, 520, 2, 3, false}, Random(25)).expectCorrect();
  AttentionProblem({530, 300, 2, 2, true, 1, 4}, Random(27)).expectCorrect();  // heads side by side
}

// The mask's diagonal ends bottom right: with fewer keys than queries the first queries see nothing.
TEST(Attention, CausalWithUnequalLengths) {
  for (auto [queries, keys] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 300}, {300, 1}, {70, 65}, {65, 70}, {33, 300}, {300, 33}, {256, 257}, {257, 256}, {290, 290}})
    AttentionProblem({queries, keys, 16, 8, true, 1, 2}, Random(6)).expectCorrect();
}

TEST(Attention, RowsThatSeeNoKeyAreZeroAndMinusInfinity) {
  AttentionProblem problem({50, 20, 16, 8, true}, Random(7));
  for (Isa isa : supportedIsas()) {
    const AttentionOutputs out = problem.run(isa);
    for (int64_t i = 0; i < 30; ++i) {
      EXPECT_EQ(out.logSumExp(0, 0, i), -kInfinity) << isaName(isa);
      for (int64_t d = 0; d < 8; ++d) EXPECT_EQ(out.output(0, i, 0, d), 0) << isaName(isa);
      for (int64_t d = 0; d < 16; ++d) EXPECT_EQ(out.dQ(0, i, 0, d), 0) << isaName(isa);
    }
  }
}

// A query that sees one key copies its value, whatever the score.
TEST(Attention, OneVisibleKeyIsCopied) {
  AttentionProblem problem({40, 40, 16, 8, true}, Random(8));
  for (Isa isa : supportedIsas()) {
    const AttentionOutputs out = problem.run(isa);
    for (int64_t d = 0; d < 8; ++d) EXPECT_NEAR(out.output(0, 0, 0, d), problem.v(0, 0, 0, d), 4e-7) << isaName(isa);
  }
}

// ---- Layouts and options ---------------------------------------------------------------------------------------------

TEST(Attention, BatchesHeadsAndLayouts) {
  using enum HeadLayout;
  for (bool causal : {false, true})
    for (HeadLayout input : {kContiguous, kHeadsFirst, kPacked, kReversed, kSharedHeads})
      for (HeadLayout output : {kContiguous, kHeadsFirst, kPacked, kReversed})
        for (bool strided : {false, true})
          AttentionProblem({20, 33, 9, 7, causal, 2, 3, {}, input, input, input, output, strided}, Random(9))
              .expectCorrect();
  // Multi-query: the heads share keys and values, and each has its own gradient.
  AttentionProblem({20, 33, 9, 7, true, 2, 3, {}, kPacked, kSharedHeads, kSharedHeads, kContiguous}, Random(10))
      .expectCorrect();
}

TEST(Attention, Scales) {
  for (float scale : {1.0f, 0.01f, -0.5f, 0.0f, 3.0f})
    AttentionProblem({33, 40, 8, 8, true, 1, 2, scale}, Random(11)).expectCorrect();
}

TEST(Attention, LogSumExpIsOptional) {
  AttentionProblem problem({33, 40, 8, 8, true, 2, 2}, Random(12));
  for (Isa isa : supportedIsas()) {
    const AttentionOutputs whole = problem.run(isa);
    AttentionOutputs out = problem.outputs();
    cpu::AttentionArguments arguments = problem.arguments(out);
    arguments.logSumExp = {};
    const cpu::AttentionKernels& kernels = cpu::attentionKernelsFor(isa);
    runKernel(kernels.forwardBytes, kernels.forward, arguments, executionWith(2));
    EXPECT_TRUE(sameBits(out.output.values(), whole.output.values())) << isaName(isa);
  }
}

TEST(Attention, SmallWorkspaceLimits) {
  for (bool causal : {false, true}) {
    AttentionProblem problem({150, 300, 40, 33, causal, 2, 2}, Random(13));
    for (size_t limit : {size_t{1}, size_t{100000}}) problem.expectCorrect(limit);
  }
}

TEST(Attention, StaysWithinAWorkspaceLimitThatSuffices) {
  AttentionProblem problem({700, 900, 65, 64, true, 2, 2}, Random(14));
  AttentionOutputs out = problem.outputs();
  const cpu::AttentionArguments arguments = problem.arguments(out);
  for (Isa isa : supportedIsas()) {
    const cpu::AttentionKernels& kernels = cpu::attentionKernelsFor(isa);
    for (int threads : kThreadCounts)
      for (auto bytes : {kernels.forwardBytes, kernels.backwardBytes}) {
        const size_t least = bytes(arguments, threads, 1);
        for (size_t limit : {least, least + least / 2, 4 * least, kDefaultLimit})
          EXPECT_LE(bytes(arguments, threads, limit), limit) << isaName(isa);
      }
  }
}

TEST(Attention, TouchesNothingOutsideItsArrays) {
  Random random(26);
  const auto value = [&] { return random.uniform(-1, 1); };
  for (Guard guard : {Guard::kAtStart, Guard::kAtEnd})
    for (int64_t queries : {1, 3, 33})
      for (int64_t keys : {1, 5, 35})
        for (int64_t dim : {1, 3, 17, 515}) {
          const auto heads = [&](GuardedArray<float>& array, int64_t sequence) {
            return HeadTensor<float>{array.data(), 1, sequence, 1, dim, sequence * dim, dim, dim};
          };
          const auto input = [&](GuardedArray<float>& array, int64_t sequence) {
            return HeadTensor<const float>{array.data(), 1, sequence, 1, dim, sequence * dim, dim, dim};
          };
          GuardedArray<float> q(queries * dim, guard, value), k(keys * dim, guard, value), v(keys * dim, guard, value),
              dOutput(queries * dim, guard, value);
          GuardedArray<float> output(queries * dim, guard), logSumExp(queries, guard), dQ(queries * dim, guard),
              dK(keys * dim, guard), dV(keys * dim, guard);
          cpu::AttentionArguments arguments;
          arguments.q = input(q, queries), arguments.k = input(k, keys), arguments.v = input(v, keys);
          arguments.causal = true;
          arguments.output = heads(output, queries);
          arguments.savedOutput = input(output, queries);
          arguments.dOutput = input(dOutput, queries);
          arguments.dQ = heads(dQ, queries), arguments.dK = heads(dK, keys), arguments.dV = heads(dV, keys);
          arguments.logSumExp = {logSumExp.data(), queries, queries, 1};
          for (Isa isa : supportedIsas()) {
            const cpu::AttentionKernels& kernels = cpu::attentionKernelsFor(isa);
            runKernel(kernels.forwardBytes, kernels.forward, arguments, executionWith(1));
            runKernel(kernels.backwardBytes, kernels.backward, arguments, executionWith(1));
          }
        }
}

// ---- Values ----------------------------------------------------------------------------------------------------------

TEST(Attention, AllScoresEqualAverageTheValues) {
  AttentionProblem problem({33, 300, 4, 8, false}, Random(15));
  problem.q.fill([] { return 0; });
  problem.expectCorrect();
  for (Isa isa : supportedIsas()) {
    const AttentionOutputs out = problem.run(isa);
    for (int64_t i = 0; i < 33; ++i) EXPECT_NEAR(out.logSumExp(0, 0, i), std::log(300.0), 2e-6) << isaName(isa);
  }
}

TEST(Attention, ScoresOfTenThousand) {
  for (double range : {10.0, 100.0})
    for (bool causal : {false, true})
      AttentionProblem({50, 300, 1, 5, causal, 1, 1, 1.0f, {}, {}, {}, {}, false, range}, Random(16)).expectCorrect();
}

// One key takes all: its value is the output, bit for bit.
TEST(Attention, OneHugeScore) {
  for (int64_t huge : {0, 255, 256, 299}) {
    AttentionProblem problem({40, 300, 1, 5, false, 1, 1, 1.0f}, Random(17));
    problem.q.fill([] { return 100; });
    problem.k.fill([] { return 0; });
    problem.k(0, huge, 0, 0) = 100;
    problem.expectCorrect();
    for (Isa isa : supportedIsas()) {
      const AttentionOutputs out = problem.run(isa);
      for (int64_t i = 0; i < 40; ++i)
        for (int64_t d = 0; d < 5; ++d) EXPECT_EQ(out.output(0, i, 0, d), problem.v(0, huge, 0, d)) << isaName(isa);
    }
  }
}

TEST(Attention, NanAndInfinityInAQueryStayInItsRow) {
  for (bool causal : {false, true})
    for (float poison : {kNan, kInfinity}) {
      AttentionProblem problem({70, 90, 20, 8, causal, 1, 2}, Random(18));
      const AttentionExpected clean = problem.expected();
      problem.q(0, 33, 1, 7) = poison;
      for (Isa isa : supportedIsas()) {
        SCOPED_TRACE(isaName(isa));
        const AttentionOutputs out = problem.run(isa);
        for (int64_t i = 0; i < 70; ++i)
          for (int64_t h = 0; h < 2; ++h)
            for (int64_t d = 0; d < 8; ++d) {
              if (i == 33 && h == 1) {
                EXPECT_TRUE(std::isnan(out.output(0, i, h, d)));
                continue;
              }
              EXPECT_TRUE(isWithin(out.output(0, i, h, d), clean.output[static_cast<size_t>((i * 2 + h) * 8 + d)]));
            }
      }
    }
}

// The scores of keys behind the mask are never looked at.
TEST(Attention, NanInAMaskedKeyDoesNotShow) {
  AttentionProblem problem({70, 70, 20, 8, true}, Random(19));
  const AttentionExpected clean = problem.expected();
  problem.k(0, 69, 0, 3) = kNan;
  for (Isa isa : supportedIsas()) {
    const AttentionOutputs out = problem.run(isa);
    for (int64_t i = 0; i < 70; ++i)
      for (int64_t d = 0; d < 8; ++d) {
        const float actual = out.output(0, i, 0, d);
        EXPECT_TRUE(i == 69 ? std::isnan(actual) : isWithin(actual, clean.output[static_cast<size_t>(i * 8 + d)]))
            << isaName(isa) << ", row " << i;
      }
  }
}

// ---- Threads and cancellation ----------------------------------------------------------------------------------------

TEST(Attention, SameBitsForEveryNumberOfThreads) {
  for (const AttentionCase& c : {AttentionCase{300, 300, 32, 32, true, 1, 1}, AttentionCase{65, 270, 16, 20, false, 2, 3},
                                 AttentionCase{1, 600, 64, 64, true, 1, 2}}) {
    SCOPED_TRACE(describe(c));
    AttentionProblem problem(c, Random(20));
    for (Isa isa : supportedIsas())
      for (size_t limit : {kDefaultLimit, size_t{1} << 17}) {
        const std::vector<float> once = problem.run(isa, executionWith(1), limit).all();
        for (int threads : kThreadCounts)
          EXPECT_TRUE(sameBits(problem.run(isa, executionWith(threads), limit).all(), once))
              << isaName(isa) << ", " << threads << " threads, limit " << limit;
      }
  }
}

TEST(Attention, StopsWhenCancelled) {
  AttentionProblem problem({100, 300, 20, 20, true, 2, 2}, Random(21));
  const std::atomic<bool> cancelled{true};
  for (Isa isa : supportedIsas())
    for (int threads : {1, 2}) {
      const cpu::AttentionKernels& kernels = cpu::attentionKernelsFor(isa);
      AttentionOutputs out = problem.run(isa);
      const cpu::AttentionArguments arguments = problem.arguments(out);
      Execution execution = executionWith(threads);
      execution.cancelled = &cancelled;
      for (auto [bytes, run] :
           {std::pair{kernels.forwardBytes, kernels.forward}, std::pair{kernels.backwardBytes, kernels.backward}}) {
        try {
          runKernel(bytes, run, arguments, execution);
          ADD_FAILURE() << isaName(isa) << " ran to its end";
        } catch (const Error& error) {
          EXPECT_EQ(error.status(), FK_ERROR_CANCELLED);
        }
      }
    }
}

// ---- At random -------------------------------------------------------------------------------------------------------

TEST(Attention, RandomCases) {
  using enum HeadLayout;
  for (uint64_t seed = 3000; seed < 3200; ++seed) {
    Random random(seed);
    SCOPED_TRACE("seed " + std::to_string(seed));
    const auto extent = [&](double largest) {
      return static_cast<int64_t>(std::exp2(random.uniform(0, std::log2(largest))));
    };
    AttentionCase c = {extent(150), extent(300), extent(80), extent(80), random.chance(0.5), extent(3), extent(4)};
    if (random.chance(0.3)) c.keys = c.queries;
    if (random.chance(0.3)) c.scale = static_cast<float>(random.uniform(-1, 1));
    c.q = random.pick({kContiguous, kHeadsFirst, kPacked, kReversed, kSharedHeads});
    c.k = random.pick({kContiguous, kHeadsFirst, kPacked, kReversed, kSharedHeads});
    c.v = random.pick({kContiguous, kHeadsFirst, kPacked, kReversed, kSharedHeads});
    c.outputs = random.pick({kContiguous, kHeadsFirst, kPacked, kReversed});
    c.logSumExpRowsFirst = random.chance(0.3);
    c.range = random.pick({0.1, 1.0, 3.0});
    AttentionProblem(c, random).expectCorrect(random.pick({kDefaultLimit, size_t{1} << 16, size_t{1}}));
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace fk::test
