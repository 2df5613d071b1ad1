// From DLTensor* to the views that kernels take, with every check in one place. An entry point states its shapes as the
// public header writes them, inputs before outputs:
//
//   Arguments arguments;
//   auto x = arguments.matrix<const float>("embeddings", embeddings, "[..., D]");
//   auto w = arguments.matrix<const float>("classifier", classifier, "[V, D]");
//   auto t = arguments.indices("targets", targets, "[...]");
//   auto y = arguments.matrix<float>("d_embeddings", d_embeddings, "[..., D]", {"embeddings"});  // may be embeddings itself
//
// A name has one extent and "..." one list of extents throughout a call. A const element type makes an input, any other an
// output. Optional arguments are the caller's `if (pointer)`. Nothing is allocated unless an error is reported.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>

#include "core/operand.h"
#include "fusedkernels.h"

namespace fk::abi {

// A shape pattern, parsed by the compiler: at most five axes, names of up to four letters. A leading "..." stands for any
// number of axes, seen as one; "[*]" for any shape at all, seen as one axis and unrelated to "...". An axis "X|1" may have
// the extent 1 instead of X.
class Shape {
 public:
  static constexpr int kMaxAxes = 5;
  enum class Leading : uint8_t { kNone, kSame, kAny };

  template <size_t Size>
  consteval Shape(const char (&text)[Size]) {  // NOLINT: implicit, so that a call reads like the header
    int i = text[0] == '[' ? 1 : throw "a shape starts with [";
    if (text[i] == '*') {
      leading = Leading::kAny;
      i += 1;
    } else if (text[i] == '.') {
      leading = Leading::kSame;
      i += 3;
    }
    while (text[i] != ']') {
      if (text[i] == ',' || text[i] == ' ') {
        ++i;
        continue;
      }
      uint32_t name = 0;
      for (int letters = 0; text[i] != ',' && text[i] != ']' && text[i] != '|'; ++i, ++letters) {
        if (letters == 4) throw "a name has at most four letters";
        name |= static_cast<uint32_t>(text[i]) << (8 * letters);
      }
      if (axes() == kMaxAxes) throw "too many axes";
      if (text[i] == '|') {
        mayBeOne[named] = true;
        i += 2;
      }
      names[named++] = name;
    }
  }

  constexpr int axes() const { return named + (leading != Leading::kNone); }

  uint32_t names[kMaxAxes] = {};  // the letters, the first in the lowest byte
  bool mayBeOne[kMaxAxes] = {};
  uint8_t named = 0;
  Leading leading = Leading::kNone;
};

// A checked array with its leading axes flattened.
struct View {
  const char* name;
  const DLTensor* tensor;
  std::byte* data;
  uintptr_t low, high;  // its elements lie in the addresses [low, high)
  int64_t extents[Shape::kMaxAxes];
  int64_t strides[Shape::kMaxAxes];  // in elements; anything for an axis of extent <= 1
  uint8_t axes;
  uint8_t elementSize;
  bool output;
};

class Arguments {
 public:
  using Aliases = std::initializer_list<const char*>;

  Arguments() {}  // NOLINT: the arrays are filled as arguments come

  // Two axes, the last one with stride 1.
  template <class T>
  Matrix<T> matrix(const char* name, const DLTensor* tensor, const Shape& shape, Aliases mayBe = {}) {
    const View& view = add<T>(name, tensor, shape, mayBe);
    requireUnitInnerStride(view);
    return {elements<T>(view), view.extents[0], view.extents[1], rowStrideOf(view), 1};
  }

  // An input of two axes in f32, bf16 or f16, the last axis with stride 1.
  Operand operand(const char* name, const DLTensor* tensor, const Shape& shape);

  // Two axes, either of them with stride 1. The result has rowStride 1 or columnStride 1.
  template <class T>
  Matrix<T> matrixOfEitherOrder(const char* name, const DLTensor* tensor, const Shape& shape) {
    const View& view = add<T>(name, tensor, shape, {});
    const auto [rows, columns] = std::pair(view.extents[0], view.extents[1]);
    if (columns <= 1 || view.strides[1] == 1)
      return {elements<T>(view), rows, columns, rows > 1 ? view.strides[0] : columns, 1};
    if (rows <= 1 || view.strides[0] == 1) return {elements<T>(view), rows, columns, 1, view.strides[1]};
    failEitherOrder(view);
  }

  // One axis with any stride.
  template <class T>
  Vector<T> vector(const char* name, const DLTensor* tensor, const Shape& shape, Aliases mayBe = {}) {
    const View& view = add<T>(name, tensor, shape, mayBe);
    return {elements<T>(view), view.extents[0], view.strides[0]};
  }

