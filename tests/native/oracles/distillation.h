// The divergence of a student from its teacher, both given by embeddings and a classifier, and its gradient.
#pragma once

#include <numeric>

#include "fusedkernels.h"
#include "oracles/cut_cross_entropy.h"

namespace fk::oracle {

struct Distillation {
  Dense<double> studentEmbeddings, studentClassifier, teacherEmbeddings, teacherClassifier;
  std::vector<double> rowWeights;  // one per row
  double temperature = 1;
  fk_reduction reduction = FK_REDUCTION_MEAN;
  std::vector<double> gradLoss = {1};  // one element, or one per row for FK_REDUCTION_NONE
};

template <class Real>
struct DistillationResult {
  std::vector<Real> studentLogSumExp, teacherLogSumExp;  // per row, rows of weight 0 too
  std::vector<Real> loss;                                // one element, or one per row
  Dense<Real> dStudentEmbeddings, dStudentClassifier;
};

template <class Real>
std::vector<Real> scoresOf(const Dense<double>& embeddings, const Dense<double>& classifier, int64_t row,
                           double temperature) {
  std::vector<Real> scores(static_cast<size_t>(classifier.rows), Real(0));
  for (int64_t v = 0; v < classifier.rows; ++v) {
    Real& score = scores[static_cast<size_t>(v)];
    for (int64_t d = 0; d < classifier.columns; ++d) score += Real(embeddings(row, d)) * Real(classifier(v, d));
    score = score / Real(temperature);
  }
  return scores;
}

// sum_v p (log p - log q) for p = softmax(teacher), q = softmax(student), with exp(z - max) in place of p and without the
// log-sum-exps, which as float32 numbers would carry errors that a small divergence does not have. The maxima are subtracted
// and added again, so their own errors (see tolerance.h) do not count.
template <class Real>
Real divergence(const std::vector<Real>& teacher, const std::vector<Real>& student) {
  using std::exp, std::log;
  const Real teacherMax = exactly(*std::max_element(teacher.begin(), teacher.end()));
  const Real studentMax = exactly(*std::max_element(student.begin(), student.end()));
  Real teacherSum = 0, studentSum = 0, difference = 0;
  for (size_t v = 0; v < teacher.size(); ++v) {
    const Real weight = exp(teacher[v] - teacherMax);
    teacherSum += weight;
    studentSum += exp(student[v] - studentMax);
    difference += weight * (teacher[v] - student[v]);
  }
  return difference / teacherSum - (teacherMax - studentMax) - log(teacherSum / studentSum);
}

template <class Real>
DistillationResult<Real> distillation(const Distillation& problem) {
  using std::exp;
  const int64_t rows = problem.studentEmbeddings.rows, dim = problem.studentEmbeddings.columns;
  const int64_t classes = problem.studentClassifier.rows;
  const bool perRow = problem.reduction == FK_REDUCTION_NONE;
  double divisor = 1;
  if (problem.reduction == FK_REDUCTION_MEAN)
    divisor = std::accumulate(problem.rowWeights.begin(), problem.rowWeights.end(), 0.0);

  DistillationResult<Real> result;
  result.loss.assign(perRow ? static_cast<size_t>(rows) : 1, Real(0));
  result.dStudentEmbeddings = Dense<Real>(rows, dim);
  result.dStudentClassifier = Dense<Real>(classes, dim);

  for (int64_t n = 0; n < rows; ++n) {
    const auto student = scoresOf<Real>(problem.studentEmbeddings, problem.studentClassifier, n, problem.temperature);
    const auto teacher = scoresOf<Real>(problem.teacherEmbeddings, problem.teacherClassifier, n, problem.temperature);
    const Real studentLse = logSumExp(student), teacherLse = logSumExp(teacher);
    result.studentLogSumExp.push_back(studentLse);
    result.teacherLogSumExp.push_back(teacherLse);
    const double weight = problem.rowWeights[static_cast<size_t>(n)];
    if (weight == 0 || divisor == 0 || classes == 0) continue;

    const size_t lossAt = perRow ? static_cast<size_t>(n) : 0;
    const double share = weight / divisor, square = problem.temperature * problem.temperature;
    result.loss[lossAt] += Real(share * square) * divergence(teacher, student);

    const Real gradient = Real(share * problem.temperature) * Real(problem.gradLoss[lossAt]);
    for (int64_t v = 0; v < classes; ++v) {
      const size_t at = static_cast<size_t>(v);
      const Real dScore = gradient * (exp(student[at] - studentLse) - exp(teacher[at] - teacherLse));
      for (int64_t d = 0; d < dim; ++d) {
        result.dStudentEmbeddings(n, d) += dScore * Real(problem.studentClassifier(v, d));
        result.dStudentClassifier(v, d) += dScore * Real(problem.studentEmbeddings(n, d));
      }
    }
  }
  return result;
}

}  // namespace fk::oracle
