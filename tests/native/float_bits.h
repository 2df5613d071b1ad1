// Floats as bit patterns, and errors in units in the last place.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/cpu_features.h"

namespace fk::test {

inline uint32_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float floatOf(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// |actual - exact| in units in the last place of a float of exact's size; infinite when actual is NaN.
inline double ulpsBetween(double exact, float actual) {
  if (std::isnan(actual)) return HUGE_VAL;
  int exponent;
  std::frexp(exact, &exponent);
  const int lowestExponent = -125;  // frexp's of FLT_MIN: subnormals are spaced like the smallest normals
  return std::fabs(actual - exact) / std::ldexp(1.0, std::max(exponent, lowestExponent) - 24);
}

// Kernels of the other instruction sets round each product before they add, which shows in error bounds.
inline bool hasFma(Isa isa) { return isa != Isa::kScalar && isa != Isa::kSse4; }

}  // namespace fk::test
