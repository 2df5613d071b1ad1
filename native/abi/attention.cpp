#include "cpu/attention/attention.h"

#include <cmath>

#include "abi/arguments.h"
#include "abi/boundary.h"
#include "abi/options.h"

namespace fk::abi {
namespace {

cpu::AttentionArguments readInputs(Arguments& arguments, const fk_attention_options* given, const DLTensor* q,
                                   const DLTensor* k, const DLTensor* v) {
  const fk_attention_options options = readOptions(given, fk_attention_options_init);
  cpu::AttentionArguments call;
  call.causal = readFlag(options.causal, "causal");
  call.q = arguments.heads<const float>("q", q, "[B, Sq, H, D]");
  call.k = arguments.heads<const float>("k", k, "[B, Sk, H, D]");
  call.v = arguments.heads<const float>("v", v, "[B, Sk, H, Dv]");
  if (std::isnan(options.scale)) {
    call.scale = call.q.dim > 0 ? 1 / std::sqrt(static_cast<float>(call.q.dim)) : 1;
  } else {
    requireFinite(options.scale, "scale");
    call.scale = options.scale;
  }
  return call;
}

// T is float where it is written, const float where it is read.
template <class T>
void readLogSumExp(Arguments& arguments, cpu::AttentionArguments& call, const DLTensor* tensor) {
  const View& view = arguments.strided<T>("log_sum_exp", tensor, "[B, H, Sq]");
  call.logSumExp = {reinterpret_cast<float*>(view.data), view.strides[0], view.strides[1], view.strides[2]};
}

}  // namespace
}  // namespace fk::abi

using namespace fk::abi;

void fk_attention_options_init(fk_attention_options* options) noexcept {
  *options = {.struct_size = sizeof(*options), .causal = 0, .scale = NAN};
}

fk_status fk_attention_forward(fk_context* context, const fk_attention_options* options, const DLTensor* q,
                               const DLTensor* k, const DLTensor* v, DLTensor* output, DLTensor* log_sum_exp) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    fk::cpu::AttentionArguments call = readInputs(arguments, options, q, k, v);
    call.output = arguments.heads<float>("output", output, "[B, Sq, H, Dv]");
    if (log_sum_exp) readLogSumExp<float>(arguments, call, log_sum_exp);
    const fk::cpu::AttentionKernels& kernels = fk::cpu::attentionKernelsFor(lock->isa);
    runWithWorkspace(lock, call, kernels.forwardBytes, kernels.forward);
  });
}

fk_status fk_attention_backward(fk_context* context, const fk_attention_options* options, const DLTensor* q,
                                const DLTensor* k, const DLTensor* v, const DLTensor* output, const DLTensor* log_sum_exp,
                                const DLTensor* d_output, DLTensor* d_q, DLTensor* d_k, DLTensor* d_v) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    fk::cpu::AttentionArguments call = readInputs(arguments, options, q, k, v);
    call.savedOutput = arguments.heads<const float>("output", output, "[B, Sq, H, Dv]");
    readLogSumExp<const float>(arguments, call, log_sum_exp);
    call.dOutput = arguments.heads<const float>("d_output", d_output, "[B, Sq, H, Dv]");
    call.dQ = arguments.heads<float>("d_q", d_q, "[B, Sq, H, D]");
    call.dK = arguments.heads<float>("d_k", d_k, "[B, Sk, H, D]");
    call.dV = arguments.heads<float>("d_v", d_v, "[B, Sk, H, Dv]");
    const fk::cpu::AttentionKernels& kernels = fk::cpu::attentionKernelsFor(lock->isa);
    runWithWorkspace(lock, call, kernels.backwardBytes, kernels.backward);
  });
}

fk_status fk_attention_workspace_size(fk_context* context, const fk_attention_options* options, const DLTensor* q,
                                      const DLTensor* k, const DLTensor* v, uint64_t* forward_bytes,
                                      uint64_t* backward_bytes) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    const fk::cpu::AttentionArguments call = readInputs(arguments, options, q, k, v);
    const fk::cpu::AttentionKernels& kernels = fk::cpu::attentionKernelsFor(lock->isa);
    if (forward_bytes) *forward_bytes = kernels.forwardBytes(call, lock->threads, lock->workspaceLimit);
    if (backward_bytes) *backward_bytes = kernels.backwardBytes(call, lock->threads, lock->workspaceLimit);
  });
}
