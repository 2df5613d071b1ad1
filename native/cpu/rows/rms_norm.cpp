// One pass over each row for its mean square, one for the result. Sums are in double, so that no finite row overflows and
// the sums' rounding vanishes beside the one of the result:
//   inverseRms, dX, dWeight   are off by the rounding to float, 1/2 ulp, and some 2^-53 D (dWeight: N) of the terms' size
//   y                         by 2 more roundings
// where backward takes the given inverseRms as exact. inverseRms is at most FLT_MAX, so that a row of zeros gives zeros for
// epsilon = 0 too. An infinity in a row makes its place NaN and the rest 0; a NaN makes the row NaN.
#include "cpu/rows/rms_norm.h"

#include <cfloat>
#include <cmath>

#include "cpu/engine/vector_loop-inl.h"
#include "cpu/rows/double_sum-inl.h"
#include "cpu/rows/tiles-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

// Rows are cut into at most this many blocks, each with its own partial sum of dWeight.
constexpr int64_t kMaxWeightPartials = 64;

struct RowBlocks {
  explicit RowBlocks(const Matrix<const float>& x)
      : size(std::max(kTaskElements / std::max<int64_t>(1, x.columns), ceilDivide(x.rows, kMaxWeightPartials))) {
    size = std::max<int64_t>(1, size);
    count = ceilDivide(x.rows, size);
  }
  int64_t size, count;
};

struct Layout {
  Layout(const RmsNormArguments& a, WorkspaceCursor& cursor)
      : weight(cursor.take<float>(a.x.columns)),
        partials(a.dWeight ? cursor.take<double>(RowBlocks(a.x).count * a.x.columns) : nullptr) {}

  float* weight;     // gathered, when the caller's has a stride
  double* partials;  // [blocks, D]
};

size_t bytes(const RmsNormArguments& a, int, size_t) {
  WorkspaceCursor cursor;
  Layout(a, cursor);
  return cursor.used();
}

const float* contiguousWeight(const Vector<const float>& weight, float* buffer) {
  if (weight.stride == 1 || weight.size <= 1) return weight.data;
  for (int64_t i = 0; i < weight.size; ++i) buffer[i] = weight[i];
  return buffer;
}

float inverseRmsOf(const float* x, int64_t dim, float epsilon) {
  const double squares = sumInDouble(dim, [=](auto d, int64_t i) {
    const auto value = loadAsDouble(d, x + i);
    return hn::Mul(value, value);
  });
  const double meanSquare = dim > 0 ? squares / static_cast<double>(dim) : 0;
  const double inverse = 1 / ::sqrt(meanSquare + static_cast<double>(epsilon));
  return inverse > FLT_MAX ? FLT_MAX : static_cast<float>(inverse);
}

void forward(const RmsNormArguments& a, const Execution& execution, size_t, std::byte* workspace) {
  WorkspaceCursor cursor(workspace);
  const float* weight = contiguousWeight(a.weight, Layout(a, cursor).weight);
  const int64_t dim = a.x.columns;
  forEachRowBlock(execution, a.x.rows, dim, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const float* x = a.x.row(row);
      float* y = a.y.row(row);
      const float inverseRms = inverseRmsOf(x, dim, a.epsilon);
      if (a.inverseRms) a.inverseRms[row] = inverseRms;
      forEachVector(dim, [=](auto d, int64_t i) {
        const auto normalised = hn::Mul(hn::LoadU(d, x + i), hn::Set(d, inverseRms));
        hn::StoreU(hn::Mul(normalised, hn::LoadU(d, weight + i)), d, y + i);
      });
    }
  });
}

// With g = dY * weight and r = inverseRms:   dX = r g - x r^3 mean(g x).
void gradientOfRow(const float* x, const float* weight, double inverseRms, const float* dY, float* dX, int64_t dim) {
  const double gDotX = sumInDouble(dim, [=](auto d, int64_t i) {
    const auto g = hn::Mul(loadAsDouble(d, dY + i), loadAsDouble(d, weight + i));
    return hn::Mul(g, loadAsDouble(d, x + i));
  });
  const double scale = inverseRms * inverseRms * inverseRms * (gDotX / static_cast<double>(dim));
  forEachDoubleVector(dim, [=](auto d, int64_t i) {
    const auto g = hn::Mul(loadAsDouble(d, dY + i), loadAsDouble(d, weight + i));
    const auto scaledX = hn::Mul(loadAsDouble(d, x + i), hn::Set(d, scale));
    storeAsFloat(d, hn::MulSub(g, hn::Set(d, inverseRms), scaledX), dX + i);
  });
}

// sum[i] += dY[i] * x[i] * inverseRms
void addWeightGradient(const float* x, double inverseRms, const float* dY, double* sum, int64_t dim) {
  forEachDoubleVector(dim, [=](auto d, int64_t i) {
    const auto normalised = hn::Mul(loadAsDouble(d, x + i), hn::Set(d, inverseRms));
    hn::StoreU(hn::MulAdd(loadAsDouble(d, dY + i), normalised, hn::LoadU(d, sum + i)), d, sum + i);
  });
}

void addPartials(const double* partials, int64_t blocks, const Vector<float>& dWeight) {
  for (int64_t i = 0; i < dWeight.size; ++i) {
    double sum = 0;
    for (int64_t block = 0; block < blocks; ++block) sum += partials[block * dWeight.size + i];
    dWeight[i] = static_cast<float>(sum);
  }
}

void backward(const RmsNormArguments& a, const Execution& execution, size_t, std::byte* workspace) {
  WorkspaceCursor cursor(workspace);
  const Layout layout(a, cursor);
  const float* weight = contiguousWeight(a.weight, layout.weight);
  const RowBlocks blocks(a.x);
  const int64_t dim = a.x.columns;
  execution.forEach(blocks.count, [&](int64_t block, int) {
    double* partial = a.dWeight ? layout.partials + block * dim : nullptr;
    if (partial) std::fill_n(partial, dim, 0.0);
    for (int64_t row = block * blocks.size; row < std::min(a.x.rows, (block + 1) * blocks.size); ++row) {
      execution.throwIfCancelled();
      const double inverseRms = a.savedInverseRms[row];
      // Before dX, which may be dY.
      if (partial) addWeightGradient(a.x.row(row), inverseRms, a.dY.row(row), partial, dim);
      if (a.dX) gradientOfRow(a.x.row(row), weight, inverseRms, a.dY.row(row), a.dX.row(row), dim);
    }
  });
  if (a.dWeight) addPartials(layout.partials, blocks.count, a.dWeight);
}

}  // namespace

const RmsNormKernels rmsNormKernels = {bytes, bytes, forward, backward};

}  // namespace fk::cpu::FK_ISA
