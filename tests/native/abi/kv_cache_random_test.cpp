// The key-value cache at random: page sizes, precisions, layouts, groups and options against the oracle, on the instruction
// sets in turn.
#include "abi/kv_cache_expectations.h"

namespace fk::test {
namespace {

constexpr int kParts = 4, kCasesPerPart = 150;
constexpr int64_t kMostWork = 1000000;  // products of the oracle

Storage anyStorage(Random& random) {
  return random.pick({Storage::kFloat32, Storage::kFloat32, Storage::kBFloat16, Storage::kFloat16});
}

int64_t workOf(const KvCacheCase& c) { return c.batch() * c.heads() * c.queries * (c.longest() + 1) * (c.dim + c.valueDim); }

KvCacheCase anyShape(Random& random) {
  KvCacheCase c;
  c.queries = random.chance(0.5) ? 1 : random.between(1, random.chance(0.3) ? 130 : 40);
  c.appended = random.chance(0.3) ? 0 : random.chance(0.5) ? c.queries : random.between(0, 40);
  c.group = random.pick<int64_t>({1, 2, 3, 4, 7, 32});
  c.keyHeads = random.between(1, 4);
  c.dim = random.chance(0.5) ? random.between(1, 40) : random.pick<int64_t>({16, 32, 48, 64, 80, 112, 128, 256});
  c.valueDim = random.chance(0.5) ? c.dim : random.between(1, 80);
  c.pageTokens = random.pick<int64_t>({1, 3, 16, 64, 300});
  c.lengths.resize(static_cast<size_t>(random.between(1, 4)));
  const int64_t longest = random.pick<int64_t>({3, 33, 130, 700});
  for (int64_t& length : c.lengths) length = random.between(0, longest);
  return c;
}

KvCacheCase anyCase(Random& random) {
  KvCacheCase c = anyShape(random);
  while (workOf(c) > kMostWork) c = anyShape(random);
  c.hasTable = random.chance(0.8);
  c.precisions.clear();
  const int64_t present = random.between(1, 7);
  for (int64_t i = 0; i < 3; ++i)
    if (present >> i & 1) c.precisions.push_back(static_cast<Precision>(i));
  c.layout = random.pick({PageLayout::kTokensFirst, PageLayout::kHeadsFirst, PageLayout::kGaps});
  c.qStorage = anyStorage(random), c.newStorage = anyStorage(random), c.outputStorage = anyStorage(random);
  c.causal = random.chance(0.6);
  if (random.chance(0.3)) c.scale = static_cast<float>(random.uniform(-1, 1));
  if (random.chance(0.3)) c.softcap = static_cast<float>(random.uniform(0.5, 5));
  if (random.chance(0.2)) c.lengthScaleBase = static_cast<float>(random.uniform(1.5, 20));
  if (random.chance(0.3)) c.windowLeft = random.between(0, 70);
  if (random.chance(0.2)) c.windowRight = random.between(0, 20);
  if (random.chance(0.5)) c.rotaryDims = static_cast<int32_t>(random.chance(0.5) ? c.dim / 2 * 2 : c.dim / 4 * 2);
  c.rotaryInterleaved = random.chance(0.5);
  c.sinks = random.chance(0.3);
  c.logSumExp = random.chance(0.7);
  c.alibi = static_cast<int>(random.pick({0, 0, 1, 2}));
  c.range = random.pick({1.0, 1.0, 4.0});
  return c;
}

class KvCacheRandom : public testing::TestWithParam<int> {};

TEST_P(KvCacheRandom, IsWithinTheBoundsOfTheOracle) {
  const std::vector<Isa> isas = supportedIsas();
  for (int i = 0; i < kCasesPerPart && !HasFailure(); ++i) {
    const auto seed = static_cast<uint64_t>(GetParam() * kCasesPerPart + i);
    Random random(seed);
    expectMatches(isas[seed % isas.size()], anyCase(random), seed);
  }
}

INSTANTIATE_TEST_SUITE_P(Parts, KvCacheRandom, testing::Range(0, kParts));

}  // namespace
}  // namespace fk::test
