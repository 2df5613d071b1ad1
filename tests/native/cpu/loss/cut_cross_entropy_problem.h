// A cut cross-entropy problem with its arrays, its oracle, and every way to run it.
#pragma once

#include "cpu/loss/cut_cross_entropy.h"
#include "oracles/cut_cross_entropy.h"
#include "support.h"
#include "tolerance.h"

namespace fk::test {

struct LossCase {
  int64_t rows, classes, dim;
  fk_reduction reduction = FK_REDUCTION_MEAN;
  MatrixLayout embeddings = {}, classifier = {}, dEmbeddings = {}, dClassifier = {};
  bool targets64 = false;
  int64_t vectorStride = 1;  // of targets, loss, log-sum-exp and upstream gradient
  std::optional<int64_t> ignoreIndex = -100;
  double ignoredShare = 0.2;
  double range = 1;  // of embeddings and classifier
};

inline std::string describe(const LossCase& c) {
  return std::to_string(c.rows) + " rows, " + std::to_string(c.classes) + " classes, dim " + std::to_string(c.dim) +
         ", reduction " + std::to_string(c.reduction) + ", embeddings " + describe(c.embeddings) + ", classifier " +
         describe(c.classifier) + ", dEmbeddings " + describe(c.dEmbeddings) + ", dClassifier " + describe(c.dClassifier) +
         (c.targets64 ? ", int64 targets" : ", int32 targets") + ", vector stride " + std::to_string(c.vectorStride) +
         ", ignore index " + (c.ignoreIndex ? std::to_string(*c.ignoreIndex) : "none") + ", range " +
         std::to_string(c.range);
}

// What a kernel writes. Fresh ones hold canaries, so an element that is not written shows as NaN.
struct LossOutputs {
  StridedArray<float> loss, logSumExp, dEmbeddings, dClassifier;

  bool canariesIntact() const {
    return loss.canariesIntact() && logSumExp.canariesIntact() && dEmbeddings.canariesIntact() &&
           dClassifier.canariesIntact();
  }
  std::vector<float> all() const {
    std::vector<float> result;
    for (const auto* array : {&loss, &logSumExp, &dEmbeddings, &dClassifier}) {
      const std::vector<float> values = array->values();
      result.insert(result.end(), values.begin(), values.end());
    }
    return result;
  }
};

struct LossProblem {
  LossProblem(const LossCase& c, Random random)
      : shape(c),
        embeddings(makeMatrix(c.rows, c.dim, c.embeddings, random, -c.range, c.range)),
        classifier(makeMatrix(c.classes, c.dim, c.classifier, random, -c.range, c.range)),
        targets32({c.rows}, {c.vectorStride}),
        targets64({c.rows}, {c.vectorStride}),
        gradLoss({c.reduction == FK_REDUCTION_NONE ? c.rows : 1}, {c.vectorStride}) {
    setTargets([&](int64_t) {
      if (c.classes == 0 || (c.ignoreIndex && random.chance(c.ignoredShare))) return c.ignoreIndex.value();
      return random.between(0, c.classes - 1);
    });
    gradLoss.fill([&] { return random.uniform(-2, 2); });
  }

  template <class Function>
  void setTargets(Function&& target) {
    for (int64_t n = 0; n < shape.rows; ++n) {
      targets64(n) = target(n);
      targets32(n) = static_cast<int32_t>(targets64(n));
    }
  }

  // For an upstream gradient of 1, or for gradLoss.
  oracle::CutCrossEntropyResult<Bounded> expected(bool upstream = false) const {
    oracle::CutCrossEntropy problem;
    problem.embeddings = {shape.rows, shape.dim, embeddings.values()};
    problem.classifier = {shape.classes, shape.dim, classifier.values()};
    problem.targets = targets64.values();
    problem.ignoreIndex = shape.ignoreIndex;
    problem.reduction = shape.reduction;
    problem.gradLoss.assign(static_cast<size_t>(lossSize()), 1);
    if (upstream) {
      const std::vector<float> values = gradLoss.values();
      problem.gradLoss.assign(values.begin(), values.end());
    }
    return oracle::cutCrossEntropy<Bounded>(problem);
  }

  int64_t lossSize() const { return shape.reduction == FK_REDUCTION_NONE ? shape.rows : 1; }

  LossOutputs outputs() const {
    return {StridedArray<float>({lossSize()}, {shape.vectorStride}), StridedArray<float>({shape.rows}, {shape.vectorStride}),
            makeMatrix(shape.rows, shape.dim, shape.dEmbeddings), makeMatrix(shape.classes, shape.dim, shape.dClassifier)};
  }

  cpu::CutCrossEntropyArguments inputs(fk_schedule schedule = FK_SCHEDULE_AUTO) {
    cpu::CutCrossEntropyArguments arguments;
    arguments.embeddings = embeddings;
    arguments.classifier = classifier;
    arguments.targets = shape.targets64 ? IndexVector(targets64) : IndexVector(targets32);
    arguments.hasIgnoreIndex = shape.ignoreIndex.has_value();
    arguments.ignoreIndex = shape.ignoreIndex.value_or(0);
    arguments.reduction = shape.reduction;
    arguments.schedule = schedule;
    return arguments;
  }

