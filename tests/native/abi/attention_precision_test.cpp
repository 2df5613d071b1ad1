// Attention of bf16 and f16 by FlashAttention's rule (its tests/test_flash_attn.py): the largest error is at most twice that
// of the plain computation, every array of which is stored in that type, and three times with a softcap; plus one unit in
// the last place of the largest exact value. For f32 the plain computation is float32 in the plainest order.
#include "abi/attention_problem.h"

namespace fk::test {
namespace {

using oracle::Array;
using oracle::AttentionResult;

double largestOf(const std::vector<double>& values) {
  double largest = 0;
  for (double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

template <class Actual>
double largestError(const std::vector<Actual>& actual, const std::vector<double>& exact) {
  double largest = 0;
  for (size_t i = 0; i < exact.size(); ++i) largest = std::max(largest, std::abs(static_cast<double>(actual[i]) - exact[i]));
  return largest;
}

// `roundoff`: that of the actual array and of the plain one.
template <class Plain>
void expectRule(const char* name, double factor, double roundoff, const FloatArray& actual, const Array<Plain>& plain,
                const Array<double>& exact) {
  const double ulp = 2 * roundoff * largestOf(exact.values);
  EXPECT_LE(largestError(actual.values(), exact.values), factor * largestError(plain.values, exact.values) + ulp) << name;
}

template <class Plain>
void expectRules(const AttentionCase& c, const AttentionOutputs& actual, const AttentionResult<Plain>& plain,
                 const AttentionResult<double>& exact) {
  const double factor = c.options.softcap != 0 ? 3 : 2, roundoff = roundoffOf(c.types.q).relative;
  expectRule("output", factor, roundoff, actual.output, plain.output, exact.output);
  expectRule("log_sum_exp", factor, kUnitRoundoff, actual.logSumExp, plain.logSumExp, exact.logSumExp);
  expectRule("d_q", factor, roundoff, actual.dQ, plain.dQ, exact.dQ);
  expectRule("d_k", factor, roundoff, actual.dK, plain.dK, exact.dK);
  expectRule("d_v", factor, roundoff, actual.dV, plain.dV, exact.dV);
  for (size_t i = 0; i < oracle::kAttentionParameters; ++i)
    if (c.dParameters[i])
      expectRule(oracle::kAttentionParameterNames[i], factor, kUnitRoundoff, actual.dParameters[i], plain.dParameters[i],
                 exact.dParameters[i]);
}

std::vector<AttentionCase> cases() {
  AttentionCase plain(97, 113, 64, 59);
  plain.batch = 1, plain.heads = 4, plain.keyHeads = 2;
  const auto causal = [](AttentionCase& c) { c.options.causal = 1; };
  const auto softcap = [](AttentionCase& c) { c.options.softcap = 10, c.range = 2; };
  const auto window = [](AttentionCase& c) { c.options.window_left = 20, c.options.window_right = 5; };
  const auto biases = [](AttentionCase& c) {
    c.options.causal = 1;
    for (oracle::AttentionParameter which : {oracle::kBias, oracle::kAlibiSlopes, oracle::kSinks}) {
      c.parameters[which] = 0;
      c.dParameters[which] = true;
    }
  };
  const auto dropout = [](AttentionCase& c) { c.options.dropout = 0.17f, c.options.dropout_seed = 5; };
  const auto rotary = [](AttentionCase& c) { c.options.rotary_dims = 32; };
  return {plain,
          plain.with(causal),
          plain.with(softcap),
          plain.with(window),
          plain.with(biases),
          plain.with(dropout),
          plain.with(rotary)};
}

TEST(AttentionPrecision, IsWithinTwiceTheErrorOfThePlainWay) {
  for (Storage storage : {Storage::kFloat32, Storage::kBFloat16, Storage::kFloat16})
    for (AttentionCase& c : cases()) {
      AttentionTypes& t = c.types;
      for (Storage* type : {&t.q, &t.k, &t.v, &t.output, &t.dOutput, &t.dQ, &t.dK, &t.dV}) *type = storage;
      SCOPED_TRACE(describe(c));
      AttentionProblem problem(c, Random(1));
      oracle::Attention definition = problem.oracleProblem();
      const auto exact = oracle::attention<double>(definition);
      if (storage != Storage::kFloat32)
        definition.stored = storage == Storage::kBFloat16 ? BFloat16::rounded : Half::rounded;
      const auto plainFloat = oracle::attention<float>(definition);
      const auto plainSmall = oracle::attention<double>(definition);
      for (Isa isa : supportedIsas()) {
        SCOPED_TRACE(isaName(isa));
        const AttentionOutputs actual = problem.run(contextFor(isa, 2));
        if (storage == Storage::kFloat32)
          expectRules(c, actual, plainFloat, exact);
        else
          expectRules(c, actual, plainSmall, exact);
      }
    }
}

}  // namespace
}  // namespace fk::test
