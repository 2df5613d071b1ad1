#include "cpu/rows/swiglu.h"

#include "abi/arguments.h"
#include "abi/boundary.h"

using namespace fk::abi;

fk_status fk_swiglu_forward(fk_context* context, const DLTensor* gate, const DLTensor* up, DLTensor* output) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    fk::cpu::SwigluArguments call;
    call.gate = arguments.matrix<const float>("gate", gate, "[..., D]");
    call.up = arguments.matrix<const float>("up", up, "[..., D]");
    call.output = arguments.matrix<float>("output", output, "[..., D]", {"gate", "up"});
    fk::cpu::swigluKernelsFor(lock->isa).forward(call, lock->execution());
  });
}

fk_status fk_swiglu_backward(fk_context* context, const DLTensor* gate, const DLTensor* up, const DLTensor* d_output,
                             DLTensor* d_gate, DLTensor* d_up) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    fk::cpu::SwigluArguments call;
    call.gate = arguments.matrix<const float>("gate", gate, "[..., D]");
    call.up = arguments.matrix<const float>("up", up, "[..., D]");
    call.dOutput = arguments.matrix<const float>("d_output", d_output, "[..., D]");
    call.dGate = arguments.matrix<float>("d_gate", d_gate, "[..., D]", {"gate", "d_output"});
    call.dUp = arguments.matrix<float>("d_up", d_up, "[..., D]", {"up", "d_output"});
    fk::cpu::swigluKernelsFor(lock->isa).backward(call, lock->execution());
  });
}
