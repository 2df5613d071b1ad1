// A distillation problem with its arrays, its oracle, and the ways to run it.
#pragma once

#include "cpu/loss/distillation.h"
#include "low_precision.h"
#include "oracles/distillation.h"
#include "stored_matrix.h"
#include "support.h"
#include "tolerance.h"

namespace fk::test {

// A random matrix as the kernel gets it, in any of the types, and as the float matrix that the oracle sees.
struct InputMatrix : StridedArray<float> {
  InputMatrix(int64_t rows, int64_t columns, const MatrixLayout& layout, DataType type, Random& random, double range)
      : StridedArray<float>(makeMatrix(rows, columns, layout)), type(type), stored({rows, columns}, {stride(0), stride(1)}) {
    fill([&] { return random.uniform(-range, range); });
    for (int64_t i = 0; type != DataType::kFloat32 && i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) {
        const double value = (*this)(i, j);
        stored(i, j) = type == DataType::kBfloat16 ? BFloat16(value).bits : Half(value).bits;
        (*this)(i, j) = floatOfElement(type, stored(i, j));
      }
  }

  Operand operand() {
    if (type == DataType::kFloat32) return *this;
    return {stored.data(), type, extent(0), extent(1), stride(0), stride(1)};
  }

  DataType type;
  StridedArray<uint16_t> stored;
};

struct DistillationCase {
  int64_t rows, classes, dim, teacherDim;
  double temperature = 1;
  fk_reduction reduction = FK_REDUCTION_MEAN;
  MatrixLayout embeddings = {}, classifier = {}, gradients = {};  // of both models' inputs, and of the outputs
  int64_t vectorStride = 1;
  bool weighted = true;
  double zeroWeightShare = 0.2;
  double range = 1;                    // of embeddings and classifiers
  std::array<DataType, 4> types = {};  // of the student's embeddings and classifier, and of the teacher's
};

inline std::string describe(const DistillationCase& c) {
  return std::to_string(c.rows) + " rows, " + std::to_string(c.classes) + " classes, dims " + std::to_string(c.dim) +
         " and " + std::to_string(c.teacherDim) + ", temperature " + std::to_string(c.temperature) + ", reduction " +
         std::to_string(c.reduction) + ", embeddings " + describe(c.embeddings) + ", classifier " + describe(c.classifier) +
         ", gradients " + describe(c.gradients) + ", vector stride " + std::to_string(c.vectorStride) +
         (c.weighted ? ", weighted" : "") + ", range " + std::to_string(c.range) + ", types " + nameOf(c.types[0]) + " " +
         nameOf(c.types[1]) + " " + nameOf(c.types[2]) + " " + nameOf(c.types[3]);
}

// What a kernel writes. Fresh ones hold canaries, so an element that is not written shows as NaN.
struct DistillationOutputs {
  StridedArray<float> loss, studentLogSumExp, teacherLogSumExp, dEmbeddings, dClassifier;

  std::array<const StridedArray<float>*, 5> arrays() const {
    return {&loss, &studentLogSumExp, &teacherLogSumExp, &dEmbeddings, &dClassifier};
  }
  void expectCanariesIntact() const {
    for (const auto* array : arrays()) EXPECT_TRUE(array->canariesIntact()) << "a kernel wrote outside its outputs";
  }
  std::vector<float> all() const {
    std::vector<float> result;
    for (const auto* array : arrays()) {
      const std::vector<float> values = array->values();
      result.insert(result.end(), values.begin(), values.end());
    }
    return result;
  }
};

struct DistillationProblem {
  using Arguments = cpu::DistillationArguments;
  using Expected = oracle::DistillationResult<Bounded>;

  DistillationProblem(const DistillationCase& c, Random random)
      : shape(c),
        embeddings(c.rows, c.dim, c.embeddings, c.types[0], random, c.range),
        classifier(c.classes, c.dim, c.classifier, c.types[1], random, c.range),
        teacherEmbeddings(c.rows, c.teacherDim, c.embeddings, c.types[2], random, c.range),
        teacherClassifier(c.classes, c.teacherDim, c.classifier, c.types[3], random, c.range),
        rowWeights({c.rows}, {c.vectorStride}),
        gradLoss({lossSize()}, {c.vectorStride}) {
    rowWeights.fill([&] { return !c.weighted ? 1 : random.chance(c.zeroWeightShare) ? 0 : random.uniform(0.25, 3); });
    gradLoss.fill([&] { return random.uniform(-2, 2); });
  }

  // Of a teacher that is the student.
  void makeModelsEqual() {
    teacherEmbeddings = embeddings;
    teacherClassifier = classifier;
  }

  int64_t lossSize() const { return shape.reduction == FK_REDUCTION_NONE ? shape.rows : 1; }

