// What planted bugs showed that no other test of attention would have caught.
#include "abi/attention_problem.h"
#include "abi/expect_error.h"

namespace fk::test {
namespace {

using Case = AttentionCase;
using Problem = AttentionProblem;

// Shapes that the contract allows for a gradient, but not beside this value.
TEST(AttentionRegressions, RefusesAGradientThatBroadcastsWhereItsValueDoesNot) {
  Case c(5, 6, 4, 3);
  c.batch = c.heads = c.keyHeads = 2;
  for (auto [which, axes] : {std::pair{oracle::kBias, 3},
                             {oracle::kKeyBias, 2},
                             {oracle::kAlibiSlopes, 1},
                             {oracle::kAxialBiasX, 2},
                             {oracle::kAxialBiasY, 2},
                             {oracle::kToeplitzFactor, 1}})
    for (int axis = 0; axis < axes; ++axis) {
      c.parameters = {}, c.dParameters = {};
      c.parameters[which] = 0;
      c.dParameters[which] = true;
      Problem problem(c, Random(2));
      Problem::Outputs out = problem.forward(contextFor(Isa::kScalar, 1));
      std::vector<int64_t> shape = problem.parameterShape(which);
      shape[static_cast<size_t>(axis)] = 1;
      out.dParameters[which] = StridedArray<float>(shape);
      AttentionTensors t = problem.inputs();
      problem.addGradients(t, out);
      const std::string name = oracle::kAttentionParameterNames[which];
      EXPECT_STATUS(fk_attention_backward(contextFor(Isa::kScalar, 1), &c.options, &t.value), FK_ERROR_INVALID_ARGUMENT,
                    "d_" + name + ": shape [");
    }
}

TEST(AttentionRegressions, RefusesMasksOfBooleansThatAreNotBytes) {
  for (const DLDataType type : {DLDataType{kDLBool, 1, 1}, DLDataType{kDLBool, 16, 1}, DLDataType{kDLBool, 8, 2}}) {
    Case c(5, 6, 4, 3);
    c.mask = c.blockMask = 0;
    Problem problem(c, Random(3));
    for (auto [member, name] : {std::pair{&fk_attention_tensors::mask, "mask: dtype bool"},
                                {&fk_attention_tensors::block_mask, "block_mask: dtype bool"}}) {
      Problem::Outputs out = problem.outputs();
      AttentionTensors t = problem.inputs();
      problem.addForwardOutputs(t, out);
      DLTensor wrong = *(t.value.*member);
      wrong.dtype = type;
      t.value.*member = &wrong;
      EXPECT_STATUS(fk_attention_forward(contextFor(Isa::kScalar, 1), &c.options, &t.value), FK_ERROR_INVALID_ARGUMENT,
                    name);
    }
  }
}

TEST(AttentionRegressions, AxesWithoutElements) {
  fk_context* context = contextFor(Isa::kScalar, 1);
  const Case c(5, 6, 4, 3);
  Problem problem(c, Random(4));
  Problem::Outputs out = problem.outputs();
  const auto expectRefused = [&](auto change, const char* text) {
    AttentionTensors t = problem.inputs();
    problem.addForwardOutputs(t, out);
    change(t);
    EXPECT_STATUS(fk_attention_forward(context, &c.options, &t.value), FK_ERROR_INVALID_ARGUMENT, text);
  };
  StridedArray<float> noColumns({1, 1, 5, 0});
  StridedArray<int32_t> noStarts({0});
  StridedArray<float> noKeyHeads({1, 6, 0, 4}), noValueHeads({1, 6, 0, 3});
  expectRefused([&](AttentionTensors& t) { t.value.axial_bias_x = t.keep(noColumns); }, "axial_bias_x: 0 columns, needs");
  expectRefused([&](AttentionTensors& t) { t.value.axial_bias_y = t.keep(noColumns); }, "axial_bias_y: 0 columns, needs");
  expectRefused([&](AttentionTensors& t) { t.value.query_starts = t.value.key_starts = t.keep(noStarts); },
                "query_starts: no elements, needs N + 1");
  expectRefused([&](AttentionTensors& t) { t.value.k = t.keep(noKeyHeads), t.value.v = t.keep(noValueHeads); },
                "q: 1 heads, needs a multiple of the 0 heads of k");

  // Without queries and keys there are no diagonals, not -1.
  Problem empty(Case(0, 0, 4, 3), Random(5));
  Problem::Outputs nothing = empty.outputs();
  StridedArray<float> noDiagonals({1, 0});
  AttentionTensors t = empty.inputs();
  empty.addForwardOutputs(t, nothing);
  t.value.toeplitz_factor = t.keep(noDiagonals);
  EXPECT_EQ(fk_attention_forward(context, &c.options, &t.value), FK_OK) << fk_last_error();
}

// Of which no memory is needed where there is no batch.
TEST(AttentionRegressions, RefusesMoreQueriesOrKeysThanPositions) {
  Case c(5, 6, 4, 3);
  c.batch = 0;
  Problem problem(c, Random(6));
  for (auto members :
       {std::vector{&fk_attention_tensors::q}, std::vector{&fk_attention_tensors::k, &fk_attention_tensors::v}}) {
    AttentionTensors t = problem.inputs();
    std::vector<DLTensor> longer(members.size());
    std::vector<std::vector<int64_t>> shapes(members.size());
    for (size_t i = 0; i < members.size(); ++i) {
      const DLTensor& given = *(t.value.*members[i]);
      shapes[i] = {0, int64_t{INT32_MAX} + 1, 1, given.shape[3]};
      longer[i] = given;
      longer[i].shape = shapes[i].data();
      longer[i].strides = nullptr;
      t.value.*members[i] = &longer[i];
    }
    EXPECT_STATUS(fk_attention_forward(contextFor(Isa::kScalar, 1), &c.options, &t.value), FK_ERROR_INVALID_ARGUMENT,
                  "need at most 2147483647");
  }
}

TEST(AttentionRegressions, WorkspaceSizeRefusesLengthsOutOfRange) {
  Case c(5, 6, 4, 3);
  c.queryLengths = true;
  Problem problem(c, Random(7));
  problem.queryLengths.fill([] { return 6; });
  AttentionTensors t = problem.inputs();
  uint64_t bytes = 0;
  EXPECT_STATUS(fk_attention_workspace_size(contextFor(Isa::kScalar, 1), &c.options, &t.value, &bytes, nullptr),
                FK_ERROR_INDEX_OUT_OF_RANGE, "query_lengths: element 0 is 6, needs 0 to 5");
}

// Blocks shorter than a tile of keys are skipped where they are hidden from a panel at either end of the tile: what keys and
// values hold there does not show.
TEST(AttentionRegressions, HiddenBlocksAtTheEndsOfATileAreSkipped) {
  Case c(40, 250, 5, 4);
  c.blockMask = 3;
  c.options.mask_block_columns = 50;
  Problem problem(c, Random(8));
  const auto isHidden = [](int64_t block) { return block == 0 || block == 4; };
  problem.blockMask.fill([&, at = int64_t{0}]() mutable { return isHidden(at++ % 5) ? 0 : 1; });
  for (auto [heads, dim] : {std::pair{&problem.k, c.dim}, {&problem.v, c.valueDim}}) {
    const std::vector<double> values = heads->values();
    heads->fill([&, at = int64_t{0}, dim = dim]() mutable {
      const double value = values[static_cast<size_t>(at)];
      return isHidden(at++ / dim / 50) ? kNan : value;
    });
  }
  problem.expectCorrect();
}

}  // namespace
}  // namespace fk::test
