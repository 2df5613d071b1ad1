// What the results of a cut cross-entropy problem have to be, given its oracle.
#pragma once

#include <set>

#include "abi/cut_cross_entropy_problem.h"

namespace fk::test {

class CutCrossEntropyExpectations {
 public:
  using Outputs = CutCrossEntropyOutputs;

  explicit CutCrossEntropyExpectations(const CutCrossEntropyProblem& problem)
      : shape_(problem.shape), problem_(problem.oracleProblem()), expected_(oracle::cutCrossEntropy<Bounded>(problem_)) {}

  const oracle::CutCrossEntropyResult<Bounded>& oracle() const { return expected_; }
  const oracle::CutCrossEntropy& problem() const { return problem_; }

  // False where the mathematics leaves the range of float32, which 1 / p of a loss shape may do.
  bool finiteInFloat() const {
    const auto small = [](const Bounded& x) { return std::abs(x.value) < 1e30; };
    return std::all_of(expected_.loss.begin(), expected_.loss.end(), small) &&
           std::all_of(expected_.dScores.values.begin(), expected_.dScores.values.end(), small);
  }

  void expectEverything(const Outputs& out) const {
    expectForward(out);
    expectGradients(out);
  }

  void expectForward(const Outputs& out) const {
    expectWithin("loss", true, out.loss, expected_.loss);
    for (float loss : out.loss.values()) EXPECT_GE(loss, lossIsNotNegative() ? 0 : -kInfinity) << "loss below 0";
    expectWithin("log_sum_exp", true, out.logSumExp, expected_.logSumExp);
    const bool hasTarget = shape_.targetLogProbability || shape_.shaped();
    expectWithin("target_log_probability", hasTarget, out.targetLogProbability, expected_.targetLogProbability);
    for (float value : out.targetLogProbability.values()) EXPECT_FALSE(value > 0) << "target_log_probability above 0";
    expectWithin("entropy", shape_.entropy || shape_.gradEntropy, out.entropy, expected_.entropy);
    if (shape_.topCount > 0) expectTop(out.topTokens.values(), out.topLogProbabilities.values());
    if (shape_.accuracy) expectAccuracy(out.accuracy.values()[0]);
  }

  void expectGradients(const Outputs& out) const {
    expectWithin("d_embeddings", shape_.dEmbeddings, out.dEmbeddings, expected_.dEmbeddings.values);
    expectWithin("d_classifier", shape_.dClassifier, out.dClassifier, expected_.dClassifier.values);
    expectWithin("d_bias", shape_.dBias, out.dBias, expected_.dBias);
    expectWithin("d_logit_scale", shape_.dLogitScale, out.dLogitScale, {expected_.dLogitScale});
  }

 private:
  static void expectWithin(const char* name, bool wanted, const StridedArray<float>& actual,
                           const std::vector<Bounded>& expected) {
    if (!wanted) return;
    EXPECT_TRUE(allWithin(actual.values(), expected)) << name;
  }

  bool lossIsNotNegative() const { return shape_.negativeWeights == 0; }

  // Logits that are exact in float32, so that equal ones are equal for the library too.
  bool logitsAreExact() const { return shape_.integers && shape_.options.logit_scale == 1 && shape_.options.softcap == 0; }

  const Bounded& logit(int64_t row, int64_t v) const { return expected_.logits(row, v); }

  // Classes from the most likely down, of equal ones the lowest first.
  std::vector<int64_t> ranking(int64_t row) const {
    std::vector<int64_t> order(static_cast<size_t>(shape_.classes));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return logit(row, a).value > logit(row, b).value; });
    return order;
  }

  void expectTop(const std::vector<int64_t>& tokens, const std::vector<float>& logProbabilities) const {
    for (int64_t n = 0; n < shape_.rows(); ++n) {
      const auto first = static_cast<size_t>(n * shape_.topCount), count = static_cast<size_t>(shape_.topCount);
      expectTopOfRow(n, {tokens.begin() + static_cast<int64_t>(first), tokens.begin() + static_cast<int64_t>(first + count)},
                     logProbabilities.data() + first);
      if (testing::Test::HasFailure()) return;
    }
  }

  void expectTopOfRow(int64_t row, const std::vector<int64_t>& tokens, const float* logProbabilities) const {
    SCOPED_TRACE("top of row " + std::to_string(row));
    if (problem_.ignored(row)) {
      for (size_t k = 0; k < tokens.size(); ++k) {
        EXPECT_EQ(tokens[k], -1);
        EXPECT_EQ(logProbabilities[k], 0);
      }
      return;
    }
    const std::vector<int64_t> order = ranking(row);
    for (size_t k = 0; k < tokens.size(); ++k) {
      if (k >= order.size()) {
        EXPECT_EQ(tokens[k], -1);
        EXPECT_EQ(logProbabilities[k], -kInfinity);
        continue;
      }
      ASSERT_TRUE(tokens[k] >= 0 && tokens[k] < shape_.classes) << tokens[k];
      if (logitsAreExact()) {
        EXPECT_EQ(tokens[k], order[k]) << "place " << k;
      }
      const Bounded &got = logit(row, tokens[k]), &best = logit(row, order[k]);
      EXPECT_LE(best.value - got.value, best.error() + got.error()) << "place " << k << ": class " << tokens[k];
      EXPECT_TRUE(isWithin(logProbabilities[k], got - expected_.logSumExp[static_cast<size_t>(row)])) << "place " << k;
      EXPECT_LE(logProbabilities[k], k == 0 ? 0 : logProbabilities[k - 1]) << "place " << k;
    }
    const auto found = static_cast<int64_t>(std::min(tokens.size(), order.size()));
    EXPECT_EQ(std::set<int64_t>(tokens.begin(), tokens.begin() + found).size(), static_cast<size_t>(found)) << "twice";
  }

  // Rows whose target is the most likely class, and those where rounding decides whether it is.
  void expectAccuracy(float accuracy) const {
    int64_t rows = 0, right = 0, open = 0;
    for (int64_t n = 0; n < shape_.rows(); ++n) {
      if (problem_.ignored(n)) continue;
      ++rows;
      const int64_t target = *problem_.target(n);
      bool isOpen = false;
      for (int64_t v = 0; v < shape_.classes && !logitsAreExact(); ++v) {
        const double apart = std::abs(logit(n, v).value - logit(n, target).value);
        isOpen |= v != target && apart <= logit(n, v).error() + logit(n, target).error();
      }
      open += isOpen;
      right += !isOpen && ranking(n)[0] == target;
    }
    const auto share = [&](int64_t count) { return rows == 0 ? 0 : static_cast<double>(count) / static_cast<double>(rows); };
    EXPECT_GE(accuracy, share(right) * (1 - 2 * kUnitRoundoff)) << "accuracy";
    EXPECT_LE(accuracy, share(right + open) * (1 + 2 * kUnitRoundoff)) << "accuracy";
  }

  const CutCrossEntropyCase shape_;
  const oracle::CutCrossEntropy problem_;
  const oracle::CutCrossEntropyResult<Bounded> expected_;
};

}  // namespace fk::test
