// The gradients of the cut cross-entropy's oracle against central differences of its own loss, in double, with every option
// alone and with many at once.
#include "oracles/cut_cross_entropy.h"

#include "oracles/finite_differences.h"
#include "support.h"
#include "tolerance.h"

namespace fk::test {
namespace {

using oracle::Dense;
using Problem = oracle::CutCrossEntropy;

std::vector<double> randomVector(int64_t size, Random& random, double low, double high) {
  std::vector<double> result(static_cast<size_t>(size));
  for (double& value : result) value = random.uniform(low, high);
  return result;
}

constexpr int64_t kRows = 6, kClasses = 5, kDim = 3;

Problem plainProblem(fk_reduction reduction, Random& random) {
  Problem problem;
  problem.embeddings = {kRows, kDim, randomVector(kRows * kDim, random, -1, 1)};
  problem.classifier = {kClasses, kDim, randomVector(kClasses * kDim, random, -1, 1)};
  problem.targets = {0, 4, -100, 3, 3, 1};
  problem.ignoreIndex = -100;
  problem.reduction = reduction;
  problem.gradLoss = randomVector(problem.perRow() ? kRows : 1, random, -2, 2);
  return problem;
}

// All that flows back, as one number.
double objective(const Problem& problem) {
  const auto result = oracle::cutCrossEntropy<double>(problem);
  const auto dot = [](const std::vector<double>& values, const std::vector<double>& gradients) {
    return gradients.empty() ? 0 : std::inner_product(values.begin(), values.end(), gradients.begin(), 0.0);
  };
  return dot(result.loss, problem.gradLoss) + dot(result.logSumExp, problem.gradLogSumExp) +
         dot(result.entropy, problem.gradEntropy);
}

void expectDerivatives(Problem problem) {
  const auto gradient = oracle::cutCrossEntropy<double>(problem);
  const auto f = [&] { return objective(problem); };
  expectGradient(problem.embeddings.values, gradient.dEmbeddings.values, f);
  expectGradient(problem.classifier.values, gradient.dClassifier.values, f);
  if (problem.bias.empty()) problem.bias.assign(kClasses, 0);
  expectGradient(problem.bias, gradient.dBias, f);
  std::vector<double> scale = {problem.logitScale};
  expectGradient(scale, {gradient.dLogitScale}, [&] {
    problem.logitScale = scale[0];
    return objective(problem);
  });
}

using Option = std::function<void(Problem&, Random&)>;

const std::vector<std::pair<const char*, Option>> kOptions = {
    {"nothing", [](Problem&, Random&) {}},
    {"bias", [](Problem& p, Random& random) { p.bias = randomVector(kClasses, random, -1, 1); }},
    {"class weights", [](Problem& p, Random& random) { p.classWeights = randomVector(kClasses, random, 0, 2); }},
    {"row weights", [](Problem& p, Random& random) { p.rowWeights = randomVector(kRows, random, 0, 2); }},
    {"logit scale", [](Problem& p, Random&) { p.logitScale = -1.7; }},
    {"softcap", [](Problem& p, Random&) { p.softcap = 0.8; }},
    {"label smoothing", [](Problem& p, Random&) { p.labelSmoothing = 0.3; }},
    {"z-loss", [](Problem& p, Random&) { p.zLoss = 0.4; }},
    {"shift", [](Problem& p, Random&) { p.shift = 1; }},
    {"shift of sequences", [](Problem& p, Random&) { p.shift = 1, p.sequenceLength = 3; }},
    {"ignore index that is a class", [](Problem& p, Random&) { p.targets[2] = 2, p.ignoreIndex = 3; }},
    {"log-sum-exp's gradient", [](Problem& p, Random& random) { p.gradLogSumExp = randomVector(kRows, random, -1, 1); }},
    {"entropy's gradient", [](Problem& p, Random& random) { p.gradEntropy = randomVector(kRows, random, -1, 1); }},
    {"probabilities",
     [](Problem& p, Random& random) {
       p.targetProbabilities = Dense<double>(kRows, kClasses, randomVector(kRows * kClasses, random, 0, 0.5));
     }},
};

constexpr fk_reduction kReductions[] = {FK_REDUCTION_MEAN, FK_REDUCTION_SUM, FK_REDUCTION_NONE};

TEST(CutCrossEntropyOracle, GradientsAreDerivativesWithEveryOption) {
  for (const auto& [name, option] : kOptions)
    for (fk_reduction reduction : kReductions) {
      SCOPED_TRACE(std::string(name) + ", reduction " + std::to_string(reduction));
      Random random(1);
      Problem problem = plainProblem(reduction, random);
      option(problem, random);
      expectDerivatives(problem);
    }
}

TEST(CutCrossEntropyOracle, GradientsAreDerivativesWithManyOptionsAtOnce) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    Problem problem = plainProblem(random.pick({FK_REDUCTION_MEAN, FK_REDUCTION_SUM, FK_REDUCTION_NONE}), random);
    for (const auto& [name, option] : kOptions)
      if (random.chance(0.4)) option(problem, random);
    expectDerivatives(problem);
  }
}

