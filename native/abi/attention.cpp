#include "cpu/attention/attention.h"

#include <algorithm>
#include <cmath>

#include "abi/arguments.h"
#include "abi/attention_options.h"
#include "abi/boundary.h"
#include "abi/score_array.h"
#include "core/integers.h"

namespace fk::abi {
namespace {

using Call = cpu::AttentionArguments;
using Options = fk_attention_options;
using Tensors = fk_attention_tensors;

void requireSameShape(const char* name, const DLTensor& gradient, const char* ofName, const DLTensor& of) {
  if (gradient.ndim == of.ndim && std::equal(of.shape, of.shape + of.ndim, gradient.shape)) return;
  fail(FK_ERROR_INVALID_ARGUMENT, "%s: shape %s, needs %s like %s", name, shapeOf(&gradient).c_str(), shapeOf(&of).c_str(),
       ofName);
}

// A term of the scores and its gradient, which backward may ask for.
class ScoreParameters {
 public:
  ScoreParameters(Arguments& arguments, bool inputs) : arguments_(arguments), inputs_(inputs) {}

  void read(const char* name, const DLTensor* value, const char* gradientName, DLTensor* gradient, const Shape& shape,
            std::initializer_list<Axis> axes, cpu::ScoreParameter& to) const {
    if (inputs_) {
      if (value) to.value = scoreArray<const float>(arguments_.strided<const float>(name, value, shape), axes);
      return;
    }
    if (!gradient) return;
    if (!value) fail(FK_ERROR_INVALID_ARGUMENT, "%s: given, needs NULL without %s", gradientName, name);
    to.gradient = scoreArray<float>(arguments_.strided<float>(gradientName, gradient, shape), axes);
    requireSameShape(gradientName, *gradient, name, *value);
  }

