// Vocabulary-parallel cut cross-entropy: 2, 3 and 7 unequal shards of the classifier, through partial, merge and backward,
// against the whole.
#include "abi/cut_cross_entropy_expectations.h"

namespace fk::test {
namespace {

using Case = CutCrossEntropyCase;
using oracle::CutCrossEntropyResult;

constexpr int64_t kRows = 67, kDim = 21;

// Rows [begin, end) of a matrix or vector, without a copy.
struct Slice {
  Slice(DLTensor whole, int64_t begin, int64_t end) : tensor(whole), shape(whole.shape, whole.shape + whole.ndim) {
    shape[0] = end - begin;
    tensor.shape = shape.data();
    tensor.data = static_cast<std::byte*>(whole.data) + begin * whole.strides[0] * (whole.dtype.bits / 8);
  }
  Slice(const Slice&) = delete;

  DLTensor tensor;
  std::vector<int64_t> shape;
};

StridedArray<float> gathered(int64_t shards) { return StridedArray<float>({shards, kRows}, {kRows + 3, 1}); }

// One row of a [S, N] matrix.
DLTensor rowOf(StridedArray<float>& matrix, int64_t row, int64_t* extent, int64_t* stride) {
  return {&matrix(row, 0), {kDLCPU, 0}, 1, {kDLFloat, 32, 1}, extent, stride, 0};
}

class ShardedProblem {
 public:
  ShardedProblem(const Case& c, std::vector<int64_t> bounds)
      : whole(c, Random(1)),
        bounds(std::move(bounds)),
        expectations(whole),
        maximum(gathered(shards())),
        sum(gathered(shards())),
        target(gathered(shards())),
        logSumExp({kRows}),
        targetLogProbability({kRows}) {}

  int64_t shards() const { return static_cast<int64_t>(bounds.size()) - 1; }

  // Calls run(options, tensors) with the inputs of a shard.
  template <class Run>
  void onShard(int64_t shard, const Run& run) {
    const int64_t begin = bounds[static_cast<size_t>(shard)], end = bounds[static_cast<size_t>(shard) + 1];
    fk_cut_cross_entropy_options options = whole.shape.options;
    options.vocabulary_offset = begin;
    options.vocabulary_size = whole.shape.classes;
    CutCrossEntropyTensors t = whole.inputs();
    Slice classifier(whole.classifier.tensor(), begin, end), bias(whole.bias.tensor(), begin, end);
    t.value.classifier = &classifier.tensor;
    if (t.value.bias) t.value.bias = &bias.tensor;
    run(options, t, begin, end);
  }

  void partials(fk_context* context) {
    for (int64_t s = 0; s < shards(); ++s)
      onShard(s, [&](const fk_cut_cross_entropy_options& options, CutCrossEntropyTensors& t, int64_t, int64_t) {
        int64_t extent = kRows, stride = 1;
        DLTensor ownMaximum = rowOf(maximum, s, &extent, &stride), ownSum = rowOf(sum, s, &extent, &stride),
                 ownTarget = rowOf(target, s, &extent, &stride);
        EXPECT_EQ(fk_cut_cross_entropy_partial(context, &options, &t.value, &ownMaximum, &ownSum, &ownTarget), FK_OK)
            << fk_last_error();
      });
    EXPECT_TRUE(maximum.canariesIntact() && sum.canariesIntact() && target.canariesIntact());
  }

  void expectPartials() const {
    const CutCrossEntropyResult<Bounded>& expected = expectations.oracle();
    for (int64_t s = 0; s < shards(); ++s)
      for (int64_t n = 0; n < kRows; ++n) {
        SCOPED_TRACE("shard " + std::to_string(s) + ", row " + std::to_string(n));
        if (expectations.problem().ignored(n)) {
          EXPECT_EQ(maximum(s, n), -kInfinity);
          EXPECT_EQ(sum(s, n), 0);
          EXPECT_EQ(target(s, n), 0);
          continue;
        }
        const int64_t begin = bounds[static_cast<size_t>(s)], end = bounds[static_cast<size_t>(s) + 1];
        const std::vector<Bounded> logits(expected.logits.values.begin() + n * expected.logits.columns + begin,
                                          expected.logits.values.begin() + n * expected.logits.columns + end);
        EXPECT_TRUE(isWithin(maximum(s, n), *std::max_element(logits.begin(), logits.end())));
        EXPECT_TRUE(isWithin(maximum(s, n) + std::log(sum(s, n)), oracle::logSumExp(logits)));
        const int64_t own = *expectations.problem().target(n);
        EXPECT_TRUE(isWithin(target(s, n), own >= begin && own < end ? expected.logits(n, own) : Bounded(0)));
      }
  }

