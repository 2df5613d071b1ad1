#include "cpu/loss/cut_cross_entropy.h"

#include <cmath>

namespace fk::cpu::FK_ISA {
namespace {

float score(const CutCrossEntropyArguments& a, int64_t n, int64_t v) {
  float sum = 0;
  for (int64_t d = 0; d < a.embeddings.columns; ++d) sum += a.embeddings(n, d) * a.classifier(v, d);
  return sum;
}

float rowScale(const CutCrossEntropyArguments& a) {
  if (a.reduction != FK_REDUCTION_MEAN) return 1;
  int64_t valid = 0;
  for (int64_t n = 0; n < a.embeddings.rows; ++n) valid += !a.ignored(n);
  return valid ? 1.0f / static_cast<float>(valid) : 0.0f;
}

size_t bytes(const CutCrossEntropyArguments& a, int, size_t) {
  return sizeof(float) * static_cast<size_t>(a.embeddings.rows);
}

void losses(const CutCrossEntropyArguments& a, const Execution& execution, float* logSumExp) {
  const int64_t rows = a.embeddings.rows, vocabulary = a.classifier.rows;
  double total = 0;
  for (int64_t n = 0; n < rows; ++n) {
    execution.throwIfCancelled();
    float max = -INFINITY, sum = 0;
    for (int64_t v = 0; v < vocabulary; ++v) max = std::fmax(max, score(a, n, v));
    for (int64_t v = 0; v < vocabulary; ++v) sum += std::exp(score(a, n, v) - max);
    logSumExp[n] = max + std::log(sum);
    if (a.logSumExp) a.logSumExp[n] = logSumExp[n];
    const float loss = a.ignored(n) ? 0 : logSumExp[n] - score(a, n, a.targets[n]);
    if (a.reduction == FK_REDUCTION_NONE) a.loss[n] = loss;
    total += loss;
  }
  if (a.reduction != FK_REDUCTION_NONE) a.loss[0] = static_cast<float>(total * rowScale(a));
}

void gradients(const CutCrossEntropyArguments& a, const Execution& execution, const Vector<const float>& logSumExp) {
  const int64_t rows = a.embeddings.rows, vocabulary = a.classifier.rows, dim = a.embeddings.columns;
  for (int64_t n = 0; a.dEmbeddings && n < rows; ++n)
    for (int64_t d = 0; d < dim; ++d) a.dEmbeddings(n, d) = 0;
  for (int64_t v = 0; a.dClassifier && v < vocabulary; ++v)
    for (int64_t d = 0; d < dim; ++d) a.dClassifier(v, d) = 0;
  const float scale = rowScale(a);
  for (int64_t n = 0; n < rows; ++n) {
    execution.throwIfCancelled();
    if (a.ignored(n)) continue;
    const float upstream = a.gradLoss ? a.gradLoss[a.reduction == FK_REDUCTION_NONE ? n : 0] : 1.0f;
    for (int64_t v = 0; v < vocabulary; ++v) {
      const float probability = std::exp(score(a, n, v) - logSumExp[n]);
      const float dScore = (probability - (v == a.targets[n])) * scale * upstream;
      for (int64_t d = 0; a.dEmbeddings && d < dim; ++d) a.dEmbeddings(n, d) += dScore * a.classifier(v, d);
      for (int64_t d = 0; a.dClassifier && d < dim; ++d) a.dClassifier(v, d) += dScore * a.embeddings(n, d);
    }
  }
}

void forward(const CutCrossEntropyArguments& a, const Execution& execution, size_t, std::byte* workspace) {
  losses(a, execution, reinterpret_cast<float*>(workspace));
}

void backward(const CutCrossEntropyArguments& a, const Execution& execution, size_t, std::byte*) {
  gradients(a, execution, {a.logSumExp.data, a.logSumExp.size, a.logSumExp.stride});
}

void lossAndGradient(const CutCrossEntropyArguments& a, const Execution& execution, size_t, std::byte* workspace) {
  float* logSumExp = reinterpret_cast<float*>(workspace);
  losses(a, execution, logSumExp);
  gradients(a, execution, {logSumExp, a.embeddings.rows, 1});
}

}  // namespace

const CutCrossEntropyKernels cutCrossEntropyKernels = {bytes, bytes, bytes, forward, backward, lossAndGradient};

}  // namespace fk::cpu::FK_ISA
