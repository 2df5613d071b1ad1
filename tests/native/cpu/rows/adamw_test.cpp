#include "cpu/rows/adamw.h"

#include "cpu/rows/row_test.h"

namespace fk::cpu {
namespace {

using namespace test;

class AdamWTest : public testing::TestWithParam<Isa> {
 protected:
  void step(const AdamWArguments& a, const Execution& execution = executionWith(2)) const {
    adamWKernelsFor(GetParam()).step(a, execution);
  }
};

fk_adamw_options defaults() {
  fk_adamw_options options;
  fk_adamw_options_init(&options);
  return options;
}

struct AdamWProblem {
  AdamWProblem(int64_t size, uint64_t seed)
      : random(seed),
        parameter(makeVector(size, 1, random)),
        gradient(makeVector(size, 1, random)),
        firstMoment(makeVector(size, 1, random, -0.1, 0.1)),
        secondMoment(makeVector(size, 1, random, 0, 0.1)) {}

  AdamWArguments arguments(const fk_adamw_options& options) {
    return {parameter, gradient, firstMoment, secondMoment, options};
  }

  Random random;
  StridedArray<float> parameter, gradient, firstMoment, secondMoment;
};

// Counted from adamw.cpp, in units of u = 2^-24 of each value's size, everything rounded once per operation, coefficients
// included: the scaled gradient 1; each moment's two terms at most 4 and 6, one more for their sum (which allWithin allows);
// the root half of the second moment's, and 3; the step 4 and what its operands carry; the decay 3.
struct Expected {
  std::vector<Bounded> parameter, firstMoment, secondMoment;

  Expected(const fk_adamw_options& o, const AdamWProblem& before) {
    const double u = kUnitRoundoff, step = static_cast<double>(o.step);
    const double correction1 = 1 - std::pow(static_cast<double>(o.beta1), step);
    for (int64_t i = 0; i < before.parameter.extent(0); ++i) {
      const double p = before.parameter(i), m = before.firstMoment(i), v = before.secondMoment(i);
      const double g = before.gradient(i);
      const oracle::AdamWState after = oracle::adamW(o, {p, m, v}, g);
      const double firstTerms = std::abs(o.beta1 * m) + std::abs((1 - o.beta1) * g * o.gradient_scale);
      const double correction2 = 1 - std::pow(static_cast<double>(o.beta2), step);
      const double denominator = std::sqrt(after.secondMoment / correction2) + o.epsilon;
      const double firstError = 4 * u * firstTerms, secondError = 6 * u * after.secondMoment;
      const double change = o.learning_rate / correction1 / denominator;  // per unit of the first moment
      firstMoment.push_back(Bounded::of(after.firstMoment, firstError));
      secondMoment.push_back(Bounded::of(after.secondMoment, secondError));
      const double changeError = std::abs(change) * (firstError + u * std::abs(after.firstMoment) * (1 + 3.5 + 3 + 4));
      parameter.push_back(Bounded::of(after.parameter, changeError + 3 * u * std::abs(p)));
    }
  }
};

TEST_P(AdamWTest, MatchesTheDefinition) {
  struct Case {
    float learningRate, beta1, beta2, epsilon, weightDecay, gradientScale;
    int64_t step;
  };
  const std::vector<Case> cases = {{1e-3f, 0.9f, 0.999f, 1e-8f, 0.01f, 1, 1},
                                   {3e-4f, 0.9f, 0.95f, 1e-6f, 0.1f, 0.125f, 10},
                                   {0.1f, 0, 0, 1e-3f, 0, 1, 3},
                                   {1e-2f, 0.5f, 0.9f, 0, 0.5f, -2, 100000},
                                   {0, 0.9f, 0.999f, 1e-8f, 0.01f, 1, 2},
                                   {-0.5f, 0.99f, 0.9999f, 1, 1, 3, 1000}};
  for (const Case& c : cases)
    for (int64_t size : kRowLengths) {
      fk_adamw_options options = defaults();
      options.learning_rate = c.learningRate;
      options.beta1 = c.beta1;
      options.beta2 = c.beta2;
      options.epsilon = c.epsilon;
      options.weight_decay = c.weightDecay;
      options.gradient_scale = c.gradientScale;
      options.step = c.step;
      AdamWProblem problem(size, 1);
      const Expected expected(options, problem);
      step(problem.arguments(options));
      EXPECT_TRUE(allWithin(problem.firstMoment.values(), expected.firstMoment)) << "step " << c.step << ", size " << size;
      EXPECT_TRUE(allWithin(problem.secondMoment.values(), expected.secondMoment)) << "step " << c.step << ", size " << size;
      EXPECT_TRUE(allWithin(problem.parameter.values(), expected.parameter)) << "step " << c.step << ", size " << size;
      EXPECT_TRUE(problem.parameter.canariesIntact() && problem.firstMoment.canariesIntact() &&
                  problem.secondMoment.canariesIntact());
    }
}

// The bias corrections cancel at the first step, whatever the betas: the step is the learning rate, against the gradient.
TEST_P(AdamWTest, FirstStepIsTheLearningRate) {
  fk_adamw_options options = defaults();
  options.weight_decay = 0;
  AdamWProblem problem(65, 2);
  for (auto* array : {&problem.parameter, &problem.firstMoment, &problem.secondMoment}) array->fill([] { return 0; });
  step(problem.arguments(options));
  for (int64_t i = 0; i < 65; ++i) {
    const double g = problem.gradient(i);
    // 1 - beta rounds to float, relative 2^-24, in both moments: 1.5 u, and the operations between.
    EXPECT_NEAR(problem.parameter(i), -1e-3 * g / (std::abs(g) + 1e-8), 1e-3 * 16 * kUnitRoundoff) << i;
  }
}

TEST_P(AdamWTest, ExtremeFiniteGradientsDoNotGiveNan) {
  for (float g : {3.4e38f, -3.4e38f, 1e-38f, 0.0f}) {
    float parameter = 1, first = -std::copysign(3.4e38f, g), second = 0;
    AdamWArguments a{{&parameter, 1, 1}, {&g, 1, 1}, {&first, 1, 1}, {&second, 1, 1}, defaults()};
    step(a);
    EXPECT_TRUE(std::isfinite(first)) << g;
    EXPECT_FALSE(std::isnan(parameter)) << g;
    EXPECT_FALSE(std::isnan(second)) << g;
  }
}

TEST_P(AdamWTest, NanStaysInItsPlace) {
  AdamWProblem clean(65, 3), problem(65, 3);
  problem.gradient(20) = kNan;
  step(clean.arguments(defaults()));
  step(problem.arguments(defaults()));
  for (int64_t i = 0; i < 65; ++i)
    EXPECT_TRUE(i == 20 ? std::isnan(problem.parameter(i)) : problem.parameter(i) == clean.parameter(i)) << i;
}

TEST_P(AdamWTest, SameBitsForAnyNumberOfThreads) {
  expectSameBitsOnAnyThreads([&](const Execution& execution) {
    AdamWProblem problem(100003, 4);
    step(problem.arguments(defaults()), execution);
    std::vector<float> all;
    for (const auto* output : {&problem.parameter, &problem.firstMoment, &problem.secondMoment}) append(all, *output);
    return all;
  });
}

TEST_P(AdamWTest, Cancels) {
  AdamWProblem problem(17, 5);
  expectCancellable([&](const Execution& execution) { step(problem.arguments(defaults()), execution); });
}

INSTANTIATE_TEST_SUITE_P(, AdamWTest, testing::ValuesIn(supportedIsas()), isaTestName);

}  // namespace
}  // namespace fk::cpu
