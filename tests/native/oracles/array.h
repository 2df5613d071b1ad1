// The arrays of oracles with many axes: dense, row-major, of doubles or of what stands in for them (see tolerance.h).
#pragma once

#include <cstdint>
#include <functional>
#include <numeric>
#include <vector>

namespace fk::oracle {

// An axis of extent 1 stands for any extent: its index is not looked at.
template <class T>
struct Array {
  Array() = default;  // absent
  explicit Array(const std::vector<int64_t>& shape) : shape(shape), values(elements(shape)) {}
  template <class Source>
  Array(const std::vector<int64_t>& shape, const std::vector<Source>& source)
      : shape(shape), values(source.begin(), source.end()) {}

  explicit operator bool() const { return !shape.empty(); }

  template <class... Index>
  size_t position(Index... index) const {
    int64_t at = 0;
    size_t axis = 0;
    ((at = at * shape[axis] + (shape[axis] == 1 ? 0 : static_cast<int64_t>(index)), ++axis), ...);
    return static_cast<size_t>(at);
  }
  template <class... Index>
  T& operator()(Index... index) {
    return values[position(index...)];
  }
  template <class... Index>
  const T& operator()(Index... index) const {
    return values[position(index...)];
  }

  static size_t elements(const std::vector<int64_t>& shape) {
    return static_cast<size_t>(std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>()));
  }

  std::vector<int64_t> shape;
  std::vector<T> values;
};

}  // namespace fk::oracle
