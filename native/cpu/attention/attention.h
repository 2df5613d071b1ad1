// Exact attention on the CPU: see fusedkernels.h for the mathematics and attention.cpp for the schedule.
#pragma once

#include "core/tensor.h"
#include "core/thread_pool.h"
#include "core/workspace.h"
#include "cpu/dispatch.h"

namespace fk::cpu {

struct AttentionArguments {
  HeadTensor<const float> q, k, v;
  bool causal = false;
  float scale = 1;
  HeadTensor<float> output;             // forward writes it
  HeadTensor<const float> savedOutput;  // backward reads it
  HeadTensor<const float> dOutput;
  HeadTensor<float> dQ, dK, dV;
  // log-sum-exp [B, H, Sq] with any strides: element (b, h, i) at data[b * batchStride + h * headStride + i * rowStride].
  struct {
    float* data = nullptr;  // forward: optional; backward reads it
    int64_t batchStride = 0, headStride = 0, rowStride = 1;
  } logSumExp;
};

struct AttentionKernels {
  // Bytes of workspace with this many threads, trying to stay within `limit`.
  size_t (*forwardBytes)(const AttentionArguments&, int threads, size_t limit);
  size_t (*backwardBytes)(const AttentionArguments&, int threads, size_t limit);
  void (*forward)(const AttentionArguments&, const Execution&, size_t limit, std::byte* workspace);
  void (*backward)(const AttentionArguments&, const Execution&, size_t limit, std::byte* workspace);
};

FK_KERNELS(AttentionKernels, attentionKernels)

}  // namespace fk::cpu
