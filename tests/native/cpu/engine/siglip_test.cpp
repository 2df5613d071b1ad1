// The sigmoid loss on the engine, against plain loops in double.
#include "cpu/engine/siglip.h"

#include "oracles/siglip.h"
#include "support.h"
#include "tolerance.h"

namespace fk::test {
namespace {

struct SiglipProblem {
  SiglipProblem(int64_t rows, int64_t columns, int64_t dim, float scale, float bias, Random random)
      : x(makeMatrix(rows, dim, {.gap = 3}, random)), y(makeMatrix(columns, dim, {}, random)), scale(scale), bias(bias) {}

  struct Outputs {
    StridedArray<float> loss, dX, dY;
  };
  Outputs run(Isa isa, int threads) {
    Outputs out{StridedArray<float>({1}), makeMatrix(x.extent(0), x.extent(1), {.gap = 1}),
                makeMatrix(y.extent(0), y.extent(1))};
    const cpu::SiglipArguments arguments{x, y, scale, bias, out.loss.data(), out.dX, out.dY};
    const cpu::SiglipKernels& kernels = cpu::siglipKernelsFor(isa);
    runKernel(kernels.bytes, kernels.lossAndGradient, arguments, executionWith(threads));
    EXPECT_TRUE(out.loss.canariesIntact() && out.dX.canariesIntact() && out.dY.canariesIntact());
    return out;
  }

  void expectCorrect() {
    SCOPED_TRACE(std::to_string(x.extent(0)) + " x " + std::to_string(y.extent(0)) + " x " + std::to_string(x.extent(1)) +
                 ", scale " + std::to_string(scale) + ", bias " + std::to_string(bias));
    const auto expected =
        oracle::siglip<Bounded>({x.extent(0), x.extent(1), x.values()}, {y.extent(0), y.extent(1), y.values()}, scale, bias);
    for (Isa isa : supportedIsas()) {
      SCOPED_TRACE(isaName(isa));
      const Outputs out = run(isa, 2);
      EXPECT_TRUE(isWithin(out.loss(0), expected.loss)) << out.loss(0) << ", expected " << expected.loss.value;
      EXPECT_TRUE(allWithin(out.dX.values(), expected.dX.values)) << "dX";
      EXPECT_TRUE(allWithin(out.dY.values(), expected.dY.values)) << "dY";
    }
  }

  StridedArray<float> x, y;
  float scale, bias;
};

TEST(Siglip, ShapesAroundTheTileEdges) {
  for (int64_t n : {1, 2, 3, 17, 31, 33, 65, 129, 251, 252, 253, 257})
    SiglipProblem(n, n, 7, 10, -10, Random(1)).expectCorrect();
  for (int64_t columns : {1, 5, 251, 252, 253, 505}) SiglipProblem(40, columns, 7, 1, 0, Random(2)).expectCorrect();
  SiglipProblem(300, 300, 33, 1, 0, Random(3)).expectCorrect();
  SiglipProblem(600, 600, 3, 1, 0, Random(7)).expectCorrect();
  SiglipProblem(40, 60, 515, 0.1f, 0, Random(4)).expectCorrect();
}

TEST(Siglip, ScalesAndBiases) {
  for (float scale : {0.0f, 1.0f, -3.0f, 100.0f})
    for (float bias : {0.0f, -10.0f, 200.0f}) SiglipProblem(40, 40, 5, scale, bias, Random(5)).expectCorrect();
}

TEST(Siglip, SameBitsForEveryNumberOfThreads) {
  SiglipProblem problem(270, 700, 20, 10, -10, Random(6));
  for (Isa isa : supportedIsas()) {
    const SiglipProblem::Outputs once = problem.run(isa, 1);
    for (int threads : kThreadCounts) {
      const SiglipProblem::Outputs out = problem.run(isa, threads);
      EXPECT_TRUE(sameBits(out.loss.values(), once.loss.values()) && sameBits(out.dX.values(), once.dX.values()) &&
                  sameBits(out.dY.values(), once.dY.values()))
          << isaName(isa) << ", " << threads << " threads";
    }
  }
}

}  // namespace
}  // namespace fk::test