 private:
  Arguments& arguments_;
  bool inputs_;  // or the gradients
};

void readParameters(Arguments& arguments, const Tensors& t, bool inputs, Call& call) {
  const ScoreParameters parameters(arguments, inputs);
  const auto four = {kBatch, kHead, kRow, kColumn};
  parameters.read("bias", t.bias, "d_bias", t.d_bias, "[B|1, H|1, Sq|1, Sk]", four, call.bias);
  parameters.read("key_bias", t.key_bias, "d_key_bias", t.d_key_bias, "[B|1, H|1, Sk]", {kBatch, kHead, kColumn},
                  call.keyBias);
  parameters.read("alibi_slopes", t.alibi_slopes, "d_alibi_slopes", t.d_alibi_slopes, "[B|1, H]", {kBatch, kHead},
                  call.alibiSlopes);
  parameters.read("relative_bias", t.relative_bias, "d_relative_bias", t.d_relative_bias, "[R, H]", {kColumn, kHead},
                  call.relativeBias);
  parameters.read("axial_bias_x", t.axial_bias_x, "d_axial_bias_x", t.d_axial_bias_x, "[B|1, H|1, Sq, W]", four,
                  call.axialX);
  parameters.read("axial_bias_y", t.axial_bias_y, "d_axial_bias_y", t.d_axial_bias_y, "[B|1, H|1, Sq, Y]", four,
                  call.axialY);
  parameters.read("sinks", t.sinks, "d_sinks", t.d_sinks, "[H]", {kHead}, call.sinks);
  parameters.read("toeplitz_factor", t.toeplitz_factor, "d_toeplitz_factor", t.d_toeplitz_factor, "[H|1, T]",
                  {kHead, kColumn}, call.toeplitz);
}

void readRelativeBuckets(const Options& options, Call& call) {
  call.relativeBidirectional = readFlag(options.relative_bidirectional, "relative_bidirectional");
  call.relativeMaxDistance = options.relative_max_distance;
  if (!call.relativeBias) return;
  const int64_t buckets = call.relativeBias.value.extents[kColumn];
  call.relativeBuckets = buckets;
  if (buckets < 1 || (call.relativeBidirectional && buckets % 2 != 0))
    fail(FK_ERROR_INVALID_ARGUMENT, "relative_bias: %lld buckets, needs 1 or more, and an even number if bidirectional",
         static_cast<long long>(buckets));
  const int64_t perSign = call.relativeBidirectional ? buckets / 2 : buckets, exact = std::max<int64_t>(1, perSign / 2);
  if (call.relativeMaxDistance <= exact)
    fail(FK_ERROR_INVALID_ARGUMENT, "options: relative_max_distance is %lld, needs more than the %lld exact buckets",
         static_cast<long long>(call.relativeMaxDistance), static_cast<long long>(exact));
}

void readAxialWidth(Call& call) {
  if (!call.axialX && !call.axialY) return;
  const int64_t keys = call.k.sequence;
  const int64_t rows = call.axialY ? call.axialY.value.extents[kColumn] : 0;
  call.axialWidth = call.axialX ? call.axialX.value.extents[kColumn] : rows > 0 ? keys / rows : 0;
  if (call.axialY ? call.axialWidth * rows != keys : call.axialWidth > 0 ? keys % call.axialWidth != 0 : keys > 0)
    fail(FK_ERROR_INVALID_ARGUMENT,
         "%s: %lld columns, needs a grid of the %lld keys: W of axial_bias_x times the columns of axial_bias_y are Sk",
         call.axialY ? "axial_bias_y" : "axial_bias_x", static_cast<long long>(call.axialY ? rows : call.axialWidth),
         static_cast<long long>(keys));
}

// Every one of the N lengths in [0, most(n)].
template <class Most>
void requireLengths(const char* name, const Vector<const int32_t>& lengths, int64_t sequences, const Most& most) {
  if (!lengths) return;
  if (lengths.size != sequences)
    fail(FK_ERROR_INVALID_ARGUMENT, "%s: %lld elements, needs one for each of the %lld sequences", name,
         static_cast<long long>(lengths.size), static_cast<long long>(sequences));
  for (int64_t n = 0; n < sequences; ++n) {
    if (lengths[n] < 0 || lengths[n] > most(n))
      fail(FK_ERROR_INDEX_OUT_OF_RANGE, "%s: element %lld is %d, needs 0 to %lld", name, static_cast<long long>(n),
           lengths[n], static_cast<long long>(most(n)));
  }
}

void requireStarts(const char* name, const Vector<const int32_t>& starts, int64_t length) {
  for (int64_t n = 0; n < starts.size; ++n) {
    const int64_t least = n == 0 ? 0 : starts[n - 1];
    if (starts[n] < least || starts[n] > length || (n == 0 && starts[n] != 0))
      fail(FK_ERROR_INDEX_OUT_OF_RANGE, "%s: element %lld is %d, needs %lld to %lld", name, static_cast<long long>(n),
           starts[n], static_cast<long long>(least), static_cast<long long>(n == 0 ? 0 : length));
  }
}

void readSequences(Arguments& arguments, const Tensors& t, Call& call) {
  const auto read = [&](const char* name, const DLTensor* tensor, const Shape& shape, Vector<const int32_t>& to) {
    if (tensor) to = arguments.int32(name, tensor, shape);
  };
  requireTogether("query_starts", t.query_starts, "key_starts", t.key_starts);
  read("query_starts", t.query_starts, "[E]", call.queryStarts);
  read("key_starts", t.key_starts, "[E]", call.keyStarts);
  read("query_lengths", t.query_lengths, "[N]", call.queryLengths);
  read("key_lengths", t.key_lengths, "[N]", call.keyLengths);
  read("prefix_lengths", t.prefix_lengths, "[N]", call.prefixLengths);
  call.sequences = call.q.batch;
  if (t.query_starts) {
    if (call.queryStarts.size < 1) fail(FK_ERROR_INVALID_ARGUMENT, "query_starts: no elements, needs N + 1");
    if (call.q.batch != 1)
      fail(FK_ERROR_INVALID_ARGUMENT, "q: batch %lld, needs 1 with query_starts", static_cast<long long>(call.q.batch));
    call.sequences = call.queryStarts.size - 1;
  }
}

void requireSequencesInRange(const Call& call) {
  requireStarts("query_starts", call.queryStarts, call.q.sequence);
  requireStarts("key_starts", call.keyStarts, call.k.sequence);
  requireLengths("query_lengths", call.queryLengths, call.sequences, [&](int64_t n) {
    return call.queryStarts ? call.queryStarts[n + 1] - call.queryStarts[n] : call.q.sequence;
  });
  requireLengths("key_lengths", call.keyLengths, call.sequences,
                 [&](int64_t n) { return call.keyStarts ? call.keyStarts[n + 1] - call.keyStarts[n] : call.k.sequence; });
  requireLengths("prefix_lengths", call.prefixLengths, call.sequences, [](int64_t) { return INT32_MAX; });
}

void readMasks(Arguments& arguments, const Tensors& t, const Options& options, Call& call) {
  if (t.prefix_lengths && !call.causal && call.windowLeft < 0 && call.windowRight < 0)
    failUnwanted("prefix_lengths", "without causal and without a window");
  requireTogether("query_segments", t.query_segments, "key_segments", t.key_segments);
  if (t.query_segments) {
    call.querySegments =
        scoreArray<const int32_t>(arguments.stridedInt32("query_segments", t.query_segments, "[B, Sq]"), {kBatch, kRow});
    call.keySegments =
        scoreArray<const int32_t>(arguments.stridedInt32("key_segments", t.key_segments, "[B, Sk]"), {kBatch, kColumn});
  }
  const auto four = {kBatch, kHead, kRow, kColumn};
  if (t.mask) call.mask = scoreArray<const uint8_t>(arguments.stridedFlags("mask", t.mask, "[B|1, H|1, Sq|1, Sk]"), four);
  call.maskBlockRows = readAtLeastOne(options.mask_block_rows, "mask_block_rows");
  call.maskBlockColumns = readAtLeastOne(options.mask_block_columns, "mask_block_columns");
  if (!t.block_mask) return;
  const View& blocks = arguments.stridedFlags("block_mask", t.block_mask, "[B|1, H|1, I, J]");
  const int64_t rows = ceilDivide(call.q.sequence, call.maskBlockRows);
  const int64_t columns = ceilDivide(call.k.sequence, call.maskBlockColumns);
  if (blocks.extents[kRow] != rows || blocks.extents[kColumn] != columns)
    fail(FK_ERROR_INVALID_ARGUMENT, "block_mask: %lld x %lld blocks, needs %lld x %lld",
         static_cast<long long>(blocks.extents[kRow]), static_cast<long long>(blocks.extents[kColumn]),
         static_cast<long long>(rows), static_cast<long long>(columns));
  call.blockMask = scoreArray<const uint8_t>(blocks, four);
}

Call readInputs(Arguments& arguments, const Options& options, const Tensors& t) {
  Call call;
  call.q = arguments.headOperand("q", t.q, "[B, Sq, H, D]");
  call.k = arguments.headOperand("k", t.k, "[B, Sk, G, D]");
  call.v = arguments.headOperand("v", t.v, "[B, Sk, G, Dv]");
  readAttentionOptions(options, call);
  if (call.k.heads == 0 ? call.q.heads > 0 : call.q.heads % call.k.heads != 0)
    fail(FK_ERROR_INVALID_ARGUMENT, "q: %lld heads, needs a multiple of the %lld heads of k",
         static_cast<long long>(call.q.heads), static_cast<long long>(call.k.heads));
  if (call.q.sequence > INT32_MAX || call.k.sequence > INT32_MAX)
    fail(FK_ERROR_INVALID_ARGUMENT, "q, k: %lld queries and %lld keys, need at most %d",
         static_cast<long long>(call.q.sequence), static_cast<long long>(call.k.sequence), INT32_MAX);
  readSequences(arguments, t, call);
  readMasks(arguments, t, options, call);
  readParameters(arguments, t, true, call);
  readRelativeBuckets(options, call);
  readAxialWidth(call);
  const int64_t diagonals = std::max<int64_t>(0, call.q.sequence + call.k.sequence - 1);
  if (call.toeplitz && call.toeplitz.value.extents[kColumn] != diagonals)
    fail(FK_ERROR_INVALID_ARGUMENT, "toeplitz_factor: %lld columns, needs Sq + Sk - 1 = %lld",
         static_cast<long long>(call.toeplitz.value.extents[kColumn]), static_cast<long long>(diagonals));
  return call;
}

// T is float where it is written, const float where it is read; kernels have one field for both.
template <class T>
void readPerQuery(Arguments& arguments, const char* name, const DLTensor* tensor, cpu::ScoreArray<float>& to) {
  if (!tensor) return;
  to = scoreArray<float>(arguments.strided<T>(name, tensor, "[B, H, Sq]"), {kBatch, kHead, kRow});
}

void readOutputs(Arguments& arguments, const Tensors& t, Call& call) {
  if (t.output) call.output = arguments.headOutput("output", t.output, "[B, Sq, H, Dv]");
  readPerQuery<float>(arguments, "log_sum_exp", t.log_sum_exp, call.logSumExp);
  readPerQuery<float>(arguments, "max_score", t.max_score, call.maxScore);
  readPerQuery<float>(arguments, "entropy", t.entropy, call.entropy);
  if (t.key_weights)
    call.keyWeights =
        scoreArray<float>(arguments.strided<float>("key_weights", t.key_weights, "[B, H, Sk]"), {kBatch, kHead, kColumn});
}

void readGradients(Arguments& arguments, const Tensors& t, Call& call) {
  if (t.d_q) call.dQ = arguments.headOutput("d_q", t.d_q, "[B, Sq, H, D]");
  if (t.d_k) call.dK = arguments.headOutput("d_k", t.d_k, "[B, Sk, G, D]");
  if (t.d_v) call.dV = arguments.headOutput("d_v", t.d_v, "[B, Sk, G, Dv]");
  readParameters(arguments, t, false, call);
}

void readUpstream(Arguments& arguments, const Tensors& t, Call& call) {
  if (t.d_output) call.dOutput = arguments.headOperand("d_output", t.d_output, "[B, Sq, H, Dv]");
  if (t.d_log_sum_exp)
    call.dLogSumExp = scoreArray<const float>(arguments.strided<const float>("d_log_sum_exp", t.d_log_sum_exp, "[B, H, Sq]"),
                                              {kBatch, kHead, kRow});
}

void requireNoGradients(const Tensors& t) {
  for (const auto& [tensor, name] : {std::pair<const DLTensor*, const char*>{t.d_output, "d_output"},
                                     {t.d_log_sum_exp, "d_log_sum_exp"},
                                     {t.d_q, "d_q"},
                                     {t.d_k, "d_k"},
                                     {t.d_v, "d_v"},
                                     {t.d_bias, "d_bias"},
                                     {t.d_key_bias, "d_key_bias"},
                                     {t.d_alibi_slopes, "d_alibi_slopes"},
                                     {t.d_relative_bias, "d_relative_bias"},
                                     {t.d_axial_bias_x, "d_axial_bias_x"},
                                     {t.d_axial_bias_y, "d_axial_bias_y"},
                                     {t.d_sinks, "d_sinks"},
                                     {t.d_toeplitz_factor, "d_toeplitz_factor"}})
    requireAbsent(tensor, name, "in a forward call");
}

void requireGiven(const DLTensor* tensor, const char* name) {
  if (!tensor) fail(FK_ERROR_INVALID_ARGUMENT, "%s: NULL, needs a DLTensor", name);
}

const cpu::AttentionKernels& kernelsOf(const ContextLock& lock) { return cpu::attentionKernelsFor(lock->isa); }

}  // namespace
}  // namespace fk::abi

