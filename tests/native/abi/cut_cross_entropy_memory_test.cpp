// What cut cross-entropy does with memory: its workspace under any limit, and nothing outside its arrays.
#include "abi/cut_cross_entropy_expectations.h"

namespace fk::test {
namespace {

using Case = CutCrossEntropyCase;
using Outputs = CutCrossEntropyOutputs;

Case caseWithEverything(int64_t rows, int64_t classes, int64_t dim) {
  Case c(rows, classes, dim, FK_REDUCTION_NONE);
  c.embeddings = Storage::kBFloat16;
  c.classifier = Storage::kFloat16;
  c.bias = c.classWeights = c.rowWeights = c.gradLoss = c.gradLogSumExp = c.gradEntropy = true;
  c.targetLogProbability = c.entropy = c.accuracy = c.dBias = c.dLogitScale = true;
  c.topCount = 3;
  c.options.softcap = 4;
  c.options.label_smoothing = 0.1f;
  return c;
}

struct Sizes {
  uint64_t forward = 0, backward = 0, lossAndGradient = 0;
};

// All three calls at their own options, under a limit and on some threads.
class LimitedRun {
 public:
  LimitedRun(CutCrossEntropyProblem& problem, Isa isa, int threads, size_t limit)
      : problem_(problem), context_(isa, threads, std::make_shared<ThreadPool>(threads), limit) {}

  Sizes sizes() {
    Outputs out = problem_.outputs();
    CutCrossEntropyTensors t = problem_.inputs();
    problem_.addForwardOutputs(t, out);
    problem_.addGradients(t, out);
    Sizes result;
    EXPECT_EQ(fk_cut_cross_entropy_workspace_size(&context_, &problem_.shape.options, &t.value, &result.forward,
                                                  &result.backward, &result.lossAndGradient),
              FK_OK)
        << fk_last_error();
    return result;
  }

  // FK_OK, and `out` is written, exactly when the workspace fits the limit.
  bool lossAndGradient(Outputs& out, uint64_t needed) {
    CutCrossEntropyTensors t = problem_.inputs();
    problem_.addForwardOutputs(t, out);
    problem_.addGradients(t, out);
    const fk_status status = fk_cut_cross_entropy_loss_and_gradient(&context_, &problem_.shape.options, &t.value);
    if (needed > context_.workspaceLimit) {
      EXPECT_EQ(status, FK_ERROR_WORKSPACE_LIMIT);
      EXPECT_NE(std::string(fk_last_error()).find(std::to_string(needed)), std::string::npos) << fk_last_error();
      return false;
    }
    EXPECT_EQ(status, FK_OK) << fk_last_error();
    uint64_t held = 0;
    EXPECT_EQ(fk_context_workspace_bytes(&context_, &held), FK_OK);
    EXPECT_EQ(held, needed);
    return status == FK_OK;
  }

 private:
  CutCrossEntropyProblem& problem_;
  fk_context context_;
};

// Of limits from too little to plenty; "auto" changes its schedule among them, at the same place for any threads.
TEST(CutCrossEntropyMemory, StaysWithinAnyLimitWithTheSameBitsForAnyThreads) {
  for (bool filtered : {false, true}) {
    Case c = caseWithEverything(1100, 600, 9);
    c.options.filter_d_classifier = filtered ? 0.01f : 0;
    CutCrossEntropyProblem problem(c, Random(1));
    const CutCrossEntropyExpectations expectations(problem);
    for (Isa isa : supportedIsas()) {
      int ran = 0, refused = 0;
      for (size_t limit = size_t{1} << 12; limit < size_t{1} << 24; limit += limit / 3) {
        SCOPED_TRACE(std::string(isaName(isa)) + ", limit " + std::to_string(limit));
        Outputs first = problem.outputs();
        bool firstRan = false;
        for (int threads : {1, 2, 3}) {
          SCOPED_TRACE(std::to_string(threads) + " threads");
          LimitedRun run(problem, isa, threads, limit);
          Outputs out = problem.outputs();
          const bool done = run.lossAndGradient(out, run.sizes().lossAndGradient);
          ++(done ? ran : refused);
          if (!done) continue;
          if (!firstRan) {
            if (filtered) expectations.expectForward(out);
            if (!filtered) expectations.expectEverything(out);
          }
          EXPECT_TRUE(!firstRan || out.sameBitsAs(first));
          if (!firstRan) first = out;
          firstRan = true;
        }
        if (HasFailure()) return;
      }
      EXPECT_GT(ran, 0);
      EXPECT_GT(refused, 0);
    }
  }
}

// A copy of a tensor's contents between two forbidden pages, in rows without gaps.
class GuardedCopy {
 public:
  GuardedCopy(const DLTensor& original, Guard guard, bool writable)
      : shape_(original.shape, original.shape + original.ndim),
        elementBytes_(original.dtype.bits / 8),
        memory_(static_cast<size_t>(elements() * elementBytes_), guard),
        tensor_(original) {
    tensor_.shape = shape_.data();
    tensor_.strides = nullptr;
    tensor_.data = memory_.data();
    std::memcpy(memory_.data(), original.data, static_cast<size_t>(elements() * elementBytes_));
    if (!writable) memory_.makeReadOnly();
  }
  DLTensor* tensor() { return &tensor_; }

