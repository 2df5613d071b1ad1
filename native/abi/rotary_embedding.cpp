#include "cpu/rows/rotary_embedding.h"

#include <limits>

#include "abi/arguments.h"
#include "abi/boundary.h"
#include "abi/options.h"

using namespace fk::abi;

namespace {

int64_t readRotaryDims(int32_t given, int64_t dim) {
  const auto dims = static_cast<long long>(dim);
  if (given == 0) {
    if (dim % 2 != 0)
      fk::fail(FK_ERROR_INVALID_ARGUMENT, "x: the last axis has %lld elements, needs an even number; or set rotary_dims",
               dims);
    return dim;
  }
  if (given < 0 || given % 2 != 0 || given > dim)
    fk::fail(FK_ERROR_INVALID_ARGUMENT,
             "options: rotary_dims is %d, needs 0 (all), or an even number up to x's last axis, %lld", given, dims);
  return given;
}

}  // namespace

void fk_rotary_embedding_options_init(fk_rotary_embedding_options* options) noexcept {
  *options = {.struct_size = sizeof(*options),
              .interleaved = 0,
              .inverse = 0,
              .rotary_dims = 0,
              .position_offset = 0,
              .base = 10000};
}

fk_status fk_rotary_embedding(fk_context* context, const fk_rotary_embedding_options* options, const DLTensor* x,
                              const DLTensor* positions, DLTensor* y) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    const fk_rotary_embedding_options read = readOptions(options, fk_rotary_embedding_options_init);
    Arguments arguments;
    fk::cpu::RotaryEmbeddingArguments call;
    call.interleaved = readFlag(read.interleaved, "interleaved");
    call.inverse = readFlag(read.inverse, "inverse");
    call.positionOffset = read.position_offset;
    call.base = read.base;
    requireFinite(call.base, "base");
    if (call.base <= 0) fk::fail(FK_ERROR_INVALID_ARGUMENT, "options: base is %g, needs more than 0", call.base);
    call.x = arguments.heads<const float>("x", x, "[B, S, H, D]");
    if (positions) call.positions = arguments.indices("positions", positions, "[S]");
    call.y = arguments.heads<float>("y", y, "[B, S, H, D]", {"x"});
    call.rotaryDims = readRotaryDims(read.rotary_dims, call.x.dim);
    if (positions) requireInRange("positions", call.positions, std::numeric_limits<int64_t>::max());
    const fk::cpu::RotaryEmbeddingKernels& kernels = fk::cpu::rotaryEmbeddingKernelsFor(lock->isa);
    runWithWorkspace(lock, call, kernels.workspaceBytes, kernels.run);
  });
}
