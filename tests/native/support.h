// What the native tests share: seeded random numbers, arrays with canaries around them, the instruction sets and thread
// counts to try, and workspaces that notice when a kernel takes more than it asked for.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "core/cpu_features.h"
#include "core/operand.h"
#include "core/thread_pool.h"
#include "core/workspace.h"
#include "fusedkernels.h"
#include "guarded_memory.h"

namespace fk::test {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// SplitMix64 (Steele, Lea & Flood 2014). Not std::mt19937 with std:: distributions: those differ between libraries, and a
// seed printed by a failing test has to mean the same case everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  double uniform(double low, double high) { return low + (high - low) * static_cast<double>(next() >> 11) * 0x1p-53; }
  // Both ends included.
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(next() % static_cast<uint64_t>(high - low + 1));
  }
  bool chance(double probability) { return uniform(0, 1) < probability; }
  template <class T>
  T pick(std::initializer_list<T> choices) {
    return choices.begin()[between(0, static_cast<int64_t>(choices.size()) - 1)];
  }

 private:
  uint64_t state_;
};

// The instruction sets that this build and this CPU have, the scalar fallback first.
inline std::vector<Isa> supportedIsas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kScalar, Isa::kSse4, Isa::kAvx2, Isa::kAvx512, Isa::kNeon})
    if (isaSupported(isa)) isas.push_back(isa);
  return isas;
}

// For INSTANTIATE_TEST_SUITE_P over supportedIsas().
inline std::string isaTestName(const testing::TestParamInfo<Isa>& info) { return isaName(info.param); }

constexpr std::array<int, 4> kThreadCounts = {1, 2, 3, 7};

// Runs on `threads` threads of a pool that lives as long as the process.
inline Execution executionWith(int threads) {
  static ThreadPool pool(kThreadCounts.back());
  return {&pool, threads, nullptr};
}

template <class T>
constexpr DLDataType dataTypeOf() {
  if constexpr (std::is_same_v<T, float>) return {kDLFloat, 32, 1};
  if constexpr (std::is_same_v<T, int32_t>) return {kDLInt, 32, 1};
  if constexpr (std::is_same_v<T, int64_t>) return {kDLInt, 64, 1};
  if constexpr (std::is_same_v<T, int8_t>) return {kDLInt, 8, 1};
  if constexpr (std::is_same_v<T, uint8_t>) return {kDLUInt, 8, 1};
  if constexpr (requires { T::kDataType; }) return T::kDataType;
}

// An array of any shape and strides inside a larger block. Whatever the strides do not reach (the margins in front and
// behind, the gaps between rows) holds a canary: a NaN, so that a kernel which reads it shows, and of a bit pattern that
// a kernel which overwrites it destroys. Elements start as canaries too, so an output that is not written shows.
template <class T>
class StridedArray {
 public:
  StridedArray() : StridedArray({0}) {}

  // Without strides: contiguous, row-major.
  explicit StridedArray(std::vector<int64_t> shape, std::vector<int64_t> strides = {})
      : shape_(std::move(shape)), strides_(std::move(strides)) {
    if (strides_.empty()) strides_ = contiguous(shape_);
    int64_t lowest = 0, highest = 0;
    for (size_t axis = 0; axis < shape_.size(); ++axis) {
      const int64_t reach = shape_[axis] > 1 ? (shape_[axis] - 1) * strides_[axis] : 0;
      (reach < 0 ? lowest : highest) += reach;
    }
    origin_ = kMargin - lowest;
    storage_.assign(static_cast<size_t>(2 * kMargin + highest - lowest + 1), canary());
  }

