// An attention problem behind the C ABI: its arrays, its oracle, the calls, and what their results have to be.
#pragma once

#include "abi/attention_case.h"
#include "oracles/attention.h"
#include "tolerance.h"

namespace fk::test {

using AttentionTensors = CallTensors<fk_attention_tensors, fk_attention_tensors_init>;

// In the order of oracle::AttentionParameter.
struct AttentionParameterMember {
  const DLTensor* fk_attention_tensors::*value;
  DLTensor* fk_attention_tensors::*gradient;
};
constexpr AttentionParameterMember kAttentionParameterMembers[] = {
    {&fk_attention_tensors::bias, &fk_attention_tensors::d_bias},
    {&fk_attention_tensors::key_bias, &fk_attention_tensors::d_key_bias},
    {&fk_attention_tensors::alibi_slopes, &fk_attention_tensors::d_alibi_slopes},
    {&fk_attention_tensors::relative_bias, &fk_attention_tensors::d_relative_bias},
    {&fk_attention_tensors::axial_bias_x, &fk_attention_tensors::d_axial_bias_x},
    {&fk_attention_tensors::axial_bias_y, &fk_attention_tensors::d_axial_bias_y},
    {&fk_attention_tensors::sinks, &fk_attention_tensors::d_sinks},
    {&fk_attention_tensors::toeplitz_factor, &fk_attention_tensors::d_toeplitz_factor}};

inline Roundoff roundoffOf(Storage storage) {
  return storage == Storage::kFloat32    ? kFloat32Roundoff
         : storage == Storage::kBFloat16 ? kBFloat16Roundoff
                                         : kFloat16Roundoff;
}

struct Boolean {
  static constexpr DLDataType kDataType = {6, 8, 1};  // DLPack's kDLBool

  Boolean() = default;
  explicit Boolean(int64_t x) : value(x != 0) {}
  explicit operator int64_t() const { return value; }
  static Boolean canary() { return {}; }

  uint8_t value = 0;
};
using MaskArray = AnyArray<int64_t, uint8_t, Boolean>;

// What the library writes. Fresh ones hold canaries, so an element that is not written shows as NaN.
struct AttentionOutputs {
  FloatArray output, logSumExp, maxScore, entropy, keyWeights, dQ, dK, dV;
  std::array<FloatArray, oracle::kAttentionParameters> dParameters;

  std::vector<const FloatArray*> all() const {
    std::vector<const FloatArray*> result = {&output, &logSumExp, &maxScore, &entropy, &keyWeights, &dQ, &dK, &dV};
    for (const FloatArray& gradient : dParameters) result.push_back(&gradient);
    return result;
  }
  bool canariesIntact() const {
    const auto arrays = all();
    return std::all_of(arrays.begin(), arrays.end(), [](const auto* array) { return array->canariesIntact(); });
  }
  // Absent outputs are canaries in each.
  bool sameBitsAs(const AttentionOutputs& other) const {
    const auto mine = all(), others = other.all();
    for (size_t i = 0; i < mine.size(); ++i)
      if (!sameBits(mine[i]->values(), others[i]->values())) return false;
    return true;
  }
};

class AttentionProblem {
 public:
  using Expected = oracle::AttentionResult<Bounded>;
  using Outputs = AttentionOutputs;

  AttentionProblem(const AttentionCase& c, Random random) : shape(c), layouts_(c.layoutSeed) {
    drawSequences(random);
    const auto element = [&] { return random.uniform(-c.range, c.range); };
    q = headArray(c.types.q, c.queries, c.heads, c.dim, kInput);
    k = headArray(c.types.k, c.keys, c.keyHeads, c.dim, kInput);
    v = headArray(c.types.v, c.keys, c.keyHeads, c.valueDim, kInput);
    dOutput = headArray(c.types.dOutput, c.queries, c.heads, c.valueDim, kInput);
    fillHeads(q, readQueries(), c.heads * c.dim, element);
    fillHeads(k, readKeys(), c.keyHeads * c.dim, element);
    fillHeads(v, readKeys(), c.keyHeads * c.valueDim, element);
    fillHeads(dOutput, readQueries(), c.heads * c.valueDim, [&] { return random.uniform(-1, 1); });
    dLogSumExp = strided<float>({c.batch, c.heads, c.queries}, kInput);
    dLogSumExp.fill([&] { return random.uniform(-1, 1); });
    drawMasks(random);
    for (size_t i = 0; i < oracle::kAttentionParameters; ++i) {
      if (!c.parameters[i]) continue;
      parameters[i] = strided<float>(parameterShape(i), kInput);
      const bool infinite = i == oracle::kBias && c.infinities;
      parameters[i].fill([&] { return infinite && random.chance(c.hidden) ? -kInfinity : element(); });
    }
  }

