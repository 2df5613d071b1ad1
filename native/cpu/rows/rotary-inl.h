// Rotary position embedding of single rows: Su et al., "RoFormer", 2021. Shared by the operator of that name, attention and
// the key-value cache. Included by kernels only: it is compiled once per instruction set.
//
// Angles are in double: in float an angle near 1e6 would be off by 0.03. Cosine and sine are correct to 1/2 ulp plus 5e-16
// |angle|, so a rotated pair (a, b) is off by at most 2^-22 (|a| + |b|) for positions up to 1e8.
#pragma once

#include <algorithm>
#include <cmath>

#include "core/integers.h"
#include "core/thread_pool.h"
#include "core/workspace.h"
#include "cpu/engine/vector_loop-inl.h"

namespace fk::cpu::FK_ISA {

// Which elements of a row rotate: pairs (2i, 2i + 1) or (i, i + dims / 2) of the first `dims`, which are even.
struct RotaryLayout {
  int64_t dims = 0;
  bool interleaved = false;

  int64_t pairs() const { return dims / 2; }
};

// The cosines and sines of one position's angles, one per pair.
struct Rotation {
  const float *cosines, *sines;
};

// The pairs [i, i + Lanes(d)) of a row, and where they lie.
template <bool kInterleaved, bool kInverse, class D>
HWY_INLINE void rotatePairs(D d, const float* x, float* y, int64_t i, int64_t pairs, Rotation r) {
  hn::Vec<D> a, b;
  if constexpr (kInterleaved) {
    hn::LoadInterleaved2(d, x + 2 * i, a, b);
  } else {
    a = hn::LoadU(d, x + i);
    b = hn::LoadU(d, x + i + pairs);
  }
  const auto cosine = hn::LoadU(d, r.cosines + i);
  auto sine = hn::LoadU(d, r.sines + i);
  if constexpr (kInverse) sine = hn::Neg(sine);
  const auto rotatedA = hn::NegMulAdd(b, sine, hn::Mul(a, cosine));
  const auto rotatedB = hn::MulAdd(a, sine, hn::Mul(b, cosine));
  if constexpr (kInterleaved) {
    hn::StoreInterleaved2(rotatedA, rotatedB, d, y + 2 * i);
  } else {
    hn::StoreU(rotatedA, d, y + i);
    hn::StoreU(rotatedB, d, y + i + pairs);
  }
}

template <bool kInterleaved, bool kInverse>
void rotateRowAs(const float* x, float* y, int64_t dim, int64_t pairs, Rotation r) {
  forEachVector(pairs, [=](auto d, int64_t i) { rotatePairs<kInterleaved, kInverse>(d, x, y, i, pairs, r); });
  const int64_t rest = 2 * pairs;
  if (x != y) {
    forEachVector(dim - rest, [=](auto d, int64_t i) { hn::StoreU(hn::LoadU(d, x + rest + i), d, y + rest + i); });
  }
}

// y = x turned, or with `inverse` turned back; elements behind the layout's are copied. y may be x.
inline void rotateRow(const float* x, float* y, int64_t dim, RotaryLayout layout, Rotation r, bool inverse = false) {
  const auto rotate = layout.interleaved ? (inverse ? rotateRowAs<true, true> : rotateRowAs<true, false>)
                                         : (inverse ? rotateRowAs<false, true> : rotateRowAs<false, false>);
  rotate(x, y, dim, layout.pairs(), r);
}

// Angles per position of each pair. For a few positions, whose cosines and sines it computes one by one (some 50 ns a pair).
class RotaryFrequencies {
 public:
  RotaryFrequencies(WorkspaceCursor& cursor, RotaryLayout layout)
      : layout_(layout), radians_(cursor.take<double>(layout.pairs())) {}

  void fill(float base) const {
    for (int64_t i = 0; i < layout_.pairs(); ++i)
      radians_[i] = ::pow(static_cast<double>(base), -2.0 * static_cast<double>(i) / static_cast<double>(layout_.dims));
  }

  // Float or double.
  template <class T>
  void tabulate(double position, T* cosines, T* sines) const {
    for (int64_t i = 0; i < layout_.pairs(); ++i) {
      const double angle = position * radians_[i];
      cosines[i] = static_cast<T>(::cos(angle));
      sines[i] = static_cast<T>(::sin(angle));
    }
  }

