// An attention problem with its arrays, its oracle per batch and head, and every way to run it.
#pragma once

#include "cpu/attention/attention.h"
#include "oracles/attention.h"
#include "support.h"
#include "tolerance.h"

namespace fk::test {

// How [batch, sequence, heads, dim] lies in memory.
enum class HeadLayout {
  kContiguous,   // as the axes say
  kHeadsFirst,   // [batch, heads, sequence, dim]
  kPacked,       // one of three parts of [batch, sequence, 3, heads, dim]: the other parts are gaps
  kReversed,     // negative sequence and batch strides, with gaps
  kSharedHeads,  // stride 0 along the heads (inputs only)
};

inline StridedArray<float> makeHeads(int64_t batch, int64_t sequence, int64_t heads, int64_t dim, HeadLayout layout) {
  const std::vector<int64_t> shape = {batch, sequence, heads, dim};
  const int64_t width = std::max<int64_t>(dim, 1), rows = std::max<int64_t>(sequence, 1);
  switch (layout) {
    case HeadLayout::kHeadsFirst:
      return StridedArray<float>(shape, {rows * width * heads, width, rows * width, 1});
    case HeadLayout::kPacked:
      return StridedArray<float>(shape, {rows * 3 * heads * width, 3 * heads * width, width, 1});
    case HeadLayout::kReversed:
      return StridedArray<float>(shape, {-rows * heads * (width + 2) - 5, -heads * (width + 2), width + 2, 1});
    case HeadLayout::kSharedHeads:
      return StridedArray<float>(shape, {rows * width, width, 0, 1});
    default:
      return StridedArray<float>(shape);
  }
}

struct AttentionCase {
  int64_t queries, keys, dim, valueDim;
  bool causal = false;
  int64_t batch = 1, heads = 1;
  std::optional<float> scale = {};  // none: 1 / sqrt(dim)
  HeadLayout q = HeadLayout::kContiguous, k = q, v = q, outputs = q;
  bool logSumExpRowsFirst = false;  // [B, Sq, H] in memory instead of [B, H, Sq]
  double range = 1;                 // of q, k, v
};

inline std::string describe(const AttentionCase& c) {
  const auto layout = [](HeadLayout l) { return std::to_string(static_cast<int>(l)); };
  return std::to_string(c.queries) + " queries, " + std::to_string(c.keys) + " keys, dim " + std::to_string(c.dim) +
         ", value dim " + std::to_string(c.valueDim) + (c.causal ? ", causal" : ", full") + ", batch " +
         std::to_string(c.batch) + ", heads " + std::to_string(c.heads) + ", scale " +
         (c.scale ? std::to_string(*c.scale) : "default") + ", layouts " + layout(c.q) + layout(c.k) + layout(c.v) +
         layout(c.outputs) + (c.logSumExpRowsFirst ? ", strided log-sum-exp" : "") + ", range " + std::to_string(c.range);
}

// What the kernels write. Fresh ones hold canaries, so an element that is not written shows as NaN.
struct AttentionOutputs {
  StridedArray<float> output, logSumExp, dQ, dK, dV;

  bool canariesIntact() const {
    return output.canariesIntact() && logSumExp.canariesIntact() && dQ.canariesIntact() && dK.canariesIntact() &&
           dV.canariesIntact();
  }
  std::vector<float> all() const {
    std::vector<float> result;
    for (const auto* array : {&output, &logSumExp, &dQ, &dK, &dV}) {
      const std::vector<float> values = array->values();
      result.insert(result.end(), values.begin(), values.end());
    }
    return result;
  }
};

// What the oracle says, in the order of the arrays' elements.
struct AttentionExpected {
  std::vector<Bounded> output, logSumExp, dQ, dK, dV;
};

struct AttentionProblem {
  AttentionProblem(const AttentionCase& c, Random random)
      : shape(c),
        q(makeHeads(c.batch, c.queries, c.heads, c.dim, c.q)),
        k(makeHeads(c.batch, c.keys, c.heads, c.dim, c.k)),
        v(makeHeads(c.batch, c.keys, c.heads, c.valueDim, c.v)),
        dOutput(makeHeads(c.batch, c.queries, c.heads, c.valueDim, c.outputs)) {
    for (auto* array : {&q, &k, &v}) array->fill([&] { return random.uniform(-c.range, c.range); });
    dOutput.fill([&] { return random.uniform(-1, 1); });
  }

  float scale() const {
    if (shape.scale) return *shape.scale;
    return shape.dim > 0 ? 1.0f / std::sqrt(static_cast<float>(shape.dim)) : 1.0f;
  }

