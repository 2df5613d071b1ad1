#include "cpu/rows/rotary_table.h"

#include "cpu/rows/row_test.h"

namespace fk::cpu {
namespace {

using namespace test;

class RotaryTableTest : public testing::TestWithParam<Isa> {
 protected:
  void run(const RotaryTableArguments& a, const Execution& execution = executionWith(3)) const {
    const RotaryTableKernels& kernels = rotaryTableKernelsFor(GetParam());
    runKernel(kernels.workspaceBytes, kernels.run, a, execution);
  }
};

// As the operator's: off by at most 2^-22 of the absolute sum of the pair, and what does not rotate is copied.
std::vector<Bounded> expectedOf(const RotaryTableArguments& a) {
  const oracle::RotaryEmbedding oracle{a.interleaved, a.inverse, a.dims, a.base};
  std::vector<Bounded> result;
  for (int64_t r = 0; r < a.x.rows; ++r) {
    const std::vector<double> row(a.x.row(r), a.x.row(r) + a.x.columns);
    std::vector<double> rotated = row;
    oracle::rotate(oracle, static_cast<double>(a.first + r * a.step), rotated);
    for (int64_t i = 0; i < a.x.columns; ++i) {
      const int64_t partner = a.interleaved ? (i ^ 1) : (i < a.dims / 2 ? i + a.dims / 2 : i - a.dims / 2);
      const auto at = static_cast<size_t>(i);
      result.push_back(
          i < a.dims ? Bounded::of(rotated[at], 0x1p-22 * (std::abs(row[at]) + std::abs(row[static_cast<size_t>(partner)])))
                     : Bounded(row[at]));
    }
  }
  return result;
}

TEST_P(RotaryTableTest, MatchesTheDefinition) {
  Random random(1);
  for (const auto& [dim, dims] :
       std::vector<std::pair<int64_t, int64_t>>{{1, 0}, {2, 2}, {7, 6}, {34, 34}, {64, 64}, {130, 126}, {512, 512}})
    for (int64_t first : {0, -70, 63, 1000000, 99999000})
      for (int64_t step : {1, 37})
        for (int variant = 0; variant < 4; ++variant) {
          StridedArray<float> x = makeMatrix(9, dim, {.gap = 3}, random), y = makeMatrix(9, dim, {.gap = 1});
          const RotaryTableArguments a{.x = x,
                                       .y = y,
                                       .dims = dims,
                                       .interleaved = variant % 2 == 1,
                                       .inverse = variant >= 2,
                                       .first = first,
                                       .step = step};
          run(a);
          EXPECT_TRUE(allWithin(y.values(), expectedOf(a))) << dim << ", " << dims << " rotate, from " << first;
          EXPECT_TRUE(y.canariesIntact());
        }
}

// A chunk of a sequence rotates as the whole of it does.
TEST_P(RotaryTableTest, BitsDoNotDependOnTheRangeOrTheThreads) {
  Random random(2);
  StridedArray<float> x = makeMatrix(130, 20, {}, random), y = makeMatrix(130, 20), wide = makeMatrix(130, 20);
  run({.x = x, .y = y, .dims = 20, .first = -5}, executionWith(1));
  run({.x = x, .y = wide, .dims = 20, .first = -5, .before = 100, .behind = 77});
  EXPECT_TRUE(sameBits(y.values(), wide.values()));
}

TEST_P(RotaryTableTest, InPlace) {
  Random random(3);
  for (bool interleaved : {false, true}) {
    StridedArray<float> x = makeMatrix(5, 37, {.gap = 2}, random), y = makeMatrix(5, 37);
    run({.x = x, .y = y, .dims = 34, .interleaved = interleaved, .first = 3});
    run({.x = x, .y = x, .dims = 34, .interleaved = interleaved, .first = 3});
    EXPECT_TRUE(sameBits(x.values(), y.values()));
    EXPECT_TRUE(x.canariesIntact());
  }
}

TEST_P(RotaryTableTest, Cancels) {
  Random random(4);
  StridedArray<float> x = makeMatrix(5, 6, {}, random);
  expectCancellable([&](const Execution& execution) { run({.x = x, .y = x, .dims = 6}, execution); });
}

INSTANTIATE_TEST_SUITE_P(, RotaryTableTest, testing::ValuesIn(supportedIsas()), isaTestName);

}  // namespace
}  // namespace fk::cpu
