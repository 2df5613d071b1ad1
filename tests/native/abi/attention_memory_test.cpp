// Attention's arrays and workspace: nothing outside them is touched, views need no copy, limits are kept, and the bits
// depend on neither threads, repeats nor what else is asked for.
#include "abi/attention_members.h"
#include "abi/expect_error.h"

namespace fk::test {
namespace {

using Case = AttentionCase;
using Problem = AttentionProblem;
using Outputs = AttentionOutputs;

Case withHeads(Case c, int64_t batch, int64_t heads, int64_t keyHeads) {
  c.batch = batch, c.heads = heads, c.keyHeads = keyHeads;
  return c;
}

Case withEveryMask(Case c) {
  c.options.causal = 1;
  c.segments = c.ascendingSegments = c.queryLengths = c.keyLengths = c.prefixLengths = true;
  c.blockMask = 0;
  c.options.mask_block_rows = c.options.mask_block_columns = 5;
  return c;
}

// Replaces the arrays of a struct by copies between forbidden pages. All have to be contiguous.
class GuardedTensors {
 public:
  explicit GuardedTensors(Guard guard) : guard_(guard) {}

  void guard(fk_attention_tensors& t, const std::vector<AttentionMember>& members, bool readOnly) {
    for (const AttentionMember& member : members) {
      const DLTensor* tensor = member.get(t);
      if (!tensor) continue;
      int64_t bytes = tensor->dtype.bits / 8;
      for (int axis = 0; axis < tensor->ndim; ++axis) bytes *= tensor->shape[axis];
      GuardedMemory& memory = memories_.emplace_back(static_cast<size_t>(bytes), guard_);
      if (bytes > 0) std::memcpy(memory.data(), tensor->data, static_cast<size_t>(bytes));
      if (readOnly) memory.makeReadOnly();
      tensors_.push_back(*tensor);
      tensors_.back().data = memory.data();
      member.set(t, &tensors_.back());
    }
  }

