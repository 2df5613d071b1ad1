// What a test of attention asks for: sizes, layouts, types, options, which optional arrays are there; and how all of that is
// drawn at random.
#pragma once

#include <cmath>
#include <functional>
#include <optional>
#include <string>

#include "abi/calls.h"
#include "oracles/attention_problem.h"

namespace fk::test {

struct AttentionTypes {
  Storage q = Storage::kFloat32, k = q, v = q, output = q, dOutput = q, dQ = q, dK = q, dV = q;
};

// An array whose axes "X|1" are named by bits: bit 0 makes the first axis one element long, and so on.
using Broadcast = std::optional<unsigned>;

struct AttentionCase {
  AttentionCase() { fk_attention_options_init(&options); }
  AttentionCase(int64_t queries, int64_t keys, int64_t dim, int64_t valueDim) : AttentionCase() {
    this->queries = queries;
    this->keys = keys;
    this->dim = dim;
    this->valueDim = valueDim;
  }
  AttentionCase with(const std::function<void(AttentionCase&)>& change) const {
    AttentionCase result = *this;
    change(result);
    return result;
  }

  bool limitsSight() const { return options.causal || options.window_left >= 0 || options.window_right >= 0; }
  int64_t sequences() const { return starts > 0 ? starts : batch; }

  int64_t batch = 1, queries = 0, keys = 0, heads = 1, keyHeads = 1, dim = 0, valueDim = 0;
  fk_attention_options options;
  AttentionTypes types;
  bool keysAreValues = false;  // k and v are one array
  uint64_t layoutSeed = 0;     // 0: contiguous; otherwise every array gets strides of its own

  int64_t starts = 0;  // the sequences that query_starts and key_starts cut the only item into; 0: no starts
  bool queryLengths = false, keyLengths = false, prefixLengths = false, segments = false, ascendingSegments = false;
  Broadcast mask, blockMask;
  bool booleans = false;  // as the type of masks, instead of uint8
  std::array<Broadcast, oracle::kAttentionParameters> parameters;
  int64_t buckets = 0, axialWidth = 1;
  double hidden = 0.3;  // the share of masks that is 0, and of the bias that is -inf where infinities are wanted
  bool infinities = false;

  bool maxScore = false, entropy = false, keyWeights = false, dLogSumExp = false;
  bool dQ = true, dK = true, dV = true;
  std::array<bool, oracle::kAttentionParameters> dParameters = {};

