// Holds exp, log, tanh and sigmoid to the contracts that vector_math-inl.h states, over the whole range of float.
#include "cpu/engine/vector_math.h"

#include <limits>

#include "float_bits.h"
#include "support.h"

namespace fk::cpu {
namespace {

using test::bitsOf;
using test::floatOf;
using test::kInfinity;
using test::kNan;
using test::ulpsBetween;

constexpr float kExpFlushesToZeroBelow = -86.98f;
constexpr float kExpOverflowsAbove = 88.72283172607422f;

// Every 997th of the 2^32 bit patterns: each exponent, each sign, NaNs and infinities among them.
std::vector<float> strideThroughAllFloats() {
  std::vector<float> values;
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 997) values.push_back(floatOf(static_cast<uint32_t>(bits)));
  return values;
}

void addNeighbours(std::vector<float>& values, float center) {
  for (int64_t step = -2000; step <= 2000; ++step) values.push_back(floatOf(static_cast<uint32_t>(bitsOf(center) + step)));
}

// The strided floats, and all floats around the places where the algorithms change branch or have cancellation.
const std::vector<float>& sweep() {
  static const std::vector<float> values = [] {
    std::vector<float> all = strideThroughAllFloats();
    for (float edge : {0.0f,
                       -0.0f,
                       1.0f,
                       -1.0f,
                       0.625f,
                       -0.625f,
                       0.70710678f,
                       1.41421356f,
                       2.0f,
                       -87.0f,
                       -88.722839f,
                       -103.97f,
                       std::numeric_limits<float>::min(),
                       -std::numeric_limits<float>::min(),
                       std::numeric_limits<float>::max(),
                       -std::numeric_limits<float>::max(),
                       kInfinity,
                       -kInfinity,
                       kExpFlushesToZeroBelow,
                       kExpOverflowsAbove}) {
      addNeighbours(all, edge);
    }
    for (int n = -126; n <= 128; ++n) {  // where exp rounds x / ln 2 to the next integer
      addNeighbours(all, static_cast<float>((n + 0.5) * 0.69314718055994531));
    }
    return all;
  }();
  return values;
}

class VectorMathTest : public testing::TestWithParam<Isa> {
 protected:
  Isa isa() const { return GetParam(); }
  const VectorMathKernels& kernels() const { return vectorMathKernelsFor(isa()); }

  std::vector<float> apply(VectorMathKernels::Function function, const std::vector<float>& x) const {
    std::vector<float> y(x.size());
    function(x.data(), y.data(), static_cast<int64_t>(x.size()));
    return y;
  }

  float apply(VectorMathKernels::Function function, float x) const { return apply(function, std::vector<float>{x})[0]; }

  double expBound() const { return test::hasFma(isa()) ? 1 : 1.25; }
};

// The largest error in ulp among the inputs that `inDomain` accepts, and where.
struct Worst {
  double ulps = 0;
  float at = 0;

  void see(double exact, float actual, float x) {
    const double distance = ulpsBetween(exact, actual);
    if (distance <= ulps) return;
    ulps = distance;
    at = x;
  }
};

TEST_P(VectorMathTest, ExpOverTheWholeRange) {
  const std::vector<float>& x = sweep();
  const std::vector<float> y = apply(kernels().exp, x);
  Worst worst;
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i])) {
      ASSERT_TRUE(std::isnan(y[i])) << "exp of the NaN with bits " << bitsOf(x[i]) << " is " << y[i];
    } else if (x[i] < kExpFlushesToZeroBelow) {
      ASSERT_EQ(bitsOf(y[i]), bitsOf(0.0f)) << x[i];
    } else if (x[i] > kExpOverflowsAbove) {
      ASSERT_EQ(y[i], kInfinity) << x[i];
    } else {
      worst.see(std::exp(static_cast<double>(x[i])), y[i], x[i]);
    }
  }
  EXPECT_LE(worst.ulps, expBound()) << "at " << worst.at;
}

TEST_P(VectorMathTest, ExpBelowOverflowIsExpWhereItIsDefined) {
  std::vector<float> x;
  for (float value : sweep()) {
    if (!(value > kExpOverflowsAbove)) x.push_back(value);
  }
  EXPECT_TRUE(test::sameBits(apply(kernels().exp, x), apply(kernels().expBelowOverflow, x)));
}

TEST_P(VectorMathTest, ExpOfSpecialValues) {
  EXPECT_EQ(apply(kernels().exp, 0.0f), 1.0f);
  EXPECT_EQ(apply(kernels().exp, -0.0f), 1.0f);
  EXPECT_EQ(bitsOf(apply(kernels().exp, -kInfinity)), bitsOf(0.0f));
  EXPECT_EQ(apply(kernels().exp, kInfinity), kInfinity);
  EXPECT_LT(apply(kernels().exp, kExpOverflowsAbove), kInfinity);
  EXPECT_EQ(apply(kernels().exp, std::nextafter(kExpOverflowsAbove, kInfinity)), kInfinity);
}