  // All elements in one row without gaps, whatever the rank: "[...]".
  template <class T>
  Vector<T> contiguous(const char* name, const DLTensor* tensor, const Shape& shape, Aliases mayBe = {}) {
    const View& view = add<T>(name, tensor, shape, mayBe);
    requireUnitInnerStride(view);
    return {elements<T>(view), view.extents[0], 1};
  }

  // One element, whatever the rank.
  template <class T>
  Vector<T> scalar(const char* name, const DLTensor* tensor) {
    const View& view = add<T>(name, tensor, "[*]", {});
    requireOneElement(view);
    return {elements<T>(view), 1, 1};
  }

  // [B, S, H, D], the last axis with stride 1.
  template <class T>
  HeadTensor<T> heads(const char* name, const DLTensor* tensor, const Shape& shape, Aliases mayBe = {}) {
    const View& view = add<T>(name, tensor, shape, mayBe);
    requireUnitInnerStride(view);
    return {elements<T>(view), view.extents[0], view.extents[1], view.extents[2],
            view.extents[3],   view.strides[0], view.strides[1], view.strides[2]};
  }

  // [B, S, H, D] in f32, bf16 or f16, the last axis with stride 1.
  HeadOperand headOperand(const char* name, const DLTensor* tensor, const Shape& shape);
  HeadOutput headOutput(const char* name, const DLTensor* tensor, const Shape& shape);

  // Any axes of one element type, the last one with stride 1.
  const View& rows(const char* name, const DLTensor* tensor, const Shape& shape, DLDataType type, bool output);

  // int32, one axis with any stride.
  Vector<const int32_t> int32(const char* name, const DLTensor* tensor, const Shape& shape);

  // Any axes with any strides, of int32, and of uint8 or bool.
  const View& stridedInt32(const char* name, const DLTensor* tensor, const Shape& shape);
  const View& stridedFlags(const char* name, const DLTensor* tensor, const Shape& shape);

  // Any axes with any strides.
  template <class T>
  const View& strided(const char* name, const DLTensor* tensor, const Shape& shape) {
    return add<T>(name, tensor, shape, {});
  }

  // int32 or int64, one axis with any stride. Their values are not looked at: see requireInRange.
  IndexVector indices(const char* name, const DLTensor* tensor, const Shape& shape);

  // An output of int32 or int64, two axes, the last one with stride 1: one of the two results has the data.
  void integers(const char* name, const DLTensor* tensor, const Shape& shape, Matrix<int32_t>& int32,
                Matrix<int64_t>& int64);

 private:
  static constexpr int kMaxArguments = 40;
  static constexpr int kMaxNames = 16;

  struct Binding {
    uint32_t name;
    int32_t argument;  // the view that bound it
    int64_t extent;
  };

  template <class T>
  const View& add(const char* name, const DLTensor* tensor, const Shape& shape, Aliases mayBe) {
    static_assert(std::is_same_v<std::remove_const_t<T>, float>);
    requireType(name, tensor, kDLFloat, 32);
    return addView(name, tensor, shape, sizeof(T), !std::is_const_v<T>, mayBe);
  }

  template <class T>
  static T* elements(const View& view) {
    return reinterpret_cast<T*>(view.data);
  }

  // Of rows whose elements are adjacent.
  static int64_t rowStrideOf(const View& view) { return view.extents[0] > 1 ? view.strides[0] : view.extents[1]; }

  static bool isInt64(const char* name, const DLTensor* tensor);
  static void requireType(const char* name, const DLTensor* tensor, int code, int bits);
  static void requireUnitInnerStride(const View& view) {
    if (view.extents[view.axes - 1] > 1 && view.strides[view.axes - 1] != 1) failUnitInnerStride(view);
  }
  static void requireOneElement(const View& view);
  [[noreturn]] static void failUnitInnerStride(const View& view);
  [[noreturn]] static void failEitherOrder(const View& view);

  const View& addView(const char* name, const DLTensor* tensor, const Shape& shape, size_t elementSize, bool output,
                      Aliases mayBe);
  template <class Heads>
  Heads headsOfAnyType(const char* name, const DLTensor* tensor, const Shape& shape, bool output);
  void bindShape(const View& view, const Shape& shape);
  void requireNoOverlap(const View& view, Aliases mayBe) const;
  [[noreturn]] void failShape(const View& view, const Shape& shape) const;

  int count_ = 0;
  int bound_ = 0;
  int leadingArgument_ = -1;  // the view that bound "..."
  int leadingAxes_ = 0;
  View views_[kMaxArguments];
  Binding bindings_[kMaxNames];
};

// "[2, 3]", for error texts.
std::string shapeOf(const DLTensor* tensor);

// Refuses, naming the first such row, an index outside [0, limit) that is not the ignored one (when there is one).
void requireInRange(const char* name, const IndexVector& indices, int64_t limit, bool hasIgnored = false,
                    int64_t ignored = 0);

}  // namespace fk::abi
