// Cut cross-entropy of bf16, f16 and f32 beside the plain way in that type: logits and their gradients stored in it as
// arrays, all arithmetic on them exact (double) for the two small types, and float32 in the plainest order for f32. The
// rule: no further from the truth than twice the plain way, plus one unit in the last place of the largest exact value.
#include "abi/cut_cross_entropy_problem.h"

namespace fk::test {
namespace {

using oracle::CutCrossEntropyResult;

template <class Actual>
double largestError(const std::vector<Actual>& actual, const std::vector<double>& exact) {
  double largest = 0;
  for (size_t i = 0; i < exact.size(); ++i) largest = std::max(largest, std::abs(static_cast<double>(actual[i]) - exact[i]));
  return largest;
}

template <class Plain>
void expectRule(const char* name, const StridedArray<float>& actual, const std::vector<Plain>& plain,
                const std::vector<double>& exact) {
  double largest = 0;
  for (double value : exact) largest = std::max(largest, std::abs(value));
  const double ulp = 2 * kUnitRoundoff * largest;
  EXPECT_LE(largestError(actual.values(), exact), 2 * largestError(plain, exact) + ulp) << name;
}

template <class Plain>
void expectRules(const CutCrossEntropyOutputs& actual, const CutCrossEntropyResult<Plain>& plain,
                 const CutCrossEntropyResult<double>& exact) {
  expectRule("loss", actual.loss, plain.loss, exact.loss);
  expectRule("log_sum_exp", actual.logSumExp, plain.logSumExp, exact.logSumExp);
  expectRule("entropy", actual.entropy, plain.entropy, exact.entropy);
  expectRule("d_embeddings", actual.dEmbeddings, plain.dEmbeddings.values, exact.dEmbeddings.values);
  expectRule("d_classifier", actual.dClassifier, plain.dClassifier.values, exact.dClassifier.values);
  expectRule("d_bias", actual.dBias, plain.dBias, exact.dBias);
}

TEST(CutCrossEntropyPrecision, IsWithinTwiceTheErrorOfThePlainWay) {
  for (Storage storage : {Storage::kFloat32, Storage::kBFloat16, Storage::kFloat16})
    for (float softcap : {0.0f, 10.0f}) {
      CutCrossEntropyCase c(60, 520, 64, FK_REDUCTION_NONE);
      c.embeddings = c.classifier = storage;
      c.options.softcap = softcap;
      c.bias = c.entropy = c.dBias = true;
      SCOPED_TRACE(describe(c));
      CutCrossEntropyProblem problem(c, Random(1));
      oracle::CutCrossEntropy definition = problem.oracleProblem();
      const auto exact = oracle::cutCrossEntropy<double>(definition);
      for (Isa isa : supportedIsas()) {
        SCOPED_TRACE(isaName(isa));
        const CutCrossEntropyOutputs actual = problem.forwardAndBackward(contextFor(isa, 2));
        if (storage == Storage::kFloat32) {
          expectRules(actual, oracle::cutCrossEntropy<float>(definition), exact);
        } else {
          definition.stored = storage == Storage::kBFloat16 ? BFloat16::rounded : Half::rounded;
          expectRules(actual, oracle::cutCrossEntropy<double>(definition), exact);
        }
      }
    }
}

}  // namespace
}  // namespace fk::test