  oracle::Attention oracleProblem() const {
    const fk_attention_options& o = shape.options;
    oracle::Attention p;
    p.q = {{shape.batch, shape.queries, shape.heads, shape.dim}, q.values()};
    p.k = {{shape.batch, shape.keys, shape.keyHeads, shape.dim}, k.values()};
    p.v = {{shape.batch, shape.keys, shape.keyHeads, shape.valueDim}, (shape.keysAreValues ? k : v).values()};
    p.scale = o.scale;
    if (std::isnan(o.scale)) p.scale = shape.dim == 0 ? 1 : 1 / std::sqrt(static_cast<float>(shape.dim));
    p.softcap = o.softcap, p.lengthScaleBase = o.length_scale_base;
    p.causal = o.causal, p.topLeft = o.alignment == FK_ALIGNMENT_TOP_LEFT;
    p.windowLeft = o.window_left, p.windowRight = o.window_right;
    p.queryLengths = present(shape.queryLengths, queryLengths), p.keyLengths = present(shape.keyLengths, keyLengths);
    p.prefixLengths = present(shape.prefixLengths, prefixLengths);
    p.queryStarts = present(shape.starts > 0, queryStarts), p.keyStarts = present(shape.starts > 0, keyStarts);
    if (shape.segments) p.querySegments = {{shape.batch, shape.queries}, querySegments.values()};
    if (shape.segments) p.keySegments = {{shape.batch, shape.keys}, keySegments.values()};
    if (shape.mask) p.mask = {maskShape(), mask.values()};
    if (shape.blockMask) p.blockMask = {blockMaskShape(), blockMask.values()};
    p.maskBlockRows = o.mask_block_rows, p.maskBlockColumns = o.mask_block_columns;
    for (size_t i = 0; i < oracle::kAttentionParameters; ++i)
      if (shape.parameters[i]) p.parameters[i] = {parameterShape(i), parameters[i].values()};
    p.relativeBidirectional = o.relative_bidirectional, p.relativeMaxDistance = o.relative_max_distance;
    p.dropout = o.dropout, p.dropoutSeed = o.dropout_seed;
    p.rotary = {o.rotary_interleaved != 0, false, o.rotary_dims, o.rotary_base};
    p.rotaryQueryOffset = o.rotary_query_offset, p.rotaryKeyOffset = o.rotary_key_offset;
    p.dOutput = {{shape.batch, shape.queries, shape.heads, shape.valueDim}, dOutput.values()};
    if (shape.dLogSumExp) p.dLogSumExp = {{shape.batch, shape.heads, shape.queries}, dLogSumExp.values()};
    p.outputRoundoff = roundoffOf(shape.types.output);
    return p;
  }
  Expected expected() const { return oracle::attention<Bounded>(oracleProblem()); }

  // Every one has a layout of its own, and the same one each time.
  Outputs outputs() const {
    const AttentionCase& c = shape;
    Outputs out;
    Random layouts(c.layoutSeed + 1);
    std::swap(layouts_, layouts);
    out.output = headArray(c.types.output, c.queries, c.heads, c.valueDim, kOutput);
    for (FloatArray* perRow : {&out.logSumExp, &out.maxScore, &out.entropy})
      *perRow = strided<float>({c.batch, c.heads, c.queries}, kOutput);
    out.keyWeights = strided<float>({c.batch, c.heads, c.keys}, kOutput);
    out.dQ = headArray(c.types.dQ, c.queries, c.heads, c.dim, kOutput);
    out.dK = headArray(c.types.dK, c.keys, c.keyHeads, c.dim, kOutput);
    out.dV = headArray(c.types.dV, c.keys, c.keyHeads, c.valueDim, kOutput);
    for (size_t i = 0; i < oracle::kAttentionParameters; ++i)
      if (c.parameters[i]) out.dParameters[i] = strided<float>(parameterShape(i), kOutput);
    std::swap(layouts_, layouts);
    return out;
  }

