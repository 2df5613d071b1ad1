// The oracle of distillation against the definition, and its gradient against central differences of its loss.
#include "oracles/distillation.h"

#include "oracles/finite_differences.h"
#include "support.h"

namespace fk::test {
namespace {

using oracle::Dense;

Dense<double> randomDense(int64_t rows, int64_t columns, Random& random) {
  Dense<double> result(rows, columns);
  for (double& value : result.values) value = random.uniform(-1, 1);
  return result;
}

oracle::Distillation randomProblem(double temperature, fk_reduction reduction) {
  Random random(1);
  oracle::Distillation problem;
  problem.studentEmbeddings = randomDense(5, 3, random);
  problem.studentClassifier = randomDense(7, 3, random);
  problem.teacherEmbeddings = randomDense(5, 4, random);
  problem.teacherClassifier = randomDense(7, 4, random);
  problem.rowWeights = {1, 0, 2.5, 0.25, 1};
  problem.temperature = temperature;
  problem.reduction = reduction;
  problem.gradLoss.assign(reduction == FK_REDUCTION_NONE ? 5 : 1, 0);
  for (double& g : problem.gradLoss) g = random.uniform(-2, 2);
  return problem;
}

TEST(DistillationOracle, IsTheKullbackLeiblerDivergence) {
  for (double temperature : {0.5, 1.0, 8.0}) {
    const oracle::Distillation problem = randomProblem(temperature, FK_REDUCTION_NONE);
    const auto result = oracle::distillation<double>(problem);
    for (int64_t n = 0; n < 5; ++n) {
      const size_t row = static_cast<size_t>(n);
      const auto student = oracle::scoresOf<double>(problem.studentEmbeddings, problem.studentClassifier, n, temperature);
      const auto teacher = oracle::scoresOf<double>(problem.teacherEmbeddings, problem.teacherClassifier, n, temperature);
      double divergence = 0;
      for (size_t v = 0; v < teacher.size(); ++v) {
        const double logP = teacher[v] - result.teacherLogSumExp[row], logQ = student[v] - result.studentLogSumExp[row];
        divergence += std::exp(logP) * (logP - logQ);
      }
      EXPECT_NEAR(result.loss[row], problem.rowWeights[row] * temperature * temperature * divergence, 1e-13);
    }
  }
}

// Of the weighted rows' losses, by hand.
TEST(DistillationOracle, Reductions) {
  const auto rows = oracle::distillation<double>(randomProblem(2, FK_REDUCTION_NONE)).loss;
  const double sum = std::accumulate(rows.begin(), rows.end(), 0.0);
  EXPECT_NEAR(oracle::distillation<double>(randomProblem(2, FK_REDUCTION_SUM)).loss[0], sum, 1e-14);
  EXPECT_NEAR(oracle::distillation<double>(randomProblem(2, FK_REDUCTION_MEAN)).loss[0], sum / 4.75, 1e-14);
}

TEST(DistillationOracle, GradientIsTheDerivativeOfItsLoss) {
  for (double temperature : {0.5, 1.0, 8.0})
    for (fk_reduction reduction : {FK_REDUCTION_MEAN, FK_REDUCTION_SUM, FK_REDUCTION_NONE}) {
      oracle::Distillation problem = randomProblem(temperature, reduction);
      const auto gradient = oracle::distillation<double>(problem);
      const auto weightedLoss = [&] {
        const auto result = oracle::distillation<double>(problem);
        return std::inner_product(result.loss.begin(), result.loss.end(), problem.gradLoss.begin(), 0.0);
      };
      expectGradient(problem.studentEmbeddings.values, gradient.dStudentEmbeddings.values, weightedLoss);
      expectGradient(problem.studentClassifier.values, gradient.dStudentClassifier.values, weightedLoss);
    }
}

}  // namespace
}  // namespace fk::test
