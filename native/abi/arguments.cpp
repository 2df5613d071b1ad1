#include "abi/arguments.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "abi/overlap.h"
#include "core/error.h"

namespace fk::abi {
namespace {

constexpr int kMaxRank = 64;  // NumPy's and PyTorch's; more is a tensor that was never filled in

std::string list(const int64_t* values, int count) {
  std::string text = "[";
  for (int i = 0; i < count; ++i) text += (i ? ", " : "") + std::to_string(values[i]);
  return text + "]";
}

}  // namespace

std::string shapeOf(const DLTensor* tensor) { return list(tensor->shape, tensor->ndim); }

namespace {

std::string stridesOf(const DLTensor* tensor) {
  return tensor->strides ? list(tensor->strides, tensor->ndim) : "NULL (contiguous)";
}

std::string typeName(const DLDataType& type) {
  const char* names[] = {"int", "uint", "float", "opaque", "bfloat", "complex", "bool"};
  std::string name = type.code < std::size(names) ? names[type.code] : "code " + std::to_string(type.code) + " of bits ";
  name += std::to_string(type.bits);
  return type.lanes == 1 ? name : name + "x" + std::to_string(type.lanes);
}

DataType floatTypeOf(const char* name, const DLDataType& type) {
  if (type.lanes == 1) {
    if (type.code == kDLFloat && type.bits == 32) return DataType::kFloat32;
    if (type.code == kDLBfloat && type.bits == 16) return DataType::kBfloat16;
    if (type.code == kDLFloat && type.bits == 16) return DataType::kFloat16;
  }
  fail(FK_ERROR_INVALID_ARGUMENT, "%s: dtype %s, needs float32, bfloat16 or float16", name, typeName(type).c_str());
}

std::string nameText(uint32_t name) {
  std::string text;
  for (; name != 0; name >>= 8) text += static_cast<char>(name & 0xff);
  return text;
}

[[noreturn]] void failTooLarge(const View& view) {
  fail(FK_ERROR_INVALID_ARGUMENT, "%s: shape %s with strides %s does not fit into the address space", view.name,
       shapeOf(view.tensor).c_str(), stridesOf(view.tensor).c_str());
}

int64_t product(const View& view, int64_t a, int64_t b) {
  int64_t result;
  if (__builtin_mul_overflow(a, b, &result)) failTooLarge(view);
  return result;
}

int64_t sum(const View& view, int64_t a, int64_t b) {
  int64_t result;
  if (__builtin_add_overflow(a, b, &result)) failTooLarge(view);
  return result;
}

void requireReadable(const char* name, const DLTensor* tensor) {
  if (tensor->device.device_type != kDLCPU)
    fail(FK_ERROR_INVALID_ARGUMENT, "%s: on device type %d, this context needs kDLCPU (%d)", name,
         static_cast<int>(tensor->device.device_type), kDLCPU);
  if (tensor->ndim < 0 || tensor->ndim > kMaxRank)
    fail(FK_ERROR_INVALID_ARGUMENT, "%s: ndim is %d, needs 0 to %d", name, tensor->ndim, kMaxRank);
  if (tensor->ndim > 0 && tensor->shape == nullptr)
    fail(FK_ERROR_INVALID_ARGUMENT, "%s: shape is NULL, needs %d extents", name, tensor->ndim);
}

// Extents and strides of `view` from its tensor, the first tensor->ndim - named axes as one. Returns the element count.
int64_t flatten(View& view, int named, bool hasLeading) {
  const DLTensor& tensor = *view.tensor;
  int64_t count = 1;       // elements in the axes so far, from the last to the first
  int64_t leading = 1;     // elements in the leading ones among them
  int64_t nextStride = 0;  // that continues the flattened axis
  int64_t leadingStride = 1;
  bool splits = false;
  for (int i = tensor.ndim - 1; i >= 0; --i) {
    const int64_t extent = tensor.shape[i];
    if (extent < 0)
      fail(FK_ERROR_INVALID_ARGUMENT, "%s: shape %s has a negative extent", view.name, shapeOf(&tensor).c_str());
    const int64_t stride = tensor.strides ? tensor.strides[i] : count;
    count = product(view, count, extent);
    if (i >= tensor.ndim - named) {
      const int axis = i - (tensor.ndim - named) + hasLeading;
      view.extents[axis] = extent;
      view.strides[axis] = stride;
      continue;
    }
    if (extent > 1) {
      if (leading == 1) {
        leadingStride = stride;
      } else {
        splits |= stride != nextStride;
      }
      nextStride = static_cast<int64_t>(static_cast<uint64_t>(stride) * static_cast<uint64_t>(extent));  // locate() checks
    }
    leading = product(view, leading, extent);
  }
  if (hasLeading) {
    view.extents[0] = leading;
    view.strides[0] = leadingStride;
    if (splits && count > 0)
      fail(FK_ERROR_INVALID_ARGUMENT,
           "%s: strides %s for shape %s: the leading axes are used as one, which needs one stride for them; copy the array "
           "or "
           "pass a slice of it",
           view.name, stridesOf(&tensor).c_str(), shapeOf(&tensor).c_str());
  }
  return count;
}

// Sets data, low and high.
void locate(View& view, int64_t count) {
  const DLTensor& tensor = *view.tensor;
  const auto address = reinterpret_cast<uintptr_t>(tensor.data) + tensor.byte_offset;
  view.data = reinterpret_cast<std::byte*>(address);
  view.low = view.high = 0;
  if (count == 0) return;
  if (tensor.data == nullptr)
    fail(FK_ERROR_INVALID_ARGUMENT, "%s: data is NULL for shape %s", view.name, shapeOf(&tensor).c_str());
  if (address % view.elementSize != 0)
    fail(FK_ERROR_INVALID_ARGUMENT, "%s: data + byte_offset is %#zx, needs a multiple of the element's %d bytes", view.name,
         static_cast<size_t>(address), view.elementSize);
  product(view, count, view.elementSize);
  int64_t low = 0, high = 1;  // the first element and the one after the last, counted from data
  for (int axis = 0; axis < view.axes; ++axis) {
    if (view.extents[axis] <= 1) continue;
    const int64_t reach = product(view, view.extents[axis] - 1, view.strides[axis]);
    (reach < 0 ? low : high) = sum(view, reach < 0 ? low : high, reach);
  }
  const int64_t lowBytes = product(view, low, view.elementSize), highBytes = product(view, high, view.elementSize);
  sum(view, highBytes, -(lowBytes + 1));  // differences of two addresses fit too
  if (address < tensor.byte_offset || address < 0 - static_cast<uint64_t>(lowBytes) ||
      UINTPTR_MAX - address < static_cast<uint64_t>(highBytes))
    failTooLarge(view);
  view.low = address + static_cast<uintptr_t>(lowBytes);
  view.high = address + static_cast<uintptr_t>(highBytes);
}

bool sameLayout(const View& a, const View& b) {
  if (a.data != b.data || a.axes != b.axes || a.elementSize != b.elementSize) return false;
  for (int axis = 0; axis < a.axes; ++axis) {
    if (a.extents[axis] != b.extents[axis] || (a.extents[axis] > 1 && a.strides[axis] != b.strides[axis])) return false;
  }
  return true;
}

}  // namespace

// NULL is left to addView.
bool Arguments::isInt64(const char* name, const DLTensor* tensor) {
  const bool is64 = tensor != nullptr && tensor->dtype.bits == 64;
  if (tensor != nullptr && (tensor->dtype.code != kDLInt || (!is64 && tensor->dtype.bits != 32) || tensor->dtype.lanes != 1))
    fail(FK_ERROR_INVALID_ARGUMENT, "%s: dtype %s, needs int32 or int64", name, typeName(tensor->dtype).c_str());
  return is64;
}

IndexVector Arguments::indices(const char* name, const DLTensor* tensor, const Shape& shape) {
  const bool is64 = isInt64(name, tensor);
  const View& view = addView(name, tensor, shape, is64 ? 8 : 4, false, {});
  return {view.data, is64, view.extents[0], view.strides[0]};
}

void Arguments::integers(const char* name, const DLTensor* tensor, const Shape& shape, Matrix<int32_t>& int32,
                         Matrix<int64_t>& int64) {
  const bool is64 = isInt64(name, tensor);
  const View& view = addView(name, tensor, shape, is64 ? 8 : 4, true, {});
  requireUnitInnerStride(view);
  const auto [rows, columns] = std::pair(view.extents[0], view.extents[1]);
  if (is64)
    int64 = {elements<int64_t>(view), rows, columns, rowStrideOf(view), 1};
  else
    int32 = {elements<int32_t>(view), rows, columns, rowStrideOf(view), 1};
}

template <class Heads>
Heads Arguments::headsOfAnyType(const char* name, const DLTensor* tensor, const Shape& shape, bool output) {
  const DataType type = tensor != nullptr ? floatTypeOf(name, tensor->dtype) : DataType::kFloat32;
  const View& view = addView(name, tensor, shape, static_cast<size_t>(elementSize(type)), output, {});
  requireUnitInnerStride(view);
  return {
      view.data,       type,           view.extents[0], view.extents[1], view.extents[2], view.extents[3], view.strides[0],
      view.strides[1], view.strides[2]};
}

HeadOperand Arguments::headOperand(const char* name, const DLTensor* tensor, const Shape& shape) {
  return headsOfAnyType<HeadOperand>(name, tensor, shape, false);
}

HeadOutput Arguments::headOutput(const char* name, const DLTensor* tensor, const Shape& shape) {
  return headsOfAnyType<HeadOutput>(name, tensor, shape, true);
}

const View& Arguments::rows(const char* name, const DLTensor* tensor, const Shape& shape, DLDataType type, bool output) {
  requireType(name, tensor, type.code, type.bits);
  const View& view = addView(name, tensor, shape, type.bits / 8, output, {});
  requireUnitInnerStride(view);
  return view;
}

Vector<const int32_t> Arguments::int32(const char* name, const DLTensor* tensor, const Shape& shape) {
  const View& view = stridedInt32(name, tensor, shape);
  return {elements<const int32_t>(view), view.extents[0], view.strides[0]};
}

const View& Arguments::stridedInt32(const char* name, const DLTensor* tensor, const Shape& shape) {
  requireType(name, tensor, kDLInt, 32);
  return addView(name, tensor, shape, 4, false, {});
}

const View& Arguments::stridedFlags(const char* name, const DLTensor* tensor, const Shape& shape) {
  if (tensor != nullptr && tensor->dtype.code != kDLBool) requireType(name, tensor, kDLUInt, 8);
  if (tensor != nullptr && (tensor->dtype.bits != 8 || tensor->dtype.lanes != 1))
    fail(FK_ERROR_INVALID_ARGUMENT, "%s: dtype %s, needs uint8 or bool of 8 bits", name, typeName(tensor->dtype).c_str());
  return addView(name, tensor, shape, 1, false, {});
}

Operand Arguments::operand(const char* name, const DLTensor* tensor, const Shape& shape) {
  const DataType type = tensor != nullptr ? floatTypeOf(name, tensor->dtype) : DataType::kFloat32;
  const View& view = addView(name, tensor, shape, static_cast<size_t>(elementSize(type)), false, {});
  requireUnitInnerStride(view);
  return {view.data, type, view.extents[0], view.extents[1], rowStrideOf(view)};
}

void Arguments::requireType(const char* name, const DLTensor* tensor, int code, int bits) {
  if (tensor == nullptr || (tensor->dtype.code == code && tensor->dtype.bits == bits && tensor->dtype.lanes == 1)) return;
  const DLDataType needed{static_cast<uint8_t>(code), static_cast<uint8_t>(bits), 1};
  fail(FK_ERROR_INVALID_ARGUMENT, "%s: dtype %s, needs %s", name, typeName(tensor->dtype).c_str(), typeName(needed).c_str());
}

void Arguments::requireOneElement(const View& view) {
  if (view.extents[0] != 1)
    fail(FK_ERROR_INVALID_ARGUMENT, "%s: shape %s, needs one element", view.name, shapeOf(view.tensor).c_str());
}

void Arguments::failUnitInnerStride(const View& view) {
  fail(FK_ERROR_INVALID_ARGUMENT, "%s: strides %s for shape %s, needs stride 1 along the last axis", view.name,
       stridesOf(view.tensor).c_str(), shapeOf(view.tensor).c_str());
}

void Arguments::failEitherOrder(const View& view) {
  fail(FK_ERROR_INVALID_ARGUMENT, "%s: strides %s for shape %s, needs stride 1 along one of the two axes", view.name,
       stridesOf(view.tensor).c_str(), shapeOf(view.tensor).c_str());
}

const View& Arguments::addView(const char* name, const DLTensor* tensor, const Shape& shape, size_t elementSize, bool output,
                               Aliases mayBe) {
  if (tensor == nullptr) fail(FK_ERROR_INVALID_ARGUMENT, "%s: NULL, needs a DLTensor", name);
  if (count_ == kMaxArguments) fail(FK_ERROR_INTERNAL, "%s: more than %d arguments", name, kMaxArguments);
  View& view = views_[count_];
  view.name = name;
  view.tensor = tensor;
  view.axes = static_cast<uint8_t>(shape.axes());
  view.elementSize = static_cast<uint8_t>(elementSize);
  view.output = output;
  requireReadable(name, tensor);
  const bool hasLeading = shape.leading != Shape::Leading::kNone;
  if (hasLeading ? tensor->ndim < shape.named : tensor->ndim != shape.named) failShape(view, shape);
  const int64_t count = flatten(view, shape.named, hasLeading);
  bindShape(view, shape);
  locate(view, count);
  if (count > 0) requireNoOverlap(view, mayBe);
  ++count_;
  return view;
}

void Arguments::bindShape(const View& view, const Shape& shape) {
  const DLTensor& tensor = *view.tensor;
  if (shape.leading == Shape::Leading::kSame) {
    const int axes = tensor.ndim - shape.named;
    if (leadingArgument_ < 0) {
      leadingArgument_ = count_;
      leadingAxes_ = axes;
    } else if (axes != leadingAxes_ ||
               !std::equal(tensor.shape, tensor.shape + axes, views_[leadingArgument_].tensor->shape)) {
      failShape(view, shape);
    }
  }
  for (int i = 0; i < shape.named; ++i) {
    const int64_t extent = tensor.shape[tensor.ndim - shape.named + i];
    if (shape.mayBeOne[i] && extent == 1) continue;
    int binding = 0;
    while (binding < bound_ && bindings_[binding].name != shape.names[i]) ++binding;
    if (binding < bound_) {
      if (bindings_[binding].extent != extent) failShape(view, shape);
    } else if (bound_ == kMaxNames) {
      fail(FK_ERROR_INTERNAL, "%s: more than %d names in the shapes of a call", view.name, kMaxNames);
    } else {
      bindings_[bound_++] = {shape.names[i], count_, extent};
    }
  }
}

// "classifier: shape [3, 5], needs [V, 7] to match embeddings of shape [2, 7]": what is known from earlier arguments in
// numbers, the rest in names.
void Arguments::failShape(const View& view, const Shape& shape) const {
  std::string needed = "[", matches;
  const auto mention = [&](int argument) {
    const View& other = views_[argument];
    const std::string text = std::string(other.name) + " of shape " + shapeOf(other.tensor);
    if (matches.find(text) == std::string::npos) matches += (matches.empty() ? " to match " : " and ") + text;
  };
  const auto append = [&](const std::string& text) { needed += (needed.size() > 1 ? ", " : "") + text; };
  if (shape.leading == Shape::Leading::kSame) {
    if (leadingArgument_ < 0 || leadingArgument_ == count_) {
      append("...");
    } else {
      for (int i = 0; i < leadingAxes_; ++i) append(std::to_string(views_[leadingArgument_].tensor->shape[i]));
      mention(leadingArgument_);
    }
  }
  for (int i = 0; i < shape.named; ++i) {
    const Binding* known = std::find_if(bindings_, bindings_ + bound_, [&](const Binding& binding) {
      return binding.name == shape.names[i] && binding.argument != count_;
    });
    const std::string orOne = shape.mayBeOne[i] ? "|1" : "";
    if (known == bindings_ + bound_) {
      append(nameText(shape.names[i]) + orOne);
    } else {
      append(std::to_string(known->extent) + orOne);
      mention(known->argument);
    }
  }
  fail(FK_ERROR_INVALID_ARGUMENT, "%s: shape %s, needs %s]%s", view.name, shapeOf(view.tensor).c_str(), needed.c_str(),
       matches.c_str());
}

void Arguments::requireNoOverlap(const View& view, Aliases mayBe) const {
  if (view.output && overlapsItself(view))
    fail(FK_ERROR_INVALID_ARGUMENT, "%s: strides %s for shape %s make elements of an output share memory", view.name,
         stridesOf(view.tensor).c_str(), shapeOf(view.tensor).c_str());
  for (int i = 0; i < count_; ++i) {
    const View& other = views_[i];
    if (!(view.output || other.output) || !overlap(view, other)) continue;
    const bool mayBeOther =
        std::any_of(mayBe.begin(), mayBe.end(), [&](std::string_view name) { return name == other.name; });
    if (mayBeOther && sameLayout(view, other)) continue;
    fail(FK_ERROR_INVALID_ARGUMENT, "%s: overlaps %s in memory; it needs memory of its own%s", view.name, other.name,
         mayBeOther ? ", or exactly the other's address, shape and strides" : "");
  }
}

void requireInRange(const char* name, const IndexVector& indices, int64_t limit, bool hasIgnored, int64_t ignored) {
  for (int64_t row = 0; row < indices.size; ++row) {
    const int64_t index = indices[row];
    if ((index >= 0 && index < limit) || (hasIgnored && index == ignored)) continue;
    const std::string exception = hasIgnored ? ", or the ignored index " + std::to_string(ignored) : "";
    fail(FK_ERROR_INDEX_OUT_OF_RANGE, "%s: row %lld is %lld, needs 0 or more and less than %lld%s", name,
         static_cast<long long>(row), static_cast<long long>(index), static_cast<long long>(limit), exception.c_str());
  }
}

}  // namespace fk::abi
