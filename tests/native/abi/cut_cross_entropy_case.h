// What a test of cut cross-entropy asks for: sizes, layouts, types, options, which optional arrays are there; and how all
// of that is drawn at random.
#pragma once

#include <cmath>
#include <string>

#include "abi/calls.h"

namespace fk::test {

struct CutCrossEntropyCase {
  CutCrossEntropyCase() { fk_cut_cross_entropy_options_init(&options); }
  CutCrossEntropyCase(int64_t rows, int64_t classes, int64_t dim, fk_reduction reduction = FK_REDUCTION_MEAN)
      : CutCrossEntropyCase() {
    length = rows;
    this->classes = classes;
    this->dim = dim;
    options.reduction = reduction;
  }

  int64_t rows() const { return sequences * length; }
  bool perRow() const { return options.reduction == FK_REDUCTION_NONE; }
  bool shaped() const { return options.loss_shape != FK_LOSS_SHAPE_CROSS_ENTROPY; }
  bool filtered() const { return options.filter_d_embeddings != 0 || options.filter_d_classifier != 0; }

  int64_t sequences = 1, length = 0, classes = 0, dim = 0;
  bool nested = false;  // [sequences, length, ...] instead of [rows, ...]
  fk_cut_cross_entropy_options options;
  Storage embeddings = Storage::kFloat32, classifier = Storage::kFloat32;
  MatrixLayout rowsLayout, classesLayout;  // of the matrices of rows, and of those of classes
  int64_t vectorStride = 1;
  bool targets64 = false, topTokens64 = false;

  bool bias = false, classWeights = false, rowWeights = false, targetProbabilities = false;
  bool gradLoss = false, gradLogSumExp = false, gradEntropy = false;
  bool targetLogProbability = false, entropy = false, accuracy = false;
  int64_t topCount = 0;
  bool dEmbeddings = true, dClassifier = true, dBias = false, dLogitScale = false;

