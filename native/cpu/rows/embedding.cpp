#include "cpu/rows/embedding.h"

#include "cpu/engine/vector_loop-inl.h"
#include "cpu/rows/tiles-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

void gather(const EmbeddingGatherArguments& a, const Execution& execution) {
  forEachRowBlock(execution, a.output.rows, a.output.columns, [&](int64_t begin, int64_t end, int) {
    for (int64_t n = begin; n < end; ++n) {
      const float* from = a.table.row(a.ids[n]);
      float* to = a.output.row(n);
      forEachVector(a.output.columns, [=](auto d, int64_t i) { hn::StoreU(hn::LoadU(d, from + i), d, to + i); });
    }
  });
}

// Two rows with one id add to the same place, so tasks are slices of columns, and each takes the rows in order: no atomics,
// and the same sum for any number of threads. Slices are whole cache lines of a contiguous table.
constexpr int64_t kSliceUnit = 64;
constexpr int64_t kRowsPerCancelCheck = 1024;

int64_t sliceWidth(int64_t rows) { return ceilDivide(kTaskElements, std::max<int64_t>(1, rows) * kSliceUnit) * kSliceUnit; }

void scatterAdd(const EmbeddingScatterAddArguments& a, const Execution& execution) {
  const int64_t dim = a.dOutput.columns, width = sliceWidth(a.dOutput.rows);
  execution.forEach(ceilDivide(dim, width), [&](int64_t slice, int) {
    const int64_t begin = slice * width, end = std::min(dim, begin + width);
    for (int64_t n = 0; n < a.dOutput.rows; ++n) {
      if (n % kRowsPerCancelCheck == 0) execution.throwIfCancelled();
      const float* from = a.dOutput.row(n) + begin;
      float* to = a.dTable.row(a.ids[n]) + begin;
      forEachVector(end - begin, [=](auto d, int64_t i) {
        hn::StoreU(hn::Add(hn::LoadU(d, to + i), hn::LoadU(d, from + i)), d, to + i);
      });
    }
  });
}

}  // namespace

const EmbeddingKernels embeddingKernels = {gather, scatterAdd};

}  // namespace fk::cpu::FK_ISA
