// Cut cross-entropy on the CPU: see fusedkernels.h for the mathematics and cut_cross_entropy.cpp for the schedules.
#pragma once

#include <algorithm>

#include "core/operand.h"
#include "core/tensor.h"
#include "core/thread_pool.h"
#include "core/workspace.h"
#include "cpu/dispatch.h"
#include "cpu/loss/upstream.h"
#include "fusedkernels.h"

namespace fk::cpu {

constexpr int64_t kMostTopTokens = 32;

struct CutCrossEntropyArguments {
  Operand embeddings, classifier;           // [N, D], [V, D]
  IndexVector targets;                      // [N], checked: a class or ignored
  Matrix<const float> targetProbabilities;  // [N, V], instead of targets
  Vector<const float> bias, classWeights;   // [V]
  Vector<const float> rowWeights;           // [N]

  fk_reduction reduction = FK_REDUCTION_MEAN;
  fk_schedule schedule = FK_SCHEDULE_AUTO;
  bool hasIgnoreIndex = true;
  int64_t ignoreIndex = -100;
  int64_t shift = 0, sequence = 1;  // the target of row n is that of n + shift in the same sequence of so many rows
  float logitScale = 1, softcap = 0, labelSmoothing = 0, zLoss = 0;
  fk_loss_shape lossShape = FK_LOSS_SHAPE_CROSS_ENTROPY;
  float lossShapeParameter = 0;
  float filterEmbeddings = 0, filterClassifier = 0;
  bool orderVocabulary = false;
  int64_t vocabularyOffset = 0;

  Vector<float> loss;                                      // one element, or [N] for FK_REDUCTION_NONE
  Vector<float> logSumExp, targetLogProbability, entropy;  // [N]: written by forward, read by backward
  Matrix<int32_t> topTokens32;
  Matrix<int64_t> topTokens64;
  Matrix<float> topLogProbabilities;
  Vector<float> accuracy;
  Vector<float> shardMax, shardSum, shardTarget;  // [N]: fk_cut_cross_entropy_partial

  Vector<const float> gradLoss;  // one element or [N], null means 1
  Vector<const float> gradLogSumExp, gradEntropy;
  Matrix<float> dEmbeddings, dClassifier;
  Vector<float> dBias, dLogitScale;
  fk_filter_report* filterReport = nullptr;
  Vector<float> droppedProbability;

  int64_t rows() const { return embeddings.rows; }
  int64_t classes() const { return classifier.rows; }
  int64_t topCount() const { return std::max({topTokens32.columns, topTokens64.columns, int64_t{accuracy ? 1 : 0}}); }

  bool ignored(int64_t row) const {
    if (!targets) return false;
    if (row % sequence + shift >= sequence) return true;
    return hasIgnoreIndex && targets[row + shift] == ignoreIndex;
  }
  // Outside [0, V) where another shard holds the class. For rows that are not ignored.
  int64_t target(int64_t row) const { return targets[row + shift] - vocabularyOffset; }
  float classWeight(int64_t column) const { return classWeights ? classWeights[column] : 1.0f; }
  float rowWeight(int64_t row) const { return rowWeights ? rowWeights[row] : 1.0f; }
  float upstream(int64_t row) const { return upstreamOf(gradLoss, reduction, row); }
  bool hasLoss() const { return targets || targetProbabilities; }
  bool filters() const { return filterEmbeddings > 0 || filterClassifier > 0; }
};

struct CutCrossEntropyKernels {
  // Bytes of workspace with this many threads, trying to stay within `limit`.
  size_t (*forwardBytes)(const CutCrossEntropyArguments&, int threads, size_t limit);
  size_t (*backwardBytes)(const CutCrossEntropyArguments&, int threads, size_t limit);
  size_t (*lossAndGradientBytes)(const CutCrossEntropyArguments&, int threads, size_t limit);
  void (*forward)(const CutCrossEntropyArguments&, const Execution&, size_t limit, std::byte* workspace);
  void (*backward)(const CutCrossEntropyArguments&, const Execution&, size_t limit, std::byte* workspace);
  void (*lossAndGradient)(const CutCrossEntropyArguments&, const Execution&, size_t limit, std::byte* workspace);
};

FK_KERNELS(CutCrossEntropyKernels, cutCrossEntropyKernels)

}  // namespace fk::cpu
