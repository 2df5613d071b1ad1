#include "cpu/rows/rms_norm.h"

#include "cpu/rows/row_test.h"

namespace fk::cpu {
namespace {

using namespace test;

// inverseRms, dX and dWeight are sums in double, rounded once: beyond that rounding, which allWithin allows, their terms
// carry n 2^-53 with n below 2000.
constexpr double kDoubleSumError = 1e-12;

class RmsNormTest : public testing::TestWithParam<Isa> {
 protected:
  const RmsNormKernels& kernels() const { return rmsNormKernelsFor(GetParam()); }

  void forward(const RmsNormArguments& a, const Execution& execution = executionWith(2)) const {
    runKernel(kernels().forwardBytes, kernels().forward, a, execution);
  }
  void backward(const RmsNormArguments& a, const Execution& execution = executionWith(2)) const {
    runKernel(kernels().backwardBytes, kernels().backward, a, execution);
  }

  // y of one row with all weights 1.
  std::vector<float> normalise(const std::vector<float>& row, float epsilon, float* inverseRms = nullptr) const {
    const auto size = static_cast<int64_t>(row.size());
    std::vector<float> weight(row.size(), 1), y(row.size());
    float inverse;
    RmsNormArguments a;
    a.x = {row.data(), 1, size, size, 1};
    a.weight = {weight.data(), size, 1};
    a.y = {y.data(), 1, size, size, 1};
    a.inverseRms = {&inverse, 1, 1};
    a.epsilon = epsilon;
    forward(a);
    if (inverseRms) *inverseRms = inverse;
    return y;
  }
};

struct RmsNormProblem {
  RmsNormProblem(int64_t rows, int64_t dim, const MatrixLayout& layout, uint64_t seed)
      : random(seed),
        x(makeMatrix(rows, dim, layout, random)),
        dY(makeMatrix(rows, dim, layout, random)),
        weight(makeVector(dim, layout.gap + 1, random)),
        y(makeMatrix(rows, dim, layout)),
        dX(makeMatrix(rows, dim, layout)),
        inverseRms({rows}, {layout.gap + 1}),
        dWeight({dim}, {layout.reversed ? -2 : layout.gap + 1}) {}

  RmsNormArguments arguments() {
    return {.x = x,
            .weight = weight,
            .epsilon = 1e-5f,
            .y = y,
            .inverseRms = inverseRms,
            .savedInverseRms = inverseRms,
            .dY = dY,
            .dX = dX,
            .dWeight = dWeight};
  }
  oracle::RmsNorm oracle() const { return {dense(x), doubles(weight.values()), 1e-5f, dense(dY)}; }

