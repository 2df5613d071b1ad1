// Top-k on the engine, against a sort.
#include "cpu/engine/top_k.h"

#include "support.h"

namespace fk::test {
namespace {

// Small integers: scores are exact, and there are many ties to order.
void expectTopK(int64_t rows, int64_t columns, int64_t dim, int64_t k, int64_t range, int threads = 2) {
  SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns) + " x " + std::to_string(dim) + ", k " +
               std::to_string(k) + ", " + std::to_string(threads) + " threads");
  Random random(1);
  StridedArray<float> x = makeMatrix(rows, dim, {.gap = 2}), y = makeMatrix(columns, dim);
  for (auto* array : {&x, &y}) array->fill([&] { return random.between(-range, range); });

  std::vector<float> expectedScores;
  std::vector<int64_t> expectedIndices;
  for (int64_t i = 0; i < rows; ++i) {
    std::vector<std::pair<double, int64_t>> order;  // by descending score, then ascending column
    for (int64_t j = 0; j < columns; ++j) {
      double score = 0;
      for (int64_t d = 0; d < dim; ++d) score += static_cast<double>(x(i, d)) * y(j, d);
      order.push_back({-score, j});
    }
    std::sort(order.begin(), order.end());
    order.resize(static_cast<size_t>(std::max(columns, k)), {kInfinity, -1});
    for (int64_t at = 0; at < k; ++at) {
      expectedScores.push_back(static_cast<float>(-order[static_cast<size_t>(at)].first));
      expectedIndices.push_back(order[static_cast<size_t>(at)].second);
    }
  }

  for (Isa isa : supportedIsas()) {
    StridedArray<float> scores = makeMatrix(rows, k, {.gap = 1});
    StridedArray<int64_t> indices({rows, k});
    const cpu::TopKArguments arguments{x, y, scores, indices};
    const cpu::TopKKernels& kernels = cpu::topKKernelsFor(isa);
    runKernel(kernels.bytes, kernels.run, arguments, executionWith(threads));
    EXPECT_EQ(scores.values(), expectedScores) << isaName(isa);
    EXPECT_EQ(indices.values(), expectedIndices) << isaName(isa);
    EXPECT_TRUE(scores.canariesIntact() && indices.canariesIntact()) << isaName(isa);
  }
}

TEST(TopK, ShapesAroundTheTileEdges) {
  for (int64_t rows : {1, 2, 31, 33, 257})
    for (int64_t columns : {1, 3, 16, 251, 252, 253, 600}) expectTopK(rows, columns, 5, 4, 100);
  expectTopK(40, 300, 515, 10, 3);
}

TEST(TopK, EveryKWithManyTies) {
  for (int64_t k = 1; k <= cpu::kMostTopK; ++k) expectTopK(33, 300, 2, k, 2);
}

// More columns than 64 tiles: a chunk is several tiles.
TEST(TopK, ManyColumns) {
  expectTopK(3, 17000, 3, 10, 1000);
  expectTopK(3, 17000, 3, 10, 4);
}

TEST(TopK, SameForEveryNumberOfThreads) {
  for (int threads : kThreadCounts) expectTopK(70, 1500, 4, 10, 3, threads);
}

}  // namespace
}  // namespace fk::test
