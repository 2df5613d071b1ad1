#include "cpu/rows/embedding.h"

#include "cpu/rows/row_test.h"

namespace fk::cpu {
namespace {

using namespace test;

class EmbeddingTest : public testing::TestWithParam<Isa> {
 protected:
  const EmbeddingKernels& kernels() const { return embeddingKernelsFor(GetParam()); }
};

constexpr int64_t kVocabulary = 11;

template <class Id>
StridedArray<Id> makeIds(int64_t count, int64_t stride, Random& random) {
  StridedArray<Id> ids({count}, {stride});
  ids.fill([&] { return random.between(0, kVocabulary - 1); });
  return ids;
}

TEST_P(EmbeddingTest, GatherCopiesRows) {
  for (int64_t rows : {0, 1, 17, 200})
    for (int64_t dim : kRowLengths)
      for (const MatrixLayout& layout : kRowLayouts) {
        Random random(1);
        StridedArray<float> table = makeMatrix(kVocabulary, dim, layout, random), output = makeMatrix(rows, dim, layout);
        StridedArray<int32_t> ids = makeIds<int32_t>(rows, layout.reversed ? -1 : 2, random);
        kernels().gather({table, ids, output}, executionWith(2));
        std::vector<float> expected;
        for (int64_t n = 0; n < rows; ++n)
          for (int64_t i = 0; i < dim; ++i) expected.push_back(table(ids(n), i));
        EXPECT_TRUE(sameBits(output.values(), expected)) << rows << " x " << dim << " " << describe(layout);
        EXPECT_TRUE(output.canariesIntact());
      }
}

// The additions happen in the order of the rows, in float, so the bits are known.
TEST_P(EmbeddingTest, ScatterAddsRowsInOrder) {
  for (int64_t rows : {0, 1, 17, 200})
    for (int64_t dim : kRowLengths)
      for (const MatrixLayout& layout : kRowLayouts) {
        Random random(2);
        StridedArray<float> dOutput = makeMatrix(rows, dim, layout, random);
        StridedArray<float> dTable = makeMatrix(kVocabulary, dim, layout, random);
        StridedArray<int64_t> ids = makeIds<int64_t>(rows, layout.reversed ? -1 : 2, random);
        StridedArray<float> expected = dTable;
        for (int64_t n = 0; n < rows; ++n)
          for (int64_t i = 0; i < dim; ++i) expected(ids(n), i) += dOutput(n, i);
        kernels().scatterAdd({dOutput, ids, dTable}, executionWith(2));
        EXPECT_TRUE(sameBits(dTable.values(), expected.values())) << rows << " x " << dim << " " << describe(layout);
        EXPECT_TRUE(dTable.canariesIntact());
      }
}

TEST_P(EmbeddingTest, SpecialValuesAreCopiedAsTheyAre) {
  StridedArray<float> table({2, 3}), output({1, 3});
  const std::vector<float> values = {0, 0, 0, kNan, -kInfinity, -0.0f};
  auto next = values.begin();
  table.fill([&] { return *next++; });
  StridedArray<int64_t> ids({1});
  ids(0) = 1;
  kernels().gather({table, ids, output}, executionWith(1));
  EXPECT_TRUE(sameBits(output.values(), {kNan, -kInfinity, -0.0f}));
}

TEST_P(EmbeddingTest, SameBitsForAnyNumberOfThreads) {
  // 3000 rows of 200 columns: several blocks of rows to gather, four slices of columns to scatter.
  expectSameBitsOnAnyThreads([&](const Execution& execution) {
    Random random(3);
    StridedArray<float> dOutput = makeMatrix(3000, 200, {}, random), dTable = makeMatrix(kVocabulary, 200, {}, random);
    StridedArray<float> output = makeMatrix(3000, 200);
    StridedArray<int64_t> ids = makeIds<int64_t>(3000, 1, random);
    kernels().gather({dTable, ids, output}, execution);
    kernels().scatterAdd({dOutput, ids, dTable}, execution);
    std::vector<float> all = output.values();
    append(all, dTable);
    return all;
  });
}

TEST_P(EmbeddingTest, Cancels) {
  Random random(4);
  StridedArray<float> table = makeMatrix(kVocabulary, 5, {}, random), rows = makeMatrix(3, 5, {}, random);
  StridedArray<int64_t> ids = makeIds<int64_t>(3, 1, random);
  expectCancellable([&](const Execution& execution) { kernels().gather({table, ids, rows}, execution); });
  expectCancellable([&](const Execution& execution) { kernels().scatterAdd({rows, ids, table}, execution); });
}

INSTANTIATE_TEST_SUITE_P(, EmbeddingTest, testing::ValuesIn(supportedIsas()), isaTestName);

}  // namespace
}  // namespace fk::cpu
