// The oracles' own gradients against central differences of their own forward pass, in double.
#include "oracles/cut_cross_entropy.h"
#include "oracles/finite_differences.h"
#include "oracles/gemm.h"
#include "oracles/siglip.h"
#include "support.h"
#include "tolerance.h"

namespace fk::test {
namespace {

using oracle::Dense;

Dense<double> randomDense(int64_t rows, int64_t columns, Random& random) {
  Dense<double> result(rows, columns);
  for (double& value : result.values) value = random.uniform(-1, 1);
  return result;
}

TEST(Oracles, GemmOfIntegers) {
  const Dense<double> a(2, 3, std::vector<int>{1, 2, 3, 4, 5, 6});
  const Dense<double> b(3, 2, std::vector<int>{7, 8, 9, 10, 11, 12});
  const Dense<double> c(2, 2, std::vector<int>{1, 2, 3, 4});
  EXPECT_EQ(oracle::gemm<double>(2, a, b, 3, c).values, (std::vector<double>{119, 134, 287, 320}));
}

TEST(Oracles, SiglipGradientIsTheDerivativeOfItsLoss) {
  Random random(5);
  Dense<double> x = randomDense(4, 3, random), y = randomDense(6, 3, random);
  const auto loss = [&] { return oracle::siglip<double>(x, y, 2.5, -0.7).loss; };
  const auto gradient = oracle::siglip<double>(x, y, 2.5, -0.7);
  expectGradient(x.values, gradient.dX.values, loss);
  expectGradient(y.values, gradient.dY.values, loss);
}

// The error analysis has to hold for float32 arithmetic (else it refuses correct kernels) and to be tight enough that a
// missing term shows.
TEST(Tolerance, BoundsFloatSumsAndNoticesAMissingTerm) {
  Random random(3);
  for (int64_t n : {1, 2, 17, 256, 257, 1000}) {
    for (int repeat = 0; repeat < 20; ++repeat) {
      float sum = 0, last = 0;
      Bounded expected = 0;
      for (int64_t i = 0; i < n; ++i) {
        const auto a = static_cast<float>(random.uniform(0.5, 1)), b = static_cast<float>(random.uniform(-1, 1));
        last = a * b;
        sum += last;
        expected += Bounded(a) * Bounded(b);
      }
      EXPECT_TRUE(isWithin(sum, expected));
      if (std::abs(last) > 0.05f) {
        EXPECT_FALSE(isWithin(sum - last, expected)) << n << " terms";
      }
    }
  }
}

TEST(Tolerance, BoundsFloatLogSumExp) {
  Random random(4);
  for (double range : {1.0, 30.0, 1e4}) {
    std::vector<Bounded> scores;
    float maximum = -kInfinity, sum = 0;
    for (int i = 0; i < 100; ++i) scores.push_back(static_cast<float>(random.uniform(-range, range)));
    for (const Bounded& s : scores) maximum = std::max(maximum, static_cast<float>(s.value));
    for (const Bounded& s : scores) sum += std::exp(static_cast<float>(s.value) - maximum);
    const Bounded expected = oracle::logSumExp(scores);
    EXPECT_TRUE(isWithin(maximum + std::log(sum), expected));
    EXPECT_LT(expected.error(), 1e-5 + 1e-6 * range);
  }
}

TEST(Tolerance, MeetsNanAndInfinityAsSuch) {
  EXPECT_TRUE(isWithin(kNan, Bounded(kNan)));
  EXPECT_FALSE(isWithin(0, Bounded(kNan)));
  EXPECT_FALSE(isWithin(kNan, Bounded(0)));
  EXPECT_TRUE(isWithin(-kInfinity, Bounded(-kInfinity)));
  EXPECT_FALSE(isWithin(kInfinity, Bounded(1e30)));
}

}  // namespace
}  // namespace fk::test