  LossOutputs forward(Isa isa, const Execution& execution = executionWith(2), size_t limit = kDefaultLimit) {
    const cpu::CutCrossEntropyKernels& kernels = cpu::cutCrossEntropyKernelsFor(isa);
    LossOutputs out = outputs();
    cpu::CutCrossEntropyArguments arguments = inputs();
    arguments.loss = out.loss;
    arguments.logSumExp = out.logSumExp;
    runKernel(kernels.forwardBytes, kernels.forward, arguments, execution, limit);
    EXPECT_TRUE(out.canariesIntact()) << "forward wrote outside its outputs";
    return out;
  }

  // Continues what forward left. Without upstream the kernel sees no gradLoss.
  void backward(Isa isa, LossOutputs& out, bool upstream, const Execution& execution = executionWith(2),
                size_t limit = kDefaultLimit) {
    const cpu::CutCrossEntropyKernels& kernels = cpu::cutCrossEntropyKernelsFor(isa);
    cpu::CutCrossEntropyArguments arguments = inputs();
    arguments.logSumExp = out.logSumExp;
    if (upstream) arguments.gradLoss = gradLoss;
    arguments.dEmbeddings = out.dEmbeddings;
    arguments.dClassifier = out.dClassifier;
    runKernel(kernels.backwardBytes, kernels.backward, arguments, execution, limit);
    EXPECT_TRUE(out.canariesIntact()) << "backward wrote outside its outputs";
  }

  LossOutputs lossAndGradient(Isa isa, fk_schedule schedule, const Execution& execution = executionWith(2),
                              size_t limit = kDefaultLimit) {
    const cpu::CutCrossEntropyKernels& kernels = cpu::cutCrossEntropyKernelsFor(isa);
    LossOutputs out = outputs();
    cpu::CutCrossEntropyArguments arguments = inputs(schedule);
    arguments.loss = out.loss;
    arguments.logSumExp = out.logSumExp;
    arguments.dEmbeddings = out.dEmbeddings;
    arguments.dClassifier = out.dClassifier;
    runKernel(kernels.lossAndGradientBytes, kernels.lossAndGradient, arguments, execution, limit);
    EXPECT_TRUE(out.canariesIntact()) << "lossAndGradient wrote outside its outputs";
    return out;
  }

  // The log-sum-exp of ignored rows is left open: nobody reads it.
  void expectLoss(const LossOutputs& out, const oracle::CutCrossEntropyResult<Bounded>& expected) const {
    EXPECT_TRUE(allWithin(out.loss.values(), expected.loss)) << "loss";
    for (float loss : out.loss.values()) EXPECT_FALSE(loss < 0) << "a cross-entropy is never negative";
    std::vector<float> actual;
    std::vector<Bounded> wanted;
    for (int64_t n = 0; n < shape.rows; ++n) {
      if (shape.ignoreIndex && targets64(n) == *shape.ignoreIndex) continue;
      actual.push_back(out.logSumExp(n));
      wanted.push_back(expected.logSumExp[static_cast<size_t>(n)]);
    }
    EXPECT_TRUE(allWithin(actual, wanted)) << "log-sum-exp";
  }

  static void expectGradients(const LossOutputs& out, const oracle::CutCrossEntropyResult<Bounded>& expected) {
    EXPECT_TRUE(allWithin(out.dEmbeddings.values(), expected.dEmbeddings.values)) << "dEmbeddings";
    EXPECT_TRUE(allWithin(out.dClassifier.values(), expected.dClassifier.values)) << "dClassifier";
  }

  // Everything that the operator offers, on every instruction set.
  void expectCorrect(size_t limit = kDefaultLimit) {
    SCOPED_TRACE(describe(shape));
    const oracle::CutCrossEntropyResult<Bounded> unweighted = expected(), weighted = expected(true);
    for (Isa isa : supportedIsas()) {
      SCOPED_TRACE(isaName(isa));
      LossOutputs out = forward(isa, executionWith(2), limit);
      expectLoss(out, unweighted);
      backward(isa, out, false, executionWith(2), limit);
      expectGradients(out, unweighted);
      backward(isa, out, true, executionWith(2), limit);
      expectGradients(out, weighted);
      for (fk_schedule schedule : {FK_SCHEDULE_RECOMPUTE, FK_SCHEDULE_FUSED, FK_SCHEDULE_AUTO}) {
        SCOPED_TRACE("loss and gradient, schedule " + std::to_string(schedule));
        const LossOutputs both = lossAndGradient(isa, schedule, executionWith(2), limit);
        expectLoss(both, unweighted);
        expectGradients(both, unweighted);
      }
    }
  }

  LossCase shape;
  StridedArray<float> embeddings, classifier;
  StridedArray<int32_t> targets32;
  StridedArray<int64_t> targets64;
  StridedArray<float> gradLoss;
};

}  // namespace fk::test