  // The struct with the inputs alone.
  AttentionTensors inputs() {
    const AttentionCase& c = shape;
    AttentionTensors t;
    t.value.q = t.keep(q);
    t.value.k = t.keep(k);
    t.value.v = t.keep(c.keysAreValues ? k : v);
    t.value.query_lengths = t.keep(queryLengths, c.queryLengths);
    t.value.key_lengths = t.keep(keyLengths, c.keyLengths);
    t.value.prefix_lengths = t.keep(prefixLengths, c.prefixLengths);
    t.value.query_starts = t.keep(queryStarts, c.starts > 0);
    t.value.key_starts = t.keep(keyStarts, c.starts > 0);
    t.value.query_segments = t.keep(querySegments, c.segments);
    t.value.key_segments = t.keep(keySegments, c.segments);
    t.value.mask = t.keep(mask, c.mask.has_value());
    t.value.block_mask = t.keep(blockMask, c.blockMask.has_value());
    for (size_t i = 0; i < oracle::kAttentionParameters; ++i)
      t.value.*kAttentionParameterMembers[i].value = t.keep(parameters[i], c.parameters[i].has_value());
    return t;
  }

  void addForwardOutputs(AttentionTensors& t, Outputs& out) const {
    t.value.output = t.keep(out.output);
    t.value.log_sum_exp = t.keep(out.logSumExp);
    t.value.max_score = t.keep(out.maxScore, shape.maxScore);
    t.value.entropy = t.keep(out.entropy, shape.entropy);
    t.value.key_weights = t.keep(out.keyWeights, shape.keyWeights);
  }

  void addGradients(AttentionTensors& t, Outputs& out) {
    t.value.output = t.keep(out.output);
    t.value.log_sum_exp = t.keep(out.logSumExp);
    t.value.d_output = t.keep(dOutput);
    t.value.d_log_sum_exp = t.keep(dLogSumExp, shape.dLogSumExp);
    t.value.d_q = t.keep(out.dQ, shape.dQ);
    t.value.d_k = t.keep(out.dK, shape.dK);
    t.value.d_v = t.keep(out.dV, shape.dV);
    for (size_t i = 0; i < oracle::kAttentionParameters; ++i)
      t.value.*kAttentionParameterMembers[i].gradient = t.keep(out.dParameters[i], shape.dParameters[i]);
  }

  Outputs forward(fk_context* context) {
    Outputs out = outputs();
    AttentionTensors t = inputs();
    addForwardOutputs(t, out);
    EXPECT_EQ(fk_attention_forward(context, &shape.options, &t.value), FK_OK) << fk_last_error();
    EXPECT_TRUE(out.canariesIntact()) << "forward wrote outside its outputs";
    return out;
  }

  // Continues what forward left.
  void backward(fk_context* context, Outputs& out) {
    AttentionTensors t = inputs();
    addGradients(t, out);
    const std::vector<double> output = out.output.values(), logSumExp = out.logSumExp.values();
    EXPECT_EQ(fk_attention_backward(context, &shape.options, &t.value), FK_OK) << fk_last_error();
    EXPECT_TRUE(out.canariesIntact()) << "backward wrote outside its outputs";
    EXPECT_TRUE(sameBits(out.output.values(), output) && sameBits(out.logSumExp.values(), logSumExp))
        << "backward changed its inputs";
  }

  Outputs run(fk_context* context) {
    Outputs out = forward(context);
    backward(context, out);
    return out;
  }

  void expectResults(const Outputs& out, const Expected& expected) const {
    const AttentionCase& c = shape;
    expectWithin("output", true, out.output, expected.output, c.types.output);
    expectWithin("log_sum_exp", true, out.logSumExp, expected.logSumExp);
    expectWithin("max_score", c.maxScore, out.maxScore, expected.maxScore);
    expectWithin("entropy", c.entropy, out.entropy, expected.entropy);
    expectWithin("key_weights", c.keyWeights, out.keyWeights, expected.keyWeights);
    expectWithin("d_q", c.dQ, out.dQ, expected.dQ, c.types.dQ);
    expectWithin("d_k", c.dK, out.dK, expected.dK, c.types.dK);
    expectWithin("d_v", c.dV, out.dV, expected.dV, c.types.dV);
    for (size_t i = 0; i < oracle::kAttentionParameters; ++i)
      expectWithin(oracle::kAttentionParameterNames[i], c.dParameters[i], out.dParameters[i], expected.dParameters[i]);
  }

  // On every instruction set.
  void expectCorrect() {
    SCOPED_TRACE(describe(shape));
    const Expected values = expected();
    for (Isa isa : supportedIsas()) {
      SCOPED_TRACE(isaName(isa));
      expectResults(run(contextFor(isa, 2)), values);
    }
  }

