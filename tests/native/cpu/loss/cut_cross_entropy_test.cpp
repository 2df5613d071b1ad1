// Cut cross-entropy on every instruction set that this CPU has, against plain loops in double.
#include "cpu/loss/cut_cross_entropy.h"

#include "core/error.h"
#include "cpu/loss/cut_cross_entropy_problem.h"

namespace fk::test {
namespace {

using Arguments = cpu::CutCrossEntropyArguments;
using Kernels = cpu::CutCrossEntropyKernels;
using Expected = oracle::CutCrossEntropyResult<Bounded>;
using Outputs = LossOutputs;

// ---- Shapes ----------------------------------------------------------------------------------------------------------

TEST(CutCrossEntropy, EverySmallShape) {
  for (int64_t rows : {0, 1, 2, 3, 17})
    for (int64_t classes : {1, 2, 3, 7, 17})
      for (int64_t dim : {0, 1, 2, 3, 17}) LossProblem({rows, classes, dim}, Random(1)).expectCorrect();
}

// Panels have 2, 8, 16 or 32 rows, micro-panels 4, 6 or 14 columns; depth blocks are 512, column
// tiles 252, row blocks up to 1024.
TEST(CutCrossEntropy, RowsAroundTheTileEdges) {
  for (int64_t rows : {8, 9, 15, 16, 31, 32, 33, 63, 64, 65, 129, 255, 256, 257, 511, 512, 513, 1024, 1025})
    LossProblem({rows, 19, 5}, Random(2)).expectCorrect();
}

TEST(CutCrossEntropy, ClassesAroundTheTileEdges) {
  for (int64_t classes : {4, 6, 12, 13, 14, 15, 28, 31, 32, 33, 63, 65, 129, 251, 252, 253, 256, 257, 503, 504, 505, 1100})
    LossProblem({11, classes, 5}, Random(3)).expectCorrect();
}

TEST(CutCrossEntropy, DimsAroundTheBlockEdges) {
  for (int64_t dim : {31, 32, 33, 63, 65, 129, 257, 511, 512, 513, 1025})
    LossProblem({11, 23, dim, FK_REDUCTION_SUM, {}, {}, {}, {}, false, 1, -100, 0.2, 0.3}, Random(4)).expectCorrect();
}

TEST(CutCrossEntropy, SeveralBlocksInEveryDirection) {
  LossProblem({70, 530, 515, FK_REDUCTION_NONE, {}, {}, {}, {}, true, 1, -100, 0.2, 0.2}, Random(5)).expectCorrect();
}

// More columns than a backward window, and more than 64 tiles, which makes a chunk of the forward several tiles.
TEST(CutCrossEntropy, ManyClasses) {
  LossProblem({70, 4100, 3}, Random(27)).expectCorrect();
  LossProblem({5, 17000, 3}, Random(28)).expectCorrect();
  LossProblem({1100, 4100, 2}, Random(29)).expectCorrect();
}

// Limits that force the panel into several row blocks, or down to the least that a kernel can work with.
TEST(CutCrossEntropy, SmallWorkspaceLimits) {
  LossProblem problem({150, 300, 33, FK_REDUCTION_MEAN}, Random(6));
  for (size_t limit : {size_t{1}, size_t{40000}, size_t{100000}, size_t{300000}}) {
    SCOPED_TRACE("limit " + std::to_string(limit));
    problem.expectCorrect(limit);
  }
}

TEST(CutCrossEntropy, StaysWithinAWorkspaceLimitThatSuffices) {
  LossProblem problem({700, 900, 65}, Random(7));
  for (Isa isa : supportedIsas())
    for (fk_schedule schedule : {FK_SCHEDULE_RECOMPUTE, FK_SCHEDULE_FUSED, FK_SCHEDULE_AUTO})
      for (int threads : kThreadCounts) {
        Outputs out = problem.outputs();
        Arguments arguments = problem.inputs(schedule);
        arguments.loss = out.loss;
        arguments.dEmbeddings = out.dEmbeddings;
        arguments.dClassifier = out.dClassifier;
        const Kernels& kernels = cpu::cutCrossEntropyKernelsFor(isa);
        for (auto bytes : {kernels.forwardBytes, kernels.backwardBytes, kernels.lossAndGradientBytes}) {
          const size_t least = bytes(arguments, threads, 1);
          for (size_t limit : {least, least + least / 2, 4 * least, kDefaultLimit})
            EXPECT_LE(bytes(arguments, threads, limit), limit) << isaName(isa) << ", schedule " << schedule;
        }
      }
}

// ---- Options ---------------------------------------------------------------------------------------------------------

TEST(CutCrossEntropy, EveryReductionAndIgnoreIndex) {
  for (fk_reduction reduction : {FK_REDUCTION_MEAN, FK_REDUCTION_SUM, FK_REDUCTION_NONE})
    for (std::optional<int64_t> ignoreIndex :
         {std::optional<int64_t>(), std::optional<int64_t>(-100), std::optional<int64_t>(0), std::optional<int64_t>(36)})
      for (bool targets64 : {false, true})
        LossProblem({40, 37, 12, reduction, {}, {}, {}, {}, targets64, 1, ignoreIndex, 0.4}, Random(8)).expectCorrect();
}

TEST(CutCrossEntropy, NothingButIgnoredRowsIsZero) {
  for (fk_reduction reduction : {FK_REDUCTION_MEAN, FK_REDUCTION_SUM, FK_REDUCTION_NONE})
    for (int64_t classes : {0, 37}) {
      LossProblem problem({40, classes, 12, reduction, {}, {}, {}, {}, true, 1, -100, 1.0}, Random(9));
      for (Isa isa : supportedIsas())
        for (fk_schedule schedule : {FK_SCHEDULE_RECOMPUTE, FK_SCHEDULE_FUSED}) {
          SCOPED_TRACE(std::string(isaName(isa)) + ", " + std::to_string(classes) + " classes");
          Outputs both = problem.lossAndGradient(isa, schedule);
          Outputs split = problem.forward(isa);
          problem.backward(isa, split, true);
          for (const Outputs* out : {&both, &split})
            for (const auto* array : {&out->loss, &out->dEmbeddings, &out->dClassifier})
              for (float value : array->values()) ASSERT_EQ(value, 0);
        }
    }
}

// Row strides, reversed rows and broadcast rows of the matrices; strided, reversed vectors.
TEST(CutCrossEntropy, Layouts) {
  const std::vector<MatrixLayout> layouts = {{}, {.gap = 5}, {.gap = 3, .reversed = true}};
  for (const MatrixLayout& input : layouts)
    for (const MatrixLayout& output : layouts)
      for (int64_t vectorStride : {1, 3, -2})
        for (bool targets64 : {false, true})
          LossProblem({35, 45, 19, FK_REDUCTION_NONE, input, input, output, output, targets64, vectorStride}, Random(10))
              .expectCorrect();
  LossProblem({35, 45, 19, FK_REDUCTION_SUM, {.broadcast = true}}, Random(11)).expectCorrect();
  LossProblem({35, 45, 19, FK_REDUCTION_SUM, {}, {.broadcast = true}}, Random(12)).expectCorrect();
}

// Backward reads vectors of any stride, 0 included.
TEST(CutCrossEntropy, BroadcastTargetsAndUpstreamGradient) {
  LossProblem problem({35, 45, 19, FK_REDUCTION_NONE}, Random(13));
  problem.targets32 = StridedArray<int32_t>({35}, {0});
  problem.gradLoss = StridedArray<float>({35}, {0});
  problem.setTargets([](int64_t) { return 44; });
  problem.gradLoss.fill([] { return 0.75; });
  problem.expectCorrect();
}

TEST(CutCrossEntropy, OptionalOutputsMayBeAbsent) {
  LossProblem problem({70, 300, 33, FK_REDUCTION_MEAN}, Random(14));
  const Expected unweighted = problem.expected();
  for (Isa isa : supportedIsas()) {
    SCOPED_TRACE(isaName(isa));
    const Kernels& kernels = cpu::cutCrossEntropyKernelsFor(isa);
    Outputs out = problem.outputs();
    Arguments arguments = problem.inputs();
    arguments.loss = out.loss;
    runKernel(kernels.forwardBytes, kernels.forward, arguments, executionWith(2));
    EXPECT_TRUE(allWithin(out.loss.values(), unweighted.loss)) << "forward without log-sum-exp";

    const Outputs whole = problem.forward(isa);
    for (bool embeddingsOnly : {true, false}) {
      Outputs half = problem.outputs();
      half.logSumExp = whole.logSumExp;
      arguments = problem.inputs();
      arguments.logSumExp = half.logSumExp;
      (embeddingsOnly ? arguments.dEmbeddings : arguments.dClassifier) =
          embeddingsOnly ? half.dEmbeddings : half.dClassifier;
      runKernel(kernels.backwardBytes, kernels.backward, arguments, executionWith(2));
      EXPECT_TRUE(embeddingsOnly ? allWithin(half.dEmbeddings.values(), unweighted.dEmbeddings.values)
                                 : allWithin(half.dClassifier.values(), unweighted.dClassifier.values))
          << "backward, embeddings only: " << embeddingsOnly;

      for (fk_schedule schedule : {FK_SCHEDULE_RECOMPUTE, FK_SCHEDULE_FUSED}) {
        half = problem.outputs();
        arguments = problem.inputs(schedule);
        arguments.loss = half.loss;
        (embeddingsOnly ? arguments.dEmbeddings : arguments.dClassifier) =
            embeddingsOnly ? half.dEmbeddings : half.dClassifier;
        runKernel(kernels.lossAndGradientBytes, kernels.lossAndGradient, arguments, executionWith(2));
        EXPECT_TRUE(allWithin(half.loss.values(), unweighted.loss));
        EXPECT_TRUE(embeddingsOnly ? allWithin(half.dEmbeddings.values(), unweighted.dEmbeddings.values)
                                   : allWithin(half.dClassifier.values(), unweighted.dClassifier.values))
            << "loss and gradient, schedule " << schedule << ", embeddings only: " << embeddingsOnly;
      }
    }
  }
}

TEST(CutCrossEntropy, TouchesNothingOutsideItsArrays) {
  Random random(30);
  const auto value = [&] { return random.uniform(-1, 1); };
  for (Guard guard : {Guard::kAtStart, Guard::kAtEnd})
    for (int64_t rows : {1, 3, 33})
      for (int64_t classes : {1, 5, 35})
        for (int64_t dim : {1, 3, 17, 515}) {
          GuardedArray<float> embeddings(rows * dim, guard, value), classifier(classes * dim, guard, value);
          GuardedArray<int32_t> targets(rows, guard, [&] { return random.between(0, classes - 1); });
          GuardedArray<float> loss(rows, guard), logSumExp(rows, guard), dEmbeddings(rows * dim, guard),
              dClassifier(classes * dim, guard);
          Arguments arguments;
          arguments.embeddings = Matrix<const float>{embeddings.data(), rows, dim, dim, 1};
          arguments.classifier = Matrix<const float>{classifier.data(), classes, dim, dim, 1};
          arguments.targets = {targets.data(), false, rows, 1};
          arguments.reduction = FK_REDUCTION_NONE;
          arguments.loss = {loss.data(), rows, 1};
          arguments.logSumExp = {logSumExp.data(), rows, 1};
          arguments.dEmbeddings = {dEmbeddings.data(), rows, dim, dim, 1};
          arguments.dClassifier = {dClassifier.data(), classes, dim, dim, 1};
          for (Isa isa : supportedIsas()) {
            const Kernels& kernels = cpu::cutCrossEntropyKernelsFor(isa);
            runKernel(kernels.forwardBytes, kernels.forward, arguments, executionWith(1));
            runKernel(kernels.backwardBytes, kernels.backward, arguments, executionWith(1));
            runKernel(kernels.lossAndGradientBytes, kernels.lossAndGradient, arguments, executionWith(1));
          }
        }
}

// ---- Values ----------------------------------------------------------------------------------------------------------

TEST(CutCrossEntropy, AllLogitsEqualGiveTheLogarithmOfTheClasses) {
  for (float level : {0.0f, 1.0f, 1e4f, -1e4f}) {
    LossProblem problem({33, 1000, 1, FK_REDUCTION_NONE}, Random(15));
    problem.embeddings.fill([&] { return level; });
    problem.classifier.fill([] { return 1; });
    problem.expectCorrect();
    if (std::abs(level) > 1) continue;  // the logits' own rounding hides the rest
    for (Isa isa : supportedIsas()) {
      const Outputs out = problem.forward(isa);
      for (int64_t n = 0; n < 33; ++n)
        EXPECT_NEAR(out.loss(n), problem.targets64(n) < 0 ? 0 : std::log(1000.0), 2e-6) << isaName(isa);
    }
  }
}

TEST(CutCrossEntropy, LogitsOfTenThousand) {
  for (double range : {100.0, 10.0}) {
    LossProblem problem({50, 300, 2, FK_REDUCTION_NONE, {}, {}, {}, {}, false, 1, -100, 0.1, range}, Random(16));
    problem.expectCorrect();
  }
}

// One class is certain: loss exactly 0 where it is the target, its margin where it is not.
TEST(CutCrossEntropy, OneHugeLogit) {
  for (int64_t huge : {0, 255, 256, 299}) {
    LossProblem problem({40, 300, 1, FK_REDUCTION_NONE}, Random(17));
    problem.embeddings.fill([] { return 100; });
    problem.classifier.fill([] { return 0; });
    problem.classifier(huge, 0) = 100;
    problem.setTargets([&](int64_t n) { return n % 2 ? huge : 7; });
    problem.expectCorrect();
    for (Isa isa : supportedIsas()) {
      const Outputs out = problem.forward(isa);
      for (int64_t n = 0; n < 40; ++n) EXPECT_EQ(out.loss(n), n % 2 ? 0.0f : 10000.0f) << isaName(isa) << ", row " << n;
    }
  }
}

// A confident model: the loss is the difference of nearly equal numbers and must not come out below zero.
TEST(CutCrossEntropy, LossIsNeverNegative) {
  Random random(18);
  LossProblem problem({300, 700, 1, FK_REDUCTION_NONE, {}, {}, {}, {}, false, 1, std::nullopt}, Random(19));
  problem.embeddings.fill([&] { return random.uniform(5, 90); });
  problem.classifier.fill([&] { return random.uniform(-1, 0.5); });
  for (int64_t v : {0, 123, 699}) {
    problem.classifier(v, 0) = 1;
    problem.setTargets([&](int64_t) { return v; });
    problem.expectCorrect();
    problem.classifier(v, 0) = -1;
  }
}

TEST(CutCrossEntropy, NanAndInfinityStayInTheirRow) {
  LossProblem problem({70, 300, 20, FK_REDUCTION_NONE, {}, {}, {}, {}, false, 1, std::nullopt}, Random(20));
  const Expected clean = problem.expected();
  problem.embeddings(3, 7) = kNan;
  problem.embeddings(40, 19) = kInfinity;
  problem.embeddings(69, 0) = -kInfinity;
  for (Isa isa : supportedIsas()) {
    SCOPED_TRACE(isaName(isa));
    Outputs split = problem.forward(isa);
    problem.backward(isa, split, false);
    const Outputs fused = problem.lossAndGradient(isa, FK_SCHEDULE_FUSED);
    const Outputs recomputed = problem.lossAndGradient(isa, FK_SCHEDULE_RECOMPUTE);
    for (const Outputs* out : {static_cast<const Outputs*>(&split), &fused, &recomputed})
      for (int64_t n = 0; n < 70; ++n) {
        const size_t row = static_cast<size_t>(n);
        if (n == 3 || n == 40 || n == 69) {
          EXPECT_TRUE(std::isnan(out->loss(n))) << "row " << n << ": " << out->loss(n);
          continue;
        }
        EXPECT_TRUE(isWithin(out->loss(n), clean.loss[row])) << "row " << n;
        EXPECT_TRUE(isWithin(out->logSumExp(n), clean.logSumExp[row])) << "row " << n;
        for (int64_t d = 0; d < 20; ++d)
          EXPECT_TRUE(isWithin(out->dEmbeddings(n, d), clean.dEmbeddings(n, d))) << "row " << n;
      }
  }
  // Summed, the NaN has to show.
  problem.shape.reduction = FK_REDUCTION_SUM;
  for (Isa isa : supportedIsas()) EXPECT_TRUE(std::isnan(problem.forward(isa).loss(0))) << isaName(isa);
}

// Ignored rows count for nothing, whatever they hold.
TEST(CutCrossEntropy, IgnoredRowsMayHoldNan) {
  LossProblem problem({70, 45, 20, FK_REDUCTION_MEAN, {}, {}, {}, {}, false, 1, -100, 0.0}, Random(21));
  const auto ignored = [](int64_t n) { return n % 3 == 0; };
  Random random(22);
  problem.setTargets([&](int64_t n) { return ignored(n) ? -100 : random.between(0, 44); });
  const Expected clean = problem.expected();
  for (int64_t n = 0; n < 70; n += 3) problem.embeddings(n, 5) = kNan;
  for (Isa isa : supportedIsas()) {
    SCOPED_TRACE(isaName(isa));
    Outputs split = problem.forward(isa);
    EXPECT_TRUE(allWithin(split.loss.values(), clean.loss));
    for (int64_t n = 0; n < 70; n += 3) split.logSumExp(n) = kNan;
    problem.backward(isa, split, false);
    LossProblem::expectGradients(split, clean);
    for (fk_schedule schedule : {FK_SCHEDULE_RECOMPUTE, FK_SCHEDULE_FUSED})
      LossProblem::expectGradients(problem.lossAndGradient(isa, schedule), clean);
  }
}

// ---- Threads and cancellation -------------------------------------------------------------------------------------------

TEST(CutCrossEntropy, SameBitsForEveryNumberOfThreads) {
  for (const LossCase& c : {LossCase{300, 700, 40}, LossCase{5, 2100, 33, FK_REDUCTION_NONE}, LossCase{1100, 20, 9}}) {
    SCOPED_TRACE(describe(c));
    LossProblem problem(c, Random(23));
    for (Isa isa : supportedIsas())
      for (size_t limit : {kDefaultLimit, size_t{1} << 18}) {
        const auto everything = [&](int threads) {
          const Execution execution = executionWith(threads);
          Outputs split = problem.forward(isa, execution, limit);
          problem.backward(isa, split, true, execution, limit);
          std::vector<float> result = split.all();
          for (fk_schedule schedule : {FK_SCHEDULE_RECOMPUTE, FK_SCHEDULE_FUSED, FK_SCHEDULE_AUTO}) {
            const std::vector<float> both = problem.lossAndGradient(isa, schedule, execution, limit).all();
            result.insert(result.end(), both.begin(), both.end());
          }
          return result;
        };
        const std::vector<float> once = everything(1);
        for (int threads : kThreadCounts)
          EXPECT_TRUE(sameBits(everything(threads), once)) << isaName(isa) << ", " << threads << " threads, limit " << limit;
      }
  }
}

TEST(CutCrossEntropy, StopsWhenCancelled) {
  LossProblem problem({100, 300, 20}, Random(24));
  const std::atomic<bool> cancelled{true};
  const auto expectCancelled = [](auto&& run) {
    try {
      run();
      ADD_FAILURE() << "ran to its end";
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), FK_ERROR_CANCELLED);
    }
  };
  for (Isa isa : supportedIsas())
    for (int threads : {1, 2}) {
      SCOPED_TRACE(isaName(isa));
      Outputs out = problem.forward(isa);
      Execution execution = executionWith(threads);
      execution.cancelled = &cancelled;
      expectCancelled([&] { problem.forward(isa, execution); });
      expectCancelled([&] { problem.backward(isa, out, false, execution); });
      expectCancelled([&] {  // every step has to look: without dEmbeddings there is one less
        const Kernels& kernels = cpu::cutCrossEntropyKernelsFor(isa);
        Arguments arguments = problem.inputs();
        arguments.logSumExp = out.logSumExp;
        arguments.dClassifier = out.dClassifier;
        runKernel(kernels.backwardBytes, kernels.backward, arguments, execution);
      });
      expectCancelled([&] { problem.lossAndGradient(isa, FK_SCHEDULE_FUSED, execution); });
      expectCancelled([&] { problem.lossAndGradient(isa, FK_SCHEDULE_RECOMPUTE, execution); });
    }
}

