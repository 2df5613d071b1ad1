// What the row operators' own entry points decide: options, in-place arguments, ids, leading axes. What they share with all
// operators is in operators_test.cpp, their numbers in tests/native/cpu.
#include "abi/expect_error.h"
#include "cpu/rows/row_test.h"

namespace fk::test {
namespace {

class RowOperators : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(fk_context_create(nullptr, &context_), FK_OK) << fk_last_error(); }
  void TearDown() override { EXPECT_EQ(fk_context_destroy(context_), FK_OK); }

  fk_context* context_ = nullptr;
};

StridedArray<float> randomArray(std::vector<int64_t> shape, uint64_t seed, std::vector<int64_t> strides = {}) {
  StridedArray<float> array(std::move(shape), std::move(strides));
  Random random(seed);
  array.fill([&] { return random.uniform(-1, 1); });
  return array;
}

StridedArray<float> ones(std::vector<int64_t> shape) {
  StridedArray<float> array(std::move(shape));
  array.fill([] { return 1; });
  return array;
}

// The same array, seen from one element further: it overlaps the first without being it.
DLTensor shifted(DLTensor tensor) {
  tensor.byte_offset += sizeof(float);
  return tensor;
}

constexpr const char* kOrExactlyTheOther = "it needs memory of its own, or exactly the other's address, shape and strides";

// ---- RMSNorm

TEST_F(RowOperators, RmsNormLeadingAxesAreRowsAndInPlaceIsAllowed) {
  StridedArray<float> x = randomArray({2, 3, 5}, 1, {24, 8, 1}), weight = randomArray({5}, 2, {-2});
  StridedArray<float> y({2, 3, 5}), inverseRms({2, 3});
  DLTensor xTensor = x.tensor(), weightTensor = weight.tensor(), yTensor = y.tensor(), inverseTensor = inverseRms.tensor();
  ASSERT_EQ(fk_rms_norm_forward(context_, nullptr, &xTensor, &weightTensor, &yTensor, &inverseTensor), FK_OK)
      << fk_last_error();
  const auto expected = oracle::rmsNorm({{6, 5, x.values()}, doubles(weight.values()), 1e-6f, {}}).values;
  EXPECT_TRUE(
      allWithin(y.values(), bounded(expected, [&](size_t i) { return 2.001 * kUnitRoundoff * std::abs(expected[i]); })));
  ASSERT_EQ(fk_rms_norm_forward(context_, nullptr, &xTensor, &weightTensor, &xTensor, nullptr), FK_OK) << fk_last_error();
  EXPECT_TRUE(sameBits(x.values(), y.values()));
}

TEST_F(RowOperators, RmsNormRefusesHalfAnOverlap) {
  StridedArray<float> x = randomArray({4, 5}, 1, {6, 1}), weight = ones({5});
  DLTensor xTensor = x.tensor(), weightTensor = weight.tensor(), yTensor = shifted(x.tensor());
  EXPECT_STATUS(fk_rms_norm_forward(context_, nullptr, &xTensor, &weightTensor, &yTensor, nullptr),
                FK_ERROR_INVALID_ARGUMENT, kOrExactlyTheOther);
}

TEST_F(RowOperators, RmsNormBackwardMayOverwriteItsUpstream) {
  StridedArray<float> x = randomArray({4, 5}, 1), weight = ones({5}), dY = randomArray({4, 5}, 2), dX({4, 5});
  StridedArray<float> inverseRms = ones({4});
  DLTensor xTensor = x.tensor(), weightTensor = weight.tensor(), inverseTensor = inverseRms.tensor();
  DLTensor dYTensor = dY.tensor(), dXTensor = dX.tensor();
  ASSERT_EQ(fk_rms_norm_backward(context_, nullptr, &xTensor, &weightTensor, &inverseTensor, &dYTensor, &dXTensor, nullptr),
            FK_OK);
  ASSERT_EQ(fk_rms_norm_backward(context_, nullptr, &xTensor, &weightTensor, &inverseTensor, &dYTensor, &dYTensor, nullptr),
            FK_OK)
      << fk_last_error();
  EXPECT_TRUE(sameBits(dY.values(), dX.values()));
  EXPECT_STATUS(
      fk_rms_norm_backward(context_, nullptr, &xTensor, &weightTensor, &inverseTensor, &dYTensor, &xTensor, nullptr),
      FK_ERROR_INVALID_ARGUMENT, "d_x: overlaps x");
}

