// The k columns with the largest scores x . y of every row, on the streaming engine: exact maximum inner product search.
// A test of the engine's hooks: what a row remembers is a list, and nothing is summed.
#pragma once

#include "core/operand.h"
#include "core/thread_pool.h"
#include "core/workspace.h"
#include "cpu/dispatch.h"

namespace fk::cpu {

constexpr int64_t kMostTopK = 16;

struct TopKArguments {
  Operand x, y;             // [N, D], [M, D]
  Matrix<float> scores;     // [N, k], k <= kMostTopK, descending; of equal scores the earlier column first
  Matrix<int64_t> indices;  // [N, k]; -1, with score -inf, where there are fewer than k columns
};

struct TopKKernels {
  size_t (*bytes)(const TopKArguments&, int threads, size_t limit);
  void (*run)(const TopKArguments&, const Execution&, size_t limit, std::byte* workspace);
};

FK_KERNELS(TopKKernels, topKKernels)

}  // namespace fk::cpu