  double range = 1;  // of q, k, v and the parameters
};

inline std::string describe(const AttentionCase& c) {
  const fk_attention_options &o = c.options, plain = AttentionCase().options;
  const auto text = [](const char* name, auto value) { return std::string(", ") + name + " " + std::to_string(value); };
  const auto flag = [](const char* name, bool value) { return value ? std::string(", ") + name : std::string(); };
  const auto changed = [&](const char* name, auto value, auto usual) {
    return value == usual || (std::isnan(value) && std::isnan(usual)) ? std::string() : text(name, value);
  };
  std::string result = std::to_string(c.queries) + " queries, " + std::to_string(c.keys) + " keys" + text("dim", c.dim) +
                       text("value dim", c.valueDim) + text("batch", c.batch) + text("heads", c.heads) +
                       text("key heads", c.keyHeads) + text("layout", c.layoutSeed) + text("range", c.range) + ", types";
  for (Storage type : {c.types.q, c.types.k, c.types.v, c.types.output, c.types.dOutput, c.types.dQ, c.types.dK, c.types.dV})
    result += std::string(" ") + nameOf(type);
  result += changed("causal", o.causal, 0) + changed("scale", o.scale, plain.scale) + changed("softcap", o.softcap, 0.0f) +
            changed("alignment", o.alignment, 0) + changed("length scale", o.length_scale_base, 0.0f) +
            changed("left", o.window_left, plain.window_left) + changed("right", o.window_right, plain.window_right) +
            changed("dropout", o.dropout, 0.0f) + changed("rotary", o.rotary_dims, 0) +
            changed("interleaved", o.rotary_interleaved, 0) + changed("starts", c.starts, int64_t{0}) +
            flag("query lengths", c.queryLengths) + flag("key lengths", c.keyLengths) + flag("prefix", c.prefixLengths) +
            flag("segments", c.segments) + flag("k is v", c.keysAreValues);
  if (c.mask) result += text("mask of broadcast", *c.mask);
  if (c.blockMask)
    result +=
        text("block mask of broadcast", *c.blockMask) + text("of", o.mask_block_rows) + text("x", o.mask_block_columns);
  for (size_t i = 0; i < oracle::kAttentionParameters; ++i)
    if (c.parameters[i])
      result += text((std::string(oracle::kAttentionParameterNames[i]) + " of broadcast").c_str(), *c.parameters[i]) +
                flag("gradient", c.dParameters[i]);
  return result + flag("max_score", c.maxScore) + flag("entropy", c.entropy) + flag("key_weights", c.keyWeights) +
         flag("d_log_sum_exp", c.dLogSumExp) + flag("d_q", c.dQ) + flag("d_k", c.dK) + flag("d_v", c.dV);
}

// One step away from plain attention.
using AttentionOption = std::function<void(AttentionCase&, Random&)>;

inline AttentionOption parameterOption(oracle::AttentionParameter which, unsigned axes) {
  return [=](AttentionCase& c, Random& random) {
    c.parameters[which] = static_cast<unsigned>(random.between(0, (1 << axes) - 1));
    c.dParameters[which] = random.chance(0.8);
  };
}

inline const std::vector<AttentionOption>& attentionOptions() {
  const auto anyBroadcast = [](Random& random) { return static_cast<unsigned>(random.between(0, 7)); };
  static const std::vector<AttentionOption> all = {
      [](AttentionCase& c, Random&) { c.options.causal = 1; },
      [](AttentionCase& c, Random&) { c.options.alignment = FK_ALIGNMENT_TOP_LEFT; },
      [](AttentionCase& c, Random& random) {
        c.options.scale = random.pick({0.0f, 0.3f, -0.5f, 1.0f});
      },
      [](AttentionCase& c, Random& random) {
        c.options.softcap = random.pick({0.5f, 2.0f, 30.0f});
      },
      [](AttentionCase& c, Random& random) {
        c.options.length_scale_base = random.pick({2.7182817f, 1.5f, 100.0f});
      },
      [](AttentionCase& c, Random& random) { c.options.window_left = random.between(0, c.keys); },
      [](AttentionCase& c, Random& random) { c.options.window_right = random.between(0, c.keys); },
      [](AttentionCase& c, Random& random) {
        c.options.window_left = random.between(0, 4);
        c.options.window_right = random.between(0, 4);
      },
      [](AttentionCase& c, Random&) { c.prefixLengths = true; },
      [](AttentionCase& c, Random&) { c.queryLengths = true; },
      [](AttentionCase& c, Random&) { c.keyLengths = true; },
      [](AttentionCase& c, Random& random) { c.starts = random.between(1, 5); },
      [](AttentionCase& c, Random& random) { c.segments = true, c.ascendingSegments = random.chance(0.7); },
      [=](AttentionCase& c, Random& random) { c.mask = anyBroadcast(random), c.booleans = random.chance(0.5); },
      [=](AttentionCase& c, Random& random) {
        c.blockMask = anyBroadcast(random) & 3;
        c.options.mask_block_rows = random.pick<int64_t>({1, 3, 8, 64});
        c.options.mask_block_columns = random.pick<int64_t>({1, 5, 16, 64});
        c.hidden = random.pick({0.3, 0.8});
      },
      parameterOption(oracle::kBias, 3),
      [](AttentionCase& c, Random& random) {
        parameterOption(oracle::kBias, 3)(c, random);
        c.infinities = true;
      },
      parameterOption(oracle::kKeyBias, 2),
      parameterOption(oracle::kAlibiSlopes, 1),
      [](AttentionCase& c, Random& random) {
        parameterOption(oracle::kRelativeBias, 0)(c, random);
        c.options.relative_bidirectional = random.chance(0.5);
        c.buckets = 2 * random.between(1, 16);
        c.options.relative_max_distance = random.between(c.buckets + 1, 130);
      },
      [](AttentionCase& c, Random& random) {
        if (random.chance(0.9)) parameterOption(oracle::kAxialBiasX, 2)(c, random);
        if (random.chance(0.9)) parameterOption(oracle::kAxialBiasY, 2)(c, random);
        c.axialWidth = random.pick<int64_t>({1, 2, 5, 16});
      },
      parameterOption(oracle::kSinks, 0),
      parameterOption(oracle::kToeplitzFactor, 1),
      [](AttentionCase& c, Random& random) {
        c.options.dropout = random.pick({0.1f, 0.5f, 0.95f});
        c.options.dropout_seed = random.next();
      },
      [](AttentionCase& c, Random& random) {
        c.options.rotary_dims = 2;  // at least; widened to the head afterwards
        c.options.rotary_interleaved = random.chance(0.5);
        c.options.rotary_base = random.pick({10000.0f, 500.0f});
        c.options.rotary_query_offset = random.between(-3, 1000);
        c.options.rotary_key_offset = random.between(-3, 1000);
      },
      [](AttentionCase& c, Random&) { c.dLogSumExp = true; },
      [](AttentionCase& c, Random&) { c.maxScore = true; },
      [](AttentionCase& c, Random&) { c.entropy = true; },
      [](AttentionCase& c, Random&) { c.keyWeights = true; },
      [](AttentionCase& c, Random&) { c.keysAreValues = true; }};
  return all;
}

// Mostly small sizes, with the neighbours of every tile's edges among them: panels of 2, 8, 16 and 32 queries, and of 4, 6
// and 14 keys, tiles of 252 keys.
inline void drawSizes(AttentionCase& c, Random& random) {
  const auto extent = [&](double largest) {
    return static_cast<int64_t>(std::exp2(random.uniform(0, std::log2(largest + 1))));
  };
  const auto around = [&](std::initializer_list<int64_t> edges) { return random.pick(edges) + random.between(-1, 1); };
  do {
    c.batch = random.between(1, 3);
    c.keyHeads = random.between(1, 3);
    c.heads = c.keyHeads * random.pick<int64_t>({1, 1, 2, 3});
    c.queries = random.chance(0.3) ? around({2, 8, 16, 32, 64}) : extent(60);
    c.keys = random.chance(0.3) ? around({4, 6, 14, 28, 252}) : extent(80);
    if (random.chance(0.2)) c.keys = c.queries;
    c.dim = random.chance(0.1) ? around({64, 128}) : extent(40);
    c.valueDim = random.chance(0.3) ? c.dim : extent(40);
  } while (c.batch * c.heads * c.queries * c.keys * (c.dim + c.valueDim) > 600000);
  if (random.chance(0.02)) c.queries = 0;
  if (random.chance(0.02)) c.keys = 0;
  if (random.chance(0.02)) c.dim = 0;
  if (random.chance(0.02)) c.valueDim = 0;
}

inline void drawTypes(AttentionCase& c, Random& random) {
  if (random.chance(0.5)) return;
  const auto any = [&] { return random.pick({Storage::kFloat32, Storage::kBFloat16, Storage::kFloat16}); };
  const Storage all = any();
  const bool mixed = random.chance(0.3);
  AttentionTypes& t = c.types;
  for (Storage* type : {&t.q, &t.k, &t.v, &t.output, &t.dOutput, &t.dQ, &t.dK, &t.dV}) *type = mixed ? any() : all;
}

// What options ask of each other.
inline void makeConsistent(AttentionCase& c, Random& random) {
  if (c.starts > 0) c.batch = 1;
  if (c.prefixLengths && !c.limitsSight()) c.options.causal = 1;
  if (c.keysAreValues) c.valueDim = c.dim, c.types.v = c.types.k;
  if (c.options.rotary_dims > 0) {
    c.dim = std::max<int64_t>(c.dim, 2);
    if (c.keysAreValues) c.valueDim = c.dim;
    c.options.rotary_dims = static_cast<int32_t>(2 * random.between(1, c.dim / 2));
  }
  if (c.keys % c.axialWidth != 0) c.axialWidth = c.keys;
  if (c.queries + c.keys == 0) c.parameters[oracle::kToeplitzFactor] = std::nullopt;
  for (size_t i = 0; i < oracle::kAttentionParameters; ++i) c.dParameters[i] &= c.parameters[i].has_value();
}

// Plain attention, one option, mostly a pair of them, or many.
inline AttentionCase drawCase(Random& random) {
  AttentionCase c;
  drawSizes(c, random);
  drawTypes(c, random);
  if (random.chance(0.6)) c.layoutSeed = random.next();
  const std::vector<AttentionOption>& options = attentionOptions();
  for (int64_t count = random.pick<int64_t>({0, 1, 2, 2, 2, 2, 3, 4, 6, 10}); count > 0; --count)
    options[static_cast<size_t>(random.between(0, static_cast<int64_t>(options.size()) - 1))](c, random);
  c.dQ = random.chance(0.8);
  c.dK = random.chance(0.8);
  c.dV = random.chance(0.8);
  c.range = random.pick({0.1, 1.0, 1.0, 3.0});
  makeConsistent(c, random);
  return c;
}

}  // namespace fk::test