  T* data() { return storage_.data() + origin_; }
  const T* data() const { return storage_.data() + origin_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t extent(size_t axis) const { return shape_[axis]; }
  int64_t stride(size_t axis) const { return strides_[axis]; }
  int64_t size() const { return std::accumulate(shape_.begin(), shape_.end(), int64_t{1}, std::multiplies<>()); }

  template <class... Index>
  T& operator()(Index... index) {
    return storage_[position({static_cast<int64_t>(index)...})];
  }
  template <class... Index>
  const T& operator()(Index... index) const {
    return storage_[position({static_cast<int64_t>(index)...})];
  }

  // value() for every element, in row-major order.
  template <class Function>
  void fill(Function&& value) {
    forEachPosition([&](size_t at) { storage_[at] = static_cast<T>(value()); });
  }

  // The elements in row-major order.
  std::vector<T> values() const {
    std::vector<T> result;
    result.reserve(static_cast<size_t>(size()));
    forEachPosition([&](size_t at) { result.push_back(storage_[at]); });
    return result;
  }

  // True when nothing outside the elements has been written.
  bool canariesIntact() const {
    std::vector<bool> element(storage_.size(), false);
    forEachPosition([&](size_t at) { element[at] = true; });
    for (size_t at = 0; at < storage_.size(); ++at) {
      const T expected = canary();
      if (!element[at] && std::memcmp(&storage_[at], &expected, sizeof(T)) != 0) return false;
    }
    return true;
  }

  // Valid while this array lives and is not moved.
  DLTensor tensor() {
    return {data(), {kDLCPU, 0}, static_cast<int32_t>(shape_.size()), dataTypeOf<T>(), shape_.data(), strides_.data(), 0};
  }
  template <class U>
  operator Matrix<U>() {
    return {data(), shape_[0], shape_[1], strides_[0], strides_[1]};
  }
  operator Operand() { return Matrix<T>(*this); }
  template <class U>
  operator Vector<U>() {
    return {data(), shape_[0], strides_[0]};
  }
  template <class U>
  operator HeadTensor<U>() {
    return {data(), shape_[0], shape_[1], shape_[2], shape_[3], strides_[0], strides_[1], strides_[2]};
  }
  operator IndexVector() const { return {data(), sizeof(T) == 8, shape_[0], strides_[0]}; }

  static std::vector<int64_t> contiguous(const std::vector<int64_t>& shape) {
    std::vector<int64_t> strides(shape.size(), 1);
    for (size_t axis = shape.size(); axis-- > 1;) strides[axis - 1] = strides[axis] * std::max<int64_t>(shape[axis], 1);
    return strides;
  }

 private:
  static constexpr int64_t kMargin = 37;  // odd, so that data() is not aligned to vectors

  static T canary() {
    T value;
    if constexpr (std::is_same_v<T, float>) {
      const uint32_t bits = 0x7f8aca9a;  // a signalling NaN: moving it keeps the bits, arithmetic on it does not
      std::memcpy(&value, &bits, sizeof value);
    } else if constexpr (requires { T::canary(); }) {
      value = T::canary();
    } else {
      value = static_cast<T>(0x5acaca9a5acaca9a);
    }
    return value;
  }

  size_t position(std::initializer_list<int64_t> index) const {
    int64_t at = origin_;
    size_t axis = 0;
    for (int64_t i : index) at += i * strides_[axis++];
    return static_cast<size_t>(at);
  }

  template <class Function>
  void forEachPosition(Function&& visit) const {
    if (size() == 0) return;
    std::vector<int64_t> index(shape_.size(), 0);
    int64_t at = origin_;
    while (true) {
      visit(static_cast<size_t>(at));
      size_t axis = shape_.size();
      while (true) {
        if (axis == 0) return;
        --axis;
        at += strides_[axis];
        if (++index[axis] < shape_[axis]) break;
        at -= index[axis] * strides_[axis];
        index[axis] = 0;
      }
    }
  }

  std::vector<int64_t> shape_, strides_;
  std::vector<T> storage_;
  int64_t origin_ = 0;
};

// A contiguous array whose first or last element touches a forbidden page: one read or write past it, and the test dies
// there. Inputs cannot be written to.
template <class T>
class GuardedArray {
 public:
  GuardedArray(int64_t size, Guard guard) : size_(size), memory_(static_cast<size_t>(size) * sizeof(T), guard) {}

