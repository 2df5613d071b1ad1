// The gradients of attention's oracle against central differences of its own outputs, in double, with every option alone, in
// every pair of options, and with many at once.
#include "oracles/attention.h"

#include <functional>

#include "oracles/finite_differences.h"
#include "support.h"
#include "tolerance.h"

namespace fk::test {
namespace {

using oracle::Array;
using Problem = oracle::Attention;

constexpr int64_t kBatch = 2, kQueries = 4, kKeys = 6, kHeads = 4, kKeyHeads = 2, kDim = 4, kValueDim = 3;

Array<double> randomArray(const std::vector<int64_t>& shape, Random& random, double low = -1, double high = 1) {
  Array<double> result(shape);
  for (double& value : result.values) value = random.uniform(low, high);
  return result;
}

Array<int64_t> randomBits(const std::vector<int64_t>& shape, Random& random, double share) {
  Array<int64_t> result(shape);
  for (int64_t& value : result.values) value = random.chance(share);
  return result;
}

Problem plainProblem(Random& random) {
  Problem problem;
  problem.q = randomArray({kBatch, kQueries, kHeads, kDim}, random);
  problem.k = randomArray({kBatch, kKeys, kKeyHeads, kDim}, random);
  problem.v = randomArray({kBatch, kKeys, kKeyHeads, kValueDim}, random);
  problem.dOutput = randomArray({kBatch, kQueries, kHeads, kValueDim}, random);
  problem.scale = 0.8;
  return problem;
}

// What flows back, as one number. A query that sees nothing has no log-sum-exp to flow through.
double objective(const Problem& problem) {
  const auto result = oracle::attention<double>(problem);
  double sum =
      std::inner_product(result.output.values.begin(), result.output.values.end(), problem.dOutput.values.begin(), 0.0);
  for (size_t i = 0; i < problem.dLogSumExp.values.size(); ++i)
    if (std::isfinite(result.logSumExp.values[i])) sum += problem.dLogSumExp.values[i] * result.logSumExp.values[i];
  return sum;
}

void expectDerivatives(Problem problem) {
  const auto gradient = oracle::attention<double>(problem);
  const auto f = [&] { return objective(problem); };
  expectGradient(problem.q.values, gradient.dQ.values, f);
  expectGradient(problem.k.values, gradient.dK.values, f);
  expectGradient(problem.v.values, gradient.dV.values, f);
  for (size_t i = 0; i < oracle::kAttentionParameters; ++i) {
    SCOPED_TRACE(oracle::kAttentionParameterNames[i]);
    ASSERT_EQ(gradient.dParameters[i].shape, problem.parameters[i].shape);
    expectGradient(problem.parameters[i].values, gradient.dParameters[i].values, f);
  }
}

struct Option {
  const char* name;
  std::function<void(Problem&, Random&)> set;
};

Option parameter(const char* name, oracle::AttentionParameter which, const std::vector<int64_t>& shape) {
  return {name, [=](Problem& p, Random& random) { p.parameters[which] = randomArray(shape, random); }};
}

// One element per sequence, of which there are two, or three where starts cut the one item.
std::vector<int64_t> perSequence(const Problem& p, const std::vector<int64_t>& two, const std::vector<int64_t>& three) {
  return p.queryStarts.empty() ? two : three;
}

// Starts come first, because arrays are shaped by the batch.
const std::vector<Option> kOptions = {
    {"starts",
     [](Problem& p, Random& random) {  // three sequences in one item, with a query and a key behind the last
       p.q = randomArray({1, kQueries, kHeads, kDim}, random);
       p.k = randomArray({1, kKeys, kKeyHeads, kDim}, random);
       p.v = randomArray({1, kKeys, kKeyHeads, kValueDim}, random);
       p.dOutput = randomArray({1, kQueries, kHeads, kValueDim}, random);
       p.queryStarts = {0, 1, 3, 3};
       p.keyStarts = {0, 2, 4, 5};
     }},
    {"softcap", [](Problem& p, Random&) { p.softcap = 0.9; }},
    {"length scale", [](Problem& p, Random&) { p.lengthScaleBase = std::exp(1.0); }},
    {"causal", [](Problem& p, Random&) { p.causal = true; }},
    {"causal, top left", [](Problem& p, Random&) { p.causal = p.topLeft = true; }},
    {"window", [](Problem& p, Random&) { p.windowLeft = 2, p.windowRight = 1; }},
    {"window to the left", [](Problem& p, Random&) { p.windowLeft = 0; }},
    {"prefix",
     [](Problem& p, Random&) {
       p.windowLeft = 1, p.windowRight = 0;
       p.prefixLengths = perSequence(p, {2, 0}, {2, 0, 1});
     }},
    {"lengths",
     [](Problem& p, Random&) {
       p.queryLengths = perSequence(p, {3, 4}, {1, 1, 0});
       p.keyLengths = perSequence(p, {5, 2}, {2, 1, 1});
     }},
    {"segments",
     [](Problem& p, Random& random) {
       p.querySegments = randomBits({p.batch(), kQueries}, random, 0.5);
       p.keySegments = randomBits({p.batch(), kKeys}, random, 0.5);
     }},
    {"mask",
     [](Problem& p, Random& random) {
       p.mask = randomBits({1, kHeads, kQueries, kKeys}, random, 0.7);
     }},
    {"block mask",
     [](Problem& p, Random& random) {
       p.maskBlockRows = 3, p.maskBlockColumns = 2;
       p.blockMask = randomBits({p.batch(), 1, 2, 3}, random, 0.7);
     }},
    {"bias",
     [](Problem& p, Random& random) {
       p.parameters[oracle::kBias] = randomArray({1, kHeads, kQueries, kKeys}, random);
       p.parameters[oracle::kBias].values[7] = -HUGE_VAL;
     }},
    parameter("bias of keys alone", oracle::kBias, {1, 1, 1, kKeys}),
    parameter("key bias", oracle::kKeyBias, {1, kHeads, kKeys}),
    parameter("ALiBi", oracle::kAlibiSlopes, {1, kHeads}),
    {"relative bias",
     [](Problem& p, Random& random) {
       p.parameters[oracle::kRelativeBias] = randomArray({6, kHeads}, random);
       p.relativeMaxDistance = 5;
     }},
    {"relative bias behind",
     [](Problem& p, Random& random) {
       p.parameters[oracle::kRelativeBias] = randomArray({4, kHeads}, random);
       p.relativeMaxDistance = 4;
       p.relativeBidirectional = false;
     }},
    {"axial bias",
     [](Problem& p, Random& random) {
       p.parameters[oracle::kAxialBiasX] = randomArray({1, kHeads, kQueries, 3}, random);
       p.parameters[oracle::kAxialBiasY] = randomArray({1, 1, kQueries, 2}, random);
     }},
    parameter("axial bias along one axis", oracle::kAxialBiasY, {1, kHeads, kQueries, 3}),
    parameter("sinks", oracle::kSinks, {kHeads}),
    parameter("Toeplitz factor", oracle::kToeplitzFactor, {kHeads, kQueries + kKeys - 1}),
    parameter("Toeplitz factor of all heads", oracle::kToeplitzFactor, {1, kQueries + kKeys - 1}),
    {"dropout", [](Problem& p, Random& random) { p.dropout = 0.4, p.dropoutSeed = random.next(); }},
    {"rotary", [](Problem& p, Random&) { p.rotary.rotaryDims = 4, p.rotaryQueryOffset = 3, p.rotaryKeyOffset = 1; }},
    {"interleaved rotary",
     [](Problem& p, Random&) {
       p.rotary = {true, false, 2, 100};
     }},
    {"gradient of log-sum-exp", [](Problem& p, Random& random) {
       p.dLogSumExp = randomArray({p.batch(), kHeads, kQueries}, random);
     }}};

TEST(AttentionOracle, GradientsAreDerivativesWithEveryOption) {
  for (const Option& option : kOptions) {
    SCOPED_TRACE(option.name);
    Random random(1);
    Problem problem = plainProblem(random);
    option.set(problem, random);
    expectDerivatives(problem);
  }
}

TEST(AttentionOracle, GradientsAreDerivativesWithEveryPairOfOptions) {
  for (size_t first = 0; first < kOptions.size(); ++first)
    for (size_t second = 0; second < first; ++second) {
      SCOPED_TRACE(std::string(kOptions[second].name) + " and " + kOptions[first].name);
      Random random(first * kOptions.size() + second);
      Problem problem = plainProblem(random);
      kOptions[second].set(problem, random);
      kOptions[first].set(problem, random);
      expectDerivatives(problem);
      if (HasFailure()) return;
    }
}

// What is seen, as rows of 0 and 1.
std::vector<std::string> visible(const Problem& problem) {
  const oracle::AttentionSequence s = problem.sequences()[0];
  std::vector<std::string> rows;
  for (int64_t i = 0; i < s.queries; ++i) {
    rows.emplace_back();
    for (int64_t j = 0; j < s.keys; ++j) rows.back() += problem.inSight(s, problem.queryPosition(s, i), j) ? '1' : '0';
  }
  return rows;
}

Problem problemOf(int64_t queries, int64_t keys) {
  Problem problem;
  problem.q = Array<double>({1, queries, 1, 1});
  problem.k = problem.v = Array<double>({1, keys, 1, 1});
  return problem;
}

// The pictures of FlashAttention's README, "2.1: Change behavior of causal flag" and "2.3: Local (i.e., sliding window)".
TEST(AttentionOracle, SeesWhatFlashAttentionSees) {
  Problem wide = problemOf(2, 5), tall = problemOf(5, 2);
  wide.causal = tall.causal = true;
  EXPECT_EQ(visible(wide), (std::vector<std::string>{"11110", "11111"}));
  EXPECT_EQ(visible(tall), (std::vector<std::string>{"00", "00", "00", "10", "11"}));
  wide.topLeft = tall.topLeft = true;
  EXPECT_EQ(visible(wide), (std::vector<std::string>{"10000", "11000"}));
  EXPECT_EQ(visible(tall), (std::vector<std::string>{"10", "11", "11", "11", "11"}));
  Problem window = problemOf(3, 5);
  window.windowLeft = 1, window.windowRight = 0;
  EXPECT_EQ(visible(window), (std::vector<std::string>{"01100", "00110", "00011"}));
  window.prefixLengths = {2};
  EXPECT_EQ(visible(window), (std::vector<std::string>{"11100", "11110", "11011"}));
  window.windowRight = -1;
  EXPECT_EQ(visible(window), (std::vector<std::string>{"11111", "11111", "11011"}));
  window.keyLengths = {4};
  EXPECT_EQ(visible(window), (std::vector<std::string>{"1111", "1111", "1111"}));
  window.keyLengths = {1};
  EXPECT_EQ(visible(window), (std::vector<std::string>{"1", "1", "1"}));
}

// The known answers of Random123 1.09, tests/kat_vectors.
TEST(AttentionOracle, PhiloxGivesItsKnownAnswers) {
  using oracle::PhiloxCounter;
  EXPECT_EQ(oracle::philox({0, 0, 0, 0}, {0, 0}), (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = 0xffffffff;
  EXPECT_EQ(oracle::philox({ones, ones, ones, ones}, {ones, ones}),
            (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(oracle::philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// Worked by hand from the first known answer: counter 0 and key 0 are those of seed 0, query 0 and keys 0 to 3.
TEST(AttentionOracle, DropoutComparesTheDocumentedWords) {
  Problem problem = problemOf(1, 4);
  const double words[] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  for (int64_t j = 0; j < 4; ++j) {
    problem.dropout = std::ldexp(words[j], -32);
    EXPECT_TRUE(problem.kept(0, 0, 0, j));
    problem.dropout = std::ldexp(words[j] + 1, -32);
    EXPECT_FALSE(problem.kept(0, 0, 0, j));
  }
}

TEST(AttentionOracle, DropoutDropsItsShare) {
  Problem problem = problemOf(100, 400);
  for (double share : {0.1, 0.5, 0.9}) {
    problem.dropout = share;
    problem.dropoutSeed = 0x123456789abcdef0;
    int64_t dropped = 0;
    for (int64_t i = 0; i < 100; ++i)
      for (int64_t j = 0; j < 400; ++j) dropped += !problem.kept(1, 2, i, j);
    // 5 standard deviations of 40000 independent draws
    EXPECT_NEAR(static_cast<double>(dropped) / 40000, share, 5 * std::sqrt(share * (1 - share) / 40000));
  }
}

// The buckets of T5's 32 buckets and 128 positions, by hand from the paper's code (relative_position_bucket): exact to 7,
// then 8 + floor(log2(n / 8) * 2).
TEST(AttentionOracle, RelativeBucketsAreThoseOfT5) {
  Problem problem = problemOf(1, 1);
  problem.parameters[oracle::kRelativeBias] = Array<double>({32, 1});
  const std::vector<std::pair<int64_t, int64_t>> bidirectional = {
      {0, 0},   {1, 1},    {7, 7},    {8, 8},       {11, 8},  {12, 9},  {23, 11},  {24, 11},
      {64, 14}, {127, 15}, {128, 15}, {100000, 15}, {-1, 17}, {-7, 23}, {-12, 25}, {-100000, 31}};
  for (auto [n, bucket] : bidirectional) EXPECT_EQ(problem.relativeBucket(n), bucket) << n;
  problem.relativeBidirectional = false;
  for (auto [n, bucket] : std::vector<std::pair<int64_t, int64_t>>{
           {-5, 0}, {0, 0}, {15, 15}, {16, 16}, {18, 16}, {19, 17}, {63, 26}, {127, 31}, {128, 31}, {1000, 31}})
    EXPECT_EQ(problem.relativeBucket(n), bucket) << n;
}

void expectNear(const Array<double>& actual, const Array<double>& expected) {
  ASSERT_EQ(actual.values.size(), expected.values.size());
  for (size_t i = 0; i < actual.values.size(); ++i) EXPECT_NEAR(actual.values[i], expected.values[i], 1e-13) << i;
}

// Only differences of positions count, so the same offset on both sides changes nothing.
TEST(AttentionOracle, RotationIsRelative) {
  Random random(2);
  Problem problem = plainProblem(random), shifted = problem;
  problem.rotary.rotaryDims = shifted.rotary.rotaryDims = kDim;
  shifted.rotaryQueryOffset = shifted.rotaryKeyOffset = 1000;
  const auto expected = oracle::attention<double>(problem), actual = oracle::attention<double>(shifted);
  expectNear(actual.output, expected.output);
  expectNear(actual.dQ, expected.dQ);
  expectNear(actual.dK, expected.dK);
}

TEST(AttentionOracle, SharedHeadsAreRepeatedOnes) {
  Random random(3);
  const Problem grouped = plainProblem(random);
  Problem repeated = grouped;
  repeated.k = Array<double>({kBatch, kKeys, kHeads, kDim});
  repeated.v = Array<double>({kBatch, kKeys, kHeads, kValueDim});
  for (int64_t b = 0; b < kBatch; ++b)
    for (int64_t j = 0; j < kKeys; ++j)
      for (int64_t h = 0; h < kHeads; ++h) {
        for (int64_t d = 0; d < kDim; ++d) repeated.k(b, j, h, d) = grouped.k(b, j, h / 2, d);
        for (int64_t d = 0; d < kValueDim; ++d) repeated.v(b, j, h, d) = grouped.v(b, j, h / 2, d);
      }
  expectNear(oracle::attention<double>(grouped).output, oracle::attention<double>(repeated).output);
}

// Equal scores: every output has a value that is known.
TEST(AttentionOracle, UniformWeightsHaveKnownStatistics) {
  Problem problem = problemOf(3, 5);
  problem.causal = true;
  problem.v.values = {1, 2, 3, 4, 5};
  const auto result = oracle::attention<double>(problem);
  for (int64_t i = 0; i < 3; ++i) {
    const auto seen = static_cast<double>(i + 3);
    EXPECT_NEAR(result.output(0, i, 0, 0), (seen + 1) / 2, 1e-14);
    EXPECT_NEAR(result.logSumExp(0, 0, i), std::log(seen), 1e-14);
    EXPECT_NEAR(result.entropy(0, 0, i), std::log(seen), 1e-14);
    EXPECT_EQ(result.maxScore(0, 0, i), 0);
  }
  EXPECT_NEAR(result.keyWeights(0, 0, 0), 1 / 3.0 + 1 / 4.0 + 1 / 5.0, 1e-14);
  EXPECT_NEAR(result.keyWeights(0, 0, 4), 1 / 5.0, 1e-14);
  problem.parameters[oracle::kSinks] = Array<double>({1});
  const auto sunk = oracle::attention<double>(problem);
  EXPECT_NEAR(sunk.output(0, 2, 0, 0), 15 / 6.0, 1e-14);
  EXPECT_NEAR(sunk.logSumExp(0, 0, 2), std::log(6), 1e-14);
  EXPECT_NEAR(sunk.entropy(0, 0, 2), 5 / 6.0 * std::log(6), 1e-14);
  problem.parameters[oracle::kSinks].values = {2};
  EXPECT_EQ(oracle::attention<double>(problem).maxScore(0, 0, 2), 2);
}

// float32 arithmetic, all of it in the plainest order, stays within the bounds that the kernels are held to.
TEST(AttentionOracle, BoundsFloatArithmetic) {
  for (uint64_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    Problem problem = plainProblem(random);
    for (const Option& option : kOptions)
      if (random.chance(0.2)) option.set(problem, random);
    const double range = random.pick({0.3, 1.0, 4.0});
    const auto toFloats = [](Array<double>& array, double factor) {
      for (double& value : array.values) value = static_cast<float>(factor * value);
    };
    for (Array<double>* array : {&problem.q, &problem.k, &problem.v}) toFloats(*array, range);
    for (Array<double>* array : {&problem.dOutput, &problem.dLogSumExp}) toFloats(*array, 1);
    for (Array<double>& array : problem.parameters) toFloats(array, range);
    for (double* option : {&problem.scale, &problem.softcap, &problem.dropout, &problem.rotary.base})
      *option = static_cast<float>(*option);
    const auto actual = oracle::attention<float>(problem);
    const auto expected = oracle::attention<Bounded>(problem);
    const auto check = [](const char* name, const Array<float>& got, const Array<Bounded>& bounds) {
      EXPECT_TRUE(allWithin(got.values, bounds.values)) << name;
    };
    check("output", actual.output, expected.output);
    check("log_sum_exp", actual.logSumExp, expected.logSumExp);
    check("max_score", actual.maxScore, expected.maxScore);
    check("entropy", actual.entropy, expected.entropy);
    check("key_weights", actual.keyWeights, expected.keyWeights);
    check("d_q", actual.dQ, expected.dQ);
    check("d_k", actual.dK, expected.dK);
    check("d_v", actual.dV, expected.dV);
    for (size_t i = 0; i < oracle::kAttentionParameters; ++i)
      check(oracle::kAttentionParameterNames[i], actual.dParameters[i], expected.dParameters[i]);
  }
}

}  // namespace
}  // namespace fk::test