  void merge(fk_context* context) {
    const DLTensor m = maximum.tensor(), s = sum.tensor(), t = target.tensor();
    DLTensor lse = logSumExp.tensor(), logProbability = targetLogProbability.tensor();
    EXPECT_EQ(fk_cut_cross_entropy_merge(context, &m, &s, &t, &lse, &logProbability), FK_OK) << fk_last_error();
    EXPECT_TRUE(logSumExp.canariesIntact() && targetLogProbability.canariesIntact());
    EXPECT_TRUE(allWithin(logSumExp.values(), expectations.oracle().logSumExp));
    EXPECT_TRUE(allWithin(targetLogProbability.values(), expectations.oracle().targetLogProbability));
    for (float value : targetLogProbability.values()) EXPECT_LE(value, 0);
  }

  void backward(fk_context* context) {
    std::vector<double> dEmbeddings(static_cast<size_t>(kRows * kDim), 0.0);
    double dLogitScale = 0;
    CutCrossEntropyOutputs all = whole.outputs();  // each shard writes its slice
    for (int64_t s = 0; s < shards(); ++s)
      onShard(s, [&](const fk_cut_cross_entropy_options& options, CutCrossEntropyTensors& t, int64_t begin, int64_t end) {
        CutCrossEntropyOutputs own = whole.outputs();
        Slice dClassifier(all.dClassifier.tensor(), begin, end), dBias(all.dBias.tensor(), begin, end);
        whole.addGradients(t, own);
        t.value.d_classifier = &dClassifier.tensor;
        if (t.value.d_bias) t.value.d_bias = &dBias.tensor;
        t.value.log_sum_exp = t.keep(logSumExp);
        t.value.target_log_probability = t.keep(targetLogProbability, whole.shape.shaped());
        EXPECT_EQ(fk_cut_cross_entropy_backward(context, &options, &t.value), FK_OK) << fk_last_error();
        EXPECT_TRUE(own.canariesIntact());
        const std::vector<float> part = own.dEmbeddings.values();
        for (size_t i = 0; i < part.size(); ++i) dEmbeddings[i] += part[i];
        if (whole.shape.dLogitScale) dLogitScale += own.dLogitScale.values()[0];
      });
    EXPECT_TRUE(all.canariesIntact());
    int64_t element = 0;
    all.dEmbeddings.fill([&] { return dEmbeddings[static_cast<size_t>(element++)]; });
    all.dLogitScale.fill([&] { return dLogitScale; });
    expectations.expectGradients(all);
  }

  CutCrossEntropyProblem whole;
  const std::vector<int64_t> bounds;
  const CutCrossEntropyExpectations expectations;
  StridedArray<float> maximum, sum, target, logSumExp, targetLogProbability;
};

// Shards smaller than a tile, of one class, and of several tiles.
const std::vector<std::vector<int64_t>> kBounds = {{0, 530, 531}, {0, 1, 300, 531}, {0, 252, 253, 260, 270, 505, 530, 531}};

void expectShardsAreTheWhole(const Case& c) {
  for (const std::vector<int64_t>& bounds : kBounds) {
    ShardedProblem problem(c, bounds);
    for (Isa isa : supportedIsas()) {
      SCOPED_TRACE(std::to_string(problem.shards()) + " shards, " + isaName(isa) + ": " + describe(c));
      problem.partials(contextFor(isa, 2));
      problem.expectPartials();
      problem.merge(contextFor(isa, 2));
      problem.backward(contextFor(isa, 2));
    }
  }
}

TEST(CutCrossEntropyShards, PlainOfEveryReduction) {
  for (fk_reduction reduction : {FK_REDUCTION_MEAN, FK_REDUCTION_SUM, FK_REDUCTION_NONE}) {
    Case c(kRows, 531, kDim, reduction);
    c.gradLoss = true;
    expectShardsAreTheWhole(c);
  }
}

TEST(CutCrossEntropyShards, WithEveryOptionThatShardsKnow) {
  Case c(kRows, 531, kDim, FK_REDUCTION_MEAN);
  c.options.logit_scale = 1.3f;
  c.options.softcap = 8;
  c.options.z_loss = 0.01f;
  c.options.shift = 2;
  c.embeddings = c.classifier = Storage::kBFloat16;
  c.classesLayout = {.gap = 3, .reversed = true};
  c.rowsLayout = {.gap = 2};
  c.targets64 = true;
  c.bias = c.rowWeights = c.gradLoss = c.gradLogSumExp = c.dBias = c.dLogitScale = true;
  expectShardsAreTheWhole(c);
}

TEST(CutCrossEntropyShards, WithALossShape) {
  Case c(kRows, 531, kDim, FK_REDUCTION_NONE);
  c.options.loss_shape = FK_LOSS_SHAPE_FOCAL;
  c.options.loss_shape_parameter = 2;
  c.gradLoss = true;
  expectShardsAreTheWhole(c);
}

}  // namespace
}  // namespace fk::test
