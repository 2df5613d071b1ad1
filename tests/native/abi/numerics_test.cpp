// The operators through the C ABI: what tensors, options and defaults mean. The kernels' numbers are judged in
// tests/native/cpu.
#include "cpu/loss/cut_cross_entropy_problem.h"
#include "oracles/gemm.h"
#include "support.h"
#include "tolerance.h"

namespace fk::test {
namespace {

using oracle::Dense;

class AbiNumerics : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(fk_context_create(nullptr, &context_), FK_OK) << fk_last_error(); }
  void TearDown() override { EXPECT_EQ(fk_context_destroy(context_), FK_OK); }

  fk_context* context_ = nullptr;
};

TEST_F(AbiNumerics, GemmAllFourTransposesOfEitherStorage) {
  for (int32_t transposeA : {0, 1})
    for (int32_t transposeB : {0, 1})
      for (bool columnMajor : {false, true}) {
        Random random(12);
        const int64_t m = 21, n = 34, k = 55;
        const MatrixLayout layout = {.gap = 3, .columnMajor = columnMajor};
        StridedArray<float> a = transposeA ? makeMatrix(k, m, layout, random) : makeMatrix(m, k, layout, random);
        StridedArray<float> b = transposeB ? makeMatrix(n, k, layout, random) : makeMatrix(k, n, layout, random);
        StridedArray<float> c = makeMatrix(m, n, {.gap = 2}, random);
        Dense<double> opA(m, k), opB(k, n);
        for (int64_t i = 0; i < m; ++i)
          for (int64_t d = 0; d < k; ++d) opA(i, d) = transposeA ? a(d, i) : a(i, d);
        for (int64_t d = 0; d < k; ++d)
          for (int64_t j = 0; j < n; ++j) opB(d, j) = transposeB ? b(j, d) : b(d, j);
        const auto expected = oracle::gemm<Bounded>(0.5f, opA, opB, 0.25f, {m, n, c.values()});

        fk_gemm_options options;
        fk_gemm_options_init(&options);
        options.transpose_a = transposeA;
        options.transpose_b = transposeB;
        options.alpha = 0.5f;
        options.beta = 0.25f;
        const DLTensor tensorA = a.tensor(), tensorB = b.tensor();
        DLTensor tensorC = c.tensor();
        ASSERT_EQ(fk_gemm(context_, &options, &tensorA, &tensorB, &tensorC), FK_OK) << fk_last_error();
        EXPECT_TRUE(allWithin(c.values(), expected.values))
            << "transpose_a " << transposeA << ", transpose_b " << transposeB << ", column-major " << columnMajor;
        EXPECT_TRUE(c.canariesIntact());
      }
}

TEST_F(AbiNumerics, GemmDefaultsMultiplyAndOverwrite) {
  Random random(13);
  StridedArray<float> a = makeMatrix(9, 300, {}, random), b = makeMatrix(300, 8, {}, random), c = makeMatrix(9, 8);
  const auto expected =
      oracle::gemm<Bounded>(1, Dense<double>(9, 300, a.values()), Dense<double>(300, 8, b.values()), 0, Dense<double>(9, 8));
  const DLTensor tensorA = a.tensor(), tensorB = b.tensor();
  DLTensor tensorC = c.tensor();
  tensorC.strides = nullptr;  // contiguous
  ASSERT_EQ(fk_gemm(context_, nullptr, &tensorA, &tensorB, &tensorC), FK_OK) << fk_last_error();
  EXPECT_TRUE(allWithin(c.values(), expected.values));
}

TEST_F(AbiNumerics, CutCrossEntropyLeadingAxesAreRows) {
  for (fk_reduction reduction : {FK_REDUCTION_MEAN, FK_REDUCTION_NONE}) {
    // [4, 5, dim] in memory that the flat problem sees as 20 rows.
    LossProblem problem({20, 37, 12, reduction, {.gap = 2}, {}, {.gap = 1}, {}, true}, Random(25));
    const auto unweighted = problem.expected(), weighted = problem.expected(true);
    std::vector<int64_t> rows = {4, 5}, rowStrides = {5, 1}, matrix = {4, 5, 12}, inputStrides = {70, 14, 1},
                         outputStrides = {65, 13, 1};
    const auto reshaped = [](DLTensor tensor, std::vector<int64_t>& shape, std::vector<int64_t>& strides) {
      tensor.ndim = static_cast<int32_t>(shape.size());
      tensor.shape = shape.data(), tensor.strides = strides.data();
      return tensor;
    };
    const bool perRow = reduction == FK_REDUCTION_NONE;
    LossOutputs out = problem.outputs();
    const DLTensor embeddings = reshaped(problem.embeddings.tensor(), matrix, inputStrides);
    const DLTensor classifier = problem.classifier.tensor();
    const DLTensor targets = reshaped(problem.targets64.tensor(), rows, rowStrides);
    const DLTensor gradLoss = perRow ? reshaped(problem.gradLoss.tensor(), rows, rowStrides) : problem.gradLoss.tensor();
    DLTensor loss = perRow ? reshaped(out.loss.tensor(), rows, rowStrides) : out.loss.tensor();
    DLTensor logSumExp = reshaped(out.logSumExp.tensor(), rows, rowStrides);
    DLTensor dEmbeddings = reshaped(out.dEmbeddings.tensor(), matrix, outputStrides);
    DLTensor dClassifier = out.dClassifier.tensor();
    fk_cut_cross_entropy_options options;
    fk_cut_cross_entropy_options_init(&options);
    options.reduction = reduction;

    fk_cut_cross_entropy_tensors tensors;
    fk_cut_cross_entropy_tensors_init(&tensors);
    tensors.embeddings = &embeddings;
    tensors.classifier = &classifier;
    tensors.targets = &targets;
    tensors.log_sum_exp = &logSumExp;
    tensors.loss = &loss;
    ASSERT_EQ(fk_cut_cross_entropy_forward(context_, &options, &tensors), FK_OK) << fk_last_error();
    problem.expectLoss(out, unweighted);
    tensors.loss = nullptr;
    tensors.grad_loss = &gradLoss;
    tensors.d_embeddings = &dEmbeddings;
    tensors.d_classifier = &dClassifier;
    ASSERT_EQ(fk_cut_cross_entropy_backward(context_, &options, &tensors), FK_OK) << fk_last_error();
    LossProblem::expectGradients(out, weighted);
    tensors.loss = &loss;
    tensors.log_sum_exp = nullptr;
    tensors.grad_loss = nullptr;
    ASSERT_EQ(fk_cut_cross_entropy_loss_and_gradient(context_, &options, &tensors), FK_OK) << fk_last_error();
    problem.expectLoss(out, unweighted);
    LossProblem::expectGradients(out, unweighted);
    EXPECT_TRUE(out.canariesIntact());
  }
}

}  // namespace
}  // namespace fk::test
