#include "cpu/rows/swiglu.h"

#include "cpu/rows/row_test.h"

namespace fk::cpu {
namespace {

using namespace test;

class SwigluTest : public testing::TestWithParam<Isa> {
 protected:
  const SwigluKernels& kernels() const { return swigluKernelsFor(GetParam()); }
};

struct SwigluProblem {
  SwigluProblem(int64_t rows, int64_t dim, const MatrixLayout& layout, double gateRange, uint64_t seed)
      : random(seed),
        gate(makeMatrix(rows, dim, layout, random, -gateRange, gateRange)),
        up(makeMatrix(rows, dim, layout, random)),
        dOutput(makeMatrix(rows, dim, layout, random)),
        output(makeMatrix(rows, dim, layout)),
        dGate(makeMatrix(rows, dim, layout)),
        dUp(makeMatrix(rows, dim, layout)) {}

  SwigluArguments arguments() {
    return {.gate = gate, .up = up, .output = output, .dOutput = dOutput, .dGate = dGate, .dUp = dUp};
  }

  Random random;
  StridedArray<float> gate, up, dOutput, output, dGate, dUp;
};

constexpr double kUlp = 2 * kUnitRoundoff;
// sigmoid is subnormal or 0 for gates below -87, where the exact output is below 1e-36 |up|.
constexpr double kFlushed = 1e-36;

// The bounds that swiglu.cpp states.
Bounded expectedOutput(double gate, double up) {
  const double value = oracle::swiglu(gate, up);
  return Bounded::of(value, 5 * kUlp * std::abs(value) + kFlushed * std::abs(up));
}

Bounded expectedDGate(double gate, double up, double dOutput) {
  const double terms = std::abs(dOutput * up) * oracle::sigmoid(gate) * (1 + std::abs(gate) * oracle::sigmoid(-gate));
  return Bounded::of(oracle::swigluGradient(gate, up, dOutput).dGate, 9 * kUlp * terms + kFlushed * std::abs(dOutput * up));
}

void expectMatches(SwigluProblem& problem) {
  const auto gate = problem.gate.values(), up = problem.up.values(), dOutput = problem.dOutput.values();
  std::vector<Bounded> output, dGate, dUp;
  for (size_t i = 0; i < gate.size(); ++i) {
    output.push_back(expectedOutput(gate[i], up[i]));
    dGate.push_back(expectedDGate(gate[i], up[i], dOutput[i]));
    dUp.push_back(expectedOutput(gate[i], dOutput[i]));  // d output / d up is silu(gate): the same product
  }
  EXPECT_TRUE(allWithin(problem.output.values(), output));
  EXPECT_TRUE(allWithin(problem.dGate.values(), dGate));
  EXPECT_TRUE(allWithin(problem.dUp.values(), dUp));
  EXPECT_TRUE(problem.output.canariesIntact() && problem.dGate.canariesIntact() && problem.dUp.canariesIntact());
}

TEST_P(SwigluTest, MatchesTheDefinition) {
  for (int64_t rows : kRowCounts)
    for (int64_t dim : kRowLengths)
      for (const MatrixLayout& layout : kRowLayouts)
        for (double range : {1.0, 30.0, 100.0}) {
          SwigluProblem problem(rows, dim, layout, range, 1);
          kernels().forward(problem.arguments(), executionWith(2));
          kernels().backward(problem.arguments(), executionWith(2));
          SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(dim) + " " + describe(layout));
          expectMatches(problem);
        }
}

// One long row is cut into parts: all of it has to be covered, once.
TEST_P(SwigluTest, LongRows) {
  for (int64_t dim : {16383, 16384, 16385, 40000}) {
    SwigluProblem problem(2, dim, {.gap = 1}, 3, 2);
    kernels().forward(problem.arguments(), executionWith(3));
    kernels().backward(problem.arguments(), executionWith(3));
    expectMatches(problem);
  }
}

TEST_P(SwigluTest, InPlaceAsTheHeaderAllows) {
  SwigluProblem apart(17, 65, {.gap = 1}, 5, 3);
  kernels().forward(apart.arguments(), executionWith(1));
  kernels().backward(apart.arguments(), executionWith(1));
  for (auto output : {&SwigluProblem::gate, &SwigluProblem::up}) {
    SwigluProblem problem(17, 65, {.gap = 1}, 5, 3);
    SwigluArguments a = problem.arguments();
    a.output = problem.*output;
    kernels().forward(a, executionWith(1));
    EXPECT_TRUE(sameBits((problem.*output).values(), apart.output.values()));
  }
  using Pair = std::pair<StridedArray<float> SwigluProblem::*, StridedArray<float> SwigluProblem::*>;
  for (auto [dGate, dUp] :
       {Pair{&SwigluProblem::gate, &SwigluProblem::up}, Pair{&SwigluProblem::dOutput, &SwigluProblem::up},
        Pair{&SwigluProblem::gate, &SwigluProblem::dOutput}}) {
    SwigluProblem problem(17, 65, {.gap = 1}, 5, 3);
    SwigluArguments a = problem.arguments();
    a.dGate = problem.*dGate;
    a.dUp = problem.*dUp;
    kernels().backward(a, executionWith(1));
    EXPECT_TRUE(sameBits((problem.*dGate).values(), apart.dGate.values()));
    EXPECT_TRUE(sameBits((problem.*dUp).values(), apart.dUp.values()));
  }
}

TEST_P(SwigluTest, ExtremeFiniteValuesGiveFiniteResults) {
  struct Case {
    float gate, up, dOutput;
    double output, dGate, dUp;
  };
  const double huge = 3.4e38f;
  const std::vector<Case> cases = {
      {-3e38f, 1, 1, 0, 0, 0},
      {3e38f, 1, 1, 3e38f, 1, 3e38f},
      {1e4f, 2, 3, 2e4, 6, 3e4},
      {-1e4f, 3e38f, 3e38f, 0, 0, 0},
      {3e38f, 1e-38f, 1e-38f, 3e38f * double{1e-38f}, 0, 3e38f * double{1e-38f}},
      // The slope is 1.0998 at its largest: 1.0998 * 3.4e38 overflows, and then times 0 would be NaN.
      {2.4f, 0, 3.4e38f, 0, 0, oracle::swiglu(2.4f, huge)},
      {2.4f, 3.4e38f, 0, oracle::swiglu(2.4f, huge), 0, 0},
      {2.4f, 3.4e38f, 1e-10f, oracle::swiglu(2.4f, huge), oracle::swigluGradient(2.4f, huge, 1e-10f).dGate,
       oracle::swiglu(2.4f, 1e-10f)},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.gate);
    float output, dGate, dUp;
    SwigluArguments a;
    a.gate = {&c.gate, 1, 1, 1, 1};
    a.up = {&c.up, 1, 1, 1, 1};
    a.dOutput = {&c.dOutput, 1, 1, 1, 1};
    a.output = {&output, 1, 1, 1, 1};
    a.dGate = {&dGate, 1, 1, 1, 1};
    a.dUp = {&dUp, 1, 1, 1, 1};
    kernels().forward(a, executionWith(1));
    kernels().backward(a, executionWith(1));
    const auto expected = [=](double value) {  // beyond FLT_MAX is infinity, for the library as for the definition
      return Bounded::of(value > huge * 1.001 ? kInfinity : value, 9 * kUlp * std::abs(value));
    };
    EXPECT_TRUE(isWithin(output, expected(c.output))) << output;
    EXPECT_TRUE(isWithin(dGate, expected(c.dGate))) << dGate;
    EXPECT_TRUE(isWithin(dUp, expected(c.dUp))) << dUp;
  }
}

