// Cut cross-entropy where other libraries have been found wrong: each known defect is a test. The oracle judges the numbers.
#include "abi/cut_cross_entropy_expectations.h"
#include "abi/expect_error.h"

namespace fk::test {
namespace {

using Problem = CutCrossEntropyProblem;
using Outputs = CutCrossEntropyOutputs;
using Case = CutCrossEntropyCase;

constexpr fk_schedule kSchedules[] = {FK_SCHEDULE_RECOMPUTE, FK_SCHEDULE_FUSED};

// Every way to get the results of a problem, on every instruction set.
template <class Check>
void forEveryRun(Problem& problem, const Check& check) {
  SCOPED_TRACE(describe(problem.shape));
  for (Isa isa : supportedIsas()) {
    SCOPED_TRACE(isaName(isa));
    check(problem.forwardAndBackward(contextFor(isa, 2)));
    for (fk_schedule schedule : kSchedules) {
      SCOPED_TRACE("loss_and_gradient, schedule " + std::to_string(schedule));
      check(problem.lossAndGradient(contextFor(isa, 2), schedule));
    }
  }
}

void expectCorrect(Problem& problem) {
  const CutCrossEntropyExpectations expectations(problem);
  forEveryRun(problem, [&](const Outputs& out) { expectations.expectEverything(out); });
}

Case withEverything(Case c) {
  c.bias = c.classWeights = c.rowWeights = c.gradLoss = c.gradLogSumExp = c.gradEntropy = true;
  c.targetLogProbability = c.entropy = c.accuracy = c.dBias = c.dLogitScale = true;
  c.topCount = 3;
  return c;
}

// A kernel that adds it in every depth block adds it too often.
TEST(CutCrossEntropyEdges, BiasIsAddedOnceForAnyDepth) {
  for (int64_t dim : {1, 255, 256, 257, 513, 1025}) {
    Case c(9, 21, dim);
    c.bias = c.dBias = true;
    Problem problem(c, Random(1));
    expectCorrect(problem);
    problem.classifier.fill([] { return 0; });  // now the bias is the logit
    expectCorrect(problem);
  }
}

TEST(CutCrossEntropyEdges, BlocksInEveryDirectionWithEverything) {
  for (auto [rows, classes, dim] : {std::tuple{1030, 40, 5}, std::tuple{70, 530, 515}, std::tuple{40, 17000, 3}}) {
    Case c = withEverything(Case(rows, classes, dim));
    c.range = 0.5;
    c.options.softcap = 5;
    c.options.z_loss = 0.01f;
    c.options.label_smoothing = 0.1f;
    Problem problem(c, Random(2));
    expectCorrect(problem);
  }
}

enum class IgnoredBy { kIndex, kShift };

TEST(CutCrossEntropyEdges, NothingButIgnoredRowsIsZeroWhateverTheyHold) {
  for (fk_reduction reduction : {FK_REDUCTION_MEAN, FK_REDUCTION_SUM, FK_REDUCTION_NONE})
    for (IgnoredBy reason : {IgnoredBy::kIndex, IgnoredBy::kShift}) {
      Case c = withEverything(Case(40, 37, 12, reduction));
      if (reason == IgnoredBy::kShift)
        c.options.shift = 40;
      else
        c.ignoredShare = 1;
      Problem problem(c, Random(3));
      problem.embeddings.fill([] { return kNan; });
      forEveryRun(problem, [&](const Outputs& out) {
        for (const auto* array : out.floats()) {
          if (array == &out.droppedProbability) continue;  // not asked for
          for (float value : array->values()) ASSERT_EQ(value, 0);
        }
        for (int64_t token : out.topTokens.values()) EXPECT_EQ(token, -1);
      });
    }
}

TEST(CutCrossEntropyEdges, AMeanOverWeightsOfZeroIsZero) {
  for (const bool ofRows : {false, true}) {
    Case c(20, 31, 8);
    c.rowWeights = ofRows;
    c.classWeights = !ofRows;
    Problem problem(c, Random(4));
    for (auto* weights : {&problem.rowWeights, &problem.classWeights}) weights->fill([] { return 0; });
    forEveryRun(problem, [&](const Outputs& out) {
      for (const auto* array : {&out.loss, &out.dEmbeddings, &out.dClassifier})
        for (float value : array->values()) ASSERT_EQ(value, 0);
    });
  }
}

// Columns that pad a tile have logits of 0, which a softcap this small leaves among the largest.
TEST(CutCrossEntropyEdges, SmallSoftcapsAndNoPaddingInTheLogSumExp) {
  for (float softcap : {0.5f, 1.0f, 2.0f})
    for (int64_t classes : {1, 3, 13, 15, 33, 251, 253, 505}) {
      Case c(19, classes, 11, FK_REDUCTION_NONE);
      c.options.softcap = softcap;
      c.range = 3;
      c.bias = c.dBias = c.dLogitScale = c.entropy = c.gradEntropy = true;
      Problem problem(c, Random(5));
      expectCorrect(problem);
      // Logits at -softcap, all of them: any 0 among them shows.
      problem.embeddings.fill([] { return 30; });
      problem.classifier.fill([] { return -30; });
      expectCorrect(problem);
    }
}

TEST(CutCrossEntropyEdges, ATargetOutOfRangeNamesItsRowAndNothingIsWritten) {
  for (int64_t target : {int64_t{-1}, int64_t{23}, int64_t{-101}, INT64_MAX, INT64_MIN}) {
    Case c(31, 23, 5);
    c.targets64 = true;
    c.ignoredShare = 0;
    Problem problem(c, Random(6));
    int64_t row = 0;
    problem.targets.fill([&] { return row++ == 17 ? target : 3; });
    for (Isa isa : supportedIsas()) {
      Outputs out = problem.outputs(), untouched = problem.outputs();
      for (StridedArray<float>* input : {&out.logSumExp, &untouched.logSumExp}) input->fill([] { return 1; });
      CutCrossEntropyTensors forward = problem.inputs(), backward = problem.inputs(), both = problem.inputs();
      problem.addForwardOutputs(forward, out);
      problem.addForwardOutputs(both, out);
      problem.addGradients(both, out);
      backward.value.log_sum_exp = backward.keep(out.logSumExp);
      problem.addGradients(backward, out);
      fk_context* context = contextFor(isa, 2);
      const std::string text = "targets: row 17 is " + std::to_string(target);
      EXPECT_STATUS(fk_cut_cross_entropy_forward(context, &c.options, &forward.value), FK_ERROR_INDEX_OUT_OF_RANGE, text);
      EXPECT_STATUS(fk_cut_cross_entropy_backward(context, &c.options, &backward.value), FK_ERROR_INDEX_OUT_OF_RANGE, text);
      EXPECT_STATUS(fk_cut_cross_entropy_loss_and_gradient(context, &c.options, &both.value), FK_ERROR_INDEX_OUT_OF_RANGE,
                    text);
      EXPECT_TRUE(out.sameBitsAs(untouched));
    }
  }
}

TEST(CutCrossEntropyEdges, ReductionNoneHasTheGradientOfEveryRow) {
  Case c(37, 61, 13, FK_REDUCTION_NONE);
  c.gradLoss = true;
  Problem problem(c, Random(7));
  expectCorrect(problem);
  int64_t row = 0;
  problem.gradLoss.fill([&] { return row++ == 20 ? 1 : 0; });  // one row's gradient alone
  expectCorrect(problem);
  forEveryRun(problem, [&](const Outputs& out) {
    for (int64_t n = 0; n < 37; ++n)
      for (int64_t d = 0; d < 13 && n != 20; ++d) ASSERT_EQ(out.dEmbeddings(n, d), 0) << "row " << n;
  });
}

TEST(CutCrossEntropyEdges, EveryGradientAloneIsRight) {
  for (bool Case::*wanted : {&Case::dEmbeddings, &Case::dClassifier, &Case::dBias}) {
    Case c(70, 300, 33);
    c.bias = true;
    c.dEmbeddings = c.dClassifier = false;
    c.*wanted = true;
    Problem problem(c, Random(8));
    expectCorrect(problem);
  }
  for (bool Case::*other : {&Case::dEmbeddings, &Case::dClassifier}) {
    Case c(70, 300, 33);
    c.bias = c.dLogitScale = true;
    c.options.logit_scale = 1.5f;
    c.dEmbeddings = c.dClassifier = false;
    c.*other = true;
    Problem problem(c, Random(9));
    expectCorrect(problem);
  }
}

TEST(CutCrossEntropyEdges, EveryOutputAloneIsRight) {
  Case c(40, 270, 9, FK_REDUCTION_NONE);
  c.targetLogProbability = c.entropy = c.accuracy = true;
  c.topCount = 2;
  Problem problem(c, Random(10));
  for (Isa isa : supportedIsas()) {
    const Outputs all = problem.forward(contextFor(isa, 2));
    using Tensors = fk_cut_cross_entropy_tensors;
    for (DLTensor* Tensors::*wanted : {&Tensors::loss, &Tensors::log_sum_exp, &Tensors::target_log_probability,
                                       &Tensors::entropy, &Tensors::top_tokens, &Tensors::accuracy}) {
      Outputs out = problem.outputs();
      CutCrossEntropyTensors everything, one = problem.inputs();
      problem.addForwardOutputs(everything, out);
      one.value.*wanted = everything.value.*wanted;
      ASSERT_EQ(fk_cut_cross_entropy_forward(contextFor(isa, 2), &c.options, &one.value), FK_OK) << fk_last_error();
      const auto expectSame = [&](DLTensor* Tensors::*member, const StridedArray<float>& actual,
                                  const StridedArray<float>& expected) {
        EXPECT_TRUE(wanted != member || sameBits(actual.values(), expected.values()));
      };
      expectSame(&Tensors::loss, out.loss, all.loss);
      expectSame(&Tensors::log_sum_exp, out.logSumExp, all.logSumExp);
      expectSame(&Tensors::target_log_probability, out.targetLogProbability, all.targetLogProbability);
      expectSame(&Tensors::entropy, out.entropy, all.entropy);
      expectSame(&Tensors::accuracy, out.accuracy, all.accuracy);
      EXPECT_TRUE(wanted != &Tensors::top_tokens || out.topTokens.values() == all.topTokens.values());
    }
  }
}

TEST(CutCrossEntropyEdges, TiesGoToTheLowestClassAcrossTiles) {
  for (int64_t count : {1, 4, 32}) {
    Case c(33, 760, 1, FK_REDUCTION_NONE);
    c.integers = c.accuracy = true;
    c.topCount = count;
    Problem problem(c, Random(11));
    problem.embeddings.fill([] { return 1; });
    expectCorrect(problem);  // random small integers
    int64_t v = 0;
    problem.classifier.fill([&] {
      const int64_t at = v++;
      return at == 251 || at == 252 || at == 503 || at == 504 || at == 759 ? 2 : 0;
    });
    expectCorrect(problem);
    problem.classifier.fill([] { return 0; });
    problem.targets.fill([] { return 0; });
    expectCorrect(problem);
    for (Isa isa : supportedIsas()) EXPECT_EQ(problem.forward(contextFor(isa, 2)).accuracy.values()[0], 1) << isaName(isa);
  }
}

// Equal logits, huge ones, one that dominates: the loss is a difference of nearly equal numbers and may not come out below
// 0.
struct Adversary {
  const char* name;
  double others, best;  // the logit of one class, and of all the rest
};

constexpr Adversary kAdversaries[] = {
    {"equal", 0.7, 0.7},
    {"huge and equal", 1e4, 1e4},
    {"minus huge", -1e4, -1e4},
    {"one dominates", -1e4, 1e4},
    {"one is low", 1e4, -1e4},
    {"one dominates little", 9990, 10000},
    {"nearly equal", 1, 1.0000001},
};

void setAdversary(Problem& problem, const Adversary& adversary, int64_t best) {
  problem.embeddings.fill([] { return 100; });
  int64_t v = 0;
  problem.classifier.fill([&] { return (v++ == best ? adversary.best : adversary.others) / 100; });
}

TEST(CutCrossEntropyEdges, TheLossIsNeverNegative) {
  for (const Adversary& adversary : kAdversaries)
    for (float softcap : {0.0f, 30.0f})
      for (int64_t best : {0, 255, 299}) {
        SCOPED_TRACE(adversary.name);
        Case c(40, 300, 1, FK_REDUCTION_NONE);
        c.options.softcap = softcap;
        c.targetLogProbability = c.accuracy = c.entropy = true;
        c.topCount = 2;
        Problem problem(c, Random(12));
        setAdversary(problem, adversary, best);
        int64_t row = 0;
        problem.targets.fill([&] { return row++ % 2 ? best : 7; });
        expectCorrect(problem);
        forEveryRun(problem, [](const Outputs& out) {
          for (float entropy : out.entropy.values()) EXPECT_GE(entropy, 0) << "an entropy below 0";
        });
      }
}

TEST(CutCrossEntropyEdges, LossShapesOfCertainTargets) {
  const std::vector<std::pair<fk_loss_shape, float>> shapes = {
      {FK_LOSS_SHAPE_FOCAL, 0},       {FK_LOSS_SHAPE_FOCAL, 0.5f},       {FK_LOSS_SHAPE_FOCAL, 1},
      {FK_LOSS_SHAPE_FOCAL, 2},       {FK_LOSS_SHAPE_POLY1, -1},         {FK_LOSS_SHAPE_POLY1, 2},
      {FK_LOSS_SHAPE_GENERALISED, 0}, {FK_LOSS_SHAPE_GENERALISED, 0.7f}, {FK_LOSS_SHAPE_GENERALISED, 1},
      {FK_LOSS_SHAPE_TOKEN_SCALED, 0}};
  for (const auto& [shape, parameter] : shapes)
    for (const Adversary& adversary : kAdversaries) {
      SCOPED_TRACE(adversary.name);
      Case c(20, 30, 1, FK_REDUCTION_NONE);
      c.options.loss_shape = shape;
      c.options.loss_shape_parameter = parameter;
      Problem problem(c, Random(13));
      setAdversary(problem, adversary, 5);
      int64_t row = 0;
      problem.targets.fill([&] { return row++ % 2 ? 5 : 7; });
      expectCorrect(problem);
    }
}

TEST(CutCrossEntropyEdges, NanStaysInItsRowWithEverything) {
  Case c = withEverything(Case(70, 300, 20, FK_REDUCTION_NONE));
  c.ignoredShare = 0;
  Problem clean(c, Random(14)), problem(c, Random(14));
  int64_t element = 0;
  const std::vector<double> values = clean.embeddings.values();
  problem.embeddings.fill([&] {
    const int64_t at = element++;
    return at == 3 * 20 + 7 ? kNan : at == 69 * 20 ? kInfinity : values[static_cast<size_t>(at)];
  });
  for (Isa isa : supportedIsas())
    for (fk_schedule schedule : kSchedules) {
      SCOPED_TRACE(isaName(isa));
      const Outputs expected = clean.lossAndGradient(contextFor(isa, 2), schedule);
      const Outputs out = problem.lossAndGradient(contextFor(isa, 2), schedule);
      for (int64_t n = 0; n < 70; ++n) {
        if (n == 3 || n == 69) {
          EXPECT_TRUE(std::isnan(out.loss(n))) << "row " << n << ": " << out.loss(n);
          EXPECT_TRUE(std::isnan(out.dEmbeddings(n, 0))) << "row " << n << ": " << out.dEmbeddings(n, 0);
          continue;
        }
        EXPECT_EQ(out.loss(n), expected.loss(n)) << "row " << n;
        EXPECT_EQ(out.entropy(n), expected.entropy(n)) << "row " << n;
        for (int64_t d = 0; d < 20; ++d) EXPECT_EQ(out.dEmbeddings(n, d), expected.dEmbeddings(n, d)) << "row " << n;
      }
    }
}

// Log-sum-exp, entropy and the best classes belong to the model alone, and so do the gradients through them.
TEST(CutCrossEntropyEdges, NeedsNoTargetsWithoutALoss) {
  Case c(40, 270, 9, FK_REDUCTION_NONE);
  c.bias = c.rowWeights = c.entropy = c.gradLogSumExp = c.gradEntropy = c.dBias = c.dLogitScale = true;
  c.topCount = 2;
  c.ignoredShare = 0;
  c.gradLoss = true;
  Problem problem(c, Random(15));
  problem.gradLoss.fill([] { return 0; });
  const CutCrossEntropyExpectations expectations(problem);
  const auto withoutTargets = [](CutCrossEntropyTensors& t) {
    t.value.targets = nullptr;
    t.value.loss = nullptr;
    t.value.grad_loss = nullptr;
    return &t.value;
  };
  for (Isa isa : supportedIsas()) {
    SCOPED_TRACE(isaName(isa));
    fk_context* context = contextFor(isa, 2);
    Outputs split = problem.outputs(), whole = problem.outputs();
    for (Outputs* out : {&split, &whole}) out->loss = problem.forward(context).loss;  // which the calls below do not write
    CutCrossEntropyTensors forward = problem.inputs(), backward = problem.inputs(), both = problem.inputs();
    problem.addForwardOutputs(forward, split);
    backward.value.log_sum_exp = backward.keep(split.logSumExp);
    backward.value.entropy = backward.keep(split.entropy);
    problem.addGradients(backward, split);
    problem.addForwardOutputs(both, whole);
    problem.addGradients(both, whole);
    ASSERT_EQ(fk_cut_cross_entropy_forward(context, &c.options, withoutTargets(forward)), FK_OK) << fk_last_error();
    ASSERT_EQ(fk_cut_cross_entropy_backward(context, &c.options, withoutTargets(backward)), FK_OK) << fk_last_error();
    ASSERT_EQ(fk_cut_cross_entropy_loss_and_gradient(context, &c.options, withoutTargets(both)), FK_OK) << fk_last_error();
    expectations.expectEverything(split);
    expectations.expectEverything(whole);
  }
}

}  // namespace
}  // namespace fk::test