TEST(CutCrossEntropyOracle, GradientsAreDerivativesWithEveryLossShape) {
  const std::vector<oracle::LossShape> shapes = {
      {FK_LOSS_SHAPE_FOCAL, 0},       {FK_LOSS_SHAPE_FOCAL, 0.5},       {FK_LOSS_SHAPE_FOCAL, 2},
      {FK_LOSS_SHAPE_POLY1, -1},      {FK_LOSS_SHAPE_POLY1, 2},         {FK_LOSS_SHAPE_GENERALISED, 0},
      {FK_LOSS_SHAPE_GENERALISED, 1}, {FK_LOSS_SHAPE_GENERALISED, 0.7}, {FK_LOSS_SHAPE_GENERALISED, -0.5},
  };
  for (const oracle::LossShape& shape : shapes)
    for (const auto& [name, option] : kOptions)
      for (fk_reduction reduction : kReductions) {
        SCOPED_TRACE(std::string(name) + ", shape " + std::to_string(shape.shape) + " of " +
                     std::to_string(shape.parameter));
        Random random(2);
        Problem problem = plainProblem(reduction, random);
        option(problem, random);
        if (problem.targetProbabilities || problem.labelSmoothing != 0) continue;  // shapes need one target
        problem.lossShape = shape;
        expectDerivatives(problem);
      }
}

// Its p is a constant in the gradient, so it is the cross-entropy with p as the row's weight.
TEST(CutCrossEntropyOracle, TokenScaledIsTheCrossEntropyWeightedByItsProbability) {
  Random random(3);
  Problem weighted = plainProblem(FK_REDUCTION_SUM, random);
  for (double logProbability : oracle::cutCrossEntropy<double>(weighted).targetLogProbability)
    weighted.rowWeights.push_back(std::exp(logProbability));
  Problem shaped = weighted;
  shaped.rowWeights.clear();
  shaped.lossShape.shape = FK_LOSS_SHAPE_TOKEN_SCALED;
  const auto actual = oracle::cutCrossEntropy<double>(shaped), expected = oracle::cutCrossEntropy<double>(weighted);
  EXPECT_NEAR(actual.loss[0], expected.loss[0], 1e-14);
  for (size_t i = 0; i < expected.dScores.values.size(); ++i)
    EXPECT_NEAR(actual.dScores.values[i], expected.dScores.values[i], 1e-14);
}

