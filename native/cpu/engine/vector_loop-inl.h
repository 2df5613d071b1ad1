// How the elementwise kernels walk an array: whole vectors, then the rest one lane at a time. Both take the same path
// through the same code, so an element's bits do not depend on its place, and nothing beyond the array is read.
#pragma once

#include <hwy/highway.h>

#include <cstdint>

namespace fk::cpu::FK_ISA {

namespace hn = hwy::HWY_NAMESPACE;

// body(d, i) handles the elements [i, i + Lanes(d)).
template <class Body>
HWY_INLINE void forEachVector(int64_t count, Body&& body) {
  const hn::ScalableTag<float> vector;
  const hn::CappedTag<float, 1> single;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(vector));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) body(vector, i);
  for (; i < count; ++i) body(single, i);
}

}  // namespace fk::cpu::FK_ISA
