#include "cpu/dense/gemm.h"

namespace fk::cpu::FK_ISA {
namespace {

size_t workspaceBytes(const GemmArguments&, int, size_t) { return 0; }

void run(const GemmArguments& g, const Execution& execution, size_t, std::byte*) {
  execution.forEach(g.c.rows, [&](int64_t i, int) {
    execution.throwIfCancelled();
    for (int64_t j = 0; j < g.c.columns; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < g.a.columns; ++k) sum += g.a(i, k) * g.b(k, j);
      g.c(i, j) = g.alpha * sum + (g.beta == 0 ? 0.0f : g.beta * g.c(i, j));
    }
  });
}

}  // namespace

const GemmKernels gemmKernels = {workspaceBytes, run};

}  // namespace fk::cpu::FK_ISA
