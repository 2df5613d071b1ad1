// Attention over the parts of a key set, put together: see fk_attention_merge.
#pragma once

#include "cpu/attention/attention.h"

namespace fk::cpu {

struct AttentionMergeArguments {
  const float* outputs = nullptr;  // [P, B, Sq, H, Dv] with stride 1 along the last axis
  int64_t parts = 0;
  int64_t partStride = 0, batchStride = 0, sequenceStride = 0, headStride = 0;
  const float* logSumExps = nullptr;  // [P, B, H, Sq]
  int64_t logSumExpPartStride = 0, logSumExpBatchStride = 0, logSumExpHeadStride = 0, logSumExpRowStride = 0;
  HeadOutput output;
  ScoreArray<float> logSumExp;  // optional
};

struct AttentionMergeKernels {
  size_t (*bytes)(const AttentionMergeArguments&, int threads, size_t limit);
  void (*run)(const AttentionMergeArguments&, const Execution&, size_t limit, std::byte* workspace);
};

FK_KERNELS(AttentionMergeKernels, attentionMergeKernels)

}  // namespace fk::cpu
