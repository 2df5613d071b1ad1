// Gradient filtering on a confident model, where micro-tiles really are left out: what it reports has to bound what it does.
#include "abi/cut_cross_entropy_expectations.h"

namespace fk::test {
namespace {

using Problem = CutCrossEntropyProblem;
using Outputs = CutCrossEntropyOutputs;
using Case = CutCrossEntropyCase;

constexpr int64_t kRows = 150, kClasses = 777, kDim = 12;

// Rows that lie near the classifier row of their target, all but the first fifth so near that the model is sure. Targets are
// few and far apart, as frequent tokens are: ordering the vocabulary moves them together.
Problem peakedProblem(const Case& c) {
  Problem problem(c, Random(1));
  Random random(2);
  std::vector<double> directions(static_cast<size_t>(kClasses * kDim));
  for (double& value : directions) value = random.uniform(-1, 1);
  for (int64_t v = 0; v < kClasses; ++v) directions[static_cast<size_t>(v * kDim)] = v % 31 == 0 ? 1 : -1;
  size_t element = 0;
  problem.classifier.fill([&] { return directions[element++]; });
  std::vector<int64_t> targets;
  for (int64_t n = 0; n < c.rows(); ++n) targets.push_back(n % 13 == 12 ? -100 : random.between(0, kClasses / 31) * 31);
  element = 0;
  problem.targets.fill([&] { return targets[element++]; });
  element = 0;
  problem.embeddings.fill([&] {
    const auto row = static_cast<int64_t>(element) / kDim, d = static_cast<int64_t>(element) % kDim;
    ++element;
    const int64_t target = std::max<int64_t>(targets[static_cast<size_t>(row)], 0);
    const double sureness = row < c.rows() / 5 ? 0.5 : 3;
    return sureness * directions[static_cast<size_t>(target * kDim + d)] + (d == 0 ? 1 : 0);
  });
  return problem;
}

Case peakedCase(float filterEmbeddings, float filterClassifier) {
  Case c(kRows, kClasses, kDim, FK_REDUCTION_NONE);
  c.gradLoss = c.rowWeights = c.bias = c.dBias = true;
  c.options.filter_d_embeddings = filterEmbeddings;
  c.options.filter_d_classifier = filterClassifier;
  c.range = 0.1;
  return c;
}

enum class Way { kBackward, kRecompute, kFused };

Outputs gradientsOf(Problem& problem, Isa isa, Way way, int threads = 2) {
  fk_context* context = contextFor(isa, threads);
  if (way == Way::kBackward) return problem.forwardAndBackward(context);
  return problem.lossAndGradient(context, way == Way::kFused ? FK_SCHEDULE_FUSED : FK_SCHEDULE_RECOMPUTE);
}

template <class Check>
void forEveryWay(const Check& check) {
  for (Isa isa : supportedIsas())
    for (Way way : {Way::kBackward, Way::kRecompute, Way::kFused}) {
      SCOPED_TRACE(std::string(isaName(isa)) + ", way " + std::to_string(static_cast<int>(way)));
      check(isa, way);
    }
}

double frobenius(const std::vector<double>& values) {
  return std::sqrt(std::inner_product(values.begin(), values.end(), values.begin(), 0.0));
}

double distance(const StridedArray<float>& a, const StridedArray<float>& b) {
  const std::vector<float> left = a.values(), right = b.values();
  std::vector<double> difference;
  for (size_t i = 0; i < left.size(); ++i) difference.push_back(double{left[i]} - right[i]);
  return frobenius(difference);
}

double norm(const StridedArray<float>& a) {
  const std::vector<float> values = a.values();
  return frobenius({values.begin(), values.end()});
}

double longestRow(const oracle::Dense<double>& matrix) {
  double longest = 0;
  for (int64_t i = 0; i < matrix.rows; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < matrix.columns; ++j) sum += matrix(i, j) * matrix(i, j);
    longest = std::max(longest, std::sqrt(sum));
  }
  return longest;
}

// What is left out is a rounding error away from the difference of two results in float32.
constexpr double kRounding = 1e-6;

// The error.
double expectBounded(const char* name, const StridedArray<float>& filtered, const StridedArray<float>& exact,
                     double reported, int64_t tiles, int64_t skipped) {
  SCOPED_TRACE(name);
  EXPECT_LE(skipped, tiles);
  const double error = distance(filtered, exact);
  EXPECT_TRUE(reported > 0 || error == 0);
  EXPECT_LE(error, reported + kRounding * norm(exact));
  return error;
}

void expectSomeSkipped(int64_t tiles, int64_t skipped) {
  EXPECT_GT(skipped, 0);
  EXPECT_LT(skipped, tiles);
}

// What a row loses is at most what may lie below its threshold, and the report follows from it. Returns the largest.
double expectDroppedProbability(const Problem& problem, const Outputs& out, const CutCrossEntropyExpectations& expected) {
  const oracle::CutCrossEntropy& definition = expected.problem();
  const std::vector<float> droppedOfRows = out.droppedProbability.values();
  const double epsilon = problem.shape.options.filter_d_embeddings;
  double largest = 0, total = 0;
  for (int64_t n = 0; n < definition.rows(); ++n) {
    const double g = std::abs(definition.logitScale * definition.upstream(n) * oracle::rowScale<double>(definition, n));
    double mayBeDropped = 0;
    for (int64_t v = 0; v < definition.classes() && g > 0 && !definition.ignored(n); ++v) {
      const Bounded& dScore = expected.oracle().dScores(n, v);
      const double size = std::abs(dScore.value), error = dScore.error() + kRounding * size;
      if (size - error < epsilon * g * (1 + kRounding)) mayBeDropped += (size + error) / g;
    }
    const double dropped = droppedOfRows[static_cast<size_t>(n)];
    EXPECT_GE(dropped, 0) << "row " << n;
    EXPECT_LE(dropped, mayBeDropped * (1 + 1e-4)) << "row " << n;  // a sum of floats
    largest = std::max(largest, dropped);
    total += g * dropped;
  }
  EXPECT_NEAR(out.report.max_dropped_probability, largest, 1e-6 * largest);
  const double bound = total * longestRow(definition.classifier);
  EXPECT_NEAR(out.report.d_embeddings_error, bound, 1e-4 * bound);
  return largest;
}

TEST(CutCrossEntropyFilter, TheErrorIsBelowItsReportedBound) {
  for (fk_reduction reduction : {FK_REDUCTION_MEAN, FK_REDUCTION_SUM, FK_REDUCTION_NONE})
    for (int32_t ordered : {0, 1})
      for (float epsilon : {FK_DEFAULT_FILTER_EPSILON, 0.02f}) {
        Case c = peakedCase(epsilon, epsilon);
        c.options.reduction = reduction;
        c.options.order_vocabulary = ordered;
        Case plain = c;
        plain.options.filter_d_embeddings = plain.options.filter_d_classifier = 0;
        Problem problem = peakedProblem(c), exactProblem = peakedProblem(plain);
        const CutCrossEntropyExpectations expectations(problem);
        SCOPED_TRACE("epsilon " + std::to_string(epsilon) + ", ordered " + std::to_string(ordered) + ", reduction " +
                     std::to_string(reduction));
        forEveryWay([&](Isa isa, Way way) {
          const Outputs out = gradientsOf(problem, isa, way), exact = gradientsOf(exactProblem, isa, way);
          const fk_filter_report& r = out.report;
          EXPECT_GT(expectBounded("d_embeddings", out.dEmbeddings, exact.dEmbeddings, r.d_embeddings_error,
                                  r.d_embeddings_tiles, r.d_embeddings_tiles_skipped),
                    0);
          EXPECT_GT(expectBounded("d_classifier", out.dClassifier, exact.dClassifier, r.d_classifier_error,
                                  r.d_classifier_tiles, r.d_classifier_tiles_skipped),
                    0);
          expectSomeSkipped(r.d_embeddings_tiles, r.d_embeddings_tiles_skipped);
          expectSomeSkipped(r.d_classifier_tiles, r.d_classifier_tiles_skipped);
          EXPECT_GT(expectDroppedProbability(problem, out, expectations), 0);
          EXPECT_TRUE(sameBits(out.dBias.values(), exact.dBias.values())) << "d_bias is never filtered";
          EXPECT_TRUE(sameBits(out.loss.values(), exact.loss.values()));
        });
      }
}

// Rows are listed a depth block, 512 rows, at a time.
TEST(CutCrossEntropyFilter, TheErrorIsBelowItsReportedBoundBehindADepthBlock) {
  Case c = peakedCase(FK_DEFAULT_FILTER_EPSILON, FK_DEFAULT_FILTER_EPSILON), plain = peakedCase(0, 0);
  c.length = plain.length = 700;
  Problem problem = peakedProblem(c), exactProblem = peakedProblem(plain);
  forEveryWay([&](Isa isa, Way way) {
    const Outputs out = gradientsOf(problem, isa, way), exact = gradientsOf(exactProblem, isa, way);
    const fk_filter_report& r = out.report;
    expectBounded("d_embeddings", out.dEmbeddings, exact.dEmbeddings, r.d_embeddings_error, r.d_embeddings_tiles,
                  r.d_embeddings_tiles_skipped);
    expectBounded("d_classifier", out.dClassifier, exact.dClassifier, r.d_classifier_error, r.d_classifier_tiles,
                  r.d_classifier_tiles_skipped);
    expectSomeSkipped(r.d_classifier_tiles, r.d_classifier_tiles_skipped);
  });
}

// With any other option, on data that is not made for it.
TEST(CutCrossEntropyFilter, TheErrorIsBelowItsReportedBoundAtRandom) {
  const std::vector<Isa> isas = supportedIsas();
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    Case c = drawCase(random);
    c.options.filter_d_embeddings = random.pick({0.0f, FK_DEFAULT_FILTER_EPSILON, 0.02f, 0.3f});
    c.options.filter_d_classifier = random.pick({0.0f, FK_DEFAULT_FILTER_EPSILON, 0.02f, 0.3f});
    c.options.order_vocabulary = random.chance(0.5);
    Case plain = c;
    plain.options.filter_d_embeddings = plain.options.filter_d_classifier = 0;
    const Isa isa = isas[seed % isas.size()];
    const Way way = random.pick({Way::kBackward, Way::kRecompute, Way::kFused});
    SCOPED_TRACE("seed " + std::to_string(seed) + ", " + isaName(isa) + ": " + describe(c));
    Problem problem(c, random), exactProblem(plain, random);
    const CutCrossEntropyExpectations expectations(problem);
    if (!c.filtered() || !expectations.finiteInFloat()) continue;
    const Outputs out = gradientsOf(problem, isa, way), exact = gradientsOf(exactProblem, isa, way);
    const fk_filter_report& r = out.report;
    if (c.dEmbeddings)
      expectBounded("d_embeddings", out.dEmbeddings, exact.dEmbeddings, r.d_embeddings_error, r.d_embeddings_tiles,
                    r.d_embeddings_tiles_skipped);
    if (c.dClassifier)
      expectBounded("d_classifier", out.dClassifier, exact.dClassifier, r.d_classifier_error, r.d_classifier_tiles,
                    r.d_classifier_tiles_skipped);
    if (c.dEmbeddings) expectDroppedProbability(problem, out, expectations);
    EXPECT_TRUE(sameBits(out.dBias.values(), exact.dBias.values())) << "d_bias is never filtered";
    if (HasFailure()) return;
  }
}

