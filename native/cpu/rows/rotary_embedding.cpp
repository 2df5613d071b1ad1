// Each position's cosines and sines are computed once, for all batches and heads: see rotary-inl.h for what they are worth.
#include "cpu/rows/rotary_embedding.h"

#include "cpu/rows/rotary-inl.h"
#include "cpu/rows/tiles-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

struct Layout {
  Layout(const RotaryEmbeddingArguments& a, int threads, WorkspaceCursor& cursor)
      : frequencies(cursor, {a.rotaryDims, a.interleaved}), tables(cursor.take<float>(threads * a.rotaryDims)) {}

  float* cosines(int slot) const { return tables + slot * frequencies.layout().dims; }
  float* sines(int slot) const { return cosines(slot) + frequencies.layout().pairs(); }

  RotaryFrequencies frequencies;
  float* tables;  // of one position, per thread
};

size_t workspaceBytes(const RotaryEmbeddingArguments& a, int threads, size_t) {
  WorkspaceCursor cursor;
  Layout(a, threads, cursor);
  return cursor.used();
}

void run(const RotaryEmbeddingArguments& a, const Execution& execution, size_t, std::byte* workspace) {
  WorkspaceCursor cursor(workspace);
  const Layout layout(a, execution.threads, cursor);
  layout.frequencies.fill(a.base);

  const int64_t elementsPerPosition = a.x.batch * a.x.heads * a.x.dim;
  if (elementsPerPosition == 0) return;
  forEachRowBlock(execution, a.x.sequence, elementsPerPosition, [&](int64_t begin, int64_t end, int slot) {
    const Rotation rotation{layout.cosines(slot), layout.sines(slot)};
    for (int64_t s = begin; s < end; ++s) {
      const int64_t position = a.positions ? a.positions[s] : s;
      layout.frequencies.tabulate(static_cast<double>(position) + static_cast<double>(a.positionOffset),
                                  layout.cosines(slot), layout.sines(slot));
      for (int64_t b = 0; b < a.x.batch; ++b) {
        for (int64_t h = 0; h < a.x.heads; ++h)
          rotateRow(a.x.head(b, h).row(s), a.y.head(b, h).row(s), a.x.dim, layout.frequencies.layout(), rotation, a.inverse);
      }
    }
  });
}

}  // namespace

const RotaryEmbeddingKernels rotaryEmbeddingKernels = {workspaceBytes, run};

}  // namespace fk::cpu::FK_ISA
