// Attention at random: sizes, layouts, types, options and pairs of options against the oracle, on every instruction set in
// turn, with the same bits for 1, 2 and 3 threads. FUSEDKERNELS_SEED=n runs that case alone.
#include <cstdlib>

#include "abi/attention_problem.h"

namespace fk::test {
namespace {

constexpr uint64_t kCases = 4000;
constexpr uint64_t kParts = 4;  // that can run side by side

void runCase(uint64_t seed) {
  const std::vector<Isa> isas = supportedIsas();
  const Isa isa = isas[seed % isas.size()];
  Random random(seed);
  const AttentionCase c = drawCase(random);
  SCOPED_TRACE("FUSEDKERNELS_SEED=" + std::to_string(seed) + ", " + isaName(isa) + ": " + describe(c));
  AttentionProblem problem(c, random);
  problem.expectResults(onAnyThreads(isa, [&](fk_context* on) { return problem.run(on); }), problem.expected());
}

class AttentionRandom : public testing::TestWithParam<uint64_t> {};

TEST_P(AttentionRandom, IsWithinTheBoundsOfTheOracle) {
  if (const char* seed = std::getenv("FUSEDKERNELS_SEED")) {
    if (GetParam() == 0) runCase(std::strtoull(seed, nullptr, 10));
    return;
  }
  for (uint64_t seed = GetParam() * kCases / kParts; seed < (GetParam() + 1) * kCases / kParts; ++seed) {
    runCase(seed);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Parts, AttentionRandom, testing::Range(uint64_t{0}, kParts));

}  // namespace
}  // namespace fk::test
