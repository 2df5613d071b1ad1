// How far a correct float32 result may lie from the exact one.
//
// The oracles are templates over their number type. With double they are the definition. With Bounded they carry, beside
// each value, a bound on the error that a float32 evaluation of the same formula may have: a running error analysis
// (Wilkinson 1963; Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.3). So no test picks a
// tolerance; each element of each result gets its own from the numbers that went into it. With u = 2^-24:
//
//   sum of n terms   |error| <= chain(n) u sum|term|, in any order whose longest chain of additions is chain(n): kernels add
//                    at most 512 terms (a depth block) in one chain and join blocks afterwards, where a streaming soft-max
//                    also rescales by an exponential. Fused or separate multiply-adds are both covered.
//   a * b            u |ab|, and the operands' errors times the other operand
//   a - b            3 u (|a| + |b|): covers exp(a - b) evaluated as exp2(a log2(e) - b log2(e)), where the constant, both
//                    products and the difference round
//   exp(x), log(x)   4 u relative (respectively u absolute for the part near 1), and the argument's error
//   tanh(x)          8 u relative: an expm1, a sum and a quotient; and the argument's error
//   mapped(x, f)     f of one number, evaluated per row and not per element: 8 u relative, and what the argument's error
//   makes
//                    of it at either end of its interval, which bounds it where f is monotone between them
#pragma once

#include <gtest/gtest.h>

#include <cmath>

#include "roundoff.h"
#include "support.h"

namespace fk::test {

constexpr double kExpError = 4 * kUnitRoundoff;
constexpr double kTanhError = 8 * kUnitRoundoff;
constexpr double kMappedError = 8 * kUnitRoundoff;

struct Bounded {
  double value = 0;
  double carried = 0;    // from the errors of what went in
  double magnitude = 0;  // sum of |terms|, or |value|: what the roundings here are relative to
  int64_t terms = 0;     // 0: exact

  Bounded(double exact = 0) : value(exact) {}
  Bounded(double value, double carried, double magnitude, int64_t terms)
      : value(value), carried(carried), magnitude(magnitude), terms(terms) {}

  static int64_t chain(int64_t n) { return std::min<int64_t>(n, 512) + 8 * (n / 64 + 1); }

  double error() const { return terms == 0 ? 0 : carried + static_cast<double>(chain(terms)) * kUnitRoundoff * magnitude; }

  Bounded& operator+=(const Bounded& term) {
    value += term.value;
    carried += term.error();
    magnitude += std::abs(term.value) + term.error();
    ++terms;
    return *this;
  }

  // A value with an error that is known.
  static Bounded of(double value, double error) { return {value, error, 0, 1}; }
};

inline Bounded operator*(const Bounded& a, const Bounded& b) {
  const double value = a.value * b.value;
  const double fromOperands = std::abs(a.value) * b.error() + std::abs(b.value) * a.error() + a.error() * b.error();
  return Bounded::of(value, fromOperands + kUnitRoundoff * (std::abs(value) + fromOperands) + kSmallestNormal);
}

inline Bounded operator-(const Bounded& a, const Bounded& b) {
  const double fromOperands = a.error() + b.error();
  const double rounding = 3 * kUnitRoundoff * (std::abs(a.value) + std::abs(b.value) + fromOperands);
  return Bounded::of(a.value - b.value, fromOperands + rounding);
}

inline Bounded operator+(const Bounded& a, const Bounded& b) { return a - Bounded::of(-b.value, b.error()); }

inline Bounded operator/(const Bounded& a, const Bounded& b) {
  const double value = a.value / b.value;
  const double smallestDivisor = std::max(std::abs(b.value) - b.error(), 0.0);
  const double fromOperands = (a.error() + std::abs(value) * b.error()) / smallestDivisor;
  return Bounded::of(value, fromOperands + 2 * kUnitRoundoff * (std::abs(value) + fromOperands) + kSmallestNormal);
}

inline bool operator<(const Bounded& a, const Bounded& b) { return a.value < b.value; }

inline Bounded exp(const Bounded& x) {
  const double value = std::exp(x.value);
  return Bounded::of(value, value * (std::expm1(x.error()) + kExpError) + 2 * kSmallestNormal);
}

inline Bounded log(const Bounded& x) {
  const double value = std::log(x.value);
  const double fromOperand = -std::log1p(-std::min(x.error() / x.value, 1.0));
  return Bounded::of(value, fromOperand + kExpError * (std::abs(value) + 1));
}

// The slope of tanh is at most that at the end of the interval that lies nearest to 0.
inline Bounded tanh(const Bounded& x) {
  const double value = std::tanh(x.value);
  const double flattest = std::tanh(std::max(std::abs(x.value) - x.error(), 0.0));
  return Bounded::of(value, std::min(2.0, x.error() * (1 - flattest * flattest)) + kTanhError * std::abs(value));
}

// f(x) for an x that is known not to be negative, whatever its error says.
template <class Function>
Bounded mapped(const Bounded& x, const Function& f) {
  const double value = f(std::max(x.value, 0.0));
  const double above = std::abs(f(x.value + x.error()) - value);
  const double below = std::abs(f(std::max(x.value - x.error(), 0.0)) - value);
  return Bounded::of(value, std::max(above, below) + kMappedError * std::abs(value));
}

// The number itself, without its error: for a shift that a formula adds and subtracts again.
inline Bounded exactly(const Bounded& x) { return {x.value}; }

// x as an array of a type holds it.
inline Bounded storedWith(const Roundoff& roundoff, const Bounded& x) {
  return Bounded::of(x.value, x.error() + roundoff.relative * (std::abs(x.value) + x.error()) + roundoff.absolute);
}

// The maximum moves by no more than the element that moves most.
inline Bounded largestOf(const std::vector<Bounded>& values) {
  Bounded largest = Bounded::of(-HUGE_VAL, 0);
  double error = 0;
  for (const Bounded& x : values) {
    error = std::max(error, x.error());
    if (x.value > largest.value) largest = x;
  }
  return Bounded::of(largest.value, error);
}

// One element against its oracle; roundoff is that of the array's type. Infinities and NaN have to be met as such.
inline bool isWithin(double actual, const Bounded& expected, const Roundoff& roundoff = kFloat32Roundoff) {
  if (std::isnan(expected.value)) return std::isnan(actual);
  if (std::isinf(expected.value)) return actual == expected.value;
  const double error = expected.error();
  return std::abs(actual - expected.value) <=
         error + roundoff.relative * (std::abs(expected.value) + error) + roundoff.absolute;
}

// Both in row-major order; reports the worst element.
template <class Actual>
testing::AssertionResult allWithin(const std::vector<Actual>& actual, const std::vector<Bounded>& expected,
                                   const Roundoff& roundoff = kFloat32Roundoff) {
  if (actual.size() != expected.size())
    return testing::AssertionFailure() << actual.size() << " elements, the oracle has " << expected.size();
  size_t failures = 0, worst = 0;
  double worstExcess = -1;
  for (size_t i = 0; i < actual.size(); ++i) {
    if (isWithin(actual[i], expected[i], roundoff)) continue;
    ++failures;
    double excess = std::abs(actual[i] - expected[i].value) - expected[i].error();
    if (std::isnan(excess)) excess = std::numeric_limits<double>::infinity();
    if (excess > worstExcess) worstExcess = excess, worst = i;
  }
  if (failures == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << failures << " of " << actual.size() << " elements are off; the worst is element "
                                     << worst << ": " << actual[worst] << ", expected " << expected[worst].value << " +- "
                                     << expected[worst].error();
}

}  // namespace fk::test
