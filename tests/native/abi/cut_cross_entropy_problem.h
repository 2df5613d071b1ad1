// A cut cross-entropy problem behind the C ABI: its arrays, its oracle, the calls, and what their results have to be.
#pragma once

#include "abi/cut_cross_entropy_case.h"
#include "oracles/cut_cross_entropy.h"
#include "tolerance.h"

namespace fk::test {

using CutCrossEntropyTensors = CallTensors<fk_cut_cross_entropy_tensors, fk_cut_cross_entropy_tensors_init>;

// What the library writes. Fresh ones hold canaries, so an element that is not written shows as NaN.
struct CutCrossEntropyOutputs {
  StridedArray<float> loss, logSumExp, targetLogProbability, entropy, topLogProbabilities, accuracy;
  StridedArray<float> dEmbeddings, dClassifier, dBias, dLogitScale, droppedProbability;
  IndexArray topTokens;
  fk_filter_report report;

  std::vector<const StridedArray<float>*> floats() const {
    return {
        &loss,        &logSumExp, &targetLogProbability, &entropy,           &topLogProbabilities, &accuracy, &dEmbeddings,
        &dClassifier, &dBias,     &dLogitScale,          &droppedProbability};
  }
  bool canariesIntact() const {
    const auto all = floats();
    return topTokens.canariesIntact() &&
           std::all_of(all.begin(), all.end(), [](const auto* array) { return array->canariesIntact(); });
  }
  // Absent outputs are canaries in each.
  bool sameBitsAs(const CutCrossEntropyOutputs& other) const {
    const auto mine = floats(), others = other.floats();
    for (size_t i = 0; i < mine.size(); ++i)
      if (!sameBits(mine[i]->values(), others[i]->values())) return false;
    return topTokens.values() == other.topTokens.values();
  }
};

class CutCrossEntropyProblem {
 public:
  using Expected = oracle::CutCrossEntropyResult<Bounded>;
  using Outputs = CutCrossEntropyOutputs;

  CutCrossEntropyProblem(const CutCrossEntropyCase& c, Random random)
      : shape(c),
        embeddings(floatArray(c.embeddings, rowsShape(c.dim), rowsStrides(c.dim))),
        classifier(floatArray(c.classifier, {c.classes, c.dim}, matrixStrides(c.dim, c.classesLayout))),
        targets(indices(c.targets64, rowShape(), rowStrides())),
        targetProbabilities(rowsShape(c.classes), rowsStrides(c.classes)),
        bias({c.classes}, {c.vectorStride}),
        classWeights({c.classes}, {c.vectorStride}),
        rowWeights(rowShape(), rowStrides()),
        gradLoss(lossArray()),
        gradLogSumExp(rowShape(), rowStrides()),
        gradEntropy(rowShape(), rowStrides()) {
    const auto element = [&] {
      return c.integers ? static_cast<double>(random.between(-2, 2)) : random.uniform(-c.range, c.range);
    };
    embeddings.fill(element);
    classifier.fill(element);
    bias.fill(element);
    targets.fill([&]() -> int64_t {
      if (c.options.has_ignore_index && (c.classes == 0 || random.chance(c.ignoredShare))) return c.options.ignore_index;
      return random.between(0, c.classes - 1);
    });
    targetProbabilities.fill([&] { return random.chance(0.3) ? random.uniform(0, 1) : 0; });
    classWeights.fill([&] { return random.chance(0.1) ? 0 : random.uniform(0.1, 2); });
    rowWeights.fill(
        [&] { return random.chance(0.1) ? 0 : random.uniform(0.1, 2) * (random.chance(c.negativeWeights) ? -1 : 1); });
    for (StridedArray<float>* upstream : {&gradLoss, &gradLogSumExp, &gradEntropy})
      upstream->fill([&] { return random.uniform(-2, 2); });
  }