  // For an upstream gradient of 1, or for gradLoss.
  Expected expected(bool upstream = false) const {
    oracle::Distillation problem;
    problem.studentEmbeddings = {shape.rows, shape.dim, embeddings.values()};
    problem.studentClassifier = {shape.classes, shape.dim, classifier.values()};
    problem.teacherEmbeddings = {shape.rows, shape.teacherDim, teacherEmbeddings.values()};
    problem.teacherClassifier = {shape.classes, shape.teacherDim, teacherClassifier.values()};
    const std::vector<float> weights = rowWeights.values(), gradients = gradLoss.values();
    problem.rowWeights.assign(weights.begin(), weights.end());
    problem.temperature = shape.temperature;
    problem.reduction = shape.reduction;
    problem.gradLoss.assign(gradients.size(), 1);
    if (upstream) problem.gradLoss.assign(gradients.begin(), gradients.end());
    return oracle::distillation<Bounded>(problem);
  }

  DistillationOutputs outputs() const {
    const auto vector = [&](int64_t size) { return StridedArray<float>({size}, {shape.vectorStride}); };
    return {vector(lossSize()), vector(shape.rows), vector(shape.rows), makeMatrix(shape.rows, shape.dim, shape.gradients),
            makeMatrix(shape.classes, shape.dim, shape.gradients)};
  }

  Arguments inputs() {
    Arguments arguments;
    arguments.studentEmbeddings = embeddings.operand();
    arguments.studentClassifier = classifier.operand();
    arguments.teacherEmbeddings = teacherEmbeddings.operand();
    arguments.teacherClassifier = teacherClassifier.operand();
    if (shape.weighted) arguments.rowWeights = rowWeights;
    arguments.reduction = shape.reduction;
    arguments.temperature = static_cast<float>(shape.temperature);
    return arguments;
  }
  Arguments withOutputs(DistillationOutputs& out) {
    Arguments arguments = inputs();
    arguments.loss = out.loss;
    arguments.studentLogSumExp = out.studentLogSumExp;
    arguments.teacherLogSumExp = out.teacherLogSumExp;
    return arguments;
  }

  DistillationOutputs forward(Isa isa, const Execution& execution = executionWith(2), size_t limit = kDefaultLimit) {
    const cpu::DistillationKernels& kernels = cpu::distillationKernelsFor(isa);
    DistillationOutputs out = outputs();
    runKernel(kernels.forwardBytes, kernels.forward, withOutputs(out), execution, limit);
    out.expectCanariesIntact();
    return out;
  }

  // Continues what forward left. Without upstream the kernel sees no gradLoss.
  void backward(Isa isa, DistillationOutputs& out, bool upstream, const Execution& execution = executionWith(2),
                size_t limit = kDefaultLimit) {
    const cpu::DistillationKernels& kernels = cpu::distillationKernelsFor(isa);
    Arguments arguments = withOutputs(out);
    if (upstream) arguments.gradLoss = gradLoss;
    arguments.dStudentEmbeddings = out.dEmbeddings;
    arguments.dStudentClassifier = out.dClassifier;
    runKernel(kernels.backwardBytes, kernels.backward, arguments, execution, limit);
    out.expectCanariesIntact();
  }

  static void expectLoss(const DistillationOutputs& out, const Expected& expected) {
    EXPECT_TRUE(allWithin(out.loss.values(), expected.loss)) << "loss";
    for (float loss : out.loss.values()) EXPECT_FALSE(loss < 0) << "a divergence is never negative";
    EXPECT_TRUE(allWithin(out.studentLogSumExp.values(), expected.studentLogSumExp)) << "student's log-sum-exp";
    EXPECT_TRUE(allWithin(out.teacherLogSumExp.values(), expected.teacherLogSumExp)) << "teacher's log-sum-exp";
  }

  static void expectGradients(const DistillationOutputs& out, const Expected& expected) {
    EXPECT_TRUE(allWithin(out.dEmbeddings.values(), expected.dStudentEmbeddings.values)) << "dEmbeddings";
    EXPECT_TRUE(allWithin(out.dClassifier.values(), expected.dStudentClassifier.values)) << "dClassifier";
  }

  // Both functions, on every instruction set.
  void expectCorrect(size_t limit = kDefaultLimit) {
    SCOPED_TRACE(describe(shape));
    const Expected plain = expected(), scaled = expected(true);
    for (Isa isa : supportedIsas()) {
      SCOPED_TRACE(isaName(isa));
      DistillationOutputs out = forward(isa, executionWith(2), limit);
      expectLoss(out, plain);
      backward(isa, out, false, executionWith(2), limit);
      expectGradients(out, plain);
      backward(isa, out, true, executionWith(2), limit);
      expectGradients(out, scaled);
    }
  }

  DistillationCase shape;
  InputMatrix embeddings, classifier, teacherEmbeddings, teacherClassifier;
  StridedArray<float> rowWeights, gradLoss;
};

}  // namespace fk::test
