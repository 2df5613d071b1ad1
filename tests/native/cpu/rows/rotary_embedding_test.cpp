#include "cpu/rows/rotary_embedding.h"

#include "cpu/rows/row_test.h"

namespace fk::cpu {
namespace {

using namespace test;

struct RotaryCase {
  int64_t batch, sequence, heads, dim, rotaryDims;
  bool interleaved = false, inverse = false;
  int64_t positionOffset = 0;
  float base = 10000;
};

struct RotaryProblem {
  // gap: elements between the end of a head and the start of the next.
  RotaryProblem(const RotaryCase& c, int64_t gap, uint64_t seed)
      : shape(c), x(strided(c, gap)), y(strided(c, 2 * gap)), positions({c.sequence}) {
    Random random(seed);
    x.fill([&] { return random.uniform(-1, 1); });
    positions.fill([&] { return random.between(0, 5000); });
  }

  static StridedArray<float> strided(const RotaryCase& c, int64_t gap) {
    const int64_t head = c.dim + gap, token = c.heads * head, batch = c.sequence * token;
    return StridedArray<float>({c.batch, c.sequence, c.heads, c.dim}, {batch, token, head, 1});
  }

  RotaryEmbeddingArguments arguments(bool givePositions = false) {
    return {.x = x,
            .positions = givePositions ? IndexVector(positions) : IndexVector(),
            .y = y,
            .interleaved = shape.interleaved,
            .inverse = shape.inverse,
            .rotaryDims = shape.rotaryDims,
            .positionOffset = shape.positionOffset,
            .base = shape.base};
  }

  // An element is off by at most 2^-22 of the absolute sum of its pair. The elements that do not rotate are copied.
  std::vector<Bounded> expected(bool givePositions = false) {
    const oracle::RotaryEmbedding oracle{shape.interleaved, shape.inverse, shape.rotaryDims, shape.base};
    const int64_t pairs = shape.rotaryDims / 2;
    std::vector<Bounded> result;
    for (int64_t b = 0; b < shape.batch; ++b)
      for (int64_t s = 0; s < shape.sequence; ++s)
        for (int64_t h = 0; h < shape.heads; ++h) {
          std::vector<double> head;
          for (int64_t i = 0; i < shape.dim; ++i) head.push_back(x(b, s, h, i));
          std::vector<double> rotated = head;
          const int64_t position = (givePositions ? positions(s) : s) + shape.positionOffset;
          oracle::rotate(oracle, static_cast<double>(position), rotated);
          for (int64_t i = 0; i < shape.dim; ++i) {
            const int64_t partner = shape.interleaved ? (i ^ 1) : (i < pairs ? i + pairs : i - pairs);
            const double error =
                i < shape.rotaryDims ? 0x1p-22 * (std::abs(head[i]) + std::abs(head[static_cast<size_t>(partner)])) : 0;
            result.push_back(i < shape.rotaryDims ? Bounded::of(rotated[static_cast<size_t>(i)], error)
                                                  : Bounded(head[static_cast<size_t>(i)]));
          }
        }
    return result;
  }

  RotaryCase shape;
  StridedArray<float> x, y;
  StridedArray<int64_t> positions;
};

class RotaryEmbeddingTest : public testing::TestWithParam<Isa> {
 protected:
  void run(const RotaryEmbeddingArguments& a, const Execution& execution = executionWith(3)) const {
    const RotaryEmbeddingKernels& kernels = rotaryEmbeddingKernelsFor(GetParam());
    runKernel(kernels.workspaceBytes, kernels.run, a, execution);
  }

