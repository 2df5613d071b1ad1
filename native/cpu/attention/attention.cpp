// Exact attention: Dao, "FlashAttention-2", 2023. The operator that sees the tiles is in attention_op-inl.h, what a score is
// made of in score_terms-inl.h, which keys a query sees in visibility-inl.h, and the schedules in attention_forward-inl.h
// and attention_backward-inl.h.
#include "cpu/attention/attention.h"

#include "cpu/attention/attention_backward-inl.h"
#include "cpu/attention/key_weights-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

// What all tasks of a call share.
struct Shared {
  Shared(WorkspaceCursor& cursor, const AttentionArguments& a)
      : rotations(cursor, a), logSumExp(cursor.take<float>(keepsLogSumExp(a) ? a.q.batch * a.q.heads * a.q.sequence : 0)) {}

  // The column sums need it, whether or not the caller does.
  static bool keepsLogSumExp(const AttentionArguments& a) { return a.keyWeights && !a.logSumExp; }

  Rotations rotations;
  float* logSumExp;
};

size_t sharedBytes(const AttentionArguments& a) {
  WorkspaceCursor measure;
  Shared(measure, a);
  return measure.used();
}

size_t without(size_t limit, size_t bytes) { return limit > bytes ? limit - bytes : 0; }

size_t forwardBytes(const AttentionArguments& a, int threads, size_t limit) {
  const size_t shared = sharedBytes(a), rest = without(limit, shared);
  size_t bytes = static_cast<size_t>(threads) * ForwardPlan(a, threads, rest).slotBytes;
  if (a.keyWeights) bytes = std::max(bytes, keyWeightsPlan(a, threads, rest).bytes);
  return shared + bytes;
}

size_t backwardBytes(const AttentionArguments& a, int threads, size_t limit) {
  const size_t shared = sharedBytes(a);
  return shared + backwardPlan(a, Ownership(a), threads, without(limit, shared)).bytes;
}

void forward(const AttentionArguments& given, const Execution& execution, size_t limit, std::byte* workspace) {
  AttentionArguments a = given;
  WorkspaceCursor cursor(workspace);
  const Shared shared(cursor, a);
  if (Shared::keepsLogSumExp(a))
    a.logSumExp = {shared.logSumExp, a.q.heads * a.q.sequence, a.q.sequence, 1, 0, {a.q.batch, a.q.heads, a.q.sequence, 1}};
  shared.rotations.fill(execution);
  const size_t rest = without(limit, cursor.used());
  forwardOutputs(a, shared.rotations, execution, rest, workspace + cursor.used());
  if (a.keyWeights) sumKeyWeights(a, shared.rotations, execution, rest, workspace + cursor.used());
}

void backward(const AttentionArguments& a, const Execution& execution, size_t limit, std::byte* workspace) {
  WorkspaceCursor cursor(workspace);
  const Shared shared(cursor, a);
  shared.rotations.fill(execution);
  backwardGradients(a, shared.rotations, execution, without(limit, cursor.used()), workspace + cursor.used());
}

}  // namespace

const AttentionKernels attentionKernels = {forwardBytes, backwardBytes, forward, backward};

}  // namespace fk::cpu::FK_ISA
