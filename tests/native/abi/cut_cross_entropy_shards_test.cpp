// Vocabulary-parallel cut cross-entropy: 2, 3 and 7 unequal shards of the classifier, through partial, merge and backward,
// against the whole.
#include "abi/cut_cross_entropy_expectations.h"

namespace fk::test {
namespace {

using Case = CutCrossEntropyCase;
using oracle::CutCrossEntropyResult;

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

StridedArray<float> gathered(int64_t shards, int64_t rows) { return StridedArray<float>({shards, rows}, {rows + 3, 1}); }

// One row of a [S, N] matrix.
DLTensor rowOf(StridedArray<float>& matrix, int64_t row, int64_t* extent, int64_t* stride) {
  return {&matrix(row, 0), {kDLCPU, 0}, 1, {kDLFloat, 32, 1}, extent, stride, 0};
}

class ShardedProblem {
 public:
  ShardedProblem(const Case& c, std::vector<int64_t> bounds, Random random = Random(1))
      : whole_(c, random),
        bounds_(std::move(bounds)),
        expectations_(whole_),
        maximum_(gathered(shards(), c.rows())),
        sum_(gathered(shards(), c.rows())),
        target_(gathered(shards(), c.rows())),
        logSumExp_({c.rows()}),
        targetLogProbability_({c.rows()}) {}

  int64_t shards() const { return static_cast<int64_t>(bounds_.size()) - 1; }
  bool finiteInFloat() const { return expectations_.finiteInFloat(); }

  void expectIsTheWhole(fk_context* context) {
    partials(context);
    expectPartials();
    merge(context);
    backward(context);
  }

 private:
  int64_t rows() const { return whole_.shape.rows(); }

  // Calls run(options, tensors) with the inputs of a shard.
  template <class Run>
  void onShard(int64_t shard, const Run& run) {
    const int64_t begin = bounds_[static_cast<size_t>(shard)], end = bounds_[static_cast<size_t>(shard) + 1];
    fk_cut_cross_entropy_options options = whole_.shape.options;
    options.vocabulary_offset = begin;
    options.vocabulary_size = whole_.shape.classes;
    CutCrossEntropyTensors t = whole_.inputs();
    Slice classifier(whole_.classifier.tensor(), begin, end), bias(whole_.bias.tensor(), begin, end);
    t.value.classifier = &classifier.tensor;
    if (t.value.bias) t.value.bias = &bias.tensor;
    run(options, t, begin, end);
  }

  void partials(fk_context* context) {
    for (int64_t s = 0; s < shards(); ++s)
      onShard(s, [&](const fk_cut_cross_entropy_options& options, CutCrossEntropyTensors& t, int64_t, int64_t) {
        int64_t extent = rows(), stride = 1;
        DLTensor ownMaximum = rowOf(maximum_, s, &extent, &stride), ownSum = rowOf(sum_, s, &extent, &stride),
                 ownTarget = rowOf(target_, s, &extent, &stride);
        EXPECT_EQ(fk_cut_cross_entropy_partial(context, &options, &t.value, &ownMaximum, &ownSum, &ownTarget), FK_OK)
            << fk_last_error();
      });
    EXPECT_TRUE(maximum_.canariesIntact() && sum_.canariesIntact() && target_.canariesIntact());
  }

  void expectPartials() const {
    const CutCrossEntropyResult<Bounded>& expected = expectations_.oracle();
    for (int64_t s = 0; s < shards(); ++s)
      for (int64_t n = 0; n < rows(); ++n) {
        SCOPED_TRACE("shard " + std::to_string(s) + ", row " + std::to_string(n));
        if (expectations_.problem().ignored(n)) {
          EXPECT_EQ(maximum_(s, n), -kInfinity);
          EXPECT_EQ(sum_(s, n), 0);
          EXPECT_EQ(target_(s, n), 0);
          continue;
        }
        const int64_t begin = bounds_[static_cast<size_t>(s)], end = bounds_[static_cast<size_t>(s) + 1];
        const std::vector<Bounded> logits(expected.logits.values.begin() + n * expected.logits.columns + begin,
                                          expected.logits.values.begin() + n * expected.logits.columns + end);
        EXPECT_TRUE(isWithin(maximum_(s, n), *std::max_element(logits.begin(), logits.end())));
        EXPECT_TRUE(isWithin(maximum_(s, n) + std::log(sum_(s, n)), oracle::logSumExp(logits)));
        const int64_t own = *expectations_.problem().target(n);
        EXPECT_TRUE(isWithin(target_(s, n), own >= begin && own < end ? expected.logits(n, own) : Bounded(0)));
      }
  }

  void merge(fk_context* context) {
    const DLTensor m = maximum_.tensor(), s = sum_.tensor(), t = target_.tensor();
    DLTensor lse = logSumExp_.tensor(), logProbability = targetLogProbability_.tensor();
    EXPECT_EQ(fk_cut_cross_entropy_merge(context, &m, &s, &t, &lse, &logProbability), FK_OK) << fk_last_error();
    EXPECT_TRUE(logSumExp_.canariesIntact() && targetLogProbability_.canariesIntact());
    EXPECT_TRUE(allWithin(logSumExp_.values(), expectations_.oracle().logSumExp));
    EXPECT_TRUE(allWithin(targetLogProbability_.values(), expectations_.oracle().targetLogProbability));
    for (float value : targetLogProbability_.values()) EXPECT_LE(value, 0);
  }

