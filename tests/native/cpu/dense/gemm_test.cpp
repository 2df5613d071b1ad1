// GEMM on every instruction set that this CPU has, against plain loops in double.
#include "cpu/dense/gemm.h"

#include "core/error.h"
#include "oracles/gemm.h"
#include "support.h"
#include "tolerance.h"

namespace fk::test {
namespace {

using cpu::GemmArguments;
using oracle::Dense;

struct GemmCase {
  int64_t m, n, k;
  MatrixLayout a = {}, b = {}, c = {};
  float alpha = 1, beta = 0;
};

std::string describe(const GemmCase& g) {
  return std::to_string(g.m) + " x " + std::to_string(g.n) + " x " + std::to_string(g.k) + ", a " + describe(g.a) + ", b " +
         describe(g.b) + ", c " + describe(g.c) + ", alpha " + std::to_string(g.alpha) + ", beta " + std::to_string(g.beta);
}

// A case with its matrices. c starts as NaN when beta is 0: it is only to be written then.
struct GemmProblem {
  GemmProblem(const GemmCase& g, Random random)
      : shape(g),
        a(makeMatrix(g.m, g.k, g.a, random)),
        b(makeMatrix(g.k, g.n, g.b, random)),
        c(g.beta == 0 ? makeMatrix(g.m, g.n, g.c) : makeMatrix(g.m, g.n, g.c, random)) {}

  void fillWithIntegers(Random random) {
    const auto integer = [&] { return random.between(-3, 3); };
    a.fill(integer), b.fill(integer);
  }

  template <class Real>
  std::vector<Real> expected() const {
    const Dense<double> denseA(shape.m, shape.k, a.values()), denseB(shape.k, shape.n, b.values());
    return oracle::gemm<Real>(shape.alpha, denseA, denseB, shape.beta, {shape.m, shape.n, c.values()}).values;
  }

  // c as the kernel leaves it.
  std::vector<float> run(Isa isa, const Execution& execution = executionWith(2), size_t limit = kDefaultLimit) {
    const cpu::GemmKernels& kernels = cpu::gemmKernelsFor(isa);
    StridedArray<float> result = c;
    const GemmArguments arguments{a, b, result, shape.alpha, shape.beta};
    runKernel(kernels.workspaceBytes, kernels.run, arguments, execution, limit);
    EXPECT_TRUE(result.canariesIntact()) << "written outside c";
    EXPECT_TRUE(a.canariesIntact() && b.canariesIntact()) << "written around an input";
    return result.values();
  }

  void expectCorrect(size_t limit = kDefaultLimit) {
    SCOPED_TRACE(describe(shape));
    const std::vector<Bounded> values = expected<Bounded>();
    for (Isa isa : supportedIsas()) EXPECT_TRUE(allWithin(run(isa, executionWith(2), limit), values)) << isaName(isa);
  }

  // For small integers every order of summation is exact, so there is no tolerance to hide behind.
  void expectExact() {
    SCOPED_TRACE(describe(shape));
    const std::vector<double> doubles = expected<double>();
    const std::vector<float> values(doubles.begin(), doubles.end());
    for (Isa isa : supportedIsas()) EXPECT_EQ(run(isa), values) << isaName(isa);
  }