// ---- At random -------------------------------------------------------------------------------------------------------

TEST(CutCrossEntropy, RandomCases) {
  for (uint64_t seed = 2000; seed < 2200; ++seed) {
    Random random(seed);
    SCOPED_TRACE("seed " + std::to_string(seed));
    const auto extent = [&](double largest) {
      return static_cast<int64_t>(std::exp2(random.uniform(0, std::log2(largest))));
    };
    const auto layout = [&](double broadcastShare) -> MatrixLayout {
      return {.gap = random.chance(0.5) ? random.between(1, 9) : 0,
              .reversed = random.chance(0.2),
              .broadcast = random.chance(broadcastShare)};
    };
    LossCase c = {extent(120), extent(400), extent(100)};
    c.reduction = random.pick({FK_REDUCTION_MEAN, FK_REDUCTION_SUM, FK_REDUCTION_NONE});
    c.embeddings = layout(0.05), c.classifier = layout(0.05), c.dEmbeddings = layout(0), c.dClassifier = layout(0);
    c.targets64 = random.chance(0.5);
    c.vectorStride = random.pick<int64_t>({1, 1, 2, -1, 5});
    c.ignoreIndex = random.pick<std::optional<int64_t>>({std::nullopt, -100, 0});
    c.ignoredShare = random.pick({0.0, 0.1, 0.9});
    c.range = random.pick({0.1, 1.0, 5.0});
    LossProblem(c, random).expectCorrect(random.pick({kDefaultLimit, size_t{1} << 16, size_t{1}}));
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace fk::test