  oracle::CutCrossEntropy oracleProblem() const {
    const fk_cut_cross_entropy_options& o = shape.options;
    const auto present = [](bool wanted, const auto& array) {
      const auto values = array.values();
      return wanted ? std::vector<double>(values.begin(), values.end()) : std::vector<double>();
    };
    oracle::CutCrossEntropy problem;
    problem.embeddings = {shape.rows(), shape.dim, embeddings.values()};
    problem.classifier = {shape.classes, shape.dim, classifier.values()};
    problem.targets = targets.values();
    if (shape.targetProbabilities)
      problem.targetProbabilities = oracle::Dense<double>(shape.rows(), shape.classes, targetProbabilities.values());
    problem.bias = present(shape.bias, bias);
    problem.classWeights = present(shape.classWeights, classWeights);
    problem.rowWeights = present(shape.rowWeights, rowWeights);
    if (o.has_ignore_index) problem.ignoreIndex = o.ignore_index;
    problem.shift = o.shift;
    problem.sequenceLength = shape.nested ? shape.length : 0;
    problem.reduction = static_cast<fk_reduction>(o.reduction);
    problem.logitScale = o.logit_scale;
    problem.softcap = o.softcap;
    problem.labelSmoothing = o.label_smoothing;
    problem.zLoss = o.z_loss;
    problem.lossShape = {static_cast<fk_loss_shape>(o.loss_shape), o.loss_shape_parameter};
    problem.gradLoss = present(shape.gradLoss, gradLoss);
    if (!shape.gradLoss) problem.gradLoss.assign(static_cast<size_t>(gradLoss.size()), 1);
    problem.gradLogSumExp = present(shape.gradLogSumExp, gradLogSumExp);
    problem.gradEntropy = present(shape.gradEntropy, gradEntropy);
    return problem;
  }
  Expected expected() const { return oracle::cutCrossEntropy<Bounded>(oracleProblem()); }

  Outputs outputs() const {
    Outputs out;
    out.loss = lossArray();
    for (StridedArray<float>* perRow : {&out.logSumExp, &out.targetLogProbability, &out.entropy, &out.droppedProbability})
      *perRow = StridedArray<float>(rowShape(), rowStrides());
    out.topTokens = indices(shape.topTokens64, rowsShape(shape.topCount), rowsStrides(shape.topCount));
    out.topLogProbabilities = StridedArray<float>(rowsShape(shape.topCount), rowsStrides(shape.topCount));
    out.accuracy = out.dLogitScale = StridedArray<float>(std::vector<int64_t>{});
    out.dEmbeddings = StridedArray<float>(rowsShape(shape.dim), rowsStrides(shape.dim));
    out.dClassifier = StridedArray<float>({shape.classes, shape.dim}, matrixStrides(shape.dim, shape.classesLayout));
    out.dBias = StridedArray<float>({shape.classes}, {shape.vectorStride});
    fk_filter_report_init(&out.report);
    return out;
  }

  // The struct with the inputs alone.
  CutCrossEntropyTensors inputs() {
    CutCrossEntropyTensors t;
    t.value.embeddings = t.keep(embeddings);
    t.value.classifier = t.keep(classifier);
    t.value.targets = t.keep(targets, !shape.targetProbabilities);
    t.value.target_probabilities = t.keep(targetProbabilities, shape.targetProbabilities);
    t.value.bias = t.keep(bias, shape.bias);
    t.value.class_weights = t.keep(classWeights, shape.classWeights);
    t.value.row_weights = t.keep(rowWeights, shape.rowWeights);
    return t;
  }

  // What backward needs is written whether the case wants it or not.
  void addForwardOutputs(CutCrossEntropyTensors& t, Outputs& out) const {
    t.value.loss = t.keep(out.loss);
    t.value.log_sum_exp = t.keep(out.logSumExp);
    t.value.target_log_probability = t.keep(out.targetLogProbability, shape.targetLogProbability || shape.shaped());
    t.value.entropy = t.keep(out.entropy, shape.entropy || shape.gradEntropy);
    t.value.top_tokens = t.keep(out.topTokens, shape.topCount > 0);
    t.value.top_log_probabilities = t.keep(out.topLogProbabilities, shape.topCount > 0);
    t.value.accuracy = t.keep(out.accuracy, shape.accuracy);
  }

