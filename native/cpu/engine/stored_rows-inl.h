// Rows between the types that callers store and the floats that kernels compute with. Included by kernels only.
#pragma once

#include "cpu/engine/packing-inl.h"
#include "cpu/engine/vector_loop-inl.h"

namespace fk::cpu::FK_ISA {

// float32 to the bits of bfloat16: to the nearest, ties to even. NaN stay NaN, with their upper payload. Highway's own
// conversion cuts the low half off.
template <class D>
HWY_INLINE hn::Vec<hn::RebindToSigned<D>> bfloat16Bits(D, hn::Vec<D> value) {
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::Add(hn::Add(bits, hn::Set(du, 0x7fff)), odd);
  const auto quiet = hn::Or(bits, hn::Set(du, 0x400000));
  const auto isNan = hn::RebindMask(du, hn::Ne(value, value));
  return hn::BitCast(hn::RebindToSigned<D>(), hn::ShiftRight<16>(hn::IfThenElse(isNan, quiet, rounded)));
}

// float32 to the bits of binary16: to the nearest, ties to even; infinity from 65520 on, subnormals exactly. In integers,
// because instruction sets without the conversion would round otherwise.
template <class D>
HWY_INLINE hn::Vec<hn::RebindToSigned<D>> float16Bits(D d, hn::Vec<D> value) {
  const hn::RebindToSigned<D> di;
  const auto all = hn::BitCast(di, value), bits = hn::And(all, hn::Set(di, 0x7fffffff));
  const auto sign = hn::And(hn::ShiftRight<16>(all), hn::Set(di, 0x8000));
  // The exponent moves from a bias of 127 to one of 15, and 13 bits go; a carry out of the mantissa raises the exponent.
  const auto odd = hn::And(hn::ShiftRight<13>(bits), hn::Set(di, 1));
  const auto normal = hn::ShiftRight<13>(hn::Add(hn::Add(bits, hn::Set(di, ((15 - 127) * (1 << 23)) + 0xfff)), odd));
  // Below 2^-14: the addition of 1/2, whose last place is 2^-24, rounds.
  const auto half = hn::Set(d, 0.5f);
  const auto subnormal = hn::Sub(hn::BitCast(di, hn::Add(hn::BitCast(d, bits), half)), hn::BitCast(di, half));
  const auto isInfinite = hn::Gt(bits, hn::Set(di, 0x477fffff)), isNan = hn::Gt(bits, hn::Set(di, 0x7f800000));
  auto result = hn::IfThenElse(hn::Lt(bits, hn::Set(di, 113 << 23)), subnormal, normal);
  result = hn::IfThenElse(isInfinite, hn::Set(di, 0x7c00), result);
  result = hn::IfThenElse(isNan, hn::Set(di, 0x7e00), result);
  return hn::Or(result, sign);
}

// to[i] = from[i], rounded once to the type.
inline void storeRow(const float* from, int64_t count, DataType type, void* to) {
  const auto store16 = [&](const auto& bitsOf) {
    forEachVector(count, [&](auto d, int64_t i) {
      const hn::Rebind<uint16_t, decltype(d)> d16;
      hn::StoreU(hn::DemoteTo(d16, bitsOf(d, hn::LoadU(d, from + i))), d16, static_cast<uint16_t*>(to) + i);
    });
  };
  switch (type) {
    case DataType::kFloat32:
      return copyRun(from, count, static_cast<float*>(to));
    case DataType::kBfloat16:
      return store16([](auto d, auto value) { return bfloat16Bits(d, value); });
    case DataType::kFloat16:
      return store16([](auto d, auto value) { return float16Bits(d, value); });
  }
}

// to[i] = from[i] as a float.
inline void loadRow(const void* from, int64_t count, DataType type, float* to) {
  switch (type) {
    case DataType::kFloat32:
      return copyRun(static_cast<const float*>(from), count, to);
    case DataType::kBfloat16:
      return copyRun(static_cast<const hwy::bfloat16_t*>(from), count, to);
    case DataType::kFloat16:
      return copyRun(static_cast<const hwy::float16_t*>(from), count, to);
  }
}

}  // namespace fk::cpu::FK_ISA