  // value() for every element, which then stay as they are.
  template <class Function>
  GuardedArray(int64_t size, Guard guard, Function&& value) : GuardedArray(size, guard) {
    for (int64_t i = 0; i < size; ++i) data()[i] = static_cast<T>(value());
    memory_.makeReadOnly();
  }

  T* data() { return reinterpret_cast<T*>(memory_.data()); }
  int64_t size() const { return size_; }

 private:
  int64_t size_;
  GuardedMemory memory_;
};

// How a test matrix lies in memory.
struct MatrixLayout {
  int64_t gap = 0;           // elements between the end of a row and the start of the next
  bool columnMajor = false;  // stride 1 along the columns' axis instead: rows and columns change places
  bool reversed = false;     // a negative stride
  bool broadcast = false;    // a stride of 0: every row is the same (inputs only)
};

inline StridedArray<float> makeMatrix(int64_t rows, int64_t columns, const MatrixLayout& layout = {}) {
  const int64_t width = layout.columnMajor ? rows : columns;
  int64_t stride = layout.broadcast ? 0 : std::max<int64_t>(width, 1) + layout.gap;
  if (layout.reversed) stride = -stride;
  return layout.columnMajor ? StridedArray<float>({rows, columns}, {1, stride})
                            : StridedArray<float>({rows, columns}, {stride, 1});
}

inline StridedArray<float> makeMatrix(int64_t rows, int64_t columns, const MatrixLayout& layout, Random& random,
                                      double low = -1, double high = 1) {
  StridedArray<float> matrix = makeMatrix(rows, columns, layout);
  matrix.fill([&] { return random.uniform(low, high); });
  return matrix;
}

inline std::string describe(const MatrixLayout& layout) {
  return "{gap " + std::to_string(layout.gap) + (layout.columnMajor ? ", column-major" : "") +
         (layout.reversed ? ", reversed" : "") + (layout.broadcast ? ", broadcast" : "") + "}";
}

// memcmp, so that NaN equals NaN and +0 differs from -0.
template <class T>
bool sameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// Exactly the bytes that a kernel asked for, aligned as promised, filled with NaN, and fenced by canaries.
class TestWorkspace {
 public:
  explicit TestWorkspace(size_t bytes) : bytes_(bytes), storage_(bytes + 3 * WorkspaceCursor::kAlignment, kFence) {
    const size_t address = reinterpret_cast<size_t>(storage_.data());
    const size_t alignment = WorkspaceCursor::kAlignment;
    offset_ = (address + 2 * alignment - 1) / alignment * alignment - address;
    std::fill_n(storage_.begin() + static_cast<int64_t>(offset_), bytes, std::byte{0xff});
  }
  std::byte* data() { return storage_.data() + offset_; }
  bool fenceIntact() const {
    const auto isFence = [](std::byte value) { return value == kFence; };
    const auto begin = storage_.begin() + static_cast<int64_t>(offset_);
    return std::all_of(storage_.begin(), begin, isFence) &&
           std::all_of(begin + static_cast<int64_t>(bytes_), storage_.end(), isFence);
  }

 private:
  static constexpr std::byte kFence{0xa5};
  size_t bytes_, offset_;
  std::vector<std::byte> storage_;
};

constexpr size_t kDefaultLimit = size_t{1} << 30;  // the default workspace limit of a context

// Runs one function of a kernel table, the way native/abi does.
template <class Arguments>
void runKernel(size_t (*bytes)(const Arguments&, int, size_t),
               void (*run)(const Arguments&, const Execution&, size_t, std::byte*), const Arguments& arguments,
               const Execution& execution, size_t limit = kDefaultLimit) {
  TestWorkspace workspace(bytes(arguments, execution.threads, limit));
  run(arguments, execution, limit, workspace.data());
  EXPECT_TRUE(workspace.fenceIntact()) << "the kernel wrote outside the workspace that it asked for";
}

}  // namespace fk::test
