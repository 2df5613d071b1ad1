// What the kernels see of an array: a pointer and element strides, checked by native/abi before they get here.
// Extents may be 0; strides of axes with extent <= 1 are meaningless and never multiplied by a non-zero index.
#pragma once

#include <cstdint>

namespace fk {

template <class T>
struct Vector {
  T* data = nullptr;
  int64_t size = 0;
  int64_t stride = 1;

  T& operator[](int64_t i) const { return data[i * stride]; }
  explicit operator bool() const { return data != nullptr; }  // optional arguments are null
};

template <class T>
struct Matrix {
  T* data = nullptr;
  int64_t rows = 0, columns = 0;
  int64_t rowStride = 0, columnStride = 1;

  T* row(int64_t i) const { return data + i * rowStride; }
  T& operator()(int64_t i, int64_t j) const { return data[i * rowStride + j * columnStride]; }
  explicit operator bool() const { return data != nullptr; }
  Matrix transposed() const { return {data, columns, rows, columnStride, rowStride}; }
};

// [batch, sequence, heads, dim], as attention and rotary embedding take it; the last axis has stride 1.
template <class T>
struct HeadTensor {
  T* data = nullptr;
  int64_t batch = 0, sequence = 0, heads = 0, dim = 0;
  int64_t batchStride = 0, sequenceStride = 0, headStride = 0;

  Matrix<T> head(int64_t b, int64_t h) const {
    return {data + b * batchStride + h * headStride, sequence, dim, sequenceStride, 1};
  }
  explicit operator bool() const { return data != nullptr; }
};

// Class or token ids in either of the two integer types that callers have.
struct IndexVector {
  const void* data = nullptr;
  bool is64 = false;
  int64_t size = 0;
  int64_t stride = 1;

  int64_t operator[](int64_t i) const {
    return is64 ? static_cast<const int64_t*>(data)[i * stride] : static_cast<const int32_t*>(data)[i * stride];
  }
  explicit operator bool() const { return data != nullptr; }
};

}  // namespace fk