  AttentionExpected expected() const {
    AttentionExpected all;
    const int64_t batch = shape.batch, heads = shape.heads;
    all.output.resize(static_cast<size_t>(batch * shape.queries * heads * shape.valueDim));
    all.logSumExp.resize(static_cast<size_t>(batch * heads * shape.queries));
    all.dQ.resize(static_cast<size_t>(batch * shape.queries * heads * shape.dim));
    all.dK.resize(static_cast<size_t>(batch * shape.keys * heads * shape.dim));
    all.dV.resize(static_cast<size_t>(batch * shape.keys * heads * shape.valueDim));
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t h = 0; h < heads; ++h) {
        oracle::Attention problem{head(q, b, h), head(k, b, h), head(v, b, h), scale(), shape.causal, head(dOutput, b, h)};
        const auto result = oracle::attention<Bounded>(problem);
        const auto place = [&](const oracle::Dense<Bounded>& from, std::vector<Bounded>& to) {
          for (int64_t i = 0; i < from.rows; ++i)
            for (int64_t d = 0; d < from.columns; ++d)
              to[static_cast<size_t>(((b * from.rows + i) * heads + h) * from.columns + d)] = from(i, d);
        };
        place(result.output, all.output);
        place(result.dQ, all.dQ);
        place(result.dK, all.dK);
        place(result.dV, all.dV);
        std::copy(result.logSumExp.begin(), result.logSumExp.end(), all.logSumExp.begin() + (b * heads + h) * shape.queries);
      }
    return all;
  }

  AttentionOutputs outputs() const {
    const int64_t queries = std::max<int64_t>(shape.queries, 1), heads = std::max<int64_t>(shape.heads, 1);
    std::vector<int64_t> strides = {heads * queries, queries, 1};
    if (shape.logSumExpRowsFirst) strides = {heads * queries, 1, heads};
    return {makeHeads(shape.batch, shape.queries, shape.heads, shape.valueDim, shape.outputs),
            StridedArray<float>({shape.batch, shape.heads, shape.queries}, strides),
            makeHeads(shape.batch, shape.queries, shape.heads, shape.dim, shape.outputs),
            makeHeads(shape.batch, shape.keys, shape.heads, shape.dim, shape.outputs),
            makeHeads(shape.batch, shape.keys, shape.heads, shape.valueDim, shape.outputs)};
  }

  cpu::AttentionArguments arguments(AttentionOutputs& out) {
    cpu::AttentionArguments arguments;
    arguments.q = q, arguments.k = k, arguments.v = v;
    arguments.causal = shape.causal;
    arguments.scale = scale();
    arguments.output = out.output;
    arguments.savedOutput = out.output;
    arguments.dOutput = dOutput;
    arguments.dQ = out.dQ, arguments.dK = out.dK, arguments.dV = out.dV;
    arguments.logSumExp = {out.logSumExp.data(), out.logSumExp.stride(0), out.logSumExp.stride(1), out.logSumExp.stride(2)};
    return arguments;
  }

  // Forward, then backward on what it left.
  AttentionOutputs run(Isa isa, const Execution& execution = executionWith(2), size_t limit = kDefaultLimit) {
    const cpu::AttentionKernels& kernels = cpu::attentionKernelsFor(isa);
    AttentionOutputs out = outputs();
    runKernel(kernels.forwardBytes, kernels.forward, arguments(out), execution, limit);
    EXPECT_TRUE(out.canariesIntact()) << "forward wrote outside its outputs";
    const std::vector<float> output = out.output.values(), logSumExp = out.logSumExp.values();
    runKernel(kernels.backwardBytes, kernels.backward, arguments(out), execution, limit);
    EXPECT_TRUE(out.canariesIntact()) << "backward wrote outside its outputs";
    EXPECT_TRUE(sameBits(out.output.values(), output) && sameBits(out.logSumExp.values(), logSumExp))
        << "backward changed its inputs";
    return out;
  }

  static void expectAll(const AttentionOutputs& out, const AttentionExpected& expected) {
    EXPECT_TRUE(allWithin(out.output.values(), expected.output)) << "output";
    EXPECT_TRUE(allWithin(out.logSumExp.values(), expected.logSumExp)) << "log-sum-exp";
    EXPECT_TRUE(allWithin(out.dQ.values(), expected.dQ)) << "dQ";
    EXPECT_TRUE(allWithin(out.dK.values(), expected.dK)) << "dK";
    EXPECT_TRUE(allWithin(out.dV.values(), expected.dV)) << "dV";
  }

  void expectCorrect(size_t limit = kDefaultLimit) {
    SCOPED_TRACE(describe(shape));
    const AttentionExpected values = expected();
    for (Isa isa : supportedIsas()) {
      SCOPED_TRACE(isaName(isa));
      expectAll(run(isa, executionWith(2), limit), values);
    }
  }

  AttentionCase shape;
  StridedArray<float> q, k, v, dOutput;

 private:
  static oracle::Dense<double> head(const StridedArray<float>& tensor, int64_t b, int64_t h) {
    oracle::Dense<double> result(tensor.extent(1), tensor.extent(3));
    for (int64_t i = 0; i < result.rows; ++i)
      for (int64_t d = 0; d < result.columns; ++d) result(i, d) = tensor(b, i, h, d);
    return result;
  }
};

}  // namespace fk::test
