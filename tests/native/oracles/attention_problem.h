// What attention is asked for, and which keys a query sees and where, as fusedkernels.h defines it.
#pragma once

#include <array>
#include <cmath>

#include "oracles/array.h"
#include "oracles/philox.h"
#include "oracles/row_operators.h"
#include "roundoff.h"

namespace fk::oracle {

// The inputs beside q, k and v that have gradients.
enum AttentionParameter {
  kBias,
  kKeyBias,
  kAlibiSlopes,
  kRelativeBias,
  kAxialBiasX,
  kAxialBiasY,
  kSinks,
  kToeplitzFactor,
  kAttentionParameters
};
constexpr const char* kAttentionParameterNames[] = {"bias",         "key_bias",     "alibi_slopes", "relative_bias",
                                                    "axial_bias_x", "axial_bias_y", "sinks",        "toeplitz_factor"};

template <class Real>
using AttentionParameters = std::array<Array<Real>, kAttentionParameters>;

// Queries and keys from the first ones on, along q's and k's axes.
struct AttentionSequence {
  int64_t batch, firstQuery, queries, firstKey, keys, prefix;
};

// Shapes are those of fusedkernels.h; an array that is empty is absent.
struct Attention {
  Array<double> q, k, v;
  double scale = 1, softcap = 0, lengthScaleBase = 0;
  bool causal = false, topLeft = false;
  int64_t windowLeft = -1, windowRight = -1;
  std::vector<int64_t> queryLengths, keyLengths, prefixLengths, queryStarts, keyStarts;
  Array<int64_t> querySegments, keySegments, mask, blockMask;
  int64_t maskBlockRows = 64, maskBlockColumns = 64;
  AttentionParameters<double> parameters;
  bool relativeBidirectional = true;
  int64_t relativeMaxDistance = 128;
  double dropout = 0;
  uint64_t dropoutSeed = 0;
  RotaryEmbedding rotary;
  int64_t rotaryQueryOffset = 0, rotaryKeyOffset = 0;
  Array<double> dOutput, dLogSumExp;
  test::Roundoff outputRoundoff;       // of the output that backward reads
  double (*stored)(double) = nullptr;  // in double: rounds every array that the plain way stores

  int64_t batch() const { return q.shape[0]; }
  int64_t queries() const { return q.shape[1]; }
  int64_t heads() const { return q.shape[2]; }
  int64_t dim() const { return q.shape[3]; }
  int64_t keys() const { return k.shape[1]; }
  int64_t keyHeads() const { return k.shape[2]; }
  int64_t valueDim() const { return v.shape[3]; }
  int64_t keyHead(int64_t h) const { return h / (heads() / keyHeads()); }

  std::vector<AttentionSequence> sequences() const {
    const size_t count = queryStarts.empty() ? static_cast<size_t>(batch()) : queryStarts.size() - 1;
    std::vector<AttentionSequence> result;
    for (size_t n = 0; n < count; ++n) {
      AttentionSequence s{static_cast<int64_t>(n), 0, queries(), 0, keys(), 0};
      if (!queryStarts.empty())
        s = {0, queryStarts[n], queryStarts[n + 1] - queryStarts[n], keyStarts[n], keyStarts[n + 1] - keyStarts[n], 0};
      if (!queryLengths.empty()) s.queries = queryLengths[n];
      if (!keyLengths.empty()) s.keys = keyLengths[n];
      if (!prefixLengths.empty()) s.prefix = prefixLengths[n];
      result.push_back(s);
    }
    return result;
  }

  // Of query i of a sequence; key j is at j.
  int64_t queryPosition(const AttentionSequence& s, int64_t i) const { return topLeft ? i : i + s.keys - s.queries; }

  // By positions alone: causal, windows and prefix.
  bool inSight(const AttentionSequence& s, int64_t x, int64_t y) const {
    if (y < s.prefix) return true;
    return !(causal && y > x) && !(windowLeft >= 0 && x - y > windowLeft) && !(windowRight >= 0 && y - x > windowRight);
  }

  // By the arrays, which are indexed along the axes.
  bool unmasked(int64_t b, int64_t h, int64_t i, int64_t j) const {
    if (querySegments && querySegments(b, i) != keySegments(b, j)) return false;
    if (mask && mask(b, h, i, j) == 0) return false;
    if (blockMask && blockMask(b, h, i / maskBlockRows, j / maskBlockColumns) == 0) return false;
    return !parameters[kBias] || parameters[kBias](b, h, i, j) != -HUGE_VAL;
  }

  double lengthScale(const AttentionSequence& s, int64_t x) const {
    if (lengthScaleBase == 0) return 1;
    int64_t count = 0;
    for (int64_t y = 0; y < s.keys; ++y) count += inSight(s, x, y);
    return count == 0 ? 0 : std::log(static_cast<double>(count)) / std::log(lengthScaleBase);
  }

  // T5's: n is the query's position less the key's.
  int64_t relativeBucket(int64_t n) const {
    int64_t buckets = parameters[kRelativeBias].shape[0], first = 0;
    if (relativeBidirectional) {
      buckets /= 2;
      if (n < 0) first = buckets;
      n = std::abs(n);
    } else {
      n = std::max<int64_t>(n, 0);
    }
    const int64_t exact = std::max<int64_t>(1, buckets / 2);
    if (n < exact) return first + n;
    const double distance = static_cast<double>(n) / static_cast<double>(exact);
    const double largest = static_cast<double>(relativeMaxDistance) / static_cast<double>(exact);
    const double far = std::floor(std::log(distance) / std::log(largest) * static_cast<double>(buckets - exact));
    return first + std::min(buckets - 1, exact + static_cast<int64_t>(far));
  }

  bool kept(int64_t b, int64_t h, int64_t i, int64_t j) const {
    if (dropout == 0) return true;
    const PhiloxCounter counter = {static_cast<uint32_t>(j / 4), static_cast<uint32_t>(i), static_cast<uint32_t>(h),
                                   static_cast<uint32_t>(b)};
    const PhiloxKey key = {static_cast<uint32_t>(dropoutSeed), static_cast<uint32_t>(dropoutSeed >> 32)};
    return philox(counter, key)[static_cast<size_t>(j % 4)] >= std::floor(std::ldexp(dropout, 32));
  }
};

}  // namespace fk::oracle