  Random random;
  StridedArray<float> x, dY, weight, y, dX, inverseRms, dWeight;
};

TEST_P(RmsNormTest, ForwardMatchesTheDefinition) {
  for (int64_t rows : kRowCounts)
    for (int64_t dim : kRowLengths)
      for (const MatrixLayout& layout : kRowLayouts) {
        RmsNormProblem problem(rows, dim, layout, 1);
        forward(problem.arguments());
        if (dim == 0) continue;
        const oracle::RmsNorm oracle = problem.oracle();
        std::vector<double> inverse;
        for (int64_t n = 0; n < rows; ++n) inverse.push_back(oracle::inverseRms(oracle, n));
        const std::vector<double> y = oracle::rmsNorm(oracle).values;
        EXPECT_TRUE(allWithin(problem.inverseRms.values(),
                              bounded(inverse, [&](size_t i) { return kDoubleSumError * inverse[i]; })));
        // inverseRms and the product with x round too
        EXPECT_TRUE(
            allWithin(problem.y.values(), bounded(y, [&](size_t i) { return 2.001 * kUnitRoundoff * std::abs(y[i]); })))
            << rows << " x " << dim << " " << describe(layout);
        EXPECT_TRUE(problem.y.canariesIntact() && problem.inverseRms.canariesIntact());
      }
}

TEST_P(RmsNormTest, BackwardMatchesTheDefinition) {
  for (int64_t rows : kRowCounts)
    for (int64_t dim : kRowLengths)
      for (const MatrixLayout& layout : kRowLayouts) {
        RmsNormProblem problem(rows, dim, layout, 2);
        forward(problem.arguments());
        backward(problem.arguments());
        const auto expected = oracle::rmsNormGradient(problem.oracle(), doubles(problem.inverseRms.values()));
        EXPECT_TRUE(
            allWithin(problem.dX.values(),
                      bounded(expected.dX.values, [&](size_t i) { return kDoubleSumError * expected.dXTerms.values[i]; })))
            << rows << " x " << dim << " " << describe(layout);
        EXPECT_TRUE(
            allWithin(problem.dWeight.values(),
                      bounded(expected.dWeight, [&](size_t i) { return kDoubleSumError * expected.dWeightTerms[i]; })))
            << rows << " x " << dim << " " << describe(layout);
        EXPECT_TRUE(problem.dX.canariesIntact() && problem.dWeight.canariesIntact());
      }
}

TEST_P(RmsNormTest, GradientsAreOptional) {
  RmsNormProblem whole(17, 65, {}, 3), onlyX(17, 65, {}, 3), onlyWeight(17, 65, {}, 3);
  forward(whole.arguments());
  backward(whole.arguments());
  RmsNormArguments a = onlyX.arguments();
  forward(a);
  a.dWeight = {};
  backward(a);
  EXPECT_TRUE(sameBits(onlyX.dX.values(), whole.dX.values()));
  a = onlyWeight.arguments();
  forward(a);
  a.dX = {};
  backward(a);
  EXPECT_TRUE(sameBits(onlyWeight.dWeight.values(), whole.dWeight.values()));
}

TEST_P(RmsNormTest, InPlace) {
  RmsNormProblem apart(17, 65, {}, 4), inPlace(17, 65, {}, 4);
  forward(apart.arguments());
  backward(apart.arguments());
  RmsNormArguments a = inPlace.arguments();
  forward(a);
  a.dX = inPlace.dY;
  backward(a);
  EXPECT_TRUE(sameBits(inPlace.dY.values(), apart.dX.values()));
  EXPECT_TRUE(sameBits(inPlace.dWeight.values(), apart.dWeight.values()));
  a.y = inPlace.x;
  forward(a);
  EXPECT_TRUE(sameBits(inPlace.x.values(), apart.y.values()));
}

TEST_P(RmsNormTest, SameBitsForAnyNumberOfThreads) {
  // 700 rows make 6 blocks of dWeight partials, and 3000 short ones are cut into the most that there are, 64.
  for (auto [rows, dim] : {std::pair{700, 129}, std::pair{3000, 5}}) {
    expectSameBitsOnAnyThreads([&, rows = rows, dim = dim](const Execution& execution) {
      RmsNormProblem problem(rows, dim, {}, 5);
      forward(problem.arguments(), execution);
      backward(problem.arguments(), execution);
      std::vector<float> all;
      for (const auto* output : {&problem.y, &problem.inverseRms, &problem.dX, &problem.dWeight}) append(all, *output);
      return all;
    });
  }
}

TEST_P(RmsNormTest, HugeAndTinyRowsDoNotOverflow) {
  // Squares of these leave the floats, the result does not.
  for (float size : {3e38f, 1e25f, 1e-25f}) {
    const std::vector<float> y = normalise({size, -size, size, size}, 0);
    for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(y[i], i == 1 ? -1 : 1, 1e-5) << size;  // inverse_rms may be subnormal
  }
}

TEST_P(RmsNormTest, BackwardOfHugeGradientsIsFiniteWhereTheMathematicsIs) {
  const std::vector<float> x = {1e30f, 2e30f, -1e30f}, weight(3, 1e20f), dY = {1e25f, -1e25f, 1e24f};
  std::vector<float> dX(3), dWeight(3);
  const float inverseRms = static_cast<float>(1 / std::sqrt(2e60));
  RmsNormArguments a;
  a.x = {x.data(), 1, 3, 3, 1};
  a.weight = {weight.data(), 3, 1};
  a.savedInverseRms = {&inverseRms, 1, 1};
  a.dY = {dY.data(), 1, 3, 3, 1};
  a.dX = {dX.data(), 1, 3, 3, 1};
  a.dWeight = {dWeight.data(), 3, 1};
  backward(a);
  const auto expected =
      oracle::rmsNormGradient({{1, 3, x}, doubles(weight), 0, {1, 3, dY}}, {static_cast<double>(inverseRms)});
  EXPECT_TRUE(allWithin(dX, bounded(expected.dX.values, [&](size_t i) { return 1e-12 * expected.dXTerms.values[i]; })));
  EXPECT_TRUE(allWithin(dWeight, bounded(expected.dWeight, [&](size_t i) { return 1e-12 * expected.dWeightTerms[i]; })));
}

TEST_P(RmsNormTest, ZeroRowsGiveZeros) {
  float inverseRms;
  for (float epsilon : {0.0f, 1e-6f}) {
    EXPECT_TRUE(sameBits(normalise({0, 0, 0}, epsilon, &inverseRms), {0, 0, 0}));
    EXPECT_TRUE(std::isfinite(inverseRms));
  }
}

TEST_P(RmsNormTest, NanAndInfinityStayInTheirRow) {
  RmsNormProblem clean(3, 65, {}, 6), problem(3, 65, {}, 6);
  forward(clean.arguments());
  problem.x(0, 7) = kNan;
  problem.x(2, 64) = kInfinity;
  forward(problem.arguments());
  for (int64_t i = 0; i < 65; ++i) {
    EXPECT_TRUE(std::isnan(problem.y(0, i)));
    EXPECT_EQ(problem.y(1, i), clean.y(1, i));
    EXPECT_TRUE(i == 64 ? std::isnan(problem.y(2, i)) : problem.y(2, i) == 0) << i;
  }
}

TEST_P(RmsNormTest, Cancels) {
  RmsNormProblem problem(3, 17, {}, 7);
  forward(problem.arguments());
  expectCancellable([&](const Execution& execution) { forward(problem.arguments(), execution); });
  expectCancellable([&](const Execution& execution) { backward(problem.arguments(), execution); });
}

INSTANTIATE_TEST_SUITE_P(, RmsNormTest, testing::ValuesIn(supportedIsas()), isaTestName);

}  // namespace
}  // namespace fk::cpu
