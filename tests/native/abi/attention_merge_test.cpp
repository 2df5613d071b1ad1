// Attention over parts of the keys, put together: the output and the log-sum-exp of the whole.
#include "abi/attention_problem.h"

namespace fk::test {
namespace {

using oracle::Array;
using oracle::AttentionResult;

// A problem whose keys [first, end) are those of `whole`.
AttentionProblem partOf(const AttentionProblem& whole, int64_t first, int64_t end) {
  AttentionCase c = whole.shape;
  c.keys = end - first;
  AttentionProblem part(c, Random(0));
  const std::vector<double> q = whole.q.values();
  change(part.q, [&](int64_t at, double) { return q[static_cast<size_t>(at)]; });
  const auto cut = [&](FloatArray& to, const FloatArray& from, int64_t perKey) {
    const std::vector<double> values = from.values();
    change(to, [&, perItem = c.keys * perKey](int64_t at, double) {
      const int64_t b = at / perItem;
      return values[static_cast<size_t>((b * whole.shape.keys + first) * perKey + at % perItem)];
    });
  };
  cut(part.k, whole.k, c.keyHeads * c.dim);
  cut(part.v, whole.v, c.keyHeads * c.valueDim);
  return part;
}

// What merging is off by, in the order of fk_attention_merge: each part's output and log-sum-exp are floats, with the errors
// of their own.
struct Merged {
  Array<Bounded> output, logSumExp;
};
Merged mergedBounds(const std::vector<AttentionResult<Bounded>>& parts, const Roundoff& stored) {
  Merged result{Array<Bounded>(parts[0].output.shape), Array<Bounded>(parts[0].logSumExp.shape)};
  const std::vector<int64_t>& shape = result.output.shape;
  for (int64_t b = 0; b < shape[0]; ++b)
    for (int64_t i = 0; i < shape[1]; ++i)
      for (int64_t h = 0; h < shape[2]; ++h) {
        std::vector<Bounded> scores;
        for (const auto& part : parts)
          if (std::isfinite(part.logSumExp(b, h, i).value)) scores.push_back(storedWith(stored, part.logSumExp(b, h, i)));
        const Bounded total = oracle::logSumExp(scores);
        result.logSumExp(b, h, i) = total;
        for (const auto& part : parts) {
          if (!std::isfinite(part.logSumExp(b, h, i).value)) continue;
          const Bounded weight = exp(storedWith(stored, part.logSumExp(b, h, i)) - total);
          for (int64_t d = 0; d < shape[3]; ++d)
            result.output(b, i, h, d) += weight * storedWith(stored, part.output(b, i, h, d));
        }
      }
  return result;
}

class AttentionMerge : public testing::Test {
 protected:
  // Splits the keys at `cuts`, and merges what the library makes of the parts.
  static void expectWhole(const AttentionCase& c, std::vector<int64_t> cuts, Storage storage = Storage::kFloat32) {
    SCOPED_TRACE(describe(c) + " in " + std::to_string(cuts.size() + 1) + " parts as " + nameOf(storage));
    AttentionProblem whole(c, Random(1));
    cuts.insert(cuts.begin(), 0);
    cuts.push_back(c.keys);
    std::vector<AttentionProblem> problems;
    std::vector<AttentionResult<Bounded>> bounds;
    for (size_t p = 0; p + 1 < cuts.size(); ++p) {
      problems.push_back(partOf(whole, cuts[p], cuts[p + 1]));
      oracle::Attention definition = problems.back().oracleProblem();
      definition.dOutput = {};
      bounds.push_back(oracle::attention<Bounded>(definition));
    }
    const Merged expected = mergedBounds(bounds, kFloat32Roundoff);
    const oracle::AttentionResult<double> exact = oracle::attention<double>(whole.oracleProblem());
    for (size_t i = 0; i < exact.output.values.size(); ++i)  // the bounds are of the right thing
      ASSERT_NEAR(expected.output.values[i].value, exact.output.values[i], 1e-12);

    const auto parts = static_cast<int64_t>(problems.size());
    for (Isa isa : supportedIsas())
      for (int threads : {1, 3}) {
        SCOPED_TRACE(isaName(isa));
        fk_context* context = contextFor(isa, threads);
        std::vector<double> outputValues, logSumExpValues;
        for (AttentionProblem& problem : problems) {
          const AttentionOutputs out = problem.forward(context);
          const std::vector<double> output = out.output.values(), logSumExp = out.logSumExp.values();
          outputValues.insert(outputValues.end(), output.begin(), output.end());
          logSumExpValues.insert(logSumExpValues.end(), logSumExp.begin(), logSumExp.end());
        }
        // Heads before the sequence, and gaps.
        const int64_t b = c.batch, s = c.queries, h = c.heads, d = c.valueDim;
        StridedArray<float> outputs({parts, b, s, h, d}, {b * h * s * (d + 1) + 3, h * s * (d + 1), d + 1, s * (d + 1), 1});
        StridedArray<float> logSumExps({parts, b, h, s}, {b * h * s, s, b * s, -1});
        FloatArray output = floatArray(storage, {b, s, h, d}, {h * s * (d + 2), d + 2, s * (d + 2), 1});
        StridedArray<float> logSumExp({b, h, s}, {1, b, -b * h});
        change(outputs, [&](int64_t at, float) { return outputValues[static_cast<size_t>(at)]; });
        change(logSumExps, [&](int64_t at, float) { return logSumExpValues[static_cast<size_t>(at)]; });
        const DLTensor from = outputs.tensor(), scores = logSumExps.tensor();
        DLTensor to = output.tensor(), total = logSumExp.tensor();
        ASSERT_EQ(fk_attention_merge(context, &from, &scores, &to, &total), FK_OK) << fk_last_error();
        EXPECT_TRUE(allWithin(output.values(), expected.output.values, roundoffOf(storage)));
        EXPECT_TRUE(allWithin(logSumExp.values(), expected.logSumExp.values));
        EXPECT_TRUE(output.canariesIntact() && logSumExp.canariesIntact());
        const std::vector<double> before = output.values();
        ASSERT_EQ(fk_attention_merge(context, &from, &scores, &to, nullptr), FK_OK) << fk_last_error();
        EXPECT_TRUE(sameBits(output.values(), before)) << "without log_sum_exp";
      }
  }
};

AttentionCase plainCase() {
  AttentionCase c(19, 300, 16, 21);
  c.batch = 2, c.heads = 4, c.keyHeads = 2;
  return c;
}

TEST_F(AttentionMerge, PartsMakeTheWhole) {
  const AttentionCase c = plainCase();
  expectWhole(c, {});
  expectWhole(c, {130});
  expectWhole(c, {1, 253});
  expectWhole(c, {3, 4, 60, 61, 200, 299});
  for (Storage storage : {Storage::kBFloat16, Storage::kFloat16}) expectWhole(c, {1, 253}, storage);
}

TEST_F(AttentionMerge, PartsOfNoKeysAddNothing) {
  expectWhole(plainCase(), {0, 0, 130, 130, 300});
  AttentionCase c = plainCase();
  c.keys = 0;
  expectWhole(c, {0, 0});  // zeros and -inf
}

TEST_F(AttentionMerge, LargeScores) {
  for (double range : {5.0, 30.0}) {
    AttentionCase c = plainCase();
    c.range = range;
    c.options.scale = 1;
    expectWhole(c, {3, 4, 60, 61, 200, 299});
  }
}

}  // namespace
}  // namespace fk::test