TEST_F(RowOperators, RmsNormOptions) {
  StridedArray<float> x = ones({1, 2}), weight = ones({2}), y({1, 2});
  DLTensor xTensor = x.tensor(), weightTensor = weight.tensor(), yTensor = y.tensor();
  fk_rms_norm_options options;
  fk_rms_norm_options_init(&options);
  for (float epsilon : {-1e-9f, kNan, kInfinity}) {
    options.epsilon = epsilon;
    EXPECT_STATUS(fk_rms_norm_forward(context_, &options, &xTensor, &weightTensor, &yTensor, nullptr),
                  FK_ERROR_INVALID_ARGUMENT, "options: epsilon is ");
  }
  options.epsilon = 3;
  ASSERT_EQ(fk_rms_norm_forward(context_, &options, &xTensor, &weightTensor, &yTensor, nullptr), FK_OK) << fk_last_error();
  EXPECT_EQ(y(0, 0), 0.5f);  // 1 / sqrt(1 + 3)
}

// ---- SwiGLU

TEST_F(RowOperators, SwigluInPlaceAsTheHeaderAllows) {
  const auto makeGate = [] { return randomArray({3, 5}, 1); };
  const auto makeUp = [] { return randomArray({3, 5}, 2); };
  StridedArray<float> gate = makeGate(), up = makeUp(), output({3, 5}), dGate({3, 5}), dUp({3, 5});
  StridedArray<float> dOutput = randomArray({3, 5}, 3);
  DLTensor gateTensor = gate.tensor(), upTensor = up.tensor(), outputTensor = output.tensor();
  DLTensor dOutputTensor = dOutput.tensor(), dGateTensor = dGate.tensor(), dUpTensor = dUp.tensor();
  ASSERT_EQ(fk_swiglu_forward(context_, &gateTensor, &upTensor, &outputTensor), FK_OK) << fk_last_error();
  ASSERT_EQ(fk_swiglu_backward(context_, &gateTensor, &upTensor, &dOutputTensor, &dGateTensor, &dUpTensor), FK_OK);
  EXPECT_TRUE(isWithin(output(1, 2), Bounded::of(oracle::swiglu(gate(1, 2), up(1, 2)), 1e-6)));

  ASSERT_EQ(fk_swiglu_forward(context_, &gateTensor, &upTensor, &gateTensor), FK_OK) << fk_last_error();
  EXPECT_TRUE(sameBits(gate.values(), output.values()));
  gate = makeGate();
  gateTensor = gate.tensor();
  ASSERT_EQ(fk_swiglu_backward(context_, &gateTensor, &upTensor, &dOutputTensor, &gateTensor, &upTensor), FK_OK)
      << fk_last_error();
  EXPECT_TRUE(sameBits(gate.values(), dGate.values()));
  EXPECT_TRUE(sameBits(up.values(), dUp.values()));
}

TEST_F(RowOperators, SwigluGradientsAreTwoArrays) {
  StridedArray<float> gate = ones({3, 5}), up = ones({3, 5}), dOutput = ones({3, 5}), dGate({3, 5});
  DLTensor gateTensor = gate.tensor(), upTensor = up.tensor(), dOutputTensor = dOutput.tensor(),
           dGateTensor = dGate.tensor();
  EXPECT_STATUS(fk_swiglu_backward(context_, &gateTensor, &upTensor, &dOutputTensor, &dGateTensor, &dGateTensor),
                FK_ERROR_INVALID_ARGUMENT, "d_up: overlaps d_gate");
  EXPECT_STATUS(fk_swiglu_backward(context_, &gateTensor, &upTensor, &dOutputTensor, &dOutputTensor, &dOutputTensor),
                FK_ERROR_INVALID_ARGUMENT, "d_up: overlaps d_gate");
  EXPECT_STATUS(fk_swiglu_backward(context_, &gateTensor, &upTensor, &dOutputTensor, &upTensor, &dGateTensor),
                FK_ERROR_INVALID_ARGUMENT, "d_gate: overlaps up");
}

// ---- Rotary embedding

class RotaryEmbeddingEntry : public RowOperators {
 protected:
  fk_status rotate(const fk_rotary_embedding_options* options, StridedArray<float>& x, StridedArray<float>& y,
                   StridedArray<int32_t>* positions = nullptr) {
    const DLTensor xTensor = x.tensor();
    DLTensor yTensor = y.tensor(), positionsTensor;
    if (positions) positionsTensor = positions->tensor();
    return fk_rotary_embedding(context_, options, &xTensor, positions ? &positionsTensor : nullptr, &yTensor);
  }