  std::vector<int64_t> maskShape() const {
    return broadcast({shape.batch, shape.heads, shape.queries, shape.keys}, *shape.mask);
  }
  std::vector<int64_t> blockMaskShape() const {
    const auto blocks = [](int64_t extent, int64_t size) { return (extent + size - 1) / size; };
    return broadcast({shape.batch, shape.heads, blocks(shape.queries, shape.options.mask_block_rows),
                      blocks(shape.keys, shape.options.mask_block_columns)},
                     *shape.blockMask);
  }
  std::vector<int64_t> parameterShape(size_t which) const {
    const AttentionCase& c = shape;
    const std::vector<int64_t> whole[] = {{c.batch, c.heads, c.queries, c.keys},
                                          {c.batch, c.heads, c.keys},
                                          {c.batch, c.heads},
                                          {c.buckets, c.heads},
                                          {c.batch, c.heads, c.queries, c.axialWidth},
                                          {c.batch, c.heads, c.queries, c.keys / c.axialWidth},
                                          {c.heads},
                                          {c.heads, c.queries + c.keys - 1}};
    return broadcast(whole[which], *c.parameters[which]);
  }

  AttentionCase shape;
  FloatArray q, k, v, dOutput;
  StridedArray<int32_t> queryLengths, keyLengths, prefixLengths, queryStarts, keyStarts, querySegments, keySegments;
  MaskArray mask, blockMask;
  std::array<StridedArray<float>, oracle::kAttentionParameters> parameters;
  StridedArray<float> dLogSumExp;

 private:
  enum Use { kInput, kOutput };

  static std::vector<int64_t> present(bool wanted, const StridedArray<int32_t>& array) {
    const std::vector<int32_t> values = array.values();
    return wanted ? std::vector<int64_t>(values.begin(), values.end()) : std::vector<int64_t>();
  }

  static std::vector<int64_t> broadcast(std::vector<int64_t> extents, unsigned axes) {
    for (size_t axis = 0; axis < extents.size(); ++axis)
      if (axes >> axis & 1) extents[axis] = 1;
    return extents;
  }

  // Axes in any order, gaps, negative strides, and for inputs a stride of 0 along an axis. An `inner` axis lies innermost,
  // with stride 1; nothing repeats along axes before `mayRepeat`.
  std::vector<int64_t> drawStrides(const std::vector<int64_t>& extents, Use use, bool inner, size_t mayRepeat) const {
    if (shape.layoutSeed == 0 || layouts_.chance(0.3)) return StridedArray<float>::contiguous(extents);
    const size_t axes = extents.size(), free = axes - inner;
    std::vector<size_t> order(axes);
    std::iota(order.begin(), order.end(), 0);
    for (size_t axis = free; axis-- > 1;)
      std::swap(order[axis], order[static_cast<size_t>(layouts_.between(0, static_cast<int64_t>(axis)))]);
    std::vector<int64_t> strides(axes, 1);
    int64_t stride = inner || layouts_.chance(0.7) ? 1 : 2;
    for (size_t at = axes; at-- > 0;) {
      const size_t axis = order[at];
      const bool isInner = inner && at + 1 == axes;
      strides[axis] = !isInner && layouts_.chance(0.15) ? -stride : stride;
      stride = stride * std::max<int64_t>(extents[axis], 1) + (layouts_.chance(0.3) ? layouts_.between(1, 5) : 0);
    }
    if (use == kInput && free > mayRepeat && layouts_.chance(0.1))
      strides[static_cast<size_t>(layouts_.between(static_cast<int64_t>(mayRepeat), static_cast<int64_t>(free) - 1))] = 0;
    return strides;
  }

  template <class T>
  StridedArray<T> strided(const std::vector<int64_t>& extents, Use use) const {
    return StridedArray<T>(extents, drawStrides(extents, use, false, 0));
  }
  FloatArray headArray(Storage storage, int64_t sequence, int64_t heads, int64_t dim, Use use) const {
    const std::vector<int64_t> extents = {shape.batch, sequence, heads, dim};
    return floatArray(storage, extents, drawStrides(extents, use, true, 2));
  }

