// Windowed linear attention on the engine, against plain loops: small integers, so equal to the last bit.
#include "cpu/engine/windowed_linear_attention.h"

#include <cstdlib>

#include "support.h"

namespace fk::test {
namespace {

void expectCorrect(int64_t rows, int64_t keys, int64_t dim, int64_t valueDim, int64_t window) {
  SCOPED_TRACE(std::to_string(rows) + " queries, " + std::to_string(keys) + " keys, dim " + std::to_string(dim) +
               ", value dim " + std::to_string(valueDim) + ", window " + std::to_string(window));
  Random random(1);
  StridedArray<float> q = makeMatrix(rows, dim), k = makeMatrix(keys, dim), v = makeMatrix(keys, valueDim),
                      dOutput = makeMatrix(rows, valueDim);
  for (auto* array : {&q, &k, &v, &dOutput}) array->fill([&] { return random.between(-2, 2); });

  StridedArray<float> output = makeMatrix(rows, valueDim), dQ = makeMatrix(rows, dim), dK = makeMatrix(keys, dim),
                      dV = makeMatrix(keys, valueDim);
  for (auto* array : {&output, &dQ, &dK, &dV}) array->fill([] { return 0; });
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = std::max<int64_t>(0, i - window); j < std::min(keys, i + window + 1); ++j) {
      float weight = 0, dWeight = 0;
      for (int64_t d = 0; d < dim; ++d) weight += q(i, d) * k(j, d);
      for (int64_t d = 0; d < valueDim; ++d) dWeight += dOutput(i, d) * v(j, d);
      for (int64_t d = 0; d < valueDim; ++d) output(i, d) += weight * v(j, d), dV(j, d) += weight * dOutput(i, d);
      for (int64_t d = 0; d < dim; ++d) dQ(i, d) += dWeight * k(j, d), dK(j, d) += dWeight * q(i, d);
    }

  for (Isa isa : supportedIsas()) {
    SCOPED_TRACE(isaName(isa));
    StridedArray<float> actual = makeMatrix(rows, valueDim, {.gap = 1}), actualDQ = makeMatrix(rows, dim, {.gap = 1}),
                        actualDK = makeMatrix(keys, dim, {.gap = 1}), actualDV = makeMatrix(keys, valueDim, {.gap = 1});
    const cpu::WindowedLinearAttentionArguments arguments{q, k, v, window, actual, dOutput, actualDQ, actualDK, actualDV};
    const cpu::WindowedLinearAttentionKernels& kernels = cpu::windowedLinearAttentionKernelsFor(isa);
    runKernel(kernels.forwardBytes, kernels.forward, arguments, executionWith(2));
    runKernel(kernels.backwardBytes, kernels.backward, arguments, executionWith(2));
    EXPECT_EQ(actual.values(), output.values()) << "output";
    EXPECT_EQ(actualDQ.values(), dQ.values()) << "dQ";
    EXPECT_EQ(actualDK.values(), dK.values()) << "dK";
    EXPECT_EQ(actualDV.values(), dV.values()) << "dV";
    for (auto* array : {&actual, &actualDQ, &actualDK, &actualDV}) EXPECT_TRUE(array->canariesIntact());
  }
}

TEST(WindowedLinearAttention, WindowsThatCutTiles) {
  for (int64_t window : {0, 1, 5, 40, 251, 252, 1000}) expectCorrect(300, 300, 3, 5, window);
}

TEST(WindowedLinearAttention, UnequalLengths) {
  expectCorrect(600, 300, 3, 5, 20);
  expectCorrect(40, 700, 3, 5, 20);
  expectCorrect(520, 800, 3, 5, 130);
  expectCorrect(1030, 1100, 2, 3, 300);
}

TEST(WindowedLinearAttention, DeepHeads) { expectCorrect(70, 300, 515, 520, 50); }

}  // namespace
}  // namespace fk::test
