// The merge on arrays of its own: types, strides, parts that saw nothing, and scores at any level.
#include "abi/calls.h"
#include "abi/expect_error.h"
#include "tolerance.h"

namespace fk::test {
namespace {

class AttentionMergeParts : public testing::TestWithParam<Isa> {};

struct MergeProblem {
  MergeProblem(int64_t parts, Storage storage, uint64_t seed)
      : outputs({parts, 2, 5, 3, 19}, {2 * 5 * 3 * 21 + 1, 5 * 3 * 21, 21, 5 * 21, 1}),
        logSumExps({parts, 2, 3, 5}, {1, 15 * parts, 5 * parts, parts}),
        output(floatArray(storage, {2, 5, 3, 19}, {19 * 3 * 5, 19, 19 * 5, 1})),
        logSumExp({2, 3, 5}, {1, 2, 6}) {
    Random random(seed);
    outputs.fill([&] { return random.uniform(-1, 1); });
    logSumExps.fill([&] { return random.chance(0.2) ? -kInfinity : random.uniform(-5, 5); });
    for (int64_t p = 0; p < parts; ++p) logSumExps(p, 1, 2, 3) = -kInfinity;  // a row that saw nothing anywhere
  }

  fk_status run(fk_context* context, bool keepsLogSumExp = true) {
    DLTensor parts = outputs.tensor(), scores = logSumExps.tensor(), merged = output.tensor(), total = logSumExp.tensor();
    return fk_attention_merge(context, &parts, &scores, &merged, keepsLogSumExp ? &total : nullptr);
  }
  bool sameBitsAs(const MergeProblem& other) const {
    return sameBits(output.values(), other.output.values()) && sameBits(logSumExp.values(), other.logSumExp.values());
  }

  StridedArray<float> outputs, logSumExps;
  FloatArray output;
  StridedArray<float> logSumExp;
};

TEST_P(AttentionMergeParts, MatchesTheDefinition) {
  for (const int64_t parts : {0, 1, 2, 17})
    for (const auto& [storage, roundoff] : {std::pair{Storage::kFloat32, kFloat32Roundoff},
                                            {Storage::kBFloat16, kBFloat16Roundoff},
                                            {Storage::kFloat16, kFloat16Roundoff}}) {
      const MergeProblem problem(parts, storage, 1);
      const MergeProblem after = onAnyThreads(GetParam(), [&](fk_context* context) {
        MergeProblem copy = problem;
        EXPECT_EQ(copy.run(context), FK_OK) << fk_last_error();
        return copy;
      });
      std::vector<Bounded> output, logSumExp(30);
      for (int64_t b = 0; b < 2; ++b)
        for (int64_t i = 0; i < 5; ++i)
          for (int64_t h = 0; h < 3; ++h) {
            std::vector<Bounded> scores;
            for (int64_t p = 0; p < parts; ++p) scores.push_back(problem.logSumExps(p, b, h, i));
            const Bounded shift = exactly(largestOf(scores));
            std::vector<Bounded> row(19, Bounded(0));
            Bounded total = 0;
            for (int64_t p = 0; p < parts; ++p) {
              const auto score = scores[static_cast<size_t>(p)];
              if (std::isinf(score.value)) continue;
              const Bounded weight = exp(score - shift);
              total += weight;
              for (int64_t d = 0; d < 19; ++d)
                row[static_cast<size_t>(d)] += weight * Bounded(problem.outputs(p, b, i, h, d));
            }
            for (Bounded& element : row) output.push_back(total.value == 0 ? Bounded(0) : element / total);
            logSumExp[static_cast<size_t>((b * 3 + h) * 5 + i)] =
                total.value == 0 ? Bounded(-kInfinity) : shift + log(total);
          }
      EXPECT_TRUE(allWithin(after.output.values(), output, roundoff)) << parts << " parts";
      EXPECT_TRUE(allWithin(after.logSumExp.values(), logSumExp)) << parts << " parts";
      EXPECT_TRUE(after.output.canariesIntact() && after.logSumExp.canariesIntact());
    }
}

// The parts' outputs do not matter where they saw nothing, and the log-sum-exp need not be asked for.
TEST_P(AttentionMergeParts, PartsThatSawNothingMayHoldAnything) {
  MergeProblem problem(3, Storage::kFloat32, 2), other = problem;
  for (int64_t p = 0; p < 3; ++p) other.outputs(p, 1, 3, 2, 4) = kNan;
  ASSERT_EQ(problem.run(contextFor(GetParam(), 1)), FK_OK) << fk_last_error();
  ASSERT_EQ(other.run(contextFor(GetParam(), 1), false), FK_OK) << fk_last_error();
  EXPECT_TRUE(sameBits(other.output.values(), problem.output.values()));
  EXPECT_EQ(other.output.at(1, 3, 2, 4), 0);
}

// A part holds all the weight, at any level of the scores.
TEST_P(AttentionMergeParts, FarApart) {
  for (const float level : {-1e30f, -1000.0f, 1000.0f, 1e30f}) {
    MergeProblem problem(2, Storage::kFloat32, 3);
    problem.logSumExps.fill([] { return -1e38f; });
    for (int64_t i = 0; i < 5; ++i) problem.logSumExps(1, 0, 0, i) = level;
    ASSERT_EQ(problem.run(contextFor(GetParam(), 1)), FK_OK) << fk_last_error();
    for (int64_t i = 0; i < 5; ++i) {
      EXPECT_EQ(problem.output.at(0, i, 0, 7), problem.outputs(1, 0, i, 0, 7));
      EXPECT_EQ(problem.logSumExp(0, 0, i), level);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, AttentionMergeParts, testing::ValuesIn(supportedIsas()), isaTestName);

}  // namespace
}  // namespace fk::test
