// Three passes over each row: its maximum; the exponentials, in place, and their sum; the division by it. Sums are in double
// and in row order. Per row, with x the distance of a logit from the maximum, an exponential is off by (1.25 + |x| / 2) ulp;
// beyond that the loss and the gradient have a few roundings to float.
#include "cpu/loss/softmax_cross_entropy.h"

#include <cmath>

#include "cpu/engine/vector_loop-inl.h"
#include "cpu/engine/vector_math-inl.h"
#include "cpu/rows/double_sum-inl.h"
#include "cpu/rows/tiles-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

// Exponentials are summed while they are in the first-level cache.
constexpr int64_t kSumBlock = 2048;

float maximumOf(const float* x, int64_t count) {
  float maximum = -HUGE_VALF;
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto maxima = hn::Set(d, maximum);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) maxima = hn::Max(maxima, hn::LoadU(d, x + i));
  maximum = hn::GetLane(hn::MaxOfLanes(d, maxima));
  for (; i < count; ++i) maximum = x[i] > maximum ? x[i] : maximum;
  return maximum;  // of the others, if there is a NaN: the sum will show it
}

// x becomes exp(x - maximum); returns the sum.
double exponentiate(float* x, int64_t count, float maximum) {
  double sum = 0;
  for (int64_t begin = 0; begin < count; begin += kSumBlock) {
    float* block = x + begin;
    const int64_t size = std::min(kSumBlock, count - begin);
    forEachVector(size, [=](auto d, int64_t i) {
      const auto shifted = hn::Sub(hn::LoadU(d, block + i), hn::Set(d, maximum));
      hn::StoreU(ExpBelowOverflow(d, shifted), d, block + i);
    });
    sum += sumInDouble(size, [=](auto d, int64_t i) { return loadAsDouble(d, block + i); });
  }
  return sum;
}

void multiply(float* x, int64_t count, float factor) {
  forEachVector(count, [=](auto d, int64_t i) { hn::StoreU(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, factor)), d, x + i); });
}

// The row's loss; its logits become softmax - one_hot(target), times `scale`.
double lossAndGradientOfRow(float* logits, int64_t classes, int64_t target, double scale) {
  const float maximum = maximumOf(logits, classes);
  const double targetFromMaximum = static_cast<double>(logits[target]) - maximum;
  const double sum = exponentiate(logits, classes, maximum);
  // (p - 1) of the target without the cancellation that p - 1 would have for a confident row.
  const double others = sum - logits[target];
  multiply(logits, classes, static_cast<float>(scale / sum));
  logits[target] = static_cast<float>(-others / sum * scale);
  return ::log(sum) - targetFromMaximum;
}

size_t workspaceBytes(const SoftmaxCrossEntropyArguments& a, int, size_t) {
  WorkspaceCursor cursor;
  cursor.take<double>(a.logits.rows);
  return cursor.used();
}

void run(const SoftmaxCrossEntropyArguments& a, const Execution& execution, size_t, std::byte* workspace) {
  double* losses = WorkspaceCursor(workspace).take<double>(a.logits.rows);
  int64_t counted = 0;
  for (int64_t row = 0; row < a.logits.rows; ++row) counted += !a.ignored(row);
  const double scale = a.reduction == FK_REDUCTION_MEAN && counted > 0 ? 1.0 / static_cast<double>(counted) : 1.0;

  forEachRowBlock(execution, a.logits.rows, a.logits.columns, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      float* logits = a.logits.row(row);
      if (a.ignored(row)) {
        std::fill_n(logits, a.logits.columns, 0.0f);
        losses[row] = 0;
      } else {
        losses[row] = lossAndGradientOfRow(logits, a.logits.columns, a.targets[row], scale);
      }
    }
  });

  if (a.reduction == FK_REDUCTION_NONE) {
    for (int64_t row = 0; row < a.logits.rows; ++row) a.loss[row] = static_cast<float>(losses[row]);
  } else {
    double total = 0;
    for (int64_t row = 0; row < a.logits.rows; ++row) total += losses[row];
    a.loss[0] = static_cast<float>(total * scale);
  }
}

}  // namespace

const SoftmaxCrossEntropyKernels softmaxCrossEntropyKernels = {workspaceBytes, run};

}  // namespace fk::cpu::FK_ISA
