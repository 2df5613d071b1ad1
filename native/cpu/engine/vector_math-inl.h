// exp, log, tanh and sigmoid on Highway vectors of float. Included by kernels only: it is compiled once per instruction set.
//
// Error bounds are against the exact value, in units in the last place of the float result, over the whole range of the
// function. vector_math_test.cpp holds every instruction set to them.
#pragma once

#include <hwy/highway.h>

#include <limits>

namespace fk::cpu::FK_ISA {

namespace hn = hwy::HWY_NAMESPACE;

// Below this the result would leave the normal floats, and exp gives 0 instead: exp(-86.98) = 1.43 FLT_MIN.
inline constexpr float kExpFlushesToZeroBelow = -86.98f;
// The largest float whose exp is finite.
inline constexpr float kExpOverflowsAbove = 88.72283172607422f;

// exp(x) for x <= kExpOverflowsAbove, which covers the x - max(x) of every softmax. At most 1 ulp off (1.25 on
// instruction sets without FMA); 0 below kExpFlushesToZeroBelow, so exp(-inf) = 0; exp(0) = 1 exactly; NaN for NaN.
//
// Cody & Waite: x = n ln 2 + r with |r| <= ln(2) / 2, and exp(x) = 2^n exp(r) with a minimax polynomial (relative error
// 3e-9) for exp(r). The polynomial gives 2 exp(r), because 2^(n-1) is a normal float for all n up to 128 while 2^n is not.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpBelowOverflow(D d, V x) {
  // Adding 1.5 * 2^23 rounds to an integer, which the low mantissa bits then hold; with the bias of n - 1 added too, a
  // shift makes those bits the exponent field of 2^(n-1).
  const V magic = hn::Set(d, 12582912.0f + 126.0f);
  const V biased = hn::MulAdd(x, hn::Set(d, 1.44269502f), magic);
  const V n = hn::Sub(biased, magic);
  // ln 2 in two parts: the first has 15 bits, so n times it is exact even without FMA.
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693145752f), x);
  r = hn::NegMulAdd(n, hn::Set(d, 1.42860677e-6f), r);

  V p = hn::MulAdd(hn::Set(d, 0.00276290812f), r, hn::Set(d, 0.0167374909f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.083336778f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.333330423f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.999999881f));
  p = hn::MulAdd(p, r, hn::Set(d, 2.0f));
  p = hn::MulAdd(p, r, hn::Set(d, 2.0f));

  const hn::RebindToSigned<D> di;
  const V scale = hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(di, biased)));
  // A product, not an addition to the exponent bits: it keeps the NaN of a NaN x.
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, kExpFlushesToZeroBelow)), hn::Mul(p, scale));
}

// exp(x) for every x: as above, and +inf above kExpOverflowsAbove.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp(D d, V x) {
  const V infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  return hn::IfThenElse(hn::Gt(x, hn::Set(d, kExpOverflowsAbove)), infinity, ExpBelowOverflow(d, x));
}

// 1 / (1 + exp(-x)). At most 3 ulp off for x >= -87; the result then leaves the normal floats, and is 0 where exp(-x)
// overflows. NaN for NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Sigmoid(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, Exp(d, hn::Neg(x))));
}

// tanh(x). At most 3 ulp off, +-1 for infinities, NaN for NaN; the sign of x.
//
// Below 5/8 an odd minimax polynomial (relative error 4e-9), above 1 - 2 / (exp(2 |x|) + 1), which no longer cancels.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Tanh(D d, V x) {
  const V one = hn::Set(d, 1.0f), magnitude = hn::Abs(x), square = hn::Mul(x, x);
  V p = hn::MulAdd(hn::Set(d, -0.00570498686f), square, hn::Set(d, 0.020639088f));
  p = hn::MulAdd(p, square, hn::Set(d, -0.0537397154f));
  p = hn::MulAdd(p, square, hn::Set(d, 0.133314416f));
  p = hn::MulAdd(p, square, hn::Set(d, -0.333332807f));
  const V small = hn::MulAdd(hn::Mul(p, square), x, x);
  const V exponential = Exp(d, hn::Add(magnitude, magnitude));
  const V large = hn::Sub(one, hn::Div(hn::Set(d, 2.0f), hn::Add(exponential, one)));
  return hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0.625f)), small, hn::CopySign(large, x));
}

// Natural logarithm. At most 1 ulp off for all positive x, subnormals included; log(1) = 0 exactly, log(0) = -inf,
// log(inf) = inf, NaN below 0 and for NaN.
//
// x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), and log(1 + f) = f - f^2 / 2 + f^3 q(f) with a minimax q (relative
// error of the whole: 6e-9).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Log(D d, V x) {
  const hn::RebindToSigned<D> di;
  const auto isSubnormal = hn::Lt(x, hn::Set(d, std::numeric_limits<float>::min()));
  const V normal = hn::IfThenElse(isSubnormal, hn::Mul(x, hn::Set(d, 8388608.0f)), x);
  const V subnormalShift = hn::IfThenElseZero(isSubnormal, hn::Set(d, -23.0f));

  const auto sqrtHalfBits = hn::Set(di, 0x3f3504f3);
  const auto offset = hn::Sub(hn::BitCast(di, normal), sqrtHalfBits);
  const V k = hn::Add(hn::ConvertTo(d, hn::ShiftRight<23>(offset)), subnormalShift);
  const V mantissa = hn::BitCast(d, hn::Add(hn::And(offset, hn::Set(di, 0x007fffff)), sqrtHalfBits));
  const V f = hn::Sub(mantissa, hn::Set(d, 1.0f));

  V q = hn::MulAdd(hn::Set(d, 0.0674664825f), f, hn::Set(d, -0.116756551f));
  q = hn::MulAdd(q, f, hn::Set(d, 0.118881606f));
  q = hn::MulAdd(q, f, hn::Set(d, -0.124055885f));
  q = hn::MulAdd(q, f, hn::Set(d, 0.142195523f));
  q = hn::MulAdd(q, f, hn::Set(d, -0.166679963f));
  q = hn::MulAdd(q, f, hn::Set(d, 0.200021192f));
  q = hn::MulAdd(q, f, hn::Set(d, -0.250000089f));
  q = hn::MulAdd(q, f, hn::Set(d, 0.333333135f));

  // k ln 2 in the two parts of Exp, the large one added last.
  const V square = hn::Mul(f, f);
  V tail = hn::Mul(hn::Mul(square, f), q);
  tail = hn::MulAdd(k, hn::Set(d, 1.42860677e-6f), tail);
  tail = hn::NegMulAdd(hn::Set(d, 0.5f), square, tail);
  const V log = hn::MulAdd(k, hn::Set(d, 0.693145752f), hn::Add(f, tail));

  // What the bit arithmetic above does not cover: 0, negative numbers, infinity and NaN.
  const V infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  const V notANumber = hn::Set(d, std::numeric_limits<float>::quiet_NaN());
  const V zero = hn::Zero(d);
  const V belowInfinity = hn::IfThenElse(hn::Lt(x, infinity), log, hn::Add(x, infinity));
  const V positive = hn::IfThenElse(hn::Eq(x, zero), hn::Neg(infinity), belowInfinity);
  return hn::IfThenElse(hn::Lt(x, zero), notANumber, positive);
}

}  // namespace fk::cpu::FK_ISA
