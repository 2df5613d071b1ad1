// Each position's cosines and sines are computed once, for all batches and heads. Angles are in double: in float an angle
// near 1e6 would be off by 0.03. Here cosine and sine are correct to 1/2 ulp plus 5e-16 |angle|, so a rotated pair (a, b)
// is off by at most 2^-22 (|a| + |b|) for positions up to 1e8.
#include "cpu/rows/rotary_embedding.h"

#include <cmath>

#include "cpu/engine/vector_loop-inl.h"
#include "cpu/rows/tiles-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

struct Layout {
  Layout(const RotaryEmbeddingArguments& a, int threads, WorkspaceCursor& cursor)
      : pairs(a.rotaryDims / 2), frequencies(cursor.take<double>(pairs)), tables(cursor.take<float>(threads * 2 * pairs)) {}

  float* cosines(int slot) const { return tables + slot * 2 * pairs; }
  float* sines(int slot) const { return cosines(slot) + pairs; }

  int64_t pairs;
  double* frequencies;  // radians per position
  float* tables;        // of one position, per thread
};

size_t workspaceBytes(const RotaryEmbeddingArguments& a, int threads, size_t) {
  WorkspaceCursor cursor;
  Layout(a, threads, cursor);
  return cursor.used();
}

void tabulate(const Layout& layout, double position, bool inverse, int slot) {
  for (int64_t i = 0; i < layout.pairs; ++i) {
    const double angle = position * layout.frequencies[i];
    layout.cosines(slot)[i] = static_cast<float>(::cos(angle));
    layout.sines(slot)[i] = static_cast<float>(inverse ? -::sin(angle) : ::sin(angle));
  }
}

// The pairs [i, i + Lanes(d)) of a head, and where they lie.
template <bool kInterleaved, class D>
HWY_INLINE void rotatePairs(D d, const float* x, float* y, int64_t i, int64_t pairs, const float* cosines,
                            const float* sines) {
  hn::Vec<D> a, b;
  if constexpr (kInterleaved) {
    hn::LoadInterleaved2(d, x + 2 * i, a, b);
  } else {
    a = hn::LoadU(d, x + i);
    b = hn::LoadU(d, x + i + pairs);
  }
  const auto cosine = hn::LoadU(d, cosines + i), sine = hn::LoadU(d, sines + i);
  const auto rotatedA = hn::NegMulAdd(b, sine, hn::Mul(a, cosine));
  const auto rotatedB = hn::MulAdd(a, sine, hn::Mul(b, cosine));
  if constexpr (kInterleaved) {
    hn::StoreInterleaved2(rotatedA, rotatedB, d, y + 2 * i);
  } else {
    hn::StoreU(rotatedA, d, y + i);
    hn::StoreU(rotatedB, d, y + i + pairs);
  }
}

template <bool kInterleaved>
void rotateHead(const float* x, float* y, int64_t dim, int64_t pairs, const float* cosines, const float* sines) {
  forEachVector(pairs, [=](auto d, int64_t i) { rotatePairs<kInterleaved>(d, x, y, i, pairs, cosines, sines); });
  const int64_t rest = 2 * pairs;
  if (x != y) {
    forEachVector(dim - rest, [=](auto d, int64_t i) { hn::StoreU(hn::LoadU(d, x + rest + i), d, y + rest + i); });
  }
}

void run(const RotaryEmbeddingArguments& a, const Execution& execution, size_t, std::byte* workspace) {
  WorkspaceCursor cursor(workspace);
  const Layout layout(a, execution.threads, cursor);
  for (int64_t i = 0; i < layout.pairs; ++i)
    layout.frequencies[i] =
        ::pow(static_cast<double>(a.base), -2.0 * static_cast<double>(i) / static_cast<double>(a.rotaryDims));

  const auto rotate = a.interleaved ? rotateHead<true> : rotateHead<false>;
  const int64_t elementsPerPosition = a.x.batch * a.x.heads * a.x.dim;
  if (elementsPerPosition == 0) return;
  forEachRowBlock(execution, a.x.sequence, elementsPerPosition, [&](int64_t begin, int64_t end, int slot) {
    for (int64_t s = begin; s < end; ++s) {
      const int64_t position = a.positions ? a.positions[s] : s;
      tabulate(layout, static_cast<double>(position) + static_cast<double>(a.positionOffset), a.inverse, slot);
      for (int64_t b = 0; b < a.x.batch; ++b) {
        for (int64_t h = 0; h < a.x.heads; ++h)
          rotate(a.x.head(b, h).row(s), a.y.head(b, h).row(s), a.x.dim, layout.pairs, layout.cosines(slot),
                 layout.sines(slot));
      }
    }
  });
}

}  // namespace

const RotaryEmbeddingKernels rotaryEmbeddingKernels = {workspaceBytes, run};

}  // namespace fk::cpu::FK_ISA