// PyTorch 2.x, torch.nn.functional.cross_entropy(logits, [2, 0], weight=[1, 2, 3], label_smoothing=0.1), worked by hand:
// the mean divides by the targets' weights, and smoothing weighs every class.
TEST(CutCrossEntropyOracle, WeightsAndSmoothingAreThoseOfPyTorch) {
  Problem problem;
  problem.embeddings = {2, 1, std::vector<double>{0, 0}};
  problem.classifier = {3, 1, std::vector<double>{0, 0, 0}};
  problem.targets = {2, 0};
  problem.classWeights = {1, 2, 3};
  problem.labelSmoothing = 0.1;
  // All p are 1/3: each class of weight w and probability q costs w q log 3.
  const double first = 0.9 * 3 + 0.1 / 3 * 6, second = 0.9 * 1 + 0.1 / 3 * 6;
  EXPECT_NEAR(oracle::cutCrossEntropy<double>(problem).loss[0], (first + second) * std::log(3.0) / (3 + 1), 1e-14);
}

TEST(CutCrossEntropyOracle, MeanOverNothingIsZero) {
  Random random(4);
  Problem problem = plainProblem(FK_REDUCTION_MEAN, random);
  problem.rowWeights.assign(kRows, 0);
  const auto result = oracle::cutCrossEntropy<double>(problem);
  EXPECT_EQ(result.loss[0], 0);
  for (double value : result.dClassifier.values) EXPECT_EQ(value, 0);
}

// float32 arithmetic, all of it in the plainest order, stays within the bounds that the kernels are held to.
TEST(CutCrossEntropyOracle, BoundsFloatArithmetic) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    Problem problem = plainProblem(random.pick({FK_REDUCTION_MEAN, FK_REDUCTION_SUM, FK_REDUCTION_NONE}), random);
    for (const auto& [name, option] : kOptions)
      if (random.chance(0.3)) option(problem, random);
    if (!problem.targetProbabilities && problem.labelSmoothing == 0 && random.chance(0.5))
      problem.lossShape = {random.pick({FK_LOSS_SHAPE_FOCAL, FK_LOSS_SHAPE_POLY1, FK_LOSS_SHAPE_GENERALISED}), 0.7};
    for (auto* values : {&problem.embeddings.values, &problem.classifier.values})
      for (double& value : *values) value = static_cast<float>(3 * value);
    const auto actual = oracle::cutCrossEntropy<float>(problem);
    const auto expected = oracle::cutCrossEntropy<Bounded>(problem);
    EXPECT_TRUE(allWithin(actual.loss, expected.loss));
    EXPECT_TRUE(allWithin(actual.logSumExp, expected.logSumExp));
    EXPECT_TRUE(allWithin(actual.targetLogProbability, expected.targetLogProbability));
    EXPECT_TRUE(allWithin(actual.entropy, expected.entropy));
    EXPECT_TRUE(allWithin(actual.dEmbeddings.values, expected.dEmbeddings.values));
    EXPECT_TRUE(allWithin(actual.dClassifier.values, expected.dClassifier.values));
    EXPECT_TRUE(allWithin(actual.dBias, expected.dBias));
    EXPECT_TRUE(isWithin(actual.dLogitScale, expected.dLogitScale));
  }
}

TEST(Tolerance, BoundsTanhAndMappedFunctions) {
  for (double x : {-30.0, -1.0, -1e-3, 0.0, 1e-6, 0.5, 4.0}) {
    const Bounded argument = Bounded::of(x, 1e-3), result = tanh(argument);
    for (double off : {-1e-3, 0.0, 1e-3})
      EXPECT_LE(std::abs(std::tanh(x + off) - result.value), result.error()) << x << " + " << off;
    EXPECT_LE(result.error(), 1e-3 + 1e-6);
  }
  const auto root = [](double x) { return std::sqrt(x); };
  const Bounded nearZero = mapped(Bounded::of(1e-4, 1e-3), root);  // a negative argument counts as 0
  EXPECT_NEAR(nearZero.error(), std::sqrt(1.1e-3) - 0.01, 1e-7);
  EXPECT_NEAR(mapped(Bounded::of(4, 1e-3), root).error(), 1e-3 / 4, 2e-6);
}

}  // namespace
}  // namespace fk::test
