// What cut cross-entropy refuses: every option and every combination of arrays that its contract excludes, by name, before
// anything is written.
#include <functional>

#include "abi/cut_cross_entropy_problem.h"
#include "abi/expect_error.h"

namespace fk::test {
namespace {

using Case = CutCrossEntropyCase;
using Options = fk_cut_cross_entropy_options;
using Tensors = fk_cut_cross_entropy_tensors;

constexpr int64_t kRows = 6, kClasses = 5, kDim = 4;

// A call with everything in it that its function takes, to spoil. Its problem outlives it.
class Call {
 public:
  enum Function { kForward, kBackward, kLossAndGradient };

  Call(Function function, Case c = wholeCase())
      : function_(function),
        problem_(c, Random(1)),
        out_(problem_.outputs()),
        fresh_(problem_.outputs()),
        options(c.options) {
    tensors_ = std::make_unique<CutCrossEntropyTensors>(problem_.inputs());
    for (CutCrossEntropyOutputs* outputs : {&out_, &fresh_})
      for (StridedArray<float>* kept : {&outputs->logSumExp, &outputs->targetLogProbability, &outputs->entropy})
        kept->fill([] { return 1; });
    if (function != kBackward) problem_.addForwardOutputs(*tensors_, out_);
    if (function != kForward) problem_.addGradients(*tensors_, out_);
    if (function == kBackward) {
      value().log_sum_exp = keep(out_.logSumExp);
      value().target_log_probability = keep(out_.targetLogProbability);
      value().entropy = keep(out_.entropy);
    }
  }

  static Case wholeCase() {
    Case c(kRows, kClasses, kDim, FK_REDUCTION_NONE);
    c.bias = c.classWeights = c.rowWeights = c.gradLoss = c.gradLogSumExp = c.gradEntropy = true;
    c.targetLogProbability = c.entropy = c.accuracy = c.dBias = c.dLogitScale = true;
    c.topCount = 2;
    return c;
  }

  Tensors& value() { return tensors_->value; }
  template <class Array>
  DLTensor* keep(Array& array) {
    return tensors_->keep(array);
  }

  fk_status run() {
    using Entry = fk_status (*)(fk_context*, const Options*, const Tensors*) noexcept;
    constexpr Entry entries[] = {fk_cut_cross_entropy_forward, fk_cut_cross_entropy_backward,
                                 fk_cut_cross_entropy_loss_and_gradient};
    return entries[function_](contextFor(supportedIsas().back(), 1), &options, &value());
  }

  void expectRefused(const std::string& named) {
    EXPECT_STATUS(run(), FK_ERROR_INVALID_ARGUMENT, named);
    EXPECT_TRUE(out_.sameBitsAs(fresh_)) << "written before it was refused: " << named;
  }

 private:
  Function function_;
  CutCrossEntropyProblem problem_;
  CutCrossEntropyOutputs out_, fresh_;
  std::unique_ptr<CutCrossEntropyTensors> tensors_;

