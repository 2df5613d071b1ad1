// What attention refuses: every option and every combination of arrays that its contract excludes, by name, before anything
// is written.
#include <functional>

#include "abi/attention_members.h"
#include "abi/expect_error.h"

namespace fk::test {
namespace {

using Case = AttentionCase;
using Options = fk_attention_options;
using Tensors = fk_attention_tensors;

constexpr int64_t kBatch = 2, kQueries = 6, kKeys = 8, kHeads = 4, kKeyHeads = 2, kDim = 4;

enum Function { kForward, kBackward };
constexpr Function kFunctions[] = {kForward, kBackward};

// A call with everything in it that its function takes, to spoil.
class Call {
 public:
  explicit Call(Function function, const Case& c = wholeCase())
      : options(c.options), function_(function), problem_(c, Random(1)), out_(problem_.outputs()) {
    out_.output.fill([] { return 1; });
    out_.logSumExp.fill([] { return 1; });
    before_ = out_;
    tensors_ = problem_.inputs();
    if (function == kForward)
      problem_.addForwardOutputs(tensors_, out_);
    else
      problem_.addGradients(tensors_, out_);
  }
  Call(const Call&) = delete;

  static Case wholeCase() {
    Case c(kQueries, kKeys, kDim, 3);
    c.batch = kBatch, c.heads = kHeads, c.keyHeads = kKeyHeads;
    c = attentionWithEverything(c);
    c.options.causal = 1;
    c.blockMask = 0;
    c.axialWidth = 4;
    c.queryLengths = c.keyLengths = c.prefixLengths = c.segments = true;
    return c;
  }
  // Sequences in one item instead of one per item.
  static Case withStarts() {
    Case c = wholeCase();
    c.batch = 1;
    c.starts = 3;
    return c;
  }

  Tensors& value() { return tensors_.value; }
  template <class Array>
  DLTensor* keep(Array& array) {
    return tensors_.keep(array);
  }
  AttentionProblem& problem() { return problem_; }

  fk_status run() {
    fk_context* context = contextFor(supportedIsas().back(), 1);
    return function_ == kForward ? fk_attention_forward(context, &options, &value())
                                 : fk_attention_backward(context, &options, &value());
  }

  void expectRefused(const std::string& named, fk_status status = FK_ERROR_INVALID_ARGUMENT) {
    EXPECT_STATUS(run(), status, named);
    EXPECT_TRUE(out_.sameBitsAs(before_)) << "written before it was refused: " << named;
  }

  Options options;

