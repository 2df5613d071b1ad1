#include "cpu/loss/softmax_cross_entropy.h"

#include "cpu/rows/row_test.h"

namespace fk::cpu {
namespace {

using namespace test;

constexpr double kFlushed = 0x1p-125;  // exp() of the kernels is 0 below

struct SoftmaxProblem {
  SoftmaxProblem(int64_t rows, int64_t classes, const MatrixLayout& layout, fk_reduction reduction, double range,
                 uint64_t seed)
      : reduction(reduction),
        random(seed),
        logits(makeMatrix(rows, classes, layout, random, -range, range)),
        targets({rows}, {layout.gap + 1}),
        loss({reduction == FK_REDUCTION_NONE ? rows : 1}, {layout.reversed ? -3 : 1}) {
    targets.fill([&] { return random.chance(0.2) || classes == 0 ? -100 : random.between(0, classes - 1); });
  }

  SoftmaxCrossEntropyArguments arguments() {
    return {.logits = logits,
            .targets = targets,
            .hasIgnoreIndex = true,
            .ignoreIndex = -100,
            .reduction = reduction,
            .loss = loss};
  }

  fk_reduction reduction;
  Random random;
  StridedArray<float> logits;
  StridedArray<int64_t> targets;
  StridedArray<float> loss;
};

// With E = (1.25 + |x| / 2) ulp for an exponential at distance x from the maximum, as softmax_cross_entropy.cpp states,
// and the weighted mean of E for their sum, which is in double: V 2^-53 is what the target's gradient and the loss lose when
// the target's own exponential goes in and out of it. Small exponentials count as 0.
struct Expected {
  std::vector<Bounded> gradient, loss;

  explicit Expected(const SoftmaxProblem& problem) {
    const int64_t rows = problem.logits.extent(0), classes = problem.logits.extent(1);
    int64_t counted = 0;
    for (int64_t n = 0; n < rows; ++n) counted += problem.targets(n) != -100;
    const double weight = problem.reduction == FK_REDUCTION_MEAN && counted > 0 ? 1.0 / static_cast<double>(counted) : 1;
    double total = 0, totalError = 0;
    for (int64_t n = 0; n < rows; ++n) {
      double rowLoss = 0, rowError = 0;
      if (problem.targets(n) == -100) {
        gradient.insert(gradient.end(), static_cast<size_t>(classes), Bounded(0));
      } else {
        std::vector<double> logits;
        for (int64_t v = 0; v < classes; ++v) logits.push_back(problem.logits(n, v));
        rowLoss = addRow(logits, problem.targets(n), weight, rowError);
      }
      total += weight * rowLoss;
      totalError += weight * rowError;
      if (problem.reduction == FK_REDUCTION_NONE) loss.push_back(Bounded::of(rowLoss, rowError));
    }
    if (problem.reduction != FK_REDUCTION_NONE) loss.push_back(Bounded::of(total, totalError));
  }

  double addRow(const std::vector<double>& logits, int64_t target, double weight, double& lossError) {
    const oracle::SoftmaxCrossEntropy row = oracle::softmaxCrossEntropy(logits, target);
    const double maximum = *std::max_element(logits.begin(), logits.end());
    const auto expError = [&](size_t v) { return 2 * kUnitRoundoff * (1.25 + (maximum - logits[v]) / 2); };
    const double doubleSumError = static_cast<double>(logits.size()) * 0x1p-53;
    double sumError = doubleSumError, othersError = doubleSumError;
    for (size_t v = 0; v < logits.size(); ++v) {
      const bool isTarget = static_cast<int64_t>(v) == target;
      const double probability = isTarget ? 1 + row.gradient[v] : row.gradient[v];
      sumError += probability * expError(v) + kFlushed;
      if (!isTarget) othersError += probability * expError(v) + kFlushed;
    }
    for (size_t v = 0; v < logits.size(); ++v) {
      const double g = std::abs(row.gradient[v]);
      const double own = static_cast<int64_t>(v) == target ? othersError : g * (expError(v) + kUnitRoundoff);
      gradient.push_back(Bounded::of(weight * row.gradient[v], weight * (own + g * sumError + kFlushed)));
    }
    lossError = sumError + 1e-15 * (1 + std::abs(row.loss));
    return row.loss;
  }
};

class SoftmaxCrossEntropyTest : public testing::TestWithParam<Isa> {
 protected:
  void run(const SoftmaxCrossEntropyArguments& a, const Execution& execution = executionWith(2)) const {
    const SoftmaxCrossEntropyKernels& kernels = softmaxCrossEntropyKernelsFor(GetParam());
    runKernel(kernels.workspaceBytes, kernels.run, a, execution);
  }