  static fk_rotary_embedding_options defaults() {
    fk_rotary_embedding_options options;
    fk_rotary_embedding_options_init(&options);
    return options;
  }
};

TEST_F(RotaryEmbeddingEntry, DefaultsRotateAllDimsByHalves) {
  StridedArray<float> x = randomArray({1, 3, 2, 6}, 1), y({1, 3, 2, 6});
  ASSERT_EQ(rotate(nullptr, x, y), FK_OK) << fk_last_error();
  std::vector<double> expected;
  for (int64_t s = 0; s < 3; ++s)
    for (int64_t h = 0; h < 2; ++h) {
      std::vector<double> head;
      for (int64_t i = 0; i < 6; ++i) head.push_back(x(0, s, h, i));
      oracle::rotate({false, false, 6, 10000}, static_cast<double>(s), head);
      expected.insert(expected.end(), head.begin(), head.end());
    }
  EXPECT_TRUE(allWithin(y.values(), bounded(expected, [](size_t) { return 0x1p-22 * 2; })));
  ASSERT_EQ(rotate(nullptr, x, x), FK_OK) << fk_last_error();
  EXPECT_TRUE(sameBits(x.values(), y.values()));
}

TEST_F(RotaryEmbeddingEntry, OptionsReachTheKernel) {
  fk_rotary_embedding_options options = defaults();
  options.interleaved = options.inverse = 1;
  options.rotary_dims = 4;
  options.position_offset = 9;
  options.base = 100;
  StridedArray<float> x = randomArray({1, 1, 1, 6}, 1), y({1, 1, 1, 6});
  StridedArray<int32_t> positions({1});
  positions(0) = 2;
  ASSERT_EQ(rotate(&options, x, y, &positions), FK_OK) << fk_last_error();
  std::vector<double> expected = doubles(x.values());
  oracle::rotate({true, true, 4, 100}, 11, expected);
  EXPECT_TRUE(allWithin(y.values(), bounded(expected, [](size_t) { return 0x1p-22 * 2; })));
}

TEST_F(RotaryEmbeddingEntry, RefusesWhatCannotBeRotated) {
  StridedArray<float> even = ones({1, 2, 1, 6}), odd = ones({1, 2, 1, 5}), y({1, 2, 1, 6}), oddY({1, 2, 1, 5});
  EXPECT_STATUS(rotate(nullptr, odd, oddY), FK_ERROR_INVALID_ARGUMENT,
                "x: the last axis has 5 elements, needs an even number");
  fk_rotary_embedding_options options = defaults();
  for (int32_t dims : {-2, 3, 8}) {
    options.rotary_dims = dims;
    EXPECT_STATUS(rotate(&options, even, y), FK_ERROR_INVALID_ARGUMENT, "rotary_dims is " + std::to_string(dims));
  }
  options.rotary_dims = 4;
  EXPECT_EQ(rotate(&options, odd, oddY), FK_OK) << fk_last_error();
  for (float base : {0.0f, -1.0f, kNan, kInfinity}) {
    options = defaults();
    options.base = base;
    EXPECT_STATUS(rotate(&options, even, y), FK_ERROR_INVALID_ARGUMENT, "base is ");
  }
  options = defaults();
  options.interleaved = 2;
  EXPECT_STATUS(rotate(&options, even, y), FK_ERROR_INVALID_ARGUMENT, "interleaved is 2");
  options = defaults();
  options.inverse = -1;
  EXPECT_STATUS(rotate(&options, even, y), FK_ERROR_INVALID_ARGUMENT, "inverse is -1");
}

TEST_F(RotaryEmbeddingEntry, RefusesNegativePositionsByRow) {
  StridedArray<float> x = ones({1, 3, 1, 2}), y({1, 3, 1, 2});
  StridedArray<int32_t> positions({3});
  positions(0) = 4, positions(1) = 0, positions(2) = -7;
  EXPECT_STATUS(rotate(nullptr, x, y, &positions), FK_ERROR_INDEX_OUT_OF_RANGE, "positions: row 2 is -7");
  EXPECT_TRUE(std::isnan(y(0, 0, 0, 0)));  // nothing was written
}