  double range = 1;       // of embeddings, classifier and bias
  bool integers = false;  // few small integers instead: logits are exact in any order, and many are equal
  double ignoredShare = 0.2;
  double negativeWeights = 0;  // their share among the row weights
};

inline std::string describe(const CutCrossEntropyCase& c) {
  const fk_cut_cross_entropy_options& o = c.options;
  const auto text = [](const char* name, auto value) { return std::string(", ") + name + " " + std::to_string(value); };
  const auto flag = [](const char* name, bool value) { return value ? std::string(", ") + name : std::string(); };
  return std::to_string(c.sequences) + " x " + std::to_string(c.length) + " rows" + flag("nested", c.nested) +
         text("classes", c.classes) + text("dim", c.dim) + ", " + nameOf(c.embeddings) + " x " + nameOf(c.classifier) +
         ", rows " + describe(c.rowsLayout) + ", classes " + describe(c.classesLayout) + text("stride", c.vectorStride) +
         flag("int64", c.targets64) + text("range", c.range) + flag("integers", c.integers) +
         text("reduction", o.reduction) + text("shift", o.shift) +
         (o.has_ignore_index ? text("ignore index", o.ignore_index) : "") + text("logit scale", o.logit_scale) +
         text("softcap", o.softcap) + text("smoothing", o.label_smoothing) + text("z-loss", o.z_loss) +
         text("shape", o.loss_shape) + text("of", o.loss_shape_parameter) + flag("bias", c.bias) +
         flag("class weights", c.classWeights) + flag("row weights", c.rowWeights) +
         flag("probabilities", c.targetProbabilities) + flag("grad_loss", c.gradLoss) +
         flag("grad_log_sum_exp", c.gradLogSumExp) + flag("grad_entropy", c.gradEntropy) + flag("entropy", c.entropy) +
         text("top", c.topCount) + flag("accuracy", c.accuracy) + flag("dE", c.dEmbeddings) + flag("dC", c.dClassifier) +
         flag("dBias", c.dBias) + flag("dLogitScale", c.dLogitScale);
}

// Mostly small sizes, with the tile's 252 and 504 classes and their neighbours among them.
inline void drawSizes(CutCrossEntropyCase& c, Random& random) {
  const auto extent = [&](double largest) {
    return static_cast<int64_t>(std::exp2(random.uniform(0, std::log2(largest + 1))));
  };
  c.nested = random.chance(0.3);
  c.sequences = c.nested ? random.between(1, 4) : 1;
  c.length = random.chance(0.03) ? 0 : extent(80.0 / static_cast<double>(c.sequences));
  c.classes = random.chance(0.1) ? random.pick<int64_t>({251, 252, 253, 503, 504, 505, 600}) : extent(300);
  c.dim = random.chance(0.03) ? 0 : random.chance(0.02) ? random.between(500, 530) : extent(70);
  if (random.chance(0.01)) c.length = random.between(500, 1100) / c.sequences, c.classes = extent(60);        // row blocks
  if (random.chance(0.01)) c.classes = random.between(2000, 20000), c.length = extent(4), c.dim = extent(9);  // chunks
}

inline void drawLayout(CutCrossEntropyCase& c, Random& random) {
  const auto layout = [&]() -> MatrixLayout {
    return {.gap = random.chance(0.4) ? random.between(1, 9) : 0, .reversed = random.chance(0.2)};
  };
  const auto storage = [&] {
    return random.chance(0.5) ? Storage::kFloat32 : random.pick({Storage::kBFloat16, Storage::kFloat16});
  };
  c.rowsLayout = layout();
  c.classesLayout = layout();
  c.vectorStride = random.pick<int64_t>({1, 1, 1, 2, -1, 5});
  c.embeddings = storage();
  c.classifier = random.chance(0.7) ? c.embeddings : storage();
  c.targets64 = random.chance(0.5);
  c.topTokens64 = random.chance(0.5);
}

inline void drawLossShape(CutCrossEntropyCase& c, Random& random) {
  fk_cut_cross_entropy_options& o = c.options;
  o.loss_shape = static_cast<int32_t>(random.between(FK_LOSS_SHAPE_FOCAL, FK_LOSS_SHAPE_TOKEN_SCALED));
  if (o.loss_shape == FK_LOSS_SHAPE_FOCAL) o.loss_shape_parameter = random.pick({0.0f, 0.5f, 1.0f, 2.0f, 5.0f});
  if (o.loss_shape == FK_LOSS_SHAPE_POLY1) o.loss_shape_parameter = random.pick({-1.0f, -0.5f, 0.0f, 1.0f, 3.0f});
  if (o.loss_shape == FK_LOSS_SHAPE_GENERALISED)
    o.loss_shape_parameter = random.pick({-1.0f, -0.3f, 0.0f, 1e-3f, 0.7f, 1.0f});
}

// Every option is on with this probability, so that low ones give cases with one option alone and high ones combinations.
inline void drawOptions(CutCrossEntropyCase& c, Random& random, double share) {
  fk_cut_cross_entropy_options& o = c.options;
  o.reduction = static_cast<int32_t>(random.between(FK_REDUCTION_MEAN, FK_REDUCTION_NONE));
  o.has_ignore_index = random.chance(0.9);
  o.ignore_index = random.chance(0.2) ? random.between(0, c.classes) : -100;
  c.ignoredShare = o.has_ignore_index ? random.pick({0.0, 0.1, 0.5, 1.0}) : 0;
  if (random.chance(share)) o.shift = random.pick<int64_t>({1, 2, c.length, c.length + 3});
  if (random.chance(share)) o.logit_scale = random.pick({0.5f, 2.0f, -1.3f, 0.07f});
  if (random.chance(share)) o.softcap = random.pick({0.5f, 1.0f, 5.0f, 30.0f});
  if (random.chance(share)) o.z_loss = random.pick({1e-4f, 0.3f});
  if (random.chance(share)) c.targetProbabilities = random.chance(0.5);
  if (random.chance(share)) o.label_smoothing = random.pick({0.1f, 1.0f});
  if (random.chance(share) && !c.targetProbabilities && o.label_smoothing == 0) drawLossShape(c, random);
  for (bool* present : {&c.bias, &c.classWeights, &c.rowWeights, &c.gradLoss, &c.gradLogSumExp, &c.gradEntropy,
                        &c.targetLogProbability, &c.entropy, &c.accuracy, &c.dBias, &c.dLogitScale})
    *present = random.chance(share);
  if (random.chance(share)) c.topCount = random.pick<int64_t>({1, 1, 2, 5, 32});
  c.dBias &= c.bias;
  if (c.targetProbabilities) c.targetLogProbability = c.accuracy = false, o.shift = 0;
  if (o.reduction != FK_REDUCTION_MEAN && random.chance(0.2)) c.negativeWeights = 0.3;
  const bool both = random.chance(0.7);
  c.dEmbeddings = both || random.chance(0.5);
  c.dClassifier = both || !c.dEmbeddings;
  c.range = random.pick({0.1, 1.0, 3.0});
  c.integers = random.chance(0.15);
}

inline CutCrossEntropyCase drawCase(Random& random) {
  CutCrossEntropyCase c;
  drawSizes(c, random);
  drawLayout(c, random);
  drawOptions(c, random, random.pick({0.0, 0.1, 0.3, 0.6}));
  return c;
}

}  // namespace fk::test