  GemmCase shape;
  StridedArray<float> a, b, c;
};

void expectExactIntegers(const GemmCase& g) {
  GemmProblem problem(g, Random(1));
  problem.fillWithIntegers(Random(2));
  problem.expectExact();
}

TEST(Gemm, EverySmallShape) {
  const std::vector<int64_t> sizes = {0, 1, 2, 3, 5, 7, 17, 33};
  for (int64_t m : sizes)
    for (int64_t n : sizes)
      for (int64_t k : sizes) expectExactIntegers({m, n, k});
}

// Panels have 2, 8, 16 or 32 rows, micro-panels 4, 6 or 14 columns; depth blocks are 512, score
// tiles 252 rows of a by at most 1024 columns of b.
TEST(Gemm, RowsAroundTheTileEdges) {
  for (int64_t m : {4, 8, 9, 15, 16, 31, 32, 63, 64, 65, 129, 251, 252, 253, 255, 256, 257, 505, 1025})
    expectExactIntegers({m, 19, 21});
}

TEST(Gemm, ColumnsAroundTheTileEdges) {
  for (int64_t n : {4, 6, 8, 12, 13, 14, 15, 27, 28, 29, 31, 63, 64, 65, 129, 255, 256, 257, 513, 1023, 1024, 1025})
    expectExactIntegers({37, n, 21});
}

TEST(Gemm, DepthAroundTheBlockEdges) {
  for (int64_t k : {4, 31, 32, 63, 64, 65, 129, 255, 256, 257, 511, 512, 513, 1024, 1025}) expectExactIntegers({37, 31, k});
}

TEST(Gemm, AllEdgesAtOnce) {
  expectExactIntegers({1030, 261, 515});
  expectExactIntegers({129, 1100, 515});
  expectExactIntegers({1, 700, 700});
  expectExactIntegers({700, 1, 700});
}

TEST(Gemm, EveryLayoutOfEveryOperand) {
  const std::vector<MatrixLayout> rowMajor = {{}, {.gap = 5}, {.gap = 3, .reversed = true}};
  const std::vector<MatrixLayout> inputs = {{},
                                            {.gap = 5},
                                            {.gap = 3, .reversed = true},
                                            {.gap = 1 - 67},  // a stride of 1: rows of a are a sliding window
                                            {.columnMajor = true},
                                            {.gap = 5, .columnMajor = true},
                                            {.columnMajor = true, .reversed = true},
                                            {.broadcast = true},
                                            {.columnMajor = true, .broadcast = true}};
  for (const MatrixLayout& a : inputs)
    for (const MatrixLayout& b : inputs)
      for (const MatrixLayout& c : rowMajor)
        for (float beta : {0.0f, 1.0f}) GemmProblem({35, 45, 67, a, b, c, 1, beta}, Random(3)).expectCorrect();
}

TEST(Gemm, AlphaAndBeta) {
  for (float alpha : {1.0f, 0.0f, -0.37f, 100.0f})
    for (float beta : {0.0f, 1.0f, -1.0f, 0.73f}) {
      GemmProblem({33, 50, 300, {}, {.columnMajor = true}, {}, alpha, beta}, Random(4)).expectCorrect();
      GemmProblem({33, 50, 0, {}, {}, {}, alpha, beta}, Random(5)).expectCorrect();
    }
}

// Strides of axes with one element mean nothing and must not be followed.
TEST(Gemm, StridesOfSingleElementsAreNotFollowed) {
  const int64_t far = int64_t{1} << 40;
  for (Isa isa : supportedIsas()) {
    std::vector<float> a = {1, 2, 3}, b = {4, 5, 6};
    float c = kNan;
    GemmArguments arguments;
    arguments.a = {a.data(), 1, 3, far, 1};
    arguments.b = {b.data(), 3, 1, 1, far};
    arguments.c = {&c, 1, 1, far, 1};
    const cpu::GemmKernels& kernels = cpu::gemmKernelsFor(isa);
    runKernel(kernels.workspaceBytes, kernels.run, arguments, executionWith(1));
    EXPECT_EQ(c, 32) << isaName(isa);

    std::vector<float> outer(9);
    arguments.a = {a.data(), 3, 1, 1, far};
    arguments.b = {b.data(), 1, 3, far, 1};
    arguments.c = {outer.data(), 3, 3, 3, 1};
    runKernel(kernels.workspaceBytes, kernels.run, arguments, executionWith(1));
    EXPECT_EQ(outer, (std::vector<float>{4, 5, 6, 8, 10, 12, 12, 15, 18})) << isaName(isa);
  }
}

TEST(Gemm, TouchesNothingOutsideItsMatrices) {
  Random random(14);
  const auto value = [&] { return random.uniform(-1, 1); };
  for (Guard guard : {Guard::kAtStart, Guard::kAtEnd})
    for (int64_t m : {1, 3, 17, 33})
      for (int64_t n : {1, 3, 17, 33})
        for (int64_t k : {1, 3, 17, 515}) {
          GuardedArray<float> a(m * k, guard, value), b(k * n, guard, value), c(m * n, guard);
          for (bool columnMajor : {false, true})
            for (Isa isa : supportedIsas()) {
              const GemmArguments arguments{
                  columnMajor ? Matrix<const float>{a.data(), m, k, 1, m} : Matrix<const float>{a.data(), m, k, k, 1},
                  columnMajor ? Matrix<const float>{b.data(), k, n, 1, k} : Matrix<const float>{b.data(), k, n, n, 1},
                  {c.data(), m, n, n, 1},
                  1,
                  0};
              const cpu::GemmKernels& kernels = cpu::gemmKernelsFor(isa);
              runKernel(kernels.workspaceBytes, kernels.run, arguments, executionWith(1));
            }
        }
}

TEST(Gemm, NanAndInfinityStayInTheirRowAndColumn) {
  for (float poison : {kNan, kInfinity, -kInfinity}) {
    GemmProblem problem({35, 40, 130}, Random(6));
    problem.a(17, 100) = poison;
    problem.b(50, 39) = poison;
    problem.expectCorrect();
  }
}

TEST(Gemm, ValuesOfVeryDifferentSizes) {
  GemmProblem problem({33, 29, 300}, Random(7));
  Random random(8);
  problem.a.fill([&] { return random.uniform(-1, 1) * std::exp2(random.uniform(-40, 40)); });
  problem.b.fill([&] { return random.uniform(-1, 1) * std::exp2(random.uniform(-40, 40)); });
  problem.expectCorrect();
}

TEST(Gemm, SameBitsForEveryNumberOfThreads) {
  for (const GemmCase& g :
       {GemmCase{300, 270, 520, {}, {}, {}, 0.7f, 0.3f}, GemmCase{7, 1500, 300, {}, {.columnMajor = true}},
        GemmCase{1100, 5, 600, {.columnMajor = true}}, GemmCase{3, 5, 2000}}) {
    GemmProblem problem(g, Random(9));
    SCOPED_TRACE(describe(g));
    for (Isa isa : supportedIsas())
      for (size_t limit : {kDefaultLimit, size_t{1} << 18}) {
        const std::vector<float> once = problem.run(isa, executionWith(1), limit);
        for (int threads : kThreadCounts)
          for (int repeat = 0; repeat < 2; ++repeat)
            EXPECT_TRUE(sameBits(problem.run(isa, executionWith(threads), limit), once))
                << isaName(isa) << ", " << threads << " threads, limit " << limit;
      }
  }
}

TEST(Gemm, StaysWithinAWorkspaceLimitThatSuffices) {
  GemmProblem problem({400, 300, 600}, Random(10));
  const GemmArguments arguments{problem.a, problem.b, problem.c, 1, 0};
  for (Isa isa : supportedIsas())
    for (int threads : kThreadCounts) {
      const size_t least = cpu::gemmKernelsFor(isa).workspaceBytes(arguments, threads, 1);
      for (size_t limit : {least, least + least / 2, 3 * least, kDefaultLimit})
        EXPECT_LE(cpu::gemmKernelsFor(isa).workspaceBytes(arguments, threads, limit), limit) << isaName(isa);
    }
  problem.expectCorrect(1);
  problem.expectCorrect(size_t{1} << 18);
}

TEST(Gemm, StopsWhenCancelled) {
  GemmProblem problem({300, 270, 520}, Random(11));
  const std::atomic<bool> cancelled{true};
  for (Isa isa : supportedIsas())
    for (int threads : {1, 2}) {
      Execution execution = executionWith(threads);
      execution.cancelled = &cancelled;
      try {
        problem.run(isa, execution);
        ADD_FAILURE() << isaName(isa) << " ran to its end";
      } catch (const Error& error) {
        EXPECT_EQ(error.status(), FK_ERROR_CANCELLED);
      }
    }
}

MatrixLayout randomLayout(Random& random, bool input) {
  return {.gap = random.chance(0.5) ? random.between(1, 9) : 0,
          .columnMajor = input && random.chance(0.5),
          .reversed = random.chance(0.2),
          .broadcast = input && random.chance(0.05)};
}

TEST(Gemm, RandomCases) {
  for (uint64_t seed = 1000; seed < 1300; ++seed) {
    Random random(seed);
    SCOPED_TRACE("seed " + std::to_string(seed));
    const auto extent = [&](double largest) {
      return static_cast<int64_t>(std::exp2(random.uniform(0, std::log2(largest))));
    };
    const GemmCase g = {extent(200),
                        extent(200),
                        extent(600) - random.between(0, 1),
                        randomLayout(random, true),
                        randomLayout(random, true),
                        randomLayout(random, false),
                        random.pick({1.0f, -0.8f}),
                        random.pick({0.0f, 1.0f, 0.4f})};
    GemmProblem(g, random).expectCorrect(random.pick({kDefaultLimit, size_t{1} << 16}));
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace fk::test
