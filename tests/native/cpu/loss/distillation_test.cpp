// Distillation on every instruction set that this CPU has, against plain loops in double.
#include "cpu/loss/distillation.h"

#include "core/error.h"
#include "cpu/loss/distillation_problem.h"

namespace fk::test {
namespace {

using Arguments = cpu::DistillationArguments;
using Kernels = cpu::DistillationKernels;
using Expected = DistillationProblem::Expected;
using Outputs = DistillationOutputs;

// ---- Shapes ----------------------------------------------------------------------------------------------------------

TEST(Distillation, EverySmallShape) {
  for (int64_t rows : {0, 1, 2, 3, 17})
    for (int64_t classes : {1, 2, 3, 7, 17})
      for (int64_t dim : {0, 1, 3, 17})
        for (int64_t teacherDim : {0, 2, 17})
          DistillationProblem({rows, classes, dim, teacherDim}, Random(1)).expectCorrect();
}

// Panels have 2, 8, 16 or 32 rows, micro-panels 4, 6 or 14 columns; depth blocks are 512, column tiles 252, row blocks up to
// 1024.
TEST(Distillation, RowsAroundTheTileEdges) {
  for (int64_t rows : {8, 9, 15, 16, 31, 32, 33, 63, 64, 65, 129, 511, 512, 513, 1025})
    DistillationProblem({rows, 19, 5, 4}, Random(2)).expectCorrect();
}

TEST(Distillation, ClassesAroundTheTileEdges) {
  for (int64_t classes : {4, 6, 12, 13, 14, 15, 28, 31, 33, 65, 129, 251, 252, 253, 503, 504, 505, 1100})
    DistillationProblem({11, classes, 5, 7}, Random(3)).expectCorrect();
}

// Each side has depth blocks of its own.
TEST(Distillation, DimsAroundTheBlockEdges) {
  for (auto [dim, teacherDim] : {std::pair{511, 33}, {512, 512}, {513, 5}, {5, 513}, {65, 1025}, {1025, 511}})
    DistillationProblem({35, 23, dim, teacherDim, 2, FK_REDUCTION_SUM, {}, {}, {}, 1, true, 0.2, 0.3}, Random(4))
        .expectCorrect();
}

TEST(Distillation, SeveralBlocksInEveryDirection) {
  DistillationProblem({70, 530, 515, 600, 1.5, FK_REDUCTION_NONE, {}, {}, {}, 1, true, 0.2, 0.2}, Random(5)).expectCorrect();
}

// More columns than a backward window, and more than 64 tiles, which makes a chunk of the forward several tiles.
TEST(Distillation, ManyClasses) {
  DistillationProblem({70, 4100, 3, 2}, Random(6)).expectCorrect();
  DistillationProblem({5, 17000, 3, 4}, Random(7)).expectCorrect();
  DistillationProblem({1100, 2100, 2, 3}, Random(8)).expectCorrect();
}

TEST(Distillation, NoClassesGiveZero) {
  for (fk_reduction reduction : {FK_REDUCTION_MEAN, FK_REDUCTION_SUM, FK_REDUCTION_NONE}) {
    DistillationProblem problem({5, 0, 3, 2, 1, reduction}, Random(9));
    for (Isa isa : supportedIsas()) {
      Outputs out = problem.forward(isa);
      problem.backward(isa, out, true);
      for (const auto* array : {&out.loss, &out.dEmbeddings})
        for (float value : array->values()) EXPECT_EQ(value, 0) << isaName(isa);
      for (float value : out.studentLogSumExp.values()) EXPECT_EQ(value, -kInfinity) << isaName(isa);
    }
  }
}

TEST(Distillation, SmallWorkspaceLimits) {
  DistillationProblem problem({150, 300, 33, 40}, Random(10));
  for (size_t limit : {size_t{1}, size_t{40000}, size_t{100000}, size_t{400000}, size_t{2000000}}) {
    SCOPED_TRACE("limit " + std::to_string(limit));
    problem.expectCorrect(limit);
  }
}

TEST(Distillation, StaysWithinAWorkspaceLimitThatSuffices) {
  DistillationProblem problem({1500, 5000, 65, 97}, Random(11));
  Outputs out = problem.outputs();
  Arguments arguments = problem.withOutputs(out);
  arguments.dStudentEmbeddings = out.dEmbeddings;
  arguments.dStudentClassifier = out.dClassifier;
  for (Isa isa : supportedIsas())
    for (int threads : kThreadCounts) {
      const Kernels& kernels = cpu::distillationKernelsFor(isa);
      for (auto bytes : {kernels.forwardBytes, kernels.backwardBytes}) {
        const size_t least = bytes(arguments, threads, 1);
        EXPECT_LT(least, bytes(arguments, threads, kDefaultLimit)) << "a limit has to make a difference";
        for (size_t limit : {least, least + least / 2, 4 * least, kDefaultLimit})
          EXPECT_LE(bytes(arguments, threads, limit), limit) << isaName(isa);
      }
    }
}

// Neither model's logits are stored: 100 times the classes cost no more.
TEST(Distillation, WorkspaceDoesNotGrowWithTheClasses) {
  for (Isa isa : supportedIsas()) {
    const Kernels& kernels = cpu::distillationKernelsFor(isa);
    Arguments few, many;
    const auto shaped = [](int64_t rows, int64_t columns) {
      return Operand(nullptr, DataType::kFloat32, rows, columns, columns);
    };
    few.studentEmbeddings = many.studentEmbeddings = shaped(2048, 64);
    few.teacherEmbeddings = many.teacherEmbeddings = shaped(2048, 96);
    few.studentClassifier = shaped(32000, 64), few.teacherClassifier = shaped(32000, 96);
    many.studentClassifier = shaped(3200000, 64), many.teacherClassifier = shaped(3200000, 96);
    for (auto bytes : {kernels.forwardBytes, kernels.backwardBytes})
      EXPECT_EQ(bytes(few, 2, kDefaultLimit), bytes(many, 2, kDefaultLimit)) << isaName(isa);
  }
}

// ---- Options ---------------------------------------------------------------------------------------------------------

TEST(Distillation, TemperaturesAndReductions) {
  for (double temperature : {0.5, 1.0, 2.0, 8.0})
    for (fk_reduction reduction : {FK_REDUCTION_MEAN, FK_REDUCTION_SUM, FK_REDUCTION_NONE})
      for (bool weighted : {false, true}) {
        DistillationCase c{40, 270, 12, 9, temperature, reduction};
        c.weighted = weighted;
        DistillationProblem(c, Random(12)).expectCorrect();
      }
}

// The loss of the largest and the smallest temperatures is that of softmaxes that are flat, or one class.
TEST(Distillation, ExtremeTemperatures) {
  for (double temperature : {0x1p-126, 0x1p-20, 0x1p20, 0x1p100})
    for (Isa isa : supportedIsas()) {
      DistillationProblem problem({5, 30, 3, 2, temperature, FK_REDUCTION_NONE}, Random(13));
      Outputs out = problem.forward(isa);
      problem.backward(isa, out, false);
      for (const std::vector<float>& values : {out.loss.values(), out.dEmbeddings.values(), out.dClassifier.values()})
        for (float value : values) EXPECT_FALSE(std::isnan(value)) << isaName(isa) << ", temperature " << temperature;
    }
}

TEST(Distillation, RowsWithoutWeightAreZeroWhateverTheyHold) {
  for (fk_reduction reduction : {FK_REDUCTION_MEAN, FK_REDUCTION_SUM, FK_REDUCTION_NONE})
    for (bool all : {false, true}) {
      DistillationProblem problem({70, 45, 20, 17, 2, reduction}, Random(14));
      for (int64_t n = 0; n < 70; ++n)
        if (all || n % 3 == 0) problem.rowWeights(n) = 0;
      const Expected clean = problem.expected(true);
      const std::vector<Bounded> loss = problem.expected().loss;
      const auto without = [&](int64_t n) { return problem.rowWeights(n) == 0; };
      for (int64_t n = 0; n < 70; ++n)
        if (without(n)) problem.embeddings(n, 5) = kNan, problem.teacherEmbeddings(n, 3) = kInfinity;
      for (Isa isa : supportedIsas()) {
        SCOPED_TRACE(isaName(isa));
        Outputs out = problem.forward(isa);
        EXPECT_TRUE(allWithin(out.loss.values(), loss));
        for (int64_t n = 0; n < 70; ++n)
          if (without(n)) out.studentLogSumExp(n) = out.teacherLogSumExp(n) = kNan;
        problem.backward(isa, out, true);
        DistillationProblem::expectGradients(out, clean);
        for (int64_t n = 0; n < 70; ++n)
          for (int64_t d = 0; d < 20 && without(n); ++d) EXPECT_EQ(out.dEmbeddings(n, d), 0);
        if (!all) continue;
        for (const std::vector<float>& values : {out.loss.values(), out.dClassifier.values()})
          for (float value : values) EXPECT_EQ(value, 0);
      }
    }
}

// Weights that add up to 0 leave a mean undefined; it is 0, and so is its gradient.
TEST(Distillation, MeanOfWeightsThatCancelIsZero) {
  DistillationProblem problem({2, 45, 20, 17}, Random(15));
  problem.rowWeights(0) = 1;
  problem.rowWeights(1) = -1;
  for (Isa isa : supportedIsas()) {
    Outputs out = problem.forward(isa);
    problem.backward(isa, out, false);
    for (const std::vector<float>& values : {out.loss.values(), out.dEmbeddings.values(), out.dClassifier.values()})
      for (float value : values) EXPECT_EQ(value, 0) << isaName(isa);
  }
}

// Each input has a type of its own; sums are float32 whatever the types.
TEST(Distillation, StorageTypes) {
  for (DataType embeddings : kDataTypes)
    for (DataType classifier : kDataTypes)
      for (DataType teacher : kDataTypes) {
        DistillationCase c{35, 300, 19, 24, 2, FK_REDUCTION_NONE, {}, {.gap = 3}};
        c.types = {embeddings, classifier, teacher, embeddings};
        DistillationProblem(c, Random(31)).expectCorrect();
      }
}

// Row strides, reversed rows and broadcast rows of the matrices; strided, reversed vectors.
TEST(Distillation, Layouts) {
  const std::vector<MatrixLayout> layouts = {{}, {.gap = 5}, {.gap = 3, .reversed = true}};
  for (const MatrixLayout& input : layouts)
    for (const MatrixLayout& output : layouts)
      for (int64_t stride : {1, 3, -2})
        DistillationProblem({35, 45, 19, 8, 2, FK_REDUCTION_NONE, input, input, output, stride}, Random(16)).expectCorrect();
  DistillationProblem({35, 45, 19, 8, 1, FK_REDUCTION_SUM, {.broadcast = true}}, Random(17)).expectCorrect();
  DistillationProblem({35, 45, 19, 8, 1, FK_REDUCTION_SUM, {}, {.broadcast = true}}, Random(18)).expectCorrect();
}

TEST(Distillation, OptionalOutputsMayBeAbsent) {
  DistillationProblem problem({70, 300, 33, 20}, Random(19));
  const Expected expected = problem.expected();
  for (Isa isa : supportedIsas()) {
    SCOPED_TRACE(isaName(isa));
    const Kernels& kernels = cpu::distillationKernelsFor(isa);
    Outputs out = problem.outputs();
    Arguments arguments = problem.inputs();
    arguments.loss = out.loss;
    runKernel(kernels.forwardBytes, kernels.forward, arguments, executionWith(2));
    EXPECT_TRUE(allWithin(out.loss.values(), expected.loss)) << "forward without log-sum-exps";

    for (bool embeddingsOnly : {true, false}) {
      Outputs half = problem.forward(isa);
      arguments = problem.withOutputs(half);
      (embeddingsOnly ? arguments.dStudentEmbeddings : arguments.dStudentClassifier) =
          embeddingsOnly ? half.dEmbeddings : half.dClassifier;
      runKernel(kernels.backwardBytes, kernels.backward, arguments, executionWith(2));
      EXPECT_TRUE(embeddingsOnly ? allWithin(half.dEmbeddings.values(), expected.dStudentEmbeddings.values)
                                 : allWithin(half.dClassifier.values(), expected.dStudentClassifier.values))
          << "backward, embeddings only: " << embeddingsOnly;
    }
  }
}

TEST(Distillation, TouchesNothingOutsideItsArrays) {
  Random random(20);
  const auto value = [&] { return random.uniform(-1, 1); };
  for (Guard guard : {Guard::kAtStart, Guard::kAtEnd})
    for (int64_t rows : {1, 3, 33})
      for (int64_t classes : {1, 5, 35})
        for (auto [dim, teacherDim] : {std::pair<int64_t, int64_t>{1, 3}, {17, 1}, {515, 7}, {5, 515}}) {
          GuardedArray<float> embeddings(rows * dim, guard, value), classifier(classes * dim, guard, value);
          GuardedArray<float> teacherEmbeddings(rows * teacherDim, guard, value);
          GuardedArray<float> teacherClassifier(classes * teacherDim, guard, value), rowWeights(rows, guard, value);
          GuardedArray<float> loss(rows, guard), studentLogSumExp(rows, guard), teacherLogSumExp(rows, guard);
          GuardedArray<float> dEmbeddings(rows * dim, guard), dClassifier(classes * dim, guard);
          Arguments arguments;
          arguments.studentEmbeddings = Matrix<const float>{embeddings.data(), rows, dim, dim, 1};
          arguments.studentClassifier = Matrix<const float>{classifier.data(), classes, dim, dim, 1};
          arguments.teacherEmbeddings = Matrix<const float>{teacherEmbeddings.data(), rows, teacherDim, teacherDim, 1};
          arguments.teacherClassifier = Matrix<const float>{teacherClassifier.data(), classes, teacherDim, teacherDim, 1};
          arguments.rowWeights = {rowWeights.data(), rows, 1};
          arguments.reduction = FK_REDUCTION_NONE;
          arguments.loss = {loss.data(), rows, 1};
          arguments.studentLogSumExp = {studentLogSumExp.data(), rows, 1};
          arguments.teacherLogSumExp = {teacherLogSumExp.data(), rows, 1};
          arguments.dStudentEmbeddings = {dEmbeddings.data(), rows, dim, dim, 1};
          arguments.dStudentClassifier = {dClassifier.data(), classes, dim, dim, 1};
          for (Isa isa : supportedIsas()) {
            const Kernels& kernels = cpu::distillationKernelsFor(isa);
            runKernel(kernels.forwardBytes, kernels.forward, arguments, executionWith(1));
            runKernel(kernels.backwardBytes, kernels.backward, arguments, executionWith(1));
          }
        }
}

// ---- Values ----------------------------------------------------------------------------------------------------------

TEST(Distillation, EqualModelsGiveExactlyZero) {
  for (double range : {1.0, 30.0})
    for (double temperature : {0.5, 1.0, 3.0})
      for (int64_t dim : {20, 530}) {
        DistillationProblem problem({70, 700, dim, dim, temperature, FK_REDUCTION_NONE}, Random(21));
        problem.shape.range = range;
        problem.makeModelsEqual();
        for (Isa isa : supportedIsas()) {
          Outputs out = problem.forward(isa);
          problem.backward(isa, out, true);
          for (const std::vector<float>& values : {out.loss.values(), out.dEmbeddings.values(), out.dClassifier.values()})
            for (float value : values) ASSERT_EQ(value, 0) << isaName(isa);
        }
      }
}

// The divergence of models that nearly agree is of the order of the square of their difference, far below either
// cross-entropy, and the oracle's bound for it is far below that.
TEST(Distillation, NearlyEqualModels) {
  Random random(22);
  DistillationCase c{70, 500, 6, 6, 1, FK_REDUCTION_NONE};
  c.weighted = false;
  DistillationProblem problem(c, Random(23));
  problem.makeModelsEqual();
  for (int64_t v = 0; v < 500; ++v) problem.classifier(v, v % 6) += static_cast<float>(random.uniform(-0.3, 0.3));
  for (const Bounded& loss : problem.expected().loss) {
    EXPECT_LT(loss.value, 0.01);
    EXPECT_LT(loss.error(), 0.2 * loss.value);
  }
  problem.expectCorrect();
}

// Softmax does not see what is added to all scores of a row.
TEST(Distillation, ScoresOfAnotherLevelChangeNothing) {
  DistillationProblem problem({40, 300, 4, 4, 1, FK_REDUCTION_NONE}, Random(24));
  problem.makeModelsEqual();
  for (int64_t n = 0; n < 40; ++n) problem.embeddings(n, 3) = 500, problem.teacherEmbeddings(n, 3) = -300;
  for (int64_t v = 0; v < 300; ++v) problem.classifier(v, 3) = problem.teacherClassifier(v, 3) = 1;
  problem.expectCorrect();
}

TEST(Distillation, LogitsOfTenThousand) {
  for (double range : {100.0, 10.0})
    DistillationProblem({50, 300, 2, 2, 1, FK_REDUCTION_NONE, {}, {}, {}, 1, true, 0.1, range}, Random(25)).expectCorrect();
}

// Both models are certain: of the same class, and of different ones, where the loss is the student's margin.
TEST(Distillation, CertainModels) {
  for (int64_t other : {0, 251, 252, 299}) {
    DistillationProblem problem({40, 300, 1, 1, 1, FK_REDUCTION_NONE, {}, {}, {}, 1, false}, Random(26));
    for (auto* embeddings : {&problem.embeddings, &problem.teacherEmbeddings}) embeddings->fill([] { return 100; });
    for (auto* classifier : {&problem.classifier, &problem.teacherClassifier}) classifier->fill([] { return 0; });
    problem.teacherClassifier(other, 0) = 100;
    problem.classifier(7, 0) = 100;
    problem.expectCorrect();
    for (Isa isa : supportedIsas())
      for (float loss : problem.forward(isa).loss.values()) EXPECT_EQ(loss, 10000) << isaName(isa);
    problem.classifier(other, 0) = 100;
    problem.classifier(7, 0) = 0;
    for (Isa isa : supportedIsas())
      for (float loss : problem.forward(isa).loss.values()) EXPECT_EQ(loss, 0) << isaName(isa);
  }
}

// A class that the teacher's finite numbers put at -inf has probability 0, and adds nothing.
TEST(Distillation, ATeachersScoreOfMinusInfinityAddsNothing) {
  DistillationProblem problem({3, 40, 2, 2, 1, FK_REDUCTION_NONE, {}, {}, {}, 1, false}, Random(27));
  const auto loss = [&](Isa isa, float score) {
    for (int64_t n = 0; n < 3; ++n) problem.teacherEmbeddings(n, 0) = 1e30f;
    for (int64_t v = 0; v < 40; ++v) problem.teacherClassifier(v, 0) = 0;
    problem.teacherClassifier(5, 0) = score;
    return problem.forward(isa).loss.values();
  };
  for (Isa isa : supportedIsas()) EXPECT_TRUE(sameBits(loss(isa, -1e30f), loss(isa, -1e-25f))) << isaName(isa);
}

TEST(Distillation, NanAndInfinityStayInTheirRow) {
  DistillationProblem problem({70, 300, 20, 17, 2, FK_REDUCTION_NONE, {}, {}, {}, 1, false}, Random(28));
  const Expected clean = problem.expected();
  problem.embeddings(3, 7) = kNan;
  problem.teacherEmbeddings(4, 7) = kNan;
  problem.embeddings(40, 19) = kInfinity;
  problem.teacherEmbeddings(69, 0) = -kInfinity;
  const auto spoiled = [](int64_t n) { return n == 3 || n == 4 || n == 40 || n == 69; };
  for (Isa isa : supportedIsas()) {
    SCOPED_TRACE(isaName(isa));
    Outputs out = problem.forward(isa);
    problem.backward(isa, out, false);
    for (int64_t n = 0; n < 70; ++n) {
      if (spoiled(n)) {
        EXPECT_TRUE(std::isnan(out.loss(n))) << "row " << n << ": " << out.loss(n);
        continue;
      }
      EXPECT_TRUE(isWithin(out.loss(n), clean.loss[static_cast<size_t>(n)])) << "row " << n;
      for (int64_t d = 0; d < 20; ++d)
        EXPECT_TRUE(isWithin(out.dEmbeddings(n, d), clean.dStudentEmbeddings(n, d))) << "row " << n;
    }
  }
  // Summed, the NaN has to show.
  problem.shape.reduction = FK_REDUCTION_SUM;
  for (Isa isa : supportedIsas()) EXPECT_TRUE(std::isnan(problem.forward(isa).loss(0))) << isaName(isa);
}

// ---- Threads and cancellation -------------------------------------------------------------------------------------------

TEST(Distillation, SameBitsForEveryNumberOfThreadsAndWorkspace) {
  for (const DistillationCase& c :
       {DistillationCase{300, 700, 40, 21}, DistillationCase{5, 2100, 33, 7, 2, FK_REDUCTION_NONE},
        DistillationCase{1100, 20, 9, 12}}) {
    SCOPED_TRACE(describe(c));
    DistillationProblem problem(c, Random(29));
    for (Isa isa : supportedIsas()) {
      const auto everything = [&](int threads, size_t limit) {
        Outputs out = problem.forward(isa, executionWith(threads), limit);
        problem.backward(isa, out, true, executionWith(threads), limit);
        return out.all();
      };
      const std::vector<float> once = everything(1, kDefaultLimit);
      for (size_t limit : {kDefaultLimit, size_t{1} << 18})
        for (int threads : kThreadCounts)
          EXPECT_TRUE(sameBits(everything(threads, limit), once))
              << isaName(isa) << ", " << threads << " threads, limit " << limit;
    }
  }
}

TEST(Distillation, StopsWhenCancelled) {
  DistillationProblem problem({100, 300, 20, 30}, Random(30));
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
    }
}

// ---- At random -------------------------------------------------------------------------------------------------------

TEST(Distillation, RandomCases) {
  for (uint64_t seed = 3000; seed < 3200; ++seed) {
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
    DistillationCase c = {extent(120), extent(400), extent(100), extent(100)};
    c.temperature = std::exp2(random.between(-1, 3));
    c.reduction = random.pick({FK_REDUCTION_MEAN, FK_REDUCTION_SUM, FK_REDUCTION_NONE});
    c.embeddings = layout(0.05), c.classifier = layout(0.05), c.gradients = layout(0);
    c.vectorStride = random.pick<int64_t>({1, 1, 2, -1, 5});
    c.weighted = random.chance(0.7);
    c.zeroWeightShare = random.pick({0.0, 0.1, 0.9});
    c.range = random.pick({0.1, 1.0, 5.0});
    for (DataType& type : c.types) type = random.pick({DataType::kFloat32, DataType::kBfloat16, DataType::kFloat16});
    DistillationProblem(c, random).expectCorrect(random.pick({kDefaultLimit, size_t{1} << 16, size_t{1}}));
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace fk::test