TEST(CutCrossEntropyFilter, OfOneGradientLeavesTheOtherAsItIs) {
  for (int32_t ordered : {0, 1})
    for (bool embeddings : {true, false}) {
      Case c = embeddings ? peakedCase(FK_DEFAULT_FILTER_EPSILON, 0) : peakedCase(0, FK_DEFAULT_FILTER_EPSILON);
      c.options.order_vocabulary = ordered;
      Case plain = peakedCase(0, 0);
      plain.options.order_vocabulary = ordered;
      Problem problem = peakedProblem(c), exactProblem = peakedProblem(plain);
      forEveryWay([&](Isa isa, Way way) {
        const Outputs out = gradientsOf(problem, isa, way), exact = gradientsOf(exactProblem, isa, way);
        const fk_filter_report& r = out.report;
        EXPECT_EQ(sameBits(out.dEmbeddings.values(), exact.dEmbeddings.values()), !embeddings);
        EXPECT_EQ(sameBits(out.dClassifier.values(), exact.dClassifier.values()), embeddings);
        EXPECT_TRUE(sameBits(out.dBias.values(), exact.dBias.values()));
        EXPECT_EQ(r.d_embeddings_tiles_skipped > 0, embeddings);
        EXPECT_EQ(r.d_classifier_tiles_skipped > 0, !embeddings);
        EXPECT_EQ(r.d_embeddings_error > 0, embeddings);
        EXPECT_EQ(r.d_classifier_error > 0, !embeddings);
        EXPECT_EQ(r.max_dropped_probability > 0, embeddings);
      });
    }
}

