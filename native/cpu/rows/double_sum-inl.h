// Sums of floats in double: a row of any practical length then rounds as if it were summed exactly, and squares of floats
// cannot overflow. It costs half the lanes, which operators that read each element once from memory do not notice.
#pragma once

#include <hwy/highway.h>

#include <cstdint>

namespace fk::cpu::FK_ISA {

namespace hn = hwy::HWY_NAMESPACE;

// The floats at p, as doubles.
template <class D>
HWY_INLINE hn::Vec<D> loadAsDouble(D d, const float* p) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<float, D>(), p));
}

// Rounds to nearest.
template <class D>
HWY_INLINE void storeAsFloat(D, hn::Vec<D> v, float* p) {
  const hn::Rebind<float, D> f;
  hn::StoreU(hn::DemoteTo(f, v), f, p);
}

// body(d, i) handles the elements [i, i + Lanes(d)), as doubles: whole vectors first, the rest one by one.
template <class Body>
HWY_INLINE void forEachDoubleVector(int64_t count, Body&& body) {
  const hn::ScalableTag<double> vector;
  const hn::CappedTag<double, 1> single;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(vector));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) body(vector, i);
  for (; i < count; ++i) body(single, i);
}

// The sum over i of term(d, i), which gives the terms [i, i + Lanes(d)) as a vector of doubles. The order is fixed by count
// and the instruction set; the error is at most count * 2^-53 of the terms' absolute sum.
template <class Term>
HWY_INLINE double sumInDouble(int64_t count, Term&& term) {
  const hn::ScalableTag<double> d;
  const hn::CappedTag<double, 1> single;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  // Two sums side by side, because an addition takes longer than the next term.
  auto even = hn::Zero(d), odd = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    even = hn::Add(even, term(d, i));
    odd = hn::Add(odd, term(d, i + lanes));
  }
  double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
  for (; i < count; ++i) sum += hn::GetLane(term(single, i));
  return sum;
}

}  // namespace fk::cpu::FK_ISA
