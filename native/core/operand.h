// A matrix that a contraction reads, in the type that its caller stores. Kernels convert it to float while they pack it
// (cpu/engine/packing-inl.h); what a kernel writes is a Matrix<float>.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/tensor.h"

namespace fk {

enum class DataType : uint8_t { kFloat32, kBfloat16, kFloat16 };

constexpr int64_t elementSize(DataType type) { return type == DataType::kFloat32 ? 4 : 2; }

// Element (i, j) lies rowOffset(i) + columnOffset(j) elements behind data. An operand may gather: with rowIds, row i is row
// rowIds[i] of memory, in any order and as often as wanted, and likewise for columns. Ids are not checked.
struct Operand {
  Operand() = default;
  Operand(const void* data, DataType type, int64_t rows, int64_t columns, int64_t rowStride, int64_t columnStride = 1)
      : data(data), type(type), rows(rows), columns(columns), rowStride(rowStride), columnStride(columnStride) {}
  Operand(const Matrix<const float>& m)  // NOLINT: implicit, a matrix of floats is an operand
      : Operand(m.data, DataType::kFloat32, m.rows, m.columns, m.rowStride, m.columnStride) {}
  Operand(const Matrix<float>& m)  // NOLINT
      : Operand(m.data, DataType::kFloat32, m.rows, m.columns, m.rowStride, m.columnStride) {}

  int64_t rowOffset(int64_t i) const { return (rowIds ? rowIds[i] : i) * rowStride; }
  int64_t columnOffset(int64_t j) const { return (columnIds ? columnIds[j] : j) * columnStride; }
  bool rowsAreAdjacent() const { return rowStride == 1 && !rowIds; }
  explicit operator bool() const { return data != nullptr; }

  Operand transposed() const {
    Operand result(data, type, columns, rows, columnStride, rowStride);
    result.rowIds = columnIds;
    result.columnIds = rowIds;
    return result;
  }

  const void* data = nullptr;
  DataType type = DataType::kFloat32;
  int64_t rows = 0, columns = 0;
  int64_t rowStride = 0, columnStride = 1;  // in elements
  const int32_t* rowIds = nullptr;          // [rows], or null: row i is row i
  const int32_t* columnIds = nullptr;       // [columns], or null
};

// Rows [first, first + count).
inline Operand rowsOf(Operand m, int64_t first, int64_t count) {
  if (m.rowIds)
    m.rowIds += first;
  else
    m.data = static_cast<const std::byte*>(m.data) + first * m.rowStride * elementSize(m.type);
  m.rows = count;
  return m;
}

// Columns [first, first + count).
inline Operand columnsOf(const Operand& m, int64_t first, int64_t count) {
  return rowsOf(m.transposed(), first, count).transposed();
}

// [batch, sequence, heads, dim] in the type that its caller stores, the last axis with stride 1.
struct HeadOperand {
  const void* data = nullptr;
  DataType type = DataType::kFloat32;
  int64_t batch = 0, sequence = 0, heads = 0, dim = 0;
  int64_t batchStride = 0, sequenceStride = 0, headStride = 0;

  // Rows [first, first + count) of a head.
  Operand head(int64_t b, int64_t h, int64_t first, int64_t count) const {
    const int64_t offset = b * batchStride + h * headStride + first * sequenceStride;
    return {static_cast<const std::byte*>(data) + offset * elementSize(type), type, count, dim, sequenceStride};
  }
  explicit operator bool() const { return data != nullptr; }
};

// The same to write to: sums are floats, and are rounded once on their way here.
struct HeadOutput {
  void* data = nullptr;
  DataType type = DataType::kFloat32;
  int64_t batch = 0, sequence = 0, heads = 0, dim = 0;
  int64_t batchStride = 0, sequenceStride = 0, headStride = 0;

  void* row(int64_t b, int64_t h, int64_t i) const {
    const int64_t offset = b * batchStride + h * headStride + i * sequenceStride;
    return static_cast<std::byte*>(data) + offset * elementSize(type);
  }
  explicit operator bool() const { return data != nullptr; }
};

}  // namespace fk