 private:
  int64_t elements() const { return std::accumulate(shape_.begin(), shape_.end(), int64_t{1}, std::multiplies<>()); }

  std::vector<int64_t> shape_;
  int64_t elementBytes_;
  GuardedMemory memory_;
  DLTensor tensor_;
};

// Replaces every array of a call by a guarded one.
class GuardedTensors {
 public:
  GuardedTensors(CutCrossEntropyTensors& t, Guard guard) : guard_(guard) {
    fk_cut_cross_entropy_tensors& v = t.value;
    for (const DLTensor** input : {&v.embeddings, &v.classifier, &v.targets, &v.target_probabilities, &v.bias,
                                   &v.class_weights, &v.row_weights, &v.grad_loss, &v.grad_log_sum_exp, &v.grad_entropy})
      if (*input) *input = guarded(**input, false);
    for (DLTensor** output :
         {&v.log_sum_exp, &v.target_log_probability, &v.entropy, &v.loss, &v.top_tokens, &v.top_log_probabilities,
          &v.accuracy, &v.d_embeddings, &v.d_classifier, &v.d_bias, &v.d_logit_scale, &v.dropped_probability})
      if (*output) *output = guarded(**output, true);
  }

 private:
  DLTensor* guarded(const DLTensor& original, bool writable) {
    copies_.emplace_back(original, guard_, writable);
    return copies_.back().tensor();
  }

  Guard guard_;
  std::deque<GuardedCopy> copies_;
};

TEST(CutCrossEntropyMemory, TouchesNothingOutsideItsArrays) {
  for (Guard guard : {Guard::kAtStart, Guard::kAtEnd})
    for (auto [rows, classes, dim] :
         {std::tuple{1, 1, 1}, std::tuple{3, 5, 3}, std::tuple{33, 35, 17}, std::tuple{17, 253, 31}})
      for (bool probabilities : {false, true})
        for (Storage storage : {Storage::kFloat32, Storage::kBFloat16, Storage::kFloat16})
          for (fk_schedule schedule : {FK_SCHEDULE_RECOMPUTE, FK_SCHEDULE_FUSED}) {
            Case c = caseWithEverything(rows, classes, dim);
            c.embeddings = c.classifier = storage;
            c.options.schedule = schedule;
            c.options.filter_d_embeddings = c.options.filter_d_classifier = 0.01f;
            c.options.order_vocabulary = classes % 2 == 1;
            if (probabilities) c.targetLogProbability = c.accuracy = false;
            c.targetProbabilities = probabilities;
            CutCrossEntropyProblem problem(c, Random(2));
            for (Isa isa : supportedIsas()) {
              Outputs out = problem.outputs();
              CutCrossEntropyTensors t = problem.inputs();
              problem.addForwardOutputs(t, out);
              problem.addGradients(t, out);
              GuardedTensors guarded(t, guard);  // a step outside stops the test here
              EXPECT_EQ(fk_cut_cross_entropy_loss_and_gradient(contextFor(isa, 2), &c.options, &t.value), FK_OK)
                  << fk_last_error();
            }
          }
}

}  // namespace
}  // namespace fk::test