  const RotaryLayout& layout() const { return layout_; }

 private:
  RotaryLayout layout_;
  double* radians_;
};

// For rows at any position of a range, in any order: cosine and sine of 64 n + m by the addition theorem from tables of 64 n
// and of m, in double, rounded once. So n positions take n / 64 + 64 rows of tables, and a row's coefficients two products
// each; and their bits depend on the position alone.
class RotaryTable {
 public:
  static constexpr int64_t kMaxDims = 512;

  // dims <= kMaxDims; 0: nothing is tabulated, and rotate() copies. Positions [first, first + count), which may be negative.
  RotaryTable(WorkspaceCursor& cursor, RotaryLayout layout, int64_t first, int64_t count)
      : frequencies_(cursor, layout), firstCoarse_(first >> kFineBits) {
    if (layout.dims == 0 || count <= 0) return;
    coarseRows_ = ((first + count - 1) >> kFineBits) - firstCoarse_ + 1;
    rows_ = cursor.take<double>((kFineRows + coarseRows_) * layout.dims);
  }

  // Before the first rotate().
  void fill(float base, const Execution& execution) const {
    if (coarseRows_ == 0) return;
    frequencies_.fill(base);
    execution.forEach(ceilDivide(kFineRows + coarseRows_, kRowsPerTask), [&](int64_t task, int) {
      execution.throwIfCancelled();
      const int64_t end = std::min((task + 1) * kRowsPerTask, kFineRows + coarseRows_);
      for (int64_t row = task * kRowsPerTask; row < end; ++row) {
        const int64_t position = row < kFineRows ? row : (firstCoarse_ + row - kFineRows) * kFineRows;
        frequencies_.tabulate(static_cast<double>(position), this->row(row), this->row(row) + pairs());
      }
    });
  }

  // Floats for pairs() of each.
  void coefficients(int64_t position, float* cosines, float* sines) const {
    const double* fine = row(position & (kFineRows - 1));
    const double* coarse = row(kFineRows + (position >> kFineBits) - firstCoarse_);
    const hn::ScalableTag<double> vector;
    const hn::CappedTag<double, 1> single;
    const auto combine = [&](auto d, int64_t i) {
      const hn::Rebind<float, decltype(d)> df;
      const auto cosA = hn::LoadU(d, coarse + i), sinA = hn::LoadU(d, coarse + pairs() + i);
      const auto cosB = hn::LoadU(d, fine + i), sinB = hn::LoadU(d, fine + pairs() + i);
      hn::StoreU(hn::DemoteTo(df, hn::NegMulAdd(sinA, sinB, hn::Mul(cosA, cosB))), df, cosines + i);
      hn::StoreU(hn::DemoteTo(df, hn::MulAdd(sinA, cosB, hn::Mul(cosA, sinB))), df, sines + i);
    };
    const auto lanes = static_cast<int64_t>(hn::Lanes(vector));
    int64_t i = 0;
    for (; i + lanes <= pairs(); i += lanes) combine(vector, i);
    for (; i < pairs(); ++i) combine(single, i);
  }

  // A row at one position, see rotateRow.
  void rotate(const float* x, float* y, int64_t dim, int64_t position, bool inverse = false) const {
    alignas(64) float cosines[kMaxDims / 2], sines[kMaxDims / 2];
    if (coarseRows_ > 0) coefficients(position, cosines, sines);
    rotateRow(x, y, dim, frequencies_.layout(), {cosines, sines}, inverse);
  }

 private:
  static constexpr int kFineBits = 6;
  static constexpr int64_t kFineRows = int64_t{1} << kFineBits, kRowsPerTask = 8;

  int64_t pairs() const { return frequencies_.layout().pairs(); }
  double* row(int64_t index) const { return rows_ + index * frequencies_.layout().dims; }

  RotaryFrequencies frequencies_;
  int64_t firstCoarse_, coarseRows_ = 0;
  double* rows_ = nullptr;  // cosines and sines of a position: 0 .. 63, then every 64th of the range
};

}  // namespace fk::cpu::FK_ISA
