// Exact attention on the CPU: see fusedkernels.h for the mathematics and attention.cpp for the schedule.
#pragma once

#include <array>

#include "core/operand.h"
#include "core/thread_pool.h"
#include "core/workspace.h"
#include "cpu/dispatch.h"

namespace fk::cpu {

// An array over (batch, head, query, key) or some of these axes: an axis that it lacks, or has with extent 1, has stride 0.
template <class T>
struct ScoreArray {
  T* data = nullptr;
  int64_t batchStride = 0, headStride = 0, rowStride = 0, columnStride = 0;
  int64_t extents[4] = {1, 1, 1, 1};  // of the memory

  T* at(int64_t b, int64_t h, int64_t i = 0, int64_t j = 0) const {
    return data + b * batchStride + h * headStride + i * rowStride + j * columnStride;
  }
  explicit operator bool() const { return data != nullptr; }
};

// An input and the gradient of what was made of it.
struct ScoreParameter {
  ScoreArray<const float> value;
  ScoreArray<float> gradient;

  explicit operator bool() const { return static_cast<bool>(value); }
};

struct RotaryArguments {
  static constexpr int64_t kMostDims = 512;

  int64_t dims = 0;  // 0: no rotation
  bool interleaved = false;
  float base = 10000;
  int64_t queryOffset = 0, keyOffset = 0;
};

struct AttentionArguments {
  HeadOperand q, k, v;
  float scale = 1, softcap = 0;
  float lengthScaleBase = 0;

  // Sequences: see fusedkernels.h. Vectors are null where absent.
  int64_t sequences = 0;
  Vector<const int32_t> queryLengths, keyLengths, prefixLengths, queryStarts, keyStarts;
  bool topLeft = false;

  // Masks
  bool causal = false;
  int64_t windowLeft = -1, windowRight = -1;
  ScoreArray<const int32_t> querySegments, keySegments;
  ScoreArray<const uint8_t> mask, blockMask;
  int64_t maskBlockRows = 64, maskBlockColumns = 64;

  // Terms of the score, and what weights are multiplied with
  ScoreParameter bias, keyBias, alibiSlopes;
  ScoreParameter relativeBias;  // columns: buckets
  int64_t relativeBuckets = 0, relativeMaxDistance = 128;
  bool relativeBidirectional = true;
  ScoreParameter axialX, axialY;  // columns: j % axialWidth and j / axialWidth
  int64_t axialWidth = 0;
  ScoreParameter sinks;
  ScoreParameter toeplitz;  // columns: j - i + Sq - 1
  float dropout = 0;
  uint64_t dropoutSeed = 0;
  RotaryArguments rotary;

  // Forward writes them; backward reads the first two.
  HeadOutput output;
  HeadOperand savedOutput;
  ScoreArray<float> logSumExp, maxScore, entropy;
  ScoreArray<float> keyWeights;  // columns: keys

  HeadOperand dOutput;
  ScoreArray<const float> dLogSumExp;
  HeadOutput dQ, dK, dV;

  std::array<const ScoreParameter*, 8> parameters() const {
    return {&bias, &keyBias, &alibiSlopes, &relativeBias, &axialX, &axialY, &sinks, &toeplitz};
  }
  int64_t group() const { return q.heads > 0 ? q.heads / k.heads : 1; }  // query heads per key head
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
