#include "abi/arguments.h"
#include "abi/boundary.h"
#include "abi/score_array.h"
#include "cpu/attention/merge.h"

using namespace fk::abi;

fk_status fk_attention_merge(fk_context* context, const DLTensor* outputs, const DLTensor* log_sum_exps, DLTensor* output,
                             DLTensor* log_sum_exp) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    fk::cpu::AttentionMergeArguments call;
    const View& parts = arguments.rows("outputs", outputs, "[P, B, Sq, H, Dv]", {kDLFloat, 32, 1}, false);
    call.outputs = reinterpret_cast<const float*>(parts.data);
    call.parts = parts.extents[0];
    call.partStride = parts.strides[0], call.batchStride = parts.strides[1];
    call.sequenceStride = parts.strides[2], call.headStride = parts.strides[3];
    const View& scores = arguments.strided<const float>("log_sum_exps", log_sum_exps, "[P, B, H, Sq]");
    call.logSumExps = reinterpret_cast<const float*>(scores.data);
    call.logSumExpPartStride = scores.strides[0], call.logSumExpBatchStride = scores.strides[1];
    call.logSumExpHeadStride = scores.strides[2], call.logSumExpRowStride = scores.strides[3];
    call.output = arguments.headOutput("output", output, "[B, Sq, H, Dv]");
    if (log_sum_exp) {
      const View& total = arguments.strided<float>("log_sum_exp", log_sum_exp, "[B, H, Sq]");
      call.logSumExp = scoreArray<float>(total, {kBatch, kHead, kRow});
    }
    const fk::cpu::AttentionMergeKernels& kernels = fk::cpu::attentionMergeKernelsFor(lock->isa);
    runWithWorkspace(lock, call, kernels.bytes, kernels.run);
  });
}