TEST_P(SwigluTest, NanStaysInItsPlace) {
  SwigluProblem clean(1, 65, {}, 5, 4), problem(1, 65, {}, 5, 4);
  problem.gate(0, 20) = kNan;
  for (SwigluProblem* p : {&clean, &problem}) {
    kernels().forward(p->arguments(), executionWith(1));
    kernels().backward(p->arguments(), executionWith(1));
  }
  for (int64_t i = 0; i < 65; ++i) {
    for (auto output : {&SwigluProblem::output, &SwigluProblem::dGate, &SwigluProblem::dUp}) {
      const float actual = (problem.*output)(0, i);
      EXPECT_TRUE(i == 20 ? std::isnan(actual) : actual == (clean.*output)(0, i)) << i;
    }
  }
}

TEST_P(SwigluTest, SameBitsForAnyNumberOfThreads) {
  for (auto [rows, dim] : {std::pair{300, 129}, std::pair{1, 50001}}) {
    expectSameBitsOnAnyThreads([&, rows = rows, dim = dim](const Execution& execution) {
      SwigluProblem problem(rows, dim, {}, 5, 5);
      kernels().forward(problem.arguments(), execution);
      kernels().backward(problem.arguments(), execution);
      std::vector<float> all;
      for (const auto* output : {&problem.output, &problem.dGate, &problem.dUp}) append(all, *output);
      return all;
    });
  }
}

TEST_P(SwigluTest, Cancels) {
  SwigluProblem problem(3, 17, {}, 1, 6);
  expectCancellable([&](const Execution& execution) { kernels().forward(problem.arguments(), execution); });
  expectCancellable([&](const Execution& execution) { kernels().backward(problem.arguments(), execution); });
}

INSTANTIATE_TEST_SUITE_P(, SwigluTest, testing::ValuesIn(supportedIsas()), isaTestName);

}  // namespace
}  // namespace fk::cpu
