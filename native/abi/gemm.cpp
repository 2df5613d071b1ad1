#include "cpu/dense/gemm.h"

#include "abi/arguments.h"
#include "abi/boundary.h"
#include "abi/options.h"

namespace fk::abi {
namespace {

cpu::GemmArguments readGemm(const fk_gemm_options* given, const DLTensor* a, const DLTensor* b, const DLTensor* c) {
  const fk_gemm_options options = readOptions(given, fk_gemm_options_init);
  const bool transposeA = readFlag(options.transpose_a, "transpose_a");
  const bool transposeB = readFlag(options.transpose_b, "transpose_b");
  Arguments arguments;
  cpu::GemmArguments gemm;
  gemm.alpha = options.alpha;
  gemm.beta = options.beta;
  gemm.a = arguments.matrixOfEitherOrder<const float>("a", a, transposeA ? Shape("[K, M]") : Shape("[M, K]"));
  gemm.b = arguments.matrixOfEitherOrder<const float>("b", b, transposeB ? Shape("[N, K]") : Shape("[K, N]"));
  gemm.c = arguments.matrix<float>("c", c, "[M, N]");
  if (transposeA) gemm.a = gemm.a.transposed();
  if (transposeB) gemm.b = gemm.b.transposed();
  return gemm;
}

}  // namespace
}  // namespace fk::abi

using namespace fk::abi;

void fk_gemm_options_init(fk_gemm_options* options) noexcept {
  *options = {.struct_size = sizeof(*options), .transpose_a = 0, .transpose_b = 0, .alpha = 1, .beta = 0};
}

fk_status fk_gemm(fk_context* context, const fk_gemm_options* options, const DLTensor* a, const DLTensor* b,
                  DLTensor* c) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    const fk::cpu::GemmArguments gemm = readGemm(options, a, b, c);
    if (gemm.c.rows == 0 || gemm.c.columns == 0) return;
    const fk::cpu::GemmKernels& kernels = fk::cpu::gemmKernelsFor(lock->isa);
    runWithWorkspace(lock, gemm, kernels.workspaceBytes, kernels.run);
  });
}

fk_status fk_gemm_workspace_size(fk_context* context, const fk_gemm_options* options, const DLTensor* a, const DLTensor* b,
                                 const DLTensor* c, uint64_t* bytes) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    requireNotNull(bytes, "bytes");
    const fk::cpu::GemmArguments gemm = readGemm(options, a, b, c);
    *bytes = fk::cpu::gemmKernelsFor(lock->isa).workspaceBytes(gemm, lock->threads, lock->workspaceLimit);
  });
}