  void addGradients(CutCrossEntropyTensors& t, Outputs& out) {
    t.value.grad_loss = t.keep(gradLoss, shape.gradLoss);
    t.value.grad_log_sum_exp = t.keep(gradLogSumExp, shape.gradLogSumExp);
    t.value.grad_entropy = t.keep(gradEntropy, shape.gradEntropy);
    t.value.d_embeddings = t.keep(out.dEmbeddings, shape.dEmbeddings);
    t.value.d_classifier = t.keep(out.dClassifier, shape.dClassifier);
    t.value.d_bias = t.keep(out.dBias, shape.dBias);
    t.value.d_logit_scale = t.keep(out.dLogitScale, shape.dLogitScale);
    if (shape.filtered()) {
      t.value.filter_report = &out.report;
      t.value.dropped_probability = t.keep(out.droppedProbability);
    }
  }

  Outputs forward(fk_context* context) {
    Outputs out = outputs();
    CutCrossEntropyTensors t = inputs();
    addForwardOutputs(t, out);
    EXPECT_EQ(fk_cut_cross_entropy_forward(context, &shape.options, &t.value), FK_OK) << fk_last_error();
    EXPECT_TRUE(out.canariesIntact()) << "forward wrote outside its outputs";
    return out;
  }

  // Continues what forward left.
  void backward(fk_context* context, Outputs& out) {
    CutCrossEntropyTensors t = inputs();
    t.value.log_sum_exp = t.keep(out.logSumExp);
    t.value.target_log_probability = t.keep(out.targetLogProbability, shape.shaped());
    t.value.entropy = t.keep(out.entropy, shape.gradEntropy);
    addGradients(t, out);
    EXPECT_EQ(fk_cut_cross_entropy_backward(context, &shape.options, &t.value), FK_OK) << fk_last_error();
    EXPECT_TRUE(out.canariesIntact()) << "backward wrote outside its outputs";
  }

  Outputs forwardAndBackward(fk_context* context) {
    Outputs out = forward(context);
    backward(context, out);
    return out;
  }

  Outputs lossAndGradient(fk_context* context, fk_schedule schedule) {
    Outputs out = outputs();
    CutCrossEntropyTensors t = inputs();
    addForwardOutputs(t, out);
    addGradients(t, out);
    fk_cut_cross_entropy_options options = shape.options;
    options.schedule = schedule;
    EXPECT_EQ(fk_cut_cross_entropy_loss_and_gradient(context, &options, &t.value), FK_OK) << fk_last_error();
    EXPECT_TRUE(out.canariesIntact()) << "loss_and_gradient wrote outside its outputs";
    return out;
  }

  std::vector<int64_t> rowShape() const {
    return shape.nested ? std::vector<int64_t>{shape.sequences, shape.length} : std::vector<int64_t>{shape.rows()};
  }
  std::vector<int64_t> rowStrides() const { return rowStrides(shape.vectorStride); }

  CutCrossEntropyCase shape;
  FloatArray embeddings, classifier;
  IndexArray targets;
  StridedArray<float> targetProbabilities, bias, classWeights, rowWeights, gradLoss, gradLogSumExp, gradEntropy;

 private:
  // Flattened rows lie one stride apart.
  std::vector<int64_t> rowStrides(int64_t stride) const {
    return shape.nested ? std::vector<int64_t>{shape.length * stride, stride} : std::vector<int64_t>{stride};
  }
  std::vector<int64_t> rowsShape(int64_t columns) const {
    std::vector<int64_t> result = rowShape();
    result.push_back(columns);
    return result;
  }
  std::vector<int64_t> rowsStrides(int64_t columns) const {
    std::vector<int64_t> result = rowStrides(matrixStrides(columns, shape.rowsLayout)[0]);
    result.push_back(1);
    return result;
  }
  static std::vector<int64_t> matrixStrides(int64_t columns, const MatrixLayout& layout) {
    const int64_t stride = std::max<int64_t>(columns, 1) + layout.gap;
    return {layout.reversed ? -stride : stride, 1};
  }
  StridedArray<float> lossArray() const {
    return shape.perRow() ? StridedArray<float>(rowShape(), rowStrides()) : StridedArray<float>({1});
  }
  static IndexArray indices(bool is64, const std::vector<int64_t>& extents, const std::vector<int64_t>& strides) {
    if (is64) return StridedArray<int64_t>(extents, strides);
    return StridedArray<int32_t>(extents, strides);
  }
};

}  // namespace fk::test