 private:
  Guard guard_;
  std::deque<GuardedMemory> memories_;
  std::deque<DLTensor> tensors_;
};

TEST(AttentionMemory, NothingOutsideTheArraysIsTouched) {
  for (Storage storage : {Storage::kFloat32, Storage::kBFloat16, Storage::kFloat16})
    for (Guard guard : {Guard::kAtStart, Guard::kAtEnd})
      for (auto [queries, keys, dim] : std::vector<std::array<int64_t, 3>>{
               {1, 1, 1}, {1, 5, 3}, {3, 1, 17}, {3, 35, 2}, {33, 5, 9}, {33, 35, 33}, {17, 257, 3}, {5, 6, 515}})
        for (const bool everything : {false, true}) {
          Case c = withHeads(Case(queries, keys, dim, dim + 1), 2, 2, 1);
          if (everything) c = attentionWithEverything(withEveryMask(c));
          c.options.rotary_dims = std::min(c.options.rotary_dims, 512);
          AttentionTypes& t = c.types;
          for (Storage* type : {&t.q, &t.k, &t.v, &t.output, &t.dOutput, &t.dQ, &t.dK, &t.dV}) *type = storage;
          Problem problem(c, Random(1));
          for (Isa isa : supportedIsas()) {
            Outputs out = problem.run(contextFor(isa, 1));
            AttentionTensors forward = problem.inputs(), backward = problem.inputs();
            problem.addForwardOutputs(forward, out);
            problem.addGradients(backward, out);
            GuardedTensors guarded(guard);
            guarded.guard(forward.value, kAttentionInputs, true);
            guarded.guard(forward.value, kAttentionForwardOutputs, false);
            guarded.guard(backward.value, kAttentionInputs, true);
            guarded.guard(backward.value, kAttentionForwardOutputs, true);
            guarded.guard(backward.value, kAttentionUpstream, true);
            guarded.guard(backward.value, kAttentionGradients, false);
            EXPECT_EQ(fk_attention_forward(contextFor(isa, 1), &c.options, &forward.value), FK_OK) << fk_last_error();
            EXPECT_EQ(fk_attention_backward(contextFor(isa, 1), &c.options, &backward.value), FK_OK) << fk_last_error();
          }
        }
}

// q, k and v are parts of [B, S, 3, H, D], and their gradients of another: overlapping extents, but no shared element.
TEST(AttentionMemory, PackedProjectionsAndTheirGradientsNeedNoCopy) {
  const int64_t batch = 2, sequence = 45, heads = 3, dim = 7, part = heads * dim;
  Case c = withHeads(Case(sequence, sequence, dim, dim), batch, heads, heads);
  c.options.causal = 1;
  Problem problem(c, Random(2));
  std::vector<int64_t> shape = {batch, sequence, heads, dim}, strides = {sequence * 3 * part, 3 * part, dim, 1};
  StridedArray<float> packed({batch, sequence, 3, heads, dim}), gradients({batch, sequence, 3, heads, dim});
  const std::vector<double> parts[] = {problem.q.values(), problem.k.values(), problem.v.values()};
  const auto places = [&](int64_t at) { return std::pair(at / part % 3, at / (3 * part) * part + at % part); };
  change(packed, [&](int64_t at, float) {
    const auto [which, from] = places(at);
    return parts[which][static_cast<size_t>(from)];
  });
  std::deque<DLTensor> views;
  const auto view = [&](StridedArray<float>& array, int64_t which) {
    views.push_back({array.data() + which * part, {kDLCPU, 0}, 4, {kDLFloat, 32, 1}, shape.data(), strides.data(), 0});
    return &views.back();
  };
  for (Isa isa : supportedIsas()) {
    Outputs out = problem.run(contextFor(isa, 2));
    AttentionTensors t = problem.inputs();
    problem.addGradients(t, out);
    t.value.q = view(packed, 0), t.value.k = view(packed, 1), t.value.v = view(packed, 2);
    t.value.d_q = view(gradients, 0), t.value.d_k = view(gradients, 1), t.value.d_v = view(gradients, 2);
    ASSERT_EQ(fk_attention_backward(contextFor(isa, 2), &c.options, &t.value), FK_OK) << fk_last_error();
    const std::vector<double> expected[] = {out.dQ.values(), out.dK.values(), out.dV.values()};
    const std::vector<float> actual = gradients.values();
    for (size_t i = 0; i < actual.size(); ++i) {
      const auto [which, from] = places(static_cast<int64_t>(i));
      ASSERT_EQ(actual[i], expected[which][static_cast<size_t>(from)]) << isaName(isa) << ", element " << i;
    }
    EXPECT_TRUE(gradients.canariesIntact());
  }
}

// ---- Bits ------------------------------------------------------------------------------------------------------------

std::vector<Case> largeCases() {
  Case shared = withHeads(attentionWithEverything(Case(270, 300, 8, 6)), 2, 4, 2);
  shared.options.causal = 1;
  shared.parameters = {7, 3, 1, 0, 3, 3, 0, 1};  // one element for all, wherever that is allowed
  Case causal = Case(600, 600, 32, 32), manyKeys = withHeads(Case(1, 3000, 64, 64), 1, 2, 1);
  causal.options.causal = manyKeys.options.causal = 1;
  causal.keyWeights = manyKeys.keyWeights = true;
  Case sequences = withHeads(attentionWithEverything(Case(300, 400, 8, 6)), 1, 2, 1);
  sequences.starts = 5;
  return {causal, withHeads(Case(65, 270, 16, 20), 2, 3, 3), manyKeys, shared, sequences};
}

TEST(AttentionMemory, SameBitsForAnyNumberOfThreadsAndOnRepeats) {
  for (const Case& c : largeCases()) {
    SCOPED_TRACE(describe(c));
    Problem problem(c, Random(3));
    for (Isa isa : supportedIsas()) {
      const Outputs once = problem.run(contextFor(isa, 1));
      for (int threads : kThreadCounts)
        for (int repeat = 0; repeat < 2; ++repeat)
          EXPECT_TRUE(problem.run(contextFor(isa, threads)).sameBitsAs(once)) << isaName(isa) << ", " << threads;
    }
  }
}

// Each optional output alone, and none of them.
TEST(AttentionMemory, WhatElseIsAskedForDoesNotMatter) {
  Problem plain(withHeads(Case(70, 290, 8, 6), 2, 2, 1), Random(4));
  Problem everything(attentionWithEverything(plain.shape), Random(4));
  plain.shape.maxScore = plain.shape.entropy = plain.shape.keyWeights = true;
  for (Problem* problem : {&plain, &everything})
    for (Isa isa : supportedIsas()) {
      fk_context* context = contextFor(isa, 2);
      const Outputs whole = problem->run(context);
      const auto expectSame = [&](const Outputs& out, size_t written, const std::string& name) {
        SCOPED_TRACE(isaName(isa) + (", " + name));
        const Outputs fresh = problem->outputs();
        size_t found = 0;
        for (size_t i = 0; i < out.all().size(); ++i) {
          const std::vector<double> values = out.all()[i]->values();
          if (sameBits(values, fresh.all()[i]->values())) continue;
          ++found;
          EXPECT_TRUE(sameBits(values, whole.all()[i]->values()));
        }
        EXPECT_EQ(found, written);
      };
      for (const AttentionMember& wanted : kAttentionForwardOutputs) {
        Outputs out = problem->outputs();
        AttentionTensors t = problem->inputs();
        problem->addForwardOutputs(t, out);
        for (const AttentionMember& member : kAttentionForwardOutputs)
          if (member.name != "output" && member.name != wanted.name) member.set(t.value, nullptr);
        ASSERT_EQ(fk_attention_forward(context, &problem->shape.options, &t.value), FK_OK) << fk_last_error();
        expectSame(out, wanted.name == "output" ? 1 : 2, wanted.name);
      }
      for (const AttentionMember& wanted : kAttentionGradients) {
        Outputs out = problem->outputs();
        out.output = whole.output, out.logSumExp = whole.logSumExp;
        AttentionTensors t = problem->inputs();
        problem->addGradients(t, out);
        if (!wanted.get(t.value)) continue;
        for (const AttentionMember& member : kAttentionGradients)
          if (member.name != wanted.name) member.set(t.value, nullptr);
        ASSERT_EQ(fk_attention_backward(context, &problem->shape.options, &t.value), FK_OK) << fk_last_error();
        expectSame(out, 3, wanted.name);
      }
    }
}

// Sums are floats, so a smaller type of a gradient or of the output is the nearest number to what f32 would have held.
TEST(AttentionMemory, SmallTypesAreRoundedOnce) {
  const Case c = withHeads(attentionWithEverything(Case(40, 300, 8, 6)), 2, 2, 1);
  const auto expectRounded = [](const FloatArray& actual, const FloatArray& exact, double (*rounded)(double)) {
    const std::vector<double> a = actual.values(), e = exact.values();
    for (size_t i = 0; i < a.size(); ++i) ASSERT_EQ(a[i], rounded(e[i])) << "element " << i;
  };
  for (auto [storage, rounded] : std::vector<std::pair<Storage, double (*)(double)>>{{Storage::kBFloat16, BFloat16::rounded},
                                                                                     {Storage::kFloat16, Half::rounded}}) {
    Problem wide(c, Random(5)),
        small(c.with([s = storage](Case&n) { n.types.dQ = n.types.dK = n.types.dV = s; }), Random(5));
    Problem smallOutput(c.with([s = storage](Case& n) { n.types.output = s; }), Random(5));
    for (Isa isa : supportedIsas()) {
      SCOPED_TRACE(isaName(isa));
      const Outputs exact = wide.run(contextFor(isa, 2)), actual = small.run(contextFor(isa, 2));
      expectRounded(smallOutput.forward(contextFor(isa, 2)).output, exact.output, rounded);
      expectRounded(actual.dQ, exact.dQ, rounded);
      expectRounded(actual.dK, exact.dK, rounded);
      expectRounded(actual.dV, exact.dV, rounded);
    }
  }
}

// ---- Workspace -------------------------------------------------------------------------------------------------------

struct LimitedContext : fk_context {
  LimitedContext(Isa isa, int threads, size_t limit)
      : fk_context(isa, threads, std::make_shared<ThreadPool>(threads), limit) {}
};

struct Workspace {
  uint64_t forward = 0, backward = 0;
};

Workspace workspaceOf(fk_context* context, Problem& problem) {
  Outputs out = problem.outputs();
  AttentionTensors t = problem.inputs();
  problem.addForwardOutputs(t, out);
  Workspace size;
  EXPECT_EQ(fk_attention_workspace_size(context, &problem.shape.options, &t.value, &size.forward, nullptr), FK_OK);
  AttentionTensors u = problem.inputs();
  problem.addGradients(u, out);
  EXPECT_EQ(fk_attention_workspace_size(context, &problem.shape.options, &u.value, nullptr, &size.backward), FK_OK);
  return size;
}

TEST(AttentionMemory, LimitsThatSufficeAreKept) {
  for (const Case& c : largeCases()) {
    SCOPED_TRACE(describe(c));
    Problem problem(c, Random(6));
    const auto expected = problem.expected();
    for (Isa isa : supportedIsas())
      for (int threads : {1, 3}) {
        LimitedContext shortest(isa, threads, 1);
        const Workspace least = workspaceOf(&shortest, problem);
        const uint64_t both = std::max(least.forward, least.backward);
        for (uint64_t limit : {both, both + both / 2, 4 * both}) {
          LimitedContext context(isa, threads, limit);
          const Workspace size = workspaceOf(&context, problem);
          EXPECT_LE(size.forward, limit);
          EXPECT_LE(size.backward, limit);
          problem.expectResults(problem.run(&context), expected);
          EXPECT_EQ(context.workspace.bytes(), std::max(size.forward, size.backward)) << "not what was announced";
        }
      }
  }
}

TEST(AttentionMemory, LimitsThatDoNotSufficeAreNamed) {
  Problem problem(attentionWithEverything(Case(40, 50, 8, 6)), Random(7));
  LimitedContext context(supportedIsas().back(), 1, 1);
  const Workspace needed = workspaceOf(&context, problem);
  Outputs out = problem.outputs();
  AttentionTensors forward = problem.inputs(), backward = problem.inputs();
  problem.addForwardOutputs(forward, out);
  problem.addGradients(backward, out);
  EXPECT_STATUS(fk_attention_forward(&context, &problem.shape.options, &forward.value), FK_ERROR_WORKSPACE_LIMIT,
                std::to_string(needed.forward) + " bytes");
  EXPECT_STATUS(fk_attention_backward(&context, &problem.shape.options, &backward.value), FK_ERROR_WORKSPACE_LIMIT,
                std::to_string(needed.backward) + " bytes");
  EXPECT_TRUE(out.sameBitsAs(problem.outputs())) << "written before it was refused";
}

// No [Sq, Sk] array: 16384 queries and keys would make one of 1 GB.
TEST(AttentionMemory, NoScoreMatrixIsStored) {
  for (int64_t sequence : {1024, 16384}) {
    std::vector<int64_t> shape = {1, sequence, 1, 128}, same = {0, 0, 0, 1}, rows = {1, 1, sequence};
    std::vector<float> row(128), perQuery(static_cast<size_t>(sequence));
    const DLTensor heads{row.data(), {kDLCPU, 0}, 4, {kDLFloat, 32, 1}, shape.data(), same.data(), 0};
    DLTensor logSumExp{perQuery.data(), {kDLCPU, 0}, 3, {kDLFloat, 32, 1}, rows.data(), nullptr, 0};
    fk_attention_tensors t;
    fk_attention_tensors_init(&t);
    t.q = t.k = t.v = &heads;
    t.log_sum_exp = &logSumExp;
    for (Isa isa : supportedIsas()) {
      uint64_t forward = 0, backward = 0;
      ASSERT_EQ(fk_attention_workspace_size(contextFor(isa, 2), nullptr, &t, &forward, &backward), FK_OK) << fk_last_error();
      EXPECT_LE(forward, uint64_t{8} << 20) << isaName(isa) << ", " << sequence;
      EXPECT_LE(backward, uint64_t{32} << 20) << isaName(isa) << ", " << sequence;
    }
  }
}

}  // namespace
}  // namespace fk::test
