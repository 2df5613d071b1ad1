#include "cpu/attention/merge.h"

#include "cpu/attention/merge-inl.h"
#include "cpu/engine/stored_rows-inl.h"
#include "cpu/rows/tiles-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

// A row of floats for each thread, rounded on its way to the output.
size_t bytes(const AttentionMergeArguments& a, int threads, size_t) {
  WorkspaceCursor cursor;
  cursor.take<float>(threads * a.output.dim);
  return cursor.used();
}

void run(const AttentionMergeArguments& a, const Execution& execution, size_t, std::byte* workspace) {
  WorkspaceCursor cursor(workspace);
  const int64_t dim = a.output.dim, heads = a.output.heads, queries = a.output.sequence;
  float* rows = cursor.take<float>(execution.threads * dim);
  forEachRowBlock(execution, a.output.batch * queries * heads, a.parts * dim, [&](int64_t begin, int64_t end, int slot) {
    float* row = rows + slot * dim;
    for (int64_t index = begin; index < end; ++index) {
      const int64_t b = index / (queries * heads), i = index / heads % queries, h = index % heads;
      const float* output = a.outputs + b * a.batchStride + i * a.sequenceStride + h * a.headStride;
      const float* logSumExp =
          a.logSumExps + b * a.logSumExpBatchStride + h * a.logSumExpHeadStride + i * a.logSumExpRowStride;
      const auto partAt = [&](int64_t p) {
        const float part = logSumExp[p * a.logSumExpPartStride];
        return PartialRow{part, part == kMinusInfinity ? 0.0f : 1.0f, output + p * a.partStride};
      };
      const float total = mergeParts(a.parts, partAt, kMinusInfinity, dim, row);
      storeRow(row, dim, a.output.type, a.output.row(b, h, i));
      if (a.logSumExp) *a.logSumExp.at(b, h, i) = total;
    }
  });
}

}  // namespace

const AttentionMergeKernels attentionMergeKernels = {bytes, run};

}  // namespace fk::cpu::FK_ISA