  void expectMatches(const RotaryCase& c, int64_t gap, bool givePositions) const {
    RotaryProblem problem(c, gap, 1);
    run(problem.arguments(givePositions));
    EXPECT_TRUE(allWithin(problem.y.values(), problem.expected(givePositions)))
        << "[" << c.batch << ", " << c.sequence << ", " << c.heads << ", " << c.dim << "], rotary dims " << c.rotaryDims
        << ", interleaved " << c.interleaved << ", inverse " << c.inverse;
    EXPECT_TRUE(problem.y.canariesIntact());
  }
};

TEST_P(RotaryEmbeddingTest, MatchesTheDefinition) {
  struct Shape {
    int64_t batch, sequence, heads, dim, rotaryDims;
  };
  const std::vector<Shape> shapes = {{1, 1, 1, 2, 2},   {2, 3, 2, 6, 4},   {1, 17, 3, 34, 34}, {3, 5, 1, 130, 126},
                                     {1, 3, 2, 129, 2}, {1, 2, 1, 17, 16}, {2, 65, 2, 64, 64}, {1, 4, 2, 8, 0},
                                     {0, 3, 2, 4, 4},   {2, 0, 2, 4, 4},   {2, 3, 0, 4, 4},    {2, 3, 2, 0, 0}};
  for (const Shape& s : shapes)
    for (bool interleaved : {false, true})
      for (bool inverse : {false, true})
        for (bool givePositions : {false, true})
          expectMatches({s.batch, s.sequence, s.heads, s.dim, s.rotaryDims, interleaved, inverse}, inverse ? 3 : 0,
                        givePositions);
}

// In float, the angle of position 1e6 is off by up to 0.03; the bound here is 2^-22.
TEST_P(RotaryEmbeddingTest, LargePositionsStayAccurate) {
  for (int64_t offset : {1000000, 100000000})
    for (float base : {10000.0f, 500000.0f}) expectMatches({1, 5, 1, 128, 128, false, false, offset, base}, 0, false);
}

TEST_P(RotaryEmbeddingTest, OffsetsAddToGivenPositions) {
  expectMatches({1, 9, 2, 32, 32, false, false, 77}, 0, true);
  expectMatches({1, 9, 2, 32, 32, false, false, -5}, 0, true);
}

TEST_P(RotaryEmbeddingTest, Int32PositionsAreInt64Positions) {
  RotaryProblem problem({2, 9, 2, 16, 16}, 0, 2);
  run(problem.arguments(true));
  const std::vector<float> expected = problem.y.values();
  StridedArray<int32_t> narrow({9}, {-2});
  for (int64_t s = 0; s < 9; ++s) narrow(s) = static_cast<int32_t>(problem.positions(s));
  RotaryEmbeddingArguments a = problem.arguments();
  a.positions = narrow;
  run(a);
  EXPECT_TRUE(sameBits(problem.y.values(), expected));
}

// Turning back what was turned gives x again: each way is off by 2^-22 of the pair, whose absolute sum is below 2.
TEST_P(RotaryEmbeddingTest, InverseUndoes) {
  for (bool interleaved : {false, true}) {
    RotaryProblem problem({1, 33, 2, 30, 24, interleaved}, 0, 3);
    run(problem.arguments());
    RotaryEmbeddingArguments back = problem.arguments();
    back.x = problem.y;
    back.inverse = true;
    run(back);
    const std::vector<double> x = doubles(problem.x.values());
    EXPECT_TRUE(allWithin(problem.y.values(), bounded(x, [](size_t) { return 2 * 0x1p-22 * 2.01; })));
  }
}

TEST_P(RotaryEmbeddingTest, InPlace) {
  for (bool interleaved : {false, true}) {
    RotaryProblem problem({2, 9, 2, 34, 30, interleaved}, 1, 4);
    run(problem.arguments());
    RotaryEmbeddingArguments inPlace = problem.arguments();
    inPlace.y = problem.x;
    run(inPlace);
    EXPECT_TRUE(sameBits(problem.x.values(), problem.y.values()));
    EXPECT_TRUE(problem.x.canariesIntact());
  }
}

// Heads in front of the sequence, and the sequence backwards: any strides but the last.
TEST_P(RotaryEmbeddingTest, AnyStrides) {
  RotaryProblem plain({2, 9, 3, 16, 16}, 0, 5);
  run(plain.arguments());
  StridedArray<float> x({2, 9, 3, 16}, {1000, -20, 250, 1}), y({2, 9, 3, 16}, {16, 32 * 3, 32, 1});
  const std::vector<float> values = plain.x.values();
  auto next = values.begin();
  x.fill([&] { return *next++; });
  RotaryEmbeddingArguments a = plain.arguments();
  a.x = x;
  a.y = y;
  run(a);
  EXPECT_TRUE(sameBits(y.values(), plain.y.values()));
  EXPECT_TRUE(y.canariesIntact());
}

TEST_P(RotaryEmbeddingTest, SameBitsForAnyNumberOfThreads) {
  expectSameBitsOnAnyThreads([&](const Execution& execution) {
    RotaryProblem problem({2, 200, 3, 64, 60}, 0, 6);
    run(problem.arguments(true), execution);
    return problem.y.values();
  });
}

TEST_P(RotaryEmbeddingTest, Cancels) {
  RotaryProblem problem({1, 3, 1, 4, 4}, 0, 7);
  expectCancellable([&](const Execution& execution) { run(problem.arguments(), execution); });
}

INSTANTIATE_TEST_SUITE_P(, RotaryEmbeddingTest, testing::ValuesIn(supportedIsas()), isaTestName);

}  // namespace
}  // namespace fk::cpu