 private:
  Function function_;
  AttentionProblem problem_;
  AttentionOutputs out_, before_;
  AttentionTensors tensors_;
};

// In forward and in backward.
void expectRefused(const std::string& named, const std::function<void(Call&)>& spoil, const Case& c = Call::wholeCase(),
                   fk_status status = FK_ERROR_INVALID_ARGUMENT) {
  for (Function function : kFunctions) {
    SCOPED_TRACE((function == kForward ? "forward, " : "backward, ") + named);
    Call call(function, c);
    spoil(call);
    call.expectRefused(named, status);
  }
}

std::vector<AttentionMember> membersOf(Function function) {
  std::vector<AttentionMember> members = kAttentionInputs;
  const auto add = [&](const std::vector<AttentionMember>& more) {
    members.insert(members.end(), more.begin(), more.end());
  };
  if (function == kForward) {
    add(kAttentionForwardOutputs);
  } else {
    add({kAttentionForwardOutputs[0], kAttentionForwardOutputs[1]});  // output, log_sum_exp
    add(kAttentionUpstream);
    add(kAttentionGradients);
  }
  return members;
}

bool isInteger(const DLTensor& tensor) { return tensor.dtype.code != kDLFloat; }

TEST(AttentionErrors, TheUnspoiltCallsAreFine) {
  for (Function function : kFunctions) {
    EXPECT_EQ(Call(function).run(), FK_OK) << fk_last_error();
    EXPECT_EQ(Call(function, Call::withStarts()).run(), FK_OK) << fk_last_error();
  }
}

TEST(AttentionErrors, OptionsOutOfRange) {
  const std::vector<std::pair<const char*, std::function<void(Options&)>>> mistakes = {
      {"options: struct_size is 3", [](Options& o) { o.struct_size = 3; }},
      {"options: causal is 2, needs 0 or 1", [](Options& o) { o.causal = 2; }},
      {"options: causal is -1, needs 0 or 1", [](Options& o) { o.causal = -1; }},
      {"options: scale is inf, needs a finite number", [](Options& o) { o.scale = kInfinity; }},
      {"options: scale is -inf, needs a finite number", [](Options& o) { o.scale = -kInfinity; }},
      {"options: softcap is -1, needs 0 or more", [](Options& o) { o.softcap = -1; }},
      {"options: softcap is nan", [](Options& o) { o.softcap = kNan; }},
      {"options: softcap is inf", [](Options& o) { o.softcap = kInfinity; }},
      {"options: alignment is 2, needs 0 to 1", [](Options& o) { o.alignment = 2; }},
      {"options: alignment is -1, needs 0 to 1", [](Options& o) { o.alignment = -1; }},
      {"options: length_scale_base is 1, needs", [](Options& o) { o.length_scale_base = 1; }},
      {"options: length_scale_base is 0.5, needs", [](Options& o) { o.length_scale_base = 0.5f; }},
      {"options: length_scale_base is -2, needs", [](Options& o) { o.length_scale_base = -2; }},
      {"options: length_scale_base is nan, needs", [](Options& o) { o.length_scale_base = kNan; }},
      {"options: length_scale_base is inf, needs", [](Options& o) { o.length_scale_base = kInfinity; }},
      {"options: window_left is -2, needs", [](Options& o) { o.window_left = -2; }},
      {"options: window_right is -2, needs", [](Options& o) { o.window_right = -2; }},
      {"options: mask_block_rows is 0, needs 1 or more", [](Options& o) { o.mask_block_rows = 0; }},
      {"options: mask_block_columns is -5, needs 1 or more", [](Options& o) { o.mask_block_columns = -5; }},
      {"options: relative_bidirectional is 2, needs 0 or 1", [](Options& o) { o.relative_bidirectional = 2; }},
      {"options: relative_max_distance is 2, needs more than the 2", [](Options& o) { o.relative_max_distance = 2; }},
      {"options: relative_max_distance is 4, needs more than the 4",
       [](Options& o) { o.relative_max_distance = 4, o.relative_bidirectional = 0; }},
      {"options: dropout is -0.1, needs", [](Options& o) { o.dropout = -0.1f; }},
      {"options: dropout is 1, needs", [](Options& o) { o.dropout = 1; }},
      {"options: dropout is nan, needs", [](Options& o) { o.dropout = kNan; }},
      {"options: rotary_dims is 3, needs an even number", [](Options& o) { o.rotary_dims = 3; }},
      {"options: rotary_dims is 6, needs an even number from 0 to 4", [](Options& o) { o.rotary_dims = 6; }},
      {"options: rotary_dims is -2, needs", [](Options& o) { o.rotary_dims = -2; }},
      {"options: rotary_interleaved is 2, needs 0 or 1", [](Options& o) { o.rotary_interleaved = 2; }},
      {"options: rotary_base is 0, needs", [](Options& o) { o.rotary_base = 0; }},
      {"options: rotary_base is -1, needs", [](Options& o) { o.rotary_base = -1; }},
      {"options: rotary_base is nan, needs", [](Options& o) { o.rotary_base = kNan; }},
      {"options: rotary_base is inf, needs", [](Options& o) { o.rotary_base = kInfinity; }},
      {"options: rotary_query_offset is 9223372036854775807, needs", [](Options& o) { o.rotary_query_offset = INT64_MAX; }},
      {"options: rotary_key_offset is -9223372036854775808, needs", [](Options& o) { o.rotary_key_offset = INT64_MIN; }},
      {"options: reserved is 1, needs 0", [](Options& o) { o.reserved = 1; }},
  };
  for (const auto& [text, mistake] : mistakes)
    expectRefused(text, [&, &change = mistake](Call& call) { change(call.options); });
}

TEST(AttentionErrors, ArraysOfOtherTypes) {
  for (Function function : kFunctions)
    for (const AttentionMember& member : membersOf(function)) {
      Call call(function, member.name.find("starts") == std::string::npos ? Call::wholeCase() : Call::withStarts());
      DLTensor* tensor = member.get(call.value());
      ASSERT_NE(tensor, nullptr) << member.name;
      DLTensor wrong = *tensor;
      wrong.dtype = isInteger(wrong) ? DLDataType{kDLFloat, wrong.dtype.bits, 1} : DLDataType{kDLInt, 32, 1};
      member.set(call.value(), &wrong);
      call.expectRefused(member.name + ": dtype ");
      wrong.dtype = tensor->dtype;
      wrong.dtype.lanes = 2;
      call.expectRefused(member.name + ": dtype ");
    }
}

// One axis of one array, smaller by one than it should be, or one axis too many. The text names that array, or another one
// that has the extent as well.
TEST(AttentionErrors, ArraysOfOtherShapes) {
  for (Function function : kFunctions)
    for (const AttentionMember& member : membersOf(function)) {
      const bool starts = member.name.find("starts") != std::string::npos;
      Call call(function, starts ? Call::withStarts() : Call::wholeCase());
      const DLTensor* tensor = member.get(call.value());
      DLTensor wrong = *tensor;
      member.set(call.value(), &wrong);
      std::vector<int64_t> shape(tensor->shape, tensor->shape + tensor->ndim);
      wrong.shape = shape.data();
      wrong.strides = nullptr;
      for (size_t axis = 0; axis < shape.size(); ++axis) {
        SCOPED_TRACE(member.name + ", axis " + std::to_string(axis));
        const int64_t extent = shape[axis];
        shape[axis] = extent == 2 ? 0 : extent - 1;  // 1 would stand for all
        call.expectRefused("");
        EXPECT_NE(std::string(fk_last_error()).find("needs "), std::string::npos) << fk_last_error();
        shape[axis] = extent;
      }
      shape.push_back(1);
      wrong.shape = shape.data();
      wrong.ndim += 1;
      call.expectRefused(member.name + ": shape [");
    }
}

TEST(AttentionErrors, HeadsWithoutUnitStride) {
  const std::vector<std::string> heads = {"q", "k", "v", "output", "d_output", "d_q", "d_k", "d_v"};
  for (Function function : kFunctions)
    for (const AttentionMember& member : membersOf(function)) {
      if (std::count(heads.begin(), heads.end(), member.name) == 0) continue;
      Call call(function);
      const DLTensor* tensor = member.get(call.value());
      StridedArray<float> spread({tensor->shape, tensor->shape + tensor->ndim}, {1000, 100, 20, 2});
      member.set(call.value(), call.keep(spread));
      call.expectRefused(member.name + ": strides [1000, 100, 20, 2] for shape [");
    }
}

TEST(AttentionErrors, OutputsWhoseElementsShareMemory) {
  const auto refused = [](Function function, const AttentionMember& member) {
    Call call(function);
    DLTensor changed = *member.get(call.value());
    std::vector<int64_t> strides(static_cast<size_t>(changed.ndim), 0);
    changed.strides = strides.data();
    member.set(call.value(), &changed);
    call.expectRefused(member.name + ": strides [0");
  };
  for (const AttentionMember& member : kAttentionForwardOutputs) refused(kForward, member);
  for (const AttentionMember& member : kAttentionGradients) refused(kBackward, member);
}

TEST(AttentionErrors, ArraysThatAFunctionDoesNotTake) {
  StridedArray<float> array({kQueries});
  for (const auto* members : {&kAttentionUpstream, &kAttentionGradients})
    for (const AttentionMember& member : *members) {
      Call call(kForward);
      member.set(call.value(), call.keep(array));
      call.expectRefused(member.name + ": given, needs NULL");
    }
  for (size_t i = 2; i < kAttentionForwardOutputs.size(); ++i) {
    Call call(kBackward);
    kAttentionForwardOutputs[i].set(call.value(), call.keep(array));
    call.expectRefused(kAttentionForwardOutputs[i].name + ": given, needs NULL");
  }
}

// What must be there, or must not be there without something else.
TEST(AttentionErrors, ArraysThatNeedOthers) {
  expectRefused("struct_size", [](Call& call) { call.value().struct_size = 3; });
  expectRefused("reserved is 1, needs 0", [](Call& call) { call.value().reserved = 1; });
  expectRefused("q: NULL", [](Call& call) { call.value().q = nullptr; });
  expectRefused("k: NULL", [](Call& call) { call.value().k = nullptr; });
  expectRefused("v: NULL", [](Call& call) { call.value().v = nullptr; });
  expectRefused("output: NULL", [](Call& call) { call.value().output = nullptr; });
  for (auto [name, spoil] : std::vector<std::pair<const char*, std::function<void(Call&)>>>{
           {"log_sum_exp: NULL", [](Call& call) { call.value().log_sum_exp = nullptr; }},
           {"d_output: NULL", [](Call& call) { call.value().d_output = nullptr; }}}) {
    Call call(kBackward);
    spoil(call);
    call.expectRefused(name);
  }
  expectRefused("query_segments", [](Call& call) { call.value().key_segments = nullptr; });
  expectRefused("key_segments", [](Call& call) { call.value().query_segments = nullptr; });
  expectRefused(
      "query_starts", [](Call& call) { call.value().key_starts = nullptr; }, Call::withStarts());
  expectRefused(
      "key_starts", [](Call& call) { call.value().query_starts = nullptr; }, Call::withStarts());
  expectRefused("prefix_lengths", [](Call& call) { call.options.causal = 0; });
  for (size_t i = 0; i < oracle::kAttentionParameters; ++i) {
    Call call(kBackward);
    call.value().*kAttentionParameterMembers[i].value = nullptr;
    call.expectRefused("d_" + std::string(oracle::kAttentionParameterNames[i]) + ": given, needs NULL");
  }
  EXPECT_STATUS(fk_attention_forward(contextFor(Isa::kScalar, 1), nullptr, nullptr), FK_ERROR_INVALID_ARGUMENT, "tensors");
  EXPECT_STATUS(fk_attention_backward(contextFor(Isa::kScalar, 1), nullptr, nullptr), FK_ERROR_INVALID_ARGUMENT, "tensors");
}

// Shapes that would do alone, but not with each other.
TEST(AttentionErrors, ShapesThatDoNotGoTogether) {
  const auto with = [](const std::function<void(Case&)>& change) { return Call::wholeCase().with(change); };
  const auto nothing = [](Call&) {};
  expectRefused("q: 3 heads, needs a multiple of the 2 heads of k", nothing, with([](Case& c) { c.heads = 3; }));
  expectRefused("q: batch 2, needs 1 with query_starts", [](Call& call) {
    static StridedArray<int32_t> starts({kBatch + 1});
    starts.fill([] { return 0; });
    call.value().query_starts = call.keep(starts);
    call.value().key_starts = call.keep(starts);
  });
  expectRefused("relative_bias: ", nothing, with([](Case& c) { c.buckets = 7; }));
  expectRefused("relative_bias: ", nothing, with([](Case& c) { c.buckets = 0; }));
  expectRefused("axial_bias_", nothing, with([](Case& c) { c.axialWidth = 3; }));
  expectRefused(
      "query_lengths: ",
      [](Call& call) {  // one for each of the sequences that starts cut
        static StridedArray<int32_t> lengths({2});
        lengths.fill([] { return 0; });
        call.value().query_lengths = call.keep(lengths);
        call.value().key_lengths = call.keep(lengths);
        call.value().prefix_lengths = call.keep(lengths);
      },
      Call::withStarts());
}

// A gradient is not summed over an axis that its parameter has.
TEST(AttentionErrors, GradientsShapedUnlikeTheirParameters) {
  Call call(kBackward);
  StridedArray<float> whole({kBatch, kHeads, kQueries, kKeys}), perKey({kBatch, kHeads, 1, kKeys});
  call.value().d_bias = call.keep(perKey);
  call.expectRefused("d_bias: shape [2, 4, 1, 8], needs [2, 4, 6, 8] like bias");
  call.value().bias = call.keep(perKey);
  call.value().d_bias = call.keep(whole);
  call.expectRefused("d_bias: shape [2, 4, 6, 8], needs [2, 4, 1, 8] like bias");
}

// What the arrays hold, where it would lead outside others.
TEST(AttentionErrors, LengthsAndStartsOutOfRange) {
  const auto refused = [](const std::string& text, StridedArray<int32_t> AttentionProblem::*member,
                          const std::vector<int32_t>& values, const Case& c = Call::wholeCase()) {
    expectRefused(
        text,
        [&](Call& call) {
          size_t at = 0;
          (call.problem().*member).fill([&] { return values[at++]; });
        },
        c, FK_ERROR_INDEX_OUT_OF_RANGE);
  };
  refused("query_lengths: element 1 is 7, needs 0 to 6", &AttentionProblem::queryLengths, {6, 7});
  refused("query_lengths: element 0 is -1, needs 0 to 6", &AttentionProblem::queryLengths, {-1, 0});
  refused("key_lengths: element 0 is 9, needs 0 to 8", &AttentionProblem::keyLengths, {9, 8});
  refused("key_lengths: element 1 is -2147483648, needs 0 to 8", &AttentionProblem::keyLengths, {0, INT32_MIN});
  refused("prefix_lengths: element 1 is -1, needs 0", &AttentionProblem::prefixLengths, {0, -1});
  const Case starts = Call::withStarts();
  refused("query_starts: element 0 is 1, needs 0", &AttentionProblem::queryStarts, {1, 2, 3, 6}, starts);
  refused("query_starts: element 2 is 1, needs 2 to 6", &AttentionProblem::queryStarts, {0, 2, 1, 6}, starts);
  refused("query_starts: element 3 is 7, needs 3 to 6", &AttentionProblem::queryStarts, {0, 2, 3, 7}, starts);
  refused("key_starts: element 3 is 9, needs 4 to 8", &AttentionProblem::keyStarts, {0, 2, 4, 9}, starts);
  refused("key_starts: element 1 is -1, needs 0 to 8", &AttentionProblem::keyStarts, {0, -1, 4, 8}, starts);
}

TEST(AttentionErrors, WorkspaceSizeRefusesWhatTheCallsRefuse) {
  uint64_t bytes = 0;
  Call call(kForward);
  fk_context* context = contextFor(Isa::kScalar, 1);
  EXPECT_EQ(fk_attention_workspace_size(context, &call.options, &call.value(), &bytes, nullptr), FK_OK) << fk_last_error();
  EXPECT_GT(bytes, 0u);
  call.options.dropout = 2;
  EXPECT_STATUS(fk_attention_workspace_size(context, &call.options, &call.value(), &bytes, nullptr),
                FK_ERROR_INVALID_ARGUMENT, "dropout");
  EXPECT_STATUS(fk_attention_workspace_size(context, nullptr, nullptr, &bytes, nullptr), FK_ERROR_INVALID_ARGUMENT,
                "tensors");
}

}  // namespace
}  // namespace fk::test