 public:
  Options options;
};

constexpr Call::Function kFunctions[] = {Call::kForward, Call::kBackward, Call::kLossAndGradient};

TEST(CutCrossEntropyErrors, TheUnspoiltCallsAreFine) {
  for (Call::Function function : kFunctions) EXPECT_EQ(Call(function).run(), FK_OK) << fk_last_error();
}

TEST(CutCrossEntropyErrors, OptionsOutOfRange) {
  const std::vector<std::pair<const char*, std::function<void(Options&)>>> mistakes = {
      {"struct_size", [](Options& o) { o.struct_size = 3; }},
      {"reduction", [](Options& o) { o.reduction = 3; }},
      {"reduction", [](Options& o) { o.reduction = -1; }},
      {"has_ignore_index", [](Options& o) { o.has_ignore_index = 2; }},
      {"schedule", [](Options& o) { o.schedule = 3; }},
      {"shift", [](Options& o) { o.shift = -1; }},
      {"logit_scale", [](Options& o) { o.logit_scale = 0; }},
      {"logit_scale", [](Options& o) { o.logit_scale = kNan; }},
      {"logit_scale", [](Options& o) { o.logit_scale = kInfinity; }},
      {"softcap", [](Options& o) { o.softcap = -1; }},
      {"softcap", [](Options& o) { o.softcap = kNan; }},
      {"softcap", [](Options& o) { o.softcap = kInfinity; }},
      {"label_smoothing", [](Options& o) { o.label_smoothing = -0.1f; }},
      {"label_smoothing", [](Options& o) { o.label_smoothing = 1.1f; }},
      {"label_smoothing", [](Options& o) { o.label_smoothing = kNan; }},
      {"z_loss", [](Options& o) { o.z_loss = -1e-4f; }},
      {"z_loss", [](Options& o) { o.z_loss = kNan; }},
      {"z_loss", [](Options& o) { o.z_loss = kInfinity; }},
      {"loss_shape", [](Options& o) { o.loss_shape = 5; }},
      {"loss_shape", [](Options& o) { o.loss_shape = -1; }},
      {"loss_shape_parameter", [](Options& o) { o.loss_shape = FK_LOSS_SHAPE_FOCAL, o.loss_shape_parameter = -0.1f; }},
      {"loss_shape_parameter", [](Options& o) { o.loss_shape = FK_LOSS_SHAPE_FOCAL, o.loss_shape_parameter = kNan; }},
      {"loss_shape_parameter", [](Options& o) { o.loss_shape = FK_LOSS_SHAPE_FOCAL, o.loss_shape_parameter = kInfinity; }},
      {"loss_shape_parameter", [](Options& o) { o.loss_shape = FK_LOSS_SHAPE_POLY1, o.loss_shape_parameter = -1.1f; }},
      {"loss_shape_parameter", [](Options& o) { o.loss_shape = FK_LOSS_SHAPE_GENERALISED, o.loss_shape_parameter = 1.1f; }},
      {"loss_shape_parameter", [](Options& o) { o.loss_shape = FK_LOSS_SHAPE_GENERALISED, o.loss_shape_parameter = -1.1f; }},
      {"label_smoothing", [](Options& o) { o.loss_shape = FK_LOSS_SHAPE_FOCAL, o.label_smoothing = 0.1f; }},
      {"filter_d_embeddings", [](Options& o) { o.filter_d_embeddings = -1e-3f; }},
      {"filter_d_embeddings", [](Options& o) { o.filter_d_embeddings = 1; }},
      {"filter_d_embeddings", [](Options& o) { o.filter_d_embeddings = kNan; }},
      {"filter_d_classifier", [](Options& o) { o.filter_d_classifier = -1e-3f; }},
      {"filter_d_classifier", [](Options& o) { o.filter_d_classifier = 1; }},
      {"filter_d_classifier", [](Options& o) { o.filter_d_classifier = kNan; }},
      {"order_vocabulary", [](Options& o) { o.order_vocabulary = 2; }},
      {"reserved", [](Options& o) { o.reserved = 1; }},
      {"vocabulary_size", [](Options& o) { o.vocabulary_size = -1; }},
      {"vocabulary_offset", [](Options& o) { o.vocabulary_offset = 1; }},
  };
  for (Call::Function function : kFunctions)
    for (const auto& [name, mistake] : mistakes) {
      SCOPED_TRACE(std::string("function ") + std::to_string(function) + ": " + name);
      Call call(function);
      mistake(call.options);
      call.expectRefused(name);
    }
}

// A member of the struct by name, const or not.
struct Member {
  const char* name;
  std::function<void(Tensors&, DLTensor*)> set;
};
#define MEMBER(name)                                               \
  Member {                                                         \
#name, [](Tensors & t, DLTensor * tensor) { t.name = tensor; } \
  }

TEST(CutCrossEntropyErrors, ArraysOfTheWrongShapeOrType) {
  const std::vector<Member> members[] = {
      {MEMBER(embeddings), MEMBER(classifier), MEMBER(targets), MEMBER(bias), MEMBER(class_weights), MEMBER(row_weights),
       MEMBER(log_sum_exp), MEMBER(target_log_probability), MEMBER(entropy), MEMBER(loss), MEMBER(top_tokens),
       MEMBER(top_log_probabilities), MEMBER(accuracy)},
      {MEMBER(embeddings), MEMBER(classifier), MEMBER(targets), MEMBER(bias), MEMBER(class_weights), MEMBER(row_weights),
       MEMBER(log_sum_exp), MEMBER(target_log_probability), MEMBER(entropy), MEMBER(grad_loss), MEMBER(grad_log_sum_exp),
       MEMBER(grad_entropy), MEMBER(d_embeddings), MEMBER(d_classifier), MEMBER(d_bias), MEMBER(d_logit_scale)},
      {MEMBER(embeddings), MEMBER(targets), MEMBER(loss), MEMBER(top_tokens), MEMBER(grad_loss), MEMBER(d_embeddings),
       MEMBER(d_bias), MEMBER(dropped_probability)}};
  for (Call::Function function : kFunctions)
    for (const Member& member : members[function]) {
      SCOPED_TRACE(std::string("function ") + std::to_string(function) + ": " + member.name);
      StridedArray<float> misshapen({17, 23, 3});
      StridedArray<int64_t> integers({kRows});
      Call first(function), second(function);
      misshapen.fill([] { return 0; });
      integers.fill([] { return 0; });
      member.set(first.value(), first.keep(misshapen));
      EXPECT_EQ(first.run(), FK_ERROR_INVALID_ARGUMENT) << fk_last_error();
      if (std::string(member.name) == "targets") continue;
      DLTensor* wrongType = second.keep(integers);
      if (std::string(member.name) == "top_tokens") wrongType->dtype = {kDLFloat, 64, 1};
      member.set(second.value(), wrongType);
      second.expectRefused(member.name);
    }
}

TEST(CutCrossEntropyErrors, ArraysThatAFunctionDoesNotTake) {
  const std::vector<Member> gradients = {MEMBER(grad_loss),     MEMBER(grad_log_sum_exp),   MEMBER(grad_entropy),
                                         MEMBER(d_embeddings),  MEMBER(d_classifier),       MEMBER(d_bias),
                                         MEMBER(d_logit_scale), MEMBER(dropped_probability)};
  for (const Member& member : gradients) {
    Call call(Call::kForward);
    StridedArray<float> array({kRows});
    member.set(call.value(), call.keep(array));
    call.expectRefused(member.name);
  }
  for (const Member& member : {MEMBER(loss), MEMBER(top_tokens), MEMBER(top_log_probabilities), MEMBER(accuracy)}) {
    Call call(Call::kBackward);
    StridedArray<float> array({kRows});
    member.set(call.value(), call.keep(array));
    call.expectRefused(member.name);
  }
  Call call(Call::kForward);
  fk_filter_report report;
  fk_filter_report_init(&report);
  call.value().filter_report = &report;
  call.expectRefused("filter_report");
}

// What must be there, or must not be there at the same time.
TEST(CutCrossEntropyErrors, ArraysThatNeedOrExcludeOthers) {
  StridedArray<float> probabilities({kRows, kClasses}), noColumns({kRows, 0});
  StridedArray<int64_t> none({kRows, 0}), tooMany({kRows, 33});
  probabilities.fill([] { return 0.2; });
  const auto forAll = [](const char* name, const std::function<void(Call&)>& spoil) {
    for (Call::Function function : kFunctions) {
      SCOPED_TRACE(std::string("function ") + std::to_string(function) + ": " + name);
      Call call(function);
      spoil(call);
      call.expectRefused(name);
    }
  };
  const auto refused = [](Call::Function function, const char* name, const std::function<void(Call&)>& spoil) {
    SCOPED_TRACE(std::string("function ") + std::to_string(function) + ": " + name);
    Call call(function);
    spoil(call);
    call.expectRefused(name);
  };
  forAll("struct_size", [](Call& call) { call.value().struct_size = 3; });
  forAll("reserved", [](Call& call) { call.value().reserved = 1; });
  forAll("embeddings", [](Call& call) { call.value().embeddings = nullptr; });
  forAll("classifier", [](Call& call) { call.value().classifier = nullptr; });
  forAll("target_probabilities", [&](Call& call) { call.value().target_probabilities = call.keep(probabilities); });
  forAll("loss_shape", [&](Call& call) {
    call.value().targets = nullptr;
    call.value().target_probabilities = call.keep(probabilities);
    call.value().accuracy = call.value().target_log_probability = nullptr;
    call.options.loss_shape = FK_LOSS_SHAPE_FOCAL;
  });
  forAll("targets", [](Call& call) { call.value().targets = nullptr; });
  refused(Call::kForward, "accuracy", [&](Call& call) {
    call.value().targets = nullptr;
    call.value().target_log_probability = nullptr;
    call.value().target_probabilities = call.keep(probabilities);
  });
  refused(Call::kForward, "target_log_probability", [&](Call& call) {
    call.value().targets = nullptr;
    call.value().accuracy = nullptr;
    call.value().target_probabilities = call.keep(probabilities);
  });
  refused(Call::kForward, "top_tokens", [](Call& call) { call.value().top_tokens = nullptr; });
  refused(Call::kForward, "top_tokens", [&](Call& call) {
    call.value().top_tokens = call.keep(none);
    call.value().top_log_probabilities = nullptr;
  });
  refused(Call::kForward, "top_tokens", [&](Call& call) {
    call.value().top_tokens = call.keep(tooMany);
    call.value().top_log_probabilities = nullptr;
  });
  refused(Call::kBackward, "log_sum_exp", [](Call& call) { call.value().log_sum_exp = nullptr; });
  refused(Call::kBackward, "entropy", [](Call& call) { call.value().entropy = nullptr; });
  refused(Call::kBackward, "target_log_probability", [](Call& call) {
    call.options.loss_shape = FK_LOSS_SHAPE_FOCAL;
    call.value().target_log_probability = nullptr;
  });
  for (Call::Function function : {Call::kBackward, Call::kLossAndGradient}) {
    refused(function, "d_logit_scale", [](Call& call) { call.value().d_embeddings = call.value().d_classifier = nullptr; });
    refused(function, "struct_size", [](Call& call) {
      static fk_filter_report uninitialised{};
      call.value().filter_report = &uninitialised;
    });
  }
  EXPECT_STATUS(fk_cut_cross_entropy_forward(contextFor(Isa::kScalar, 1), nullptr, nullptr), FK_ERROR_INVALID_ARGUMENT,
                "tensors");
}

// A shard has no loss of its own, and knows nothing that needs every class.
TEST(CutCrossEntropyErrors, WhatShardsDoNotKnow) {
  const auto shardCall = [](Call::Function function) {
    Case c = Call::wholeCase();
    c.gradEntropy = c.entropy = c.accuracy = c.classWeights = false;
    c.topCount = 0;
    auto call = std::make_unique<Call>(function, c);
    if (function == Call::kBackward) call->value().entropy = nullptr;
    call->options.vocabulary_size = 2 * kClasses;
    return call;
  };
  for (Call::Function function : {Call::kForward, Call::kLossAndGradient}) shardCall(function)->expectRefused("shard");
  const auto plainBackward = [&] { return shardCall(Call::kBackward); };
  EXPECT_EQ(plainBackward()->run(), FK_OK) << fk_last_error();
  for (auto [offset, size] : {std::pair<int64_t, int64_t>{-1, 10}, {6, 10}, {0, 4}, {INT64_MAX, INT64_MAX}}) {
    auto outside = plainBackward();
    outside->options.vocabulary_offset = offset;
    outside->options.vocabulary_size = size;
    outside->expectRefused("vocabulary_");
  }
  auto smoothing = plainBackward();
  smoothing->options.label_smoothing = 0.1f;
  smoothing->expectRefused("label_smoothing");
  auto probabilities = plainBackward();
  StridedArray<float> array({kRows, kClasses}), upstream({kRows}), perClass({kClasses});
  for (StridedArray<float>* input : {&array, &upstream, &perClass}) input->fill([] { return 0; });
  probabilities->value().targets = nullptr;
  probabilities->value().target_probabilities = probabilities->keep(array);
  probabilities->expectRefused("target_probabilities");
  auto entropy = plainBackward();
  entropy->value().grad_entropy = entropy->keep(upstream);
  entropy->value().entropy = entropy->keep(upstream);
  entropy->expectRefused("entropy");
  auto weights = plainBackward();  // a target's weight may lie in another shard; row_weights can say the same
  weights->value().class_weights = weights->keep(perClass);
  weights->expectRefused("class_weights");
}

TEST(CutCrossEntropyErrors, PartialAndMerge) {
  fk_context* context = contextFor(supportedIsas().back(), 1);
  CutCrossEntropyProblem problem(Case(kRows, kClasses, kDim), Random(2));
  CutCrossEntropyTensors t = problem.inputs();
  Options options = problem.shape.options;
  options.vocabulary_size = 2 * kClasses;
  StridedArray<float> maximum({1, kRows}), sum({1, kRows}), target({1, kRows}), merged({kRows}), two({2, kRows});
  StridedArray<float> own({kRows}), ownSum({kRows}), ownTarget({kRows}), shorter({kRows - 1});
  for (StridedArray<float>* input : {&maximum, &sum, &target, &two}) input->fill([] { return 1; });
  DLTensor m = maximum.tensor(), s = sum.tensor(), g = target.tensor(), lse = merged.tensor(), other = two.tensor();
  DLTensor a = own.tensor(), b = ownSum.tensor(), c = ownTarget.tensor(), d = shorter.tensor();

  const auto partial = [&](DLTensor* x, DLTensor* y, DLTensor* z) {
    return fk_cut_cross_entropy_partial(context, &options, &t.value, x, y, z);
  };
  EXPECT_EQ(partial(&a, &b, &c), FK_OK) << fk_last_error();
  EXPECT_STATUS(partial(nullptr, &b, &c), FK_ERROR_INVALID_ARGUMENT, "maximum");
  EXPECT_STATUS(partial(&a, nullptr, &c), FK_ERROR_INVALID_ARGUMENT, "sum");
  EXPECT_STATUS(partial(&a, &b, nullptr), FK_ERROR_INVALID_ARGUMENT, "target");
  EXPECT_STATUS(partial(&d, &b, &c), FK_ERROR_INVALID_ARGUMENT, "maximum");
  EXPECT_STATUS(partial(&a, &a, &c), FK_ERROR_INVALID_ARGUMENT, "sum: overlaps maximum");

  const auto merge = [&](const DLTensor* x, const DLTensor* y, const DLTensor* z, DLTensor* result) {
    return fk_cut_cross_entropy_merge(context, x, y, z, result, nullptr);
  };
  EXPECT_EQ(merge(&m, &s, &g, &lse), FK_OK) << fk_last_error();
  EXPECT_STATUS(merge(nullptr, &s, &g, &lse), FK_ERROR_INVALID_ARGUMENT, "maximum");
  EXPECT_STATUS(merge(&m, nullptr, &g, &lse), FK_ERROR_INVALID_ARGUMENT, "sum");
  EXPECT_STATUS(merge(&m, &s, nullptr, &lse), FK_ERROR_INVALID_ARGUMENT, "target");
  EXPECT_STATUS(merge(&m, &s, &g, nullptr), FK_ERROR_INVALID_ARGUMENT, "log_sum_exp");
  EXPECT_STATUS(merge(&m, &other, &g, &lse), FK_ERROR_INVALID_ARGUMENT, "sum");
  EXPECT_STATUS(merge(&m, &s, &g, &d), FK_ERROR_INVALID_ARGUMENT, "log_sum_exp");
}

}  // namespace
}  // namespace fk::test
