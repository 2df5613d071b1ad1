// Cut cross-entropy at random: sizes, layouts, types and options against the oracle, in every schedule, on a random
// instruction set, with the same bits for 1, 2 and 3 threads. FUSEDKERNELS_SEED=n runs that case alone.
#include <cstdlib>

#include "abi/cut_cross_entropy_expectations.h"

namespace fk::test {
namespace {

using Problem = CutCrossEntropyProblem;
using Outputs = CutCrossEntropyOutputs;

constexpr uint64_t kCases = 2400;

// False when the case has no finite answer.
bool runCase(uint64_t seed) {
  Random random(seed);
  const CutCrossEntropyCase c = drawCase(random);
  const std::vector<Isa> isas = supportedIsas();
  const Isa isa = isas[static_cast<size_t>(random.between(0, static_cast<int64_t>(isas.size()) - 1))];
  SCOPED_TRACE("FUSEDKERNELS_SEED=" + std::to_string(seed) + ", " + isaName(isa) + ": " + describe(c));
  Problem problem(c, random);
  const CutCrossEntropyExpectations expectations(problem);
  if (!expectations.finiteInFloat()) return false;
  {
    SCOPED_TRACE("forward and backward");
    expectations.expectEverything(onAnyThreads(isa, [&](fk_context* on) { return problem.forwardAndBackward(on); }));
  }
  std::vector<Outputs> outputs;
  for (fk_schedule schedule : {FK_SCHEDULE_RECOMPUTE, FK_SCHEDULE_FUSED, FK_SCHEDULE_AUTO}) {
    SCOPED_TRACE("loss_and_gradient, schedule " + std::to_string(schedule));
    outputs.push_back(onAnyThreads(isa, [&](fk_context* on) { return problem.lossAndGradient(on, schedule); }));
    expectations.expectEverything(outputs.back());
  }
  EXPECT_TRUE(outputs[2].sameBitsAs(outputs[0]) || outputs[2].sameBitsAs(outputs[1])) << "auto is one of the two";
  return true;
}

TEST(CutCrossEntropyRandom, IsWithinTheBoundsOfTheOracle) {
  if (const char* seed = std::getenv("FUSEDKERNELS_SEED")) {
    runCase(std::strtoull(seed, nullptr, 10));
    return;
  }
  uint64_t ran = 0;
  for (uint64_t seed = 1; ran < kCases && seed < 2 * kCases; ++seed) {
    ran += runCase(seed);
    if (HasFailure()) return;
  }
  EXPECT_EQ(ran, kCases);
}

}  // namespace
}  // namespace fk::test
