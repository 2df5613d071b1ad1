// Attention of numbers that streaming, masking and rounding find hard: equal, huge, infinite and missing ones, and positions
// far apart.
#include "abi/attention_members.h"

namespace fk::test {
namespace {

using Case = AttentionCase;
using Problem = AttentionProblem;
using Outputs = AttentionOutputs;

template <class Check>
void forEveryIsa(Problem& problem, const Check& check) {
  SCOPED_TRACE(describe(problem.shape));
  for (Isa isa : supportedIsas()) {
    SCOPED_TRACE(isaName(isa));
    check(problem.run(contextFor(isa, 2)));
  }
}

TEST(AttentionValues, EqualScoresAverageTheValues) {
  Case c(33, 300, 4, 8);
  c.entropy = c.keyWeights = true;
  Problem problem(c, Random(1));
  problem.q.fill([] { return 0; });
  problem.expectCorrect();
  forEveryIsa(problem, [](const Outputs& out) {
    for (double value : out.logSumExp.values()) EXPECT_NEAR(value, std::log(300.0), 2e-6);
    for (double value : out.entropy.values()) EXPECT_NEAR(value, std::log(300.0), 2e-6);
    for (double value : out.keyWeights.values()) EXPECT_NEAR(value, 33 / 300.0, 1e-6);
  });
}

// Whatever the score of the only key that a query sees, its value is the output.
TEST(AttentionValues, OneVisibleKeyIsCopied) {
  for (float scale : {1.0f, -30.0f, 1e6f}) {
    Case c(40, 40, 16, 8);
    c.options.causal = 1;
    c.options.window_left = 0;
    c.options.scale = scale;
    c.entropy = true;
    Problem problem(c, Random(2));
    const std::vector<double> v = problem.v.values();
    forEveryIsa(problem, [&](const Outputs& out) {
      EXPECT_EQ(out.output.values(), v);
      for (double value : out.entropy.values()) EXPECT_EQ(value, 0);
    });
  }
}

TEST(AttentionValues, ScoresOfTenThousand) {
  for (double range : {10.0, 100.0})
    for (bool causal : {false, true}) {
      Case c(50, 300, 1, 5);
      c.options.causal = causal;
      c.options.scale = 1;
      c.range = range;
      c.entropy = c.maxScore = true;
      Problem(c, Random(3)).expectCorrect();
    }
}

// Ascending scores raise the maximum in every tile, descending ones leave it; in both directions exp underflows on the way.
TEST(AttentionValues, MaximaThatRiseAndFallOverTiles) {
  for (double slope : {0.7, -0.7, 100.0, -100.0}) {
    Case c(20, 800, 1, 5);
    c.options.scale = 1;
    c.entropy = c.maxScore = true;
    Problem problem(c, Random(4));
    problem.q.fill([] { return 1; });
    change(problem.k, [&](int64_t at, double) { return slope * static_cast<double>(at); });
    problem.expectCorrect();
  }
}

// One key takes all: its value is the output, bit for bit.
TEST(AttentionValues, OneHugeScore) {
  for (int64_t huge : {0, 251, 252, 255, 256, 299}) {
    Case c(40, 300, 1, 5);
    c.options.scale = 1;
    Problem problem(c, Random(5));
    problem.q.fill([] { return 100; });
    change(problem.k, [&](int64_t at, double) { return at == huge ? 100 : 0; });
    problem.expectCorrect();
    const std::vector<double> v = problem.v.values();
    forEveryIsa(problem, [&](const Outputs& out) {
      const std::vector<double> output = out.output.values();
      for (size_t i = 0; i < output.size(); ++i) EXPECT_EQ(output[i], v[static_cast<size_t>(huge * 5) + i % 5]);
    });
  }
}

// Keys that pad a tile have scores of 0, which a softcap this small leaves among the largest.
TEST(AttentionValues, SmallSoftcapsAndNoPaddingInTheSum) {
  for (float softcap : {0.5f, 2.0f})
    for (int64_t keys : {1, 3, 13, 15, 33, 251, 253, 505}) {
      Case c(19, keys, 11, 4);
      c.options.softcap = softcap;
      c.options.scale = 1;
      c.entropy = c.maxScore = true;
      Problem problem(c, Random(6));
      problem.q.fill([] { return 30; });
      problem.k.fill([] { return -30; });  // every score is -softcap
      problem.expectCorrect();
    }
}

TEST(AttentionValues, Scales) {
  for (float scale : {1.0f, 0.01f, -0.5f, 0.0f, -0.0f, 3.0f}) {
    Case c(33, 40, 8, 8);
    c.heads = c.keyHeads = 2;
    c.options.scale = scale;
    c.options.causal = 1;
    Problem(c, Random(7)).expectCorrect();
  }
}

// A mask and a bias of -inf say the same.
TEST(AttentionValues, MaskIsABiasOfMinusInfinity) {
  Case masked(40, 300, 8, 6), biased = masked;
  masked.mask = 3;
  biased.parameters[oracle::kBias] = 3;
  Problem withMask(masked, Random(8)), withBias(biased, Random(8));
  const std::vector<int64_t> mask = withMask.mask.values();
  change(withBias.parameters[oracle::kBias],
         [&](int64_t at, float) { return mask[static_cast<size_t>(at)] ? 0.0f : -kInfinity; });
  for (auto member : {&Problem::q, &Problem::k, &Problem::v, &Problem::dOutput}) withBias.*member = withMask.*member;
  for (Isa isa : supportedIsas())
    EXPECT_TRUE(withMask.run(contextFor(isa, 2)).sameBitsAs([&] {
      Outputs out = withBias.run(contextFor(isa, 2));
      out.dParameters = withMask.outputs().dParameters;
      return out;
    }()))
        << isaName(isa);
}

// Rows of q before and behind the poisoned one keep their results; its own output, log-sum-exp and gradient are NaN.
TEST(AttentionValues, NanAndInfinityInAQueryStayInItsRow) {
  Case plain(70, 90, 20, 8);
  plain.heads = plain.keyHeads = 2;
  plain.options.causal = 1;
  plain.entropy = true;
  Case everything = attentionWithEverything(plain);
  everything.options.dropout = 0;  // a dropped NaN is 0
  for (const Case& c : {plain, everything})
    for (float poison : {kNan, kInfinity}) {
      Problem problem(c, Random(9));
      const Problem::Expected clean = problem.expected();
      const int64_t perRow = 2 * 20, row = 33;
      change(problem.q, [&](int64_t at, double value) { return at == row * perRow + 20 + 7 ? poison : value; });
      SCOPED_TRACE(poison);
      forEveryIsa(problem, [&](const Outputs& out) {
        const auto check = [&](const char* name, const FloatArray& array, const oracle::Array<Bounded>& expected,
                               auto isHit) {
          const std::vector<double> values = array.values();
          for (size_t i = 0; i < values.size(); ++i) {
            const bool hit = isHit(static_cast<int64_t>(i));
            ASSERT_TRUE(hit ? std::isnan(values[i]) : isWithin(values[i], expected.values[i])) << name << " " << i;
          }
        };
        check("output", out.output, clean.output, [&](int64_t i) { return i / 8 == 2 * row + 1; });
        check("log_sum_exp", out.logSumExp, clean.logSumExp, [&](int64_t i) { return i == 70 + row; });
        check("entropy", out.entropy, clean.entropy, [&](int64_t i) { return i == 70 + row; });
        check("d_q", out.dQ, clean.dQ, [&](int64_t i) { return i / 20 == 2 * row + 1; });
      });
    }
}

// ALiBi, buckets and rotations over tens of thousands of positions.
TEST(AttentionValues, PositionsFarApart) {
  Case c(3, 40000, 2, 2);
  c.options.causal = 1;
  c.options.rotary_dims = 2;
  c.options.rotary_query_offset = c.options.rotary_key_offset = 1000000;
  c.parameters[oracle::kAlibiSlopes] = c.parameters[oracle::kRelativeBias] = 0;
  c.dParameters[oracle::kAlibiSlopes] = c.dParameters[oracle::kRelativeBias] = true;
  c.buckets = 32;
  c.options.relative_bidirectional = 0;
  for (double slope : {1e-5, 0.01, 8.0}) {
    Problem problem(c, Random(10));
    problem.parameters[oracle::kAlibiSlopes].fill([&] { return slope; });
    problem.expectCorrect();
  }
}

// More keys than random cases have: log-n scaling, dropout's counters and block masks beyond one tile.
TEST(AttentionValues, ManyKeysWithEverything) {
  Case c = attentionWithEverything(Case(5, 3000, 4, 3));
  c.blockMask = 0;
  c.options.window_left = 2500;
  Problem(c, Random(11)).expectCorrect();
}

}  // namespace
}  // namespace fk::test