// A report may be asked for without a filter: it says that nothing was left out, and changes nothing.
TEST(CutCrossEntropyFilter, OffIsExactWithAReportToo) {
  Problem problem = peakedProblem(peakedCase(0, 0));
  const CutCrossEntropyExpectations expectations(problem);
  for (Isa isa : supportedIsas()) {
    const Outputs exact = gradientsOf(problem, isa, Way::kBackward);
    expectations.expectEverything(exact);
    Outputs out = problem.forward(contextFor(isa, 2));
    CutCrossEntropyTensors t = problem.inputs();
    t.value.log_sum_exp = t.keep(out.logSumExp);
    problem.addGradients(t, out);
    t.value.filter_report = &out.report;
    t.value.dropped_probability = t.keep(out.droppedProbability);
    ASSERT_EQ(fk_cut_cross_entropy_backward(contextFor(isa, 2), &problem.shape.options, &t.value), FK_OK) << fk_last_error();
    EXPECT_TRUE(sameBits(out.dEmbeddings.values(), exact.dEmbeddings.values()));
    EXPECT_TRUE(sameBits(out.dClassifier.values(), exact.dClassifier.values()));
    EXPECT_EQ(out.report.d_embeddings_tiles_skipped + out.report.d_classifier_tiles_skipped, 0);
    EXPECT_EQ(out.report.d_embeddings_error + out.report.d_classifier_error + out.report.max_dropped_probability, 0);
    for (float dropped : out.droppedProbability.values()) EXPECT_EQ(dropped, 0);
  }
}

