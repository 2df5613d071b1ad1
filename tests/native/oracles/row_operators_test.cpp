// The row oracles' own gradients against central differences of their own forward pass, and facts that need no formula.
#include "oracles/row_operators.h"

#include <numeric>

#include "oracles/finite_differences.h"
#include "support.h"

namespace fk::test {
namespace {

using oracle::Dense;

std::vector<double> randomVector(int64_t size, Random& random) {
  std::vector<double> result(static_cast<size_t>(size));
  for (double& value : result) value = random.uniform(-1, 1);
  return result;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

TEST(RowOracles, RmsNormGradientIsTheDerivativeOfItsOutput) {
  Random random(1);
  oracle::RmsNorm problem{{4, 5, randomVector(20, random)}, randomVector(5, random), 1e-2, {4, 5, randomVector(20, random)}};
  std::vector<double> inverseRms;
  for (int64_t n = 0; n < 4; ++n) inverseRms.push_back(oracle::inverseRms(problem, n));
  const auto gradient = oracle::rmsNormGradient(problem, inverseRms);
  const auto weightedOutput = [&] { return dot(oracle::rmsNorm(problem).values, problem.dY.values); };
  expectGradient(problem.x.values, gradient.dX.values, weightedOutput);
  expectGradient(problem.weight, gradient.dWeight, weightedOutput);
}

TEST(RowOracles, SwigluGradientIsTheDerivativeOfItsOutput) {
  for (double gate : {-9.0, -1.2784645, -0.3, 0.0, 0.7, 2.4, 9.0}) {
    std::vector<double> arguments = {gate, 0.8};
    const auto gradient = oracle::swigluGradient(gate, 0.8, 1.5);
    expectGradient(arguments, {gradient.dGate, gradient.dUp},
                   [&] { return 1.5 * oracle::swiglu(arguments[0], arguments[1]); });
  }
}

// The rotation is linear and orthogonal, so its transpose, which the backward pass needs, is the inverse rotation.
TEST(RowOracles, InverseRotationIsTheGradientOfTheRotation) {
  for (bool interleaved : {false, true}) {
    Random random(2);
    std::vector<double> head = randomVector(8, random);
    const std::vector<double> upstream = randomVector(8, random);
    std::vector<double> gradient = upstream;
    oracle::rotate({interleaved, true, 6}, 3, gradient);
    expectGradient(head, gradient, [&] {
      std::vector<double> rotated = head;
      oracle::rotate({interleaved, false, 6}, 3, rotated);
      return dot(rotated, upstream);
    });
  }
}

TEST(RowOracles, RotationsOfOneRadianPerPosition) {
  std::vector<double> head = {1, 0};
  oracle::rotate({false, false, 2}, 2, head);
  EXPECT_DOUBLE_EQ(head[0], std::cos(2.0));
  EXPECT_DOUBLE_EQ(head[1], std::sin(2.0));
}

TEST(RowOracles, SoftmaxCrossEntropyGradientIsTheDerivativeOfItsLoss) {
  Random random(3);
  std::vector<double> logits = randomVector(7, random);
  for (int64_t target : {0, 3, 6}) {
    const auto result = oracle::softmaxCrossEntropy(logits, target);
    expectGradient(logits, result.gradient, [&] { return oracle::softmaxCrossEntropy(logits, target).loss; });
  }
}

}  // namespace
}  // namespace fk::test
