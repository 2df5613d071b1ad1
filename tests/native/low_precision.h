// bf16 and f16 as element types of StridedArray: conversions from their definitions.
#pragma once

#include <cmath>

#include "fusedkernels.h"
#include "stored_matrix.h"

namespace fk::test {

// x rounded to `digits` significant bits, ties to even, with no exponent below that of `smallest`.
inline double roundedTo(int digits, double smallest, double x) {
  if (x == 0 || !std::isfinite(x)) return x;
  int exponent;
  std::frexp(std::max(std::abs(x), smallest), &exponent);
  const double unit = std::ldexp(1.0, exponent - digits);
  return std::nearbyint(x / unit) * unit;
}

struct BFloat16 {
  static constexpr DLDataType kDataType = {kDLBfloat, 16, 1};

  BFloat16() = default;
  explicit BFloat16(double x) : bits(static_cast<uint16_t>(bitsOf(static_cast<float>(rounded(x))) >> 16)) {}
  explicit operator double() const { return floatOf(uint32_t{bits} << 16); }

  static double rounded(double x) { return roundedTo(8, 0x1p-126, x); }
  static BFloat16 canary() { return fromBits(0x7f8a); }  // a signalling NaN, like that of StridedArray<float>
  static BFloat16 fromBits(uint16_t bits) {
    BFloat16 result;
    result.bits = bits;
    return result;
  }

  uint16_t bits = 0;
};

// For magnitudes below 65520, which f16 can hold, and NaN.
struct Half {
  static constexpr DLDataType kDataType = {kDLFloat, 16, 1};

  Half() = default;
  explicit Half(double x) {
    if (std::isnan(x)) {
      bits = 0x7e00;
      return;
    }
    const double magnitude = std::abs(rounded(x));
    int exponent;
    std::frexp(std::max(magnitude, 0x1p-14), &exponent);
    const auto mantissa = static_cast<int>(std::ldexp(magnitude, 11 - exponent));  // its 11th bit is that of normal numbers
    bits = static_cast<uint16_t>(mantissa + ((exponent + 13) << 10) + (std::signbit(x) ? 0x8000 : 0));
  }
  explicit operator double() const { return floatOfHalf(bits); }

  static double rounded(double x) { return roundedTo(11, 0x1p-14, x); }
  static Half canary() { return fromBits(0x7d5a); }  // a signalling NaN
  static Half fromBits(uint16_t bits) {
    Half result;
    result.bits = bits;
    return result;
  }

  uint16_t bits = 0;
};

}  // namespace fk::test