// ---- Embedding

TEST_F(RowOperators, EmbeddingTakesBothIntegersAndLeadingAxes) {
  StridedArray<float> table = randomArray({7, 3}, 1), output({2, 2, 3}), dTable({7, 3});
  StridedArray<int32_t> ids32({2, 2}, {4, 2});
  StridedArray<int64_t> ids64({2, 2});
  int next = 0;
  const int chosen[] = {6, 0, 6, 3};
  ids32.fill([&] { return chosen[next++ % 4]; });
  ids64.fill([&] { return chosen[next++ % 4]; });
  for (DLTensor ids : {ids32.tensor(), ids64.tensor()}) {
    DLTensor tableTensor = table.tensor(), outputTensor = output.tensor(), dTableTensor = dTable.tensor();
    ASSERT_EQ(fk_embedding_gather(context_, &tableTensor, &ids, &outputTensor), FK_OK) << fk_last_error();
    EXPECT_EQ(output(1, 0, 2), table(6, 2));
    dTable.fill([] { return 0.5f; });
    ASSERT_EQ(fk_embedding_scatter_add(context_, &outputTensor, &ids, &dTableTensor), FK_OK) << fk_last_error();
    EXPECT_EQ(dTable(6, 1), 0.5f + table(6, 1) + table(6, 1));
    EXPECT_EQ(dTable(3, 1), 0.5f + table(3, 1));
    EXPECT_EQ(dTable(1, 1), 0.5f);
  }
}

TEST_F(RowOperators, EmbeddingNamesTheRowOfAForeignId) {
  StridedArray<float> table = ones({7, 3}), rows = ones({4, 3});
  StridedArray<int64_t> ids({4});
  for (int64_t foreign : {int64_t{7}, int64_t{-1}, INT64_MIN}) {
    ids.fill([] { return 0; });
    ids(2) = foreign;
    DLTensor tableTensor = table.tensor(), rowsTensor = rows.tensor(), idsTensor = ids.tensor();
    const std::string text = "ids: row 2 is " + std::to_string(foreign) + ", needs 0 or more and less than 7";
    EXPECT_STATUS(fk_embedding_gather(context_, &tableTensor, &idsTensor, &rowsTensor), FK_ERROR_INDEX_OUT_OF_RANGE, text);
    EXPECT_STATUS(fk_embedding_scatter_add(context_, &rowsTensor, &idsTensor, &tableTensor), FK_ERROR_INDEX_OUT_OF_RANGE,
                  text);
    for (float value : table.values()) EXPECT_EQ(value, 1);
  }
}

// ---- AdamW

class AdamWEntry : public RowOperators {
 protected:
  AdamWEntry() { fk_adamw_options_init(&options_); }

  fk_status step() {
    DLTensor parameter = parameter_.tensor(), first = first_.tensor(), second = second_.tensor();
    const DLTensor gradient = gradient_.tensor();
    return fk_adamw_step(context_, &options_, &parameter, &gradient, &first, &second);
  }

  void expectRefused(float fk_adamw_options::*field, std::initializer_list<float> values, const std::string& text) {
    for (float value : values) {
      fk_adamw_options_init(&options_);
      options_.*field = value;
      EXPECT_STATUS(step(), FK_ERROR_INVALID_ARGUMENT, text);
    }
  }

  StridedArray<float> parameter_ = ones({2, 3}), gradient_ = ones({2, 3}), first_ = ones({2, 3}), second_ = ones({2, 3});
  fk_adamw_options options_;
};

TEST_F(AdamWEntry, DefaultsArePyTorchs) {
  const oracle::AdamWState expected = oracle::adamW(options_, {1, 1, 1}, 1);
  EXPECT_EQ(options_.learning_rate, 1e-3f);
  EXPECT_EQ(options_.weight_decay, 1e-2f);
  ASSERT_EQ(step(), FK_OK) << fk_last_error();
  // The step is lr * 0.999... / 0.1 / sqrt(1 / 0.001): a few roundings of numbers below 1.
  for (float parameter : parameter_.values()) EXPECT_NEAR(parameter, expected.parameter, 8 * kUnitRoundoff);
}