  // Ascending from 0, mostly up to the end.
  StridedArray<int32_t> drawStarts(int64_t extent, Random& random) const {
    std::vector<int32_t> cuts;
    for (int64_t n = 1; n < shape.starts; ++n) cuts.push_back(static_cast<int32_t>(random.between(0, extent)));
    cuts.push_back(static_cast<int32_t>(random.chance(0.7) ? extent : random.between(0, extent)));
    std::sort(cuts.begin(), cuts.end());
    cuts.insert(cuts.begin(), 0);
    StridedArray<int32_t> starts({shape.starts + 1});
    starts.fill([at = size_t{0}, &cuts]() mutable { return cuts[at++]; });
    return starts;
  }

  void drawLengths(StridedArray<int32_t>& lengths, const StridedArray<int32_t>& starts, int64_t extent, Random& random) {
    lengths = strided<int32_t>({shape.sequences()}, kOutput);
    for (int64_t n = 0; n < shape.sequences(); ++n) {
      const int64_t whole = shape.starts > 0 ? starts(n + 1) - starts(n) : extent;
      lengths(n) = static_cast<int32_t>(random.chance(0.3) ? whole : random.between(0, whole));
    }
  }

  void drawSequences(Random& random) {
    if (shape.starts > 0) {
      queryStarts = drawStarts(shape.queries, random);
      keyStarts = drawStarts(shape.keys, random);
    }
    drawLengths(queryLengths, queryStarts, shape.queries, random);
    drawLengths(keyLengths, keyStarts, shape.keys, random);
    prefixLengths = strided<int32_t>({shape.sequences()}, kInput);
    prefixLengths.fill([&] { return random.between(0, shape.keys + 2); });
  }

  void drawMasks(Random& random) {
    int64_t segment = 0;
    const auto nextSegment = [&] {
      if (!shape.ascendingSegments) return random.between(-1, 1);
      return segment += random.chance(0.1);
    };
    querySegments = strided<int32_t>({shape.batch, shape.queries}, kInput);
    keySegments = strided<int32_t>({shape.batch, shape.keys}, kInput);
    for (StridedArray<int32_t>* segments : {&querySegments, &keySegments}) {
      segment = 0;
      segments->fill(nextSegment);
    }
    const auto draw = [&](const std::vector<int64_t>& extents) {
      MaskArray result =
          shape.booleans ? MaskArray(strided<Boolean>(extents, kInput)) : MaskArray(strided<uint8_t>(extents, kInput));
      result.fill([&]() -> int64_t { return random.chance(shape.hidden) ? 0 : random.between(1, 255); });
      return result;
    };
    if (shape.mask) mask = draw(maskShape());
    if (shape.blockMask) blockMask = draw(blockMaskShape());
  }

  // [batch * extent]: whether a row belongs to a sequence.
  std::vector<bool> readRows(int64_t extent, int64_t oracle::AttentionSequence::*first,
                             int64_t oracle::AttentionSequence::*count) const {
    oracle::Attention p;
    p.q = oracle::Array<double>({shape.batch, shape.queries, 1, 0});
    p.k = oracle::Array<double>({shape.batch, shape.keys, 1, 0});
    p.queryLengths = present(shape.queryLengths, queryLengths), p.keyLengths = present(shape.keyLengths, keyLengths);
    p.queryStarts = present(shape.starts > 0, queryStarts), p.keyStarts = present(shape.starts > 0, keyStarts);
    std::vector<bool> read(static_cast<size_t>(shape.batch * extent), false);
    for (const oracle::AttentionSequence& s : p.sequences())
      std::fill_n(read.begin() + s.batch * extent + s.*first, s.*count, true);
    return read;
  }
  std::vector<bool> readQueries() const {
    return readRows(shape.queries, &oracle::AttentionSequence::firstQuery, &oracle::AttentionSequence::queries);
  }
  std::vector<bool> readKeys() const {
    return readRows(shape.keys, &oracle::AttentionSequence::firstKey, &oracle::AttentionSequence::keys);
  }

  // Rows that are not to be read are NaN.
  template <class Value>
  static void fillHeads(FloatArray& heads, const std::vector<bool>& read, int64_t elementsPerRow, const Value& value) {
    int64_t at = 0;
    heads.fill([&]() -> double { return read[static_cast<size_t>(at++ / elementsPerRow)] ? value() : kNan; });
  }

  static void expectWithin(const char* name, bool wanted, const FloatArray& actual, const oracle::Array<Bounded>& expected,
                           Storage storage = Storage::kFloat32) {
    if (!wanted) return;
    EXPECT_TRUE(allWithin(actual.values(), expected.values, roundoffOf(storage))) << name;
  }

  mutable Random layouts_;
};

}  // namespace fk::test