TEST(CutCrossEntropyFilter, OrderingTheVocabularyLeavesOutMoreOfTheClassifier) {
  Case c = peakedCase(0, FK_DEFAULT_FILTER_EPSILON), ordered = c;
  ordered.options.order_vocabulary = 1;
  Problem problem = peakedProblem(c), orderedProblem = peakedProblem(ordered);
  for (Isa isa : supportedIsas()) {
    const fk_filter_report before = gradientsOf(problem, isa, Way::kBackward).report;
    const fk_filter_report after = gradientsOf(orderedProblem, isa, Way::kBackward).report;
    EXPECT_EQ(after.d_classifier_tiles, before.d_classifier_tiles) << isaName(isa);
    EXPECT_GT(after.d_classifier_tiles_skipped, before.d_classifier_tiles_skipped) << isaName(isa);
  }
}

TEST(CutCrossEntropyFilter, OrderingTheVocabularyAloneIsExact) {
  Case c = peakedCase(0, 0);
  c.options.order_vocabulary = 1;
  c.options.label_smoothing = 0.1f;
  c.classWeights = c.entropy = c.gradEntropy = c.accuracy = c.targetLogProbability = c.dLogitScale = true;
  c.topCount = 4;
  Problem problem = peakedProblem(c);
  const CutCrossEntropyExpectations expectations(problem);
  forEveryWay([&](Isa isa, Way way) { expectations.expectEverything(gradientsOf(problem, isa, way)); });
}

// The scale's gradient comes from one of the filtered ones: off by at most that one's error times what it is multiplied
// with.
TEST(CutCrossEntropyFilter, OfTheLogitScaleFollowsItsGradient) {
  Case c = peakedCase(0.02f, 0.02f);
  c.dLogitScale = true;
  Problem problem = peakedProblem(c);
  const CutCrossEntropyExpectations expectations(problem);
  const auto sizeOf = [](const FloatArray& array) { return frobenius(array.values()); };
  forEveryWay([&](Isa isa, Way way) {
    const Outputs out = gradientsOf(problem, isa, way);
    const double bound = std::max(out.report.d_embeddings_error * sizeOf(problem.embeddings),
                                  out.report.d_classifier_error * sizeOf(problem.classifier));
    const Bounded& expected = expectations.oracle().dLogitScale;
    EXPECT_NEAR(out.dLogitScale.values()[0], expected.value, bound + expected.error());
  });
}

TEST(CutCrossEntropyFilter, SameBitsAndReportForAnyThreads) {
  Case c = peakedCase(0.02f, FK_DEFAULT_FILTER_EPSILON);
  c.options.order_vocabulary = 1;
  Problem problem = peakedProblem(c);
  forEveryWay([&](Isa isa, Way way) {
    const Outputs once = gradientsOf(problem, isa, way, 1);
    for (int threads : {2, 3}) {
      const Outputs out = gradientsOf(problem, isa, way, threads);
      EXPECT_TRUE(out.sameBitsAs(once)) << threads << " threads";
      EXPECT_EQ(std::memcmp(&out.report, &once.report, sizeof out.report), 0) << threads << " threads";
    }
  });
}

}  // namespace
}  // namespace fk::test
