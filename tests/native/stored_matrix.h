// Matrices of every storage type for operands: the bytes between two forbidden pages, and what the elements are as floats.
#pragma once

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "core/operand.h"
#include "float_bits.h"
#include "guarded_memory.h"

namespace fk::test {

constexpr DataType kDataTypes[] = {DataType::kFloat32, DataType::kBfloat16, DataType::kFloat16};

inline const char* nameOf(DataType type) {
  return type == DataType::kFloat32 ? "f32" : type == DataType::kBfloat16 ? "bf16" : "f16";
}

// IEEE 754 binary16 from its definition; NaN keep their payload.
inline float floatOfHalf(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16, exponent = half >> 10 & 0x1f, mantissa = half & 0x3ff;
  if (exponent == 0x1f) return floatOf(sign | 0x7f800000 | mantissa << 13);
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                        : std::ldexp(static_cast<float>(0x400 + mantissa), static_cast<int>(exponent) - 25);
  return floatOf(bitsOf(magnitude) | sign);
}

// The bits of an element in the low bits of `bits`.
inline float floatOfElement(DataType type, uint32_t bits) {
  if (type == DataType::kFloat32) return floatOf(bits);
  return type == DataType::kBfloat16 ? floatOf(bits << 16) : floatOfHalf(static_cast<uint16_t>(bits));
}

// The same bits, but that a signalling NaN may have become quiet.
inline bool sameFloat(float a, float b) {
  const uint32_t quiet = 0x00400000;
  return bitsOf(a) == bitsOf(b) || (std::isnan(a) && std::isnan(b) && (bitsOf(a) | quiet) == (bitsOf(b) | quiet));
}

// rows x columns elements with any strides, all of them and nothing else between the forbidden pages: the first or the last
// byte touches one.
class StoredMatrix {
 public:
  // bits() for every place in memory, elements or not.
  template <class Bits>
  StoredMatrix(DataType type, int64_t rows, int64_t columns, int64_t rowStride, int64_t columnStride, Guard guard,
               Bits&& bits)
      : size_(elementSize(type)),
        reach_(1 + (rows - 1) * std::abs(rowStride) + (columns - 1) * std::abs(columnStride)),
        memory_(static_cast<size_t>(reach_ * size_), guard) {
    for (int64_t i = 0; i < reach_; ++i) {
      const uint32_t value = bits();
      std::memcpy(memory_.data() + i * size_, &value, static_cast<size_t>(size_));  // little-endian
    }
    memory_.makeReadOnly();
    int64_t first = 0;
    if (rowStride < 0) first -= (rows - 1) * rowStride;
    if (columnStride < 0) first -= (columns - 1) * columnStride;
    operand_ = Operand(memory_.data() + first * size_, type, rows, columns, rowStride, columnStride);
  }

  const Operand& operand() const { return operand_; }

 private:
  int64_t size_, reach_;
  GuardedMemory memory_;
  Operand operand_;
};

// Element (row, column) of an operand, in the plainest way.
inline float elementOf(const Operand& m, int64_t row, int64_t column) {
  const int64_t memoryRow = m.rowIds ? m.rowIds[row] : row, memoryColumn = m.columnIds ? m.columnIds[column] : column;
  const int64_t at = memoryRow * m.rowStride + memoryColumn * m.columnStride;
  uint32_t bits = 0;
  std::memcpy(&bits, static_cast<const std::byte*>(m.data) + at * elementSize(m.type),
              static_cast<size_t>(elementSize(m.type)));
  return floatOfElement(m.type, bits);
}

}  // namespace fk::test