  void backward(fk_context* context) {
    std::vector<double> dEmbeddings(static_cast<size_t>(rows() * whole_.shape.dim), 0.0);
    double dLogitScale = 0;
    CutCrossEntropyOutputs all = whole_.outputs();  // each shard writes its slice
    for (int64_t s = 0; s < shards(); ++s)
      onShard(s, [&](const fk_cut_cross_entropy_options& options, CutCrossEntropyTensors& t, int64_t begin, int64_t end) {
        CutCrossEntropyOutputs own = whole_.outputs();
        Slice dClassifier(all.dClassifier.tensor(), begin, end), dBias(all.dBias.tensor(), begin, end);
        whole_.addGradients(t, own);
        t.value.d_classifier = &dClassifier.tensor;
        if (t.value.d_bias) t.value.d_bias = &dBias.tensor;
        t.value.log_sum_exp = t.keep(logSumExp_);
        t.value.target_log_probability = t.keep(targetLogProbability_, whole_.shape.shaped());
        EXPECT_EQ(fk_cut_cross_entropy_backward(context, &options, &t.value), FK_OK) << fk_last_error();
        EXPECT_TRUE(own.canariesIntact());
        const std::vector<float> part = own.dEmbeddings.values();
        for (size_t i = 0; i < part.size(); ++i) dEmbeddings[i] += part[i];
        if (whole_.shape.dLogitScale) dLogitScale += own.dLogitScale.values()[0];
      });
    EXPECT_TRUE(all.canariesIntact());
    int64_t element = 0;
    all.dEmbeddings.fill([&] { return dEmbeddings[static_cast<size_t>(element++)]; });
    all.dLogitScale.fill([&] { return dLogitScale; });
    expectations_.expectGradients(all);
  }

  CutCrossEntropyProblem whole_;
  const std::vector<int64_t> bounds_;
  const CutCrossEntropyExpectations expectations_;
  StridedArray<float> maximum_, sum_, target_, logSumExp_, targetLogProbability_;
};

// Shards smaller than a tile, of one class, and of several tiles.
const std::vector<std::vector<int64_t>> kBounds = {{0, 530, 531}, {0, 1, 300, 531}, {0, 252, 253, 260, 270, 505, 530, 531}};

void expectShardsAreTheWhole(const Case& c) {
  for (const std::vector<int64_t>& bounds : kBounds) {
    ShardedProblem problem(c, bounds);
    for (Isa isa : supportedIsas()) {
      SCOPED_TRACE(std::to_string(problem.shards()) + " shards, " + isaName(isa) + ": " + describe(c));
      problem.expectIsTheWhole(contextFor(isa, 2));
    }
  }
}

TEST(CutCrossEntropyShards, PlainOfEveryReduction) {
  for (fk_reduction reduction : {FK_REDUCTION_MEAN, FK_REDUCTION_SUM, FK_REDUCTION_NONE}) {
    Case c(67, 531, 21, reduction);
    c.gradLoss = true;
    expectShardsAreTheWhole(c);
  }
}

TEST(CutCrossEntropyShards, WithEveryOptionThatShardsKnow) {
  Case c(67, 531, 21, FK_REDUCTION_MEAN);
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
  Case c(67, 531, 21, FK_REDUCTION_NONE);
  c.options.loss_shape = FK_LOSS_SHAPE_FOCAL;
  c.options.loss_shape_parameter = 2;
  c.gradLoss = true;
  expectShardsAreTheWhole(c);
}

// Any options that shards know; 2, 3 or 7 of them, of any size.
TEST(CutCrossEntropyShards, AtRandom) {
  const std::vector<Isa> isas = supportedIsas();
  int ran = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    Case c = drawCase(random);
    c.options.label_smoothing = 0;
    c.nested = false;  // the merge takes rows as one axis
    c.targetProbabilities = c.entropy = c.gradEntropy = c.accuracy = c.classWeights = false;
    c.topCount = 0;
    std::set<int64_t> bounds = {0, c.classes};
    const int64_t shards = random.pick<int64_t>({2, 3, 7});
    if (c.classes < shards) continue;
    while (static_cast<int64_t>(bounds.size()) <= shards) bounds.insert(random.between(1, c.classes - 1));
    const Isa isa = isas[seed % isas.size()];
    SCOPED_TRACE("seed " + std::to_string(seed) + ", " + std::to_string(shards) + " shards, " + isaName(isa) + ": " +
                 describe(c));
    ShardedProblem problem(c, {bounds.begin(), bounds.end()}, random);
    if (!problem.finiteInFloat()) continue;
    ++ran;
    problem.expectIsTheWhole(contextFor(isa, 2));
    if (HasFailure()) return;
  }
  EXPECT_GT(ran, 200);
}

}  // namespace
}  // namespace fk::test