  void expectMatches(SoftmaxProblem& problem) const {
    const Expected expected(problem);
    run(problem.arguments());
    EXPECT_TRUE(allWithin(problem.loss.values(), expected.loss));
    EXPECT_TRUE(allWithin(problem.logits.values(), expected.gradient));
    EXPECT_TRUE(problem.logits.canariesIntact() && problem.loss.canariesIntact());
  }

  // Loss and gradient of one row.
  std::pair<float, std::vector<float>> row(std::vector<float> logits, int64_t target) const {
    const auto classes = static_cast<int64_t>(logits.size());
    float loss;
    SoftmaxCrossEntropyArguments a;
    a.logits = {logits.data(), 1, classes, classes, 1};
    a.targets = {&target, true, 1, 1};
    a.loss = {&loss, 1, 1};
    run(a);
    return {loss, logits};
  }
};

TEST_P(SoftmaxCrossEntropyTest, MatchesTheDefinition) {
  for (int64_t rows : kRowCounts)
    for (int64_t classes : kRowLengths)
      for (const MatrixLayout& layout : kRowLayouts)
        for (fk_reduction reduction : {FK_REDUCTION_MEAN, FK_REDUCTION_SUM, FK_REDUCTION_NONE})
          for (double range : {1.0, 60.0, 1e4}) {
            SoftmaxProblem problem(rows, classes, layout, reduction, range, 1);
            SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(classes) + " " + describe(layout) + ", reduction " +
                         std::to_string(reduction) + ", range " + std::to_string(range));
            expectMatches(problem);
          }
}

TEST_P(SoftmaxCrossEntropyTest, LongRows) {
  for (int64_t classes : {2047, 2049, 40001}) {
    SoftmaxProblem problem(3, classes, {}, FK_REDUCTION_SUM, 5, 2);
    expectMatches(problem);
  }
}

TEST_P(SoftmaxCrossEntropyTest, AllIgnoredIsZero) {
  for (fk_reduction reduction : {FK_REDUCTION_MEAN, FK_REDUCTION_SUM, FK_REDUCTION_NONE}) {
    SoftmaxProblem problem(3, 17, {}, reduction, 1, 3);
    problem.targets.fill([] { return -100; });
    run(problem.arguments());
    for (float value : problem.loss.values()) EXPECT_EQ(value, 0);
    for (float value : problem.logits.values()) EXPECT_EQ(value, 0);
  }
}

TEST_P(SoftmaxCrossEntropyTest, WithoutAnIgnoreIndexEveryRowCounts) {
  SoftmaxProblem problem(3, 17, {}, FK_REDUCTION_MEAN, 1, 4);
  problem.targets.fill([] { return 5; });
  SoftmaxCrossEntropyArguments a = problem.arguments();
  const Expected expected(problem);
  a.hasIgnoreIndex = false;
  a.ignoreIndex = 5;
  run(a);
  EXPECT_TRUE(allWithin(problem.loss.values(), expected.loss));
}

// An ignored index inside [0, V) hides its rows.
TEST_P(SoftmaxCrossEntropyTest, IgnoreIndexMayBeAClass) {
  SoftmaxProblem problem(4, 17, {}, FK_REDUCTION_SUM, 1, 5);
  problem.targets.fill([] { return 0; });
  SoftmaxCrossEntropyArguments a = problem.arguments();
  a.ignoreIndex = 0;
  run(a);
  EXPECT_EQ(problem.loss(0), 0);
}

TEST_P(SoftmaxCrossEntropyTest, EqualLogitsAreExactlyUniform) {
  for (float logit : {0.0f, 1e4f, -1e4f, 3e38f}) {
    const auto [loss, gradient] = row(std::vector<float>(64, logit), 3);
    EXPECT_FLOAT_EQ(loss, static_cast<float>(std::log(64.0)));
    for (size_t v = 0; v < 64; ++v) EXPECT_EQ(gradient[v], v == 3 ? -63.0f / 64 : 1.0f / 64);
  }
}

TEST_P(SoftmaxCrossEntropyTest, OneHugeLogit) {
  std::vector<float> logits(65, -3e38f);
  logits[7] = 3e38f;  // the distance to it overflows
  auto [loss, gradient] = row(logits, 7);
  EXPECT_EQ(loss, 0);
  for (float g : gradient) EXPECT_EQ(g, 0);
  std::tie(loss, gradient) = row(logits, 8);
  EXPECT_EQ(loss, kInfinity);  // 6e38
  for (size_t v = 0; v < 65; ++v) EXPECT_EQ(gradient[v], v == 7 ? 1 : v == 8 ? -1 : 0);
}

// log(1 + e) and p - 1 keep their digits when the model is sure.
TEST_P(SoftmaxCrossEntropyTest, ConfidentRowsKeepSmallLossAndGradient) {
  const auto [loss, gradient] = row({20, 0}, 0);
  const double other = std::exp(-20.0);
  // e^-20 is off by (1.25 + 10) ulp; the loss and the target's gradient are e^-20 up to e^-40.
  EXPECT_NEAR(loss, std::log1p(other), 12 * 2 * kUnitRoundoff * other);
  EXPECT_NEAR(gradient[0], -other / (1 + other), 12 * 2 * kUnitRoundoff * other);
}

TEST_P(SoftmaxCrossEntropyTest, InfinitiesThatTheMathematicsCancels) {
  const auto [loss, gradient] = row({1, -kInfinity, 1}, 0);
  EXPECT_FLOAT_EQ(loss, std::log(2.0f));
  EXPECT_TRUE(sameBits(gradient, {-0.5f, 0, 0.5f}));
  EXPECT_EQ(row({1, -kInfinity, 1}, 1).first, kInfinity);
  EXPECT_TRUE(std::isnan(row({1, kInfinity, 1}, 0).first));
  EXPECT_TRUE(std::isnan(row({-kInfinity, -kInfinity}, 0).first));
}

TEST_P(SoftmaxCrossEntropyTest, NanStaysInItsRow) {
  for (int64_t place : {0, 20, 64}) {
    SoftmaxProblem clean(3, 65, {}, FK_REDUCTION_NONE, 5, 6), problem(3, 65, {}, FK_REDUCTION_NONE, 5, 6);
    for (SoftmaxProblem* p : {&clean, &problem}) p->targets.fill([] { return 1; });
    problem.logits(1, place) = kNan;
    run(clean.arguments());
    run(problem.arguments());
    EXPECT_TRUE(std::isnan(problem.loss(1)));
    for (int64_t n : {0, 2}) {
      EXPECT_EQ(problem.loss(n), clean.loss(n));
      for (int64_t v = 0; v < 65; ++v) EXPECT_EQ(problem.logits(n, v), clean.logits(n, v));
    }
  }
}

TEST_P(SoftmaxCrossEntropyTest, SameBitsForAnyNumberOfThreads) {
  for (auto [rows, classes] : {std::pair{301, 257}, std::pair{5, 40001}}) {
    expectSameBitsOnAnyThreads([&, rows = rows, classes = classes](const Execution& execution) {
      SoftmaxProblem problem(rows, classes, {}, FK_REDUCTION_MEAN, 5, 7);
      run(problem.arguments(), execution);
      std::vector<float> all = problem.loss.values();
      append(all, problem.logits);
      return all;
    });
  }
}

TEST_P(SoftmaxCrossEntropyTest, Cancels) {
  SoftmaxProblem problem(3, 17, {}, FK_REDUCTION_MEAN, 1, 8);
  expectCancellable([&](const Execution& execution) { run(problem.arguments(), execution); });
}

INSTANTIATE_TEST_SUITE_P(, SoftmaxCrossEntropyTest, testing::ValuesIn(supportedIsas()), isaTestName);

}  // namespace
}  // namespace fk::cpu
