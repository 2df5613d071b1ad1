// What the tests of functions with a struct of tensors share: contexts, arrays of several types, and the struct itself.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <variant>

#include "core/context.h"
#include "low_precision.h"
#include "support.h"

namespace fk::test {

// One context per instruction set and number of threads, as long as the process lives.
inline fk_context* contextFor(Isa isa, int threads) {
  static const auto pool = std::make_shared<ThreadPool>(kThreadCounts.back());
  static std::map<std::pair<Isa, int>, std::unique_ptr<fk_context>> contexts;
  std::unique_ptr<fk_context>& context = contexts[{isa, threads}];
  if (!context) context = std::make_unique<fk_context>(isa, threads, pool, kDefaultLimit);
  return context.get();
}

// The outputs of one thread, after those of 2 and 3 have been found to be the same.
template <class Run>
auto onAnyThreads(Isa isa, const Run& run) {
  const auto once = run(contextFor(isa, 1));
  for (int threads : {2, 3}) EXPECT_TRUE(run(contextFor(isa, threads)).sameBitsAs(once)) << threads << " threads";
  return once;
}

// An array of one of several element types, which look like doubles or like int64_t.
template <class Number, class... Elements>
class AnyArray {
 public:
  AnyArray() : array_(StridedArray<std::tuple_element_t<0, std::tuple<Elements...>>>()) {}
  template <class T>
  AnyArray(StridedArray<T> array) : array_(std::move(array)) {}  // NOLINT: implicit

  DLTensor tensor() {
    return std::visit([](auto& array) { return array.tensor(); }, array_);
  }
  template <class Function>
  void fill(Function&& value) {
    std::visit([&](auto& array) { array.fill(value); }, array_);
  }
  std::vector<Number> values() const {
    return std::visit(
        [](const auto& array) {
          std::vector<Number> result;
          for (const auto& value : array.values()) result.push_back(static_cast<Number>(value));
          return result;
        },
        array_);
  }
  template <class... Index>
  Number at(Index... index) const {
    return std::visit([=](const auto& array) { return static_cast<Number>(array(index...)); }, array_);
  }
  template <class... Index>
  void set(Number value, Index... index) {
    std::visit(
        [=](auto& array) {
          auto& element = array(index...);
          element = static_cast<std::remove_reference_t<decltype(element)>>(value);
        },
        array_);
  }
  bool canariesIntact() const {
    return std::visit([](const auto& array) { return array.canariesIntact(); }, array_);
  }
  int64_t size() const {
    return std::visit([](const auto& array) { return array.size(); }, array_);
  }

 private:
  std::variant<StridedArray<Elements>...> array_;
};

using FloatArray = AnyArray<double, float, BFloat16, Half>;
using IndexArray = AnyArray<int64_t, int32_t, int64_t>;

// f(index, value) instead of every element, in row-major order.
template <class Array, class Function>
void change(Array& array, const Function& f) {
  const auto values = array.values();
  int64_t at = 0;
  array.fill([&] {
    const auto value = f(at, values[static_cast<size_t>(at)]);
    ++at;
    return value;
  });
}

enum class Storage { kFloat32, kBFloat16, kFloat16 };

inline const char* nameOf(Storage storage) {
  return storage == Storage::kFloat32 ? "f32" : storage == Storage::kBFloat16 ? "bf16" : "f16";
}

inline FloatArray floatArray(Storage storage, const std::vector<int64_t>& shape, const std::vector<int64_t>& strides = {}) {
  if (storage == Storage::kBFloat16) return StridedArray<BFloat16>(shape, strides);
  if (storage == Storage::kFloat16) return StridedArray<Half>(shape, strides);
  return StridedArray<float>(shape, strides);
}

// A struct of tensors with the DLTensors that it points to.
template <class Struct, void (*kInitialise)(Struct*) noexcept>
class CallTensors {
 public:
  CallTensors() { kInitialise(&value); }

  template <class Array>
  DLTensor* keep(Array& array, bool present = true) {
    if (!present) return nullptr;
    storage_.push_back(array.tensor());
    return &storage_.back();
  }

  Struct value;

 private:
  std::deque<DLTensor> storage_;
};

}  // namespace fk::test