TEST_F(AdamWEntry, RefusesOptionsOutsideTheirRanges) {
  expectRefused(&fk_adamw_options::learning_rate, {kNan, kInfinity}, "learning_rate is ");
  expectRefused(&fk_adamw_options::beta1, {-0.1f, 1, kNan}, "beta1 is ");
  expectRefused(&fk_adamw_options::beta2, {-0.1f, 1, kNan}, "beta2 is ");
  expectRefused(&fk_adamw_options::epsilon, {-1e-8f, kNan, kInfinity}, "epsilon is ");
  expectRefused(&fk_adamw_options::weight_decay, {kNan, -kInfinity}, "weight_decay is ");
  expectRefused(&fk_adamw_options::gradient_scale, {kNan, kInfinity}, "gradient_scale is ");
  fk_adamw_options_init(&options_);
  options_.step = 0;
  EXPECT_STATUS(step(), FK_ERROR_INVALID_ARGUMENT, "step is 0");
  for (const auto* array : {&parameter_, &first_, &second_})
    for (float value : array->values()) EXPECT_EQ(value, 1);
}

TEST_F(AdamWEntry, RefusesGaps) {
  parameter_ = StridedArray<float>({2, 3}, {4, 1});
  EXPECT_STATUS(step(), FK_ERROR_INVALID_ARGUMENT, "parameter: ");
}

// ---- Softmax cross-entropy

TEST_F(RowOperators, SoftmaxCrossEntropyReductionsAndLeadingAxes) {
  StridedArray<int32_t> targets({2, 2});
  targets(0, 0) = 1, targets(0, 1) = -100, targets(1, 0) = 0, targets(1, 1) = 2;
  for (fk_reduction reduction : {FK_REDUCTION_MEAN, FK_REDUCTION_SUM, FK_REDUCTION_NONE}) {
    StridedArray<float> logits = randomArray({2, 2, 3}, 4),
                        loss(reduction == FK_REDUCTION_NONE ? std::vector<int64_t>{2, 2} : std::vector<int64_t>{});
    std::vector<double> losses;
    for (int64_t n = 0; n < 4; ++n) {
      const int64_t target = targets(n / 2, n % 2);
      const std::vector<double> row = {logits(n / 2, n % 2, 0), logits(n / 2, n % 2, 1), logits(n / 2, n % 2, 2)};
      losses.push_back(target < 0 ? 0 : oracle::softmaxCrossEntropy(row, target).loss);
    }
    const double sum = losses[0] + losses[2] + losses[3];
    if (reduction != FK_REDUCTION_NONE) losses = {reduction == FK_REDUCTION_MEAN ? sum / 3 : sum};
    fk_softmax_cross_entropy_options options;
    fk_softmax_cross_entropy_options_init(&options);
    options.reduction = reduction;
    DLTensor logitsTensor = logits.tensor(), targetsTensor = targets.tensor(), lossTensor = loss.tensor();
    ASSERT_EQ(fk_softmax_cross_entropy(context_, &options, &logitsTensor, &targetsTensor, &lossTensor), FK_OK)
        << fk_last_error();
    // An exponential of a logit within 2 of the maximum is off by at most 2.25 ulp, and so is the sum, and so is its log.
    EXPECT_TRUE(allWithin(loss.values(), bounded(losses, [](size_t) { return 3 * 2.25 * 2 * kUnitRoundoff; })));
  }
}

TEST_F(RowOperators, SoftmaxCrossEntropyNamesTheRowOfAForeignTarget) {
  StridedArray<float> logits = ones({3, 4}), loss({1});
  StridedArray<int64_t> targets({3});
  targets.fill([] { return -100; });
  targets(1) = 4;
  DLTensor logitsTensor = logits.tensor(), targetsTensor = targets.tensor(), lossTensor = loss.tensor();
  EXPECT_STATUS(fk_softmax_cross_entropy(context_, nullptr, &logitsTensor, &targetsTensor, &lossTensor),
                FK_ERROR_INDEX_OUT_OF_RANGE,
                "targets: row 1 is 4, needs 0 or more and less than 4, or the ignored index -100");
  targets(1) = -1;
  fk_softmax_cross_entropy_options options;
  fk_softmax_cross_entropy_options_init(&options);
  options.has_ignore_index = 0;
  EXPECT_STATUS(fk_softmax_cross_entropy(context_, &options, &logitsTensor, &targetsTensor, &lossTensor),
                FK_ERROR_INDEX_OUT_OF_RANGE, "targets: row 0 is -100");
  for (float value : logits.values()) EXPECT_EQ(value, 1);
}

}  // namespace
}  // namespace fk::test