TEST_P(VectorMathTest, SigmoidOverTheWholeRange) {
  const std::vector<float>& x = sweep();
  const std::vector<float> y = apply(kernels().sigmoid, x);
  Worst worst;
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i])) {
      ASSERT_TRUE(std::isnan(y[i]));
      continue;
    }
    const double exact = 1 / (1 + std::exp(-static_cast<double>(x[i])));
    if (x[i] >= -87) {
      worst.see(exact, y[i], x[i]);
    } else {  // flushed, or subnormal
      ASSERT_GE(y[i], 0) << x[i];
      ASSERT_LE(std::fabs(y[i] - exact), std::numeric_limits<float>::min()) << x[i];
    }
  }
  EXPECT_LE(worst.ulps, 3) << "at " << worst.at;
}

// Subnormal arguments may come out as themselves or as 0, which is within a subnormal of the exact value.
TEST_P(VectorMathTest, TanhOverTheWholeRange) {
  const std::vector<float>& x = sweep();
  const std::vector<float> y = apply(kernels().tanh, x);
  Worst worst;
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i])) {
      ASSERT_TRUE(std::isnan(y[i]));
    } else if (std::fabs(x[i]) < std::numeric_limits<float>::min()) {
      ASSERT_LE(std::fabs(y[i] - x[i]), std::numeric_limits<float>::min()) << x[i];
    } else {
      ASSERT_EQ(std::signbit(y[i]), std::signbit(x[i])) << x[i];
      ASSERT_LE(std::fabs(y[i]), 1) << x[i];
      worst.see(std::tanh(static_cast<double>(x[i])), y[i], x[i]);
    }
  }
  EXPECT_LE(worst.ulps, 3) << "at " << worst.at;
  EXPECT_EQ(apply(kernels().tanh, kInfinity), 1.0f);
  EXPECT_EQ(apply(kernels().tanh, -kInfinity), -1.0f);
}

TEST_P(VectorMathTest, LogOverTheWholeRange) {
  const std::vector<float>& x = sweep();
  const std::vector<float> y = apply(kernels().log, x);
  Worst worst;
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i]) || x[i] < 0) {
      ASSERT_TRUE(std::isnan(y[i])) << x[i];
    } else if (x[i] == 0 || x[i] == kInfinity) {
      ASSERT_EQ(y[i], x[i] == 0 ? -kInfinity : kInfinity);
    } else {
      worst.see(std::log(static_cast<double>(x[i])), y[i], x[i]);
    }
  }
  EXPECT_LE(worst.ulps, 1) << "at " << worst.at;
  EXPECT_EQ(bitsOf(apply(kernels().log, 1.0f)), bitsOf(0.0f));
}

// A softmax over equal scores is exactly uniform only if no lane and no tail rounds differently.
TEST_P(VectorMathTest, ResultsDoNotDependOnThePlaceInTheArray) {
  for (auto function : {kernels().exp, kernels().expBelowOverflow, kernels().sigmoid, kernels().tanh, kernels().log}) {
    for (float value : {-0.3f, -17.77f, 0.9f, 3.1f, kNan}) {
      const float alone = apply(function, value);
      EXPECT_TRUE(test::sameBits(apply(function, std::vector<float>(67, value)), std::vector<float>(67, alone))) << value;
    }
  }
}

TEST_P(VectorMathTest, WorksInPlaceAndLeavesTheRestAlone) {
  test::Random random(1);
  for (int64_t count : {0, 1, 2, 3, 17, 63, 65, 129}) {
    std::vector<float> x(static_cast<size_t>(count));
    for (float& value : x) value = static_cast<float>(random.uniform(-1, 1));
    std::vector<float> expected = apply(kernels().exp, x);
    std::vector<float> inPlace = x;
    inPlace.push_back(42);
    expected.push_back(42);
    kernels().exp(inPlace.data(), inPlace.data(), count);
    EXPECT_TRUE(test::sameBits(inPlace, expected)) << count;
  }
}

TEST_P(VectorMathTest, TheTableIsTheOneOfItsInstructionSet) {
  const int lanes = isa() == Isa::kScalar ? 1 : isa() == Isa::kAvx512 ? 16 : isa() == Isa::kAvx2 ? 8 : 4;
  EXPECT_EQ(kernels().lanes, lanes);
}

INSTANTIATE_TEST_SUITE_P(, VectorMathTest, testing::ValuesIn(test::supportedIsas()), test::isaTestName);

}  // namespace
}  // namespace fk::cpu