using namespace fk::abi;

void fk_attention_tensors_init(fk_attention_tensors* tensors) noexcept {
  *tensors = {};
  tensors->struct_size = sizeof(*tensors);
}

fk_status fk_attention_forward(fk_context* context, const fk_attention_options* options,
                               const fk_attention_tensors* tensors) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    const Options read = readOptions(options, fk_attention_options_init);
    const Tensors given = readTensors(tensors, fk_attention_tensors_init);
    requireNoGradients(given);
    Arguments arguments;
    Call call = readInputs(arguments, read, given);
    requireGiven(given.output, "output");
    readOutputs(arguments, given, call);
    requireSequencesInRange(call);
    runWithWorkspace(lock, call, kernelsOf(lock).forwardBytes, kernelsOf(lock).forward);
  });
}

fk_status fk_attention_backward(fk_context* context, const fk_attention_options* options,
                                const fk_attention_tensors* tensors) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    const Options read = readOptions(options, fk_attention_options_init);
    const Tensors given = readTensors(tensors, fk_attention_tensors_init);
    for (const auto& [tensor, name] : {std::pair<const DLTensor*, const char*>{given.max_score, "max_score"},
                                       {given.entropy, "entropy"},
                                       {given.key_weights, "key_weights"}})
      requireAbsent(tensor, name, "in a backward call");
    Arguments arguments;
    Call call = readInputs(arguments, read, given);
    call.savedOutput = arguments.headOperand("output", given.output, "[B, Sq, H, Dv]");
    requireGiven(given.log_sum_exp, "log_sum_exp");
    readPerQuery<const float>(arguments, "log_sum_exp", given.log_sum_exp, call.logSumExp);
    requireGiven(given.d_output, "d_output");
    readUpstream(arguments, given, call);
    readGradients(arguments, given, call);
    requireSequencesInRange(call);
    runWithWorkspace(lock, call, kernelsOf(lock).backwardBytes, kernelsOf(lock).backward);
  });
}

fk_status fk_attention_workspace_size(fk_context* context, const fk_attention_options* options,
                                      const fk_attention_tensors* tensors, uint64_t* forward_bytes,
                                      uint64_t* backward_bytes) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    const Options read = readOptions(options, fk_attention_options_init);
    const Tensors given = readTensors(tensors, fk_attention_tensors_init);
    Arguments arguments;
    Call call = readInputs(arguments, read, given);
    readOutputs(arguments, given, call);
    readUpstream(arguments, given, call);
    readGradients(arguments, given, call);
    requireSequencesInRange(call);
    if (forward_bytes) *forward_bytes = kernelsOf(lock).forwardBytes(call, lock->threads, lock->workspaceLimit);
    if (backward_bytes) *backward_bytes = kernelsOf(lock).backwardBytes(call, lock->threads, lock->workspaceLimit);
  });
}
