// From checked arrays to those that attention's kernels index by batch, head, query and key.
#pragma once

#include <initializer_list>

#include "abi/arguments.h"
#include "cpu/attention/attention.h"

namespace fk::abi {

// The axes of a ScoreArray.
enum Axis : uint8_t { kBatch, kHead, kRow, kColumn };

// T is the element type; `axes` says which axis of the ScoreArray each of the view's is. Axes of extent 1 have stride 0.
template <class T>
cpu::ScoreArray<T> scoreArray(const View& view, std::initializer_list<Axis> axes) {
  cpu::ScoreArray<T> result;
  result.data = reinterpret_cast<T*>(view.data);
  int64_t* strides[] = {&result.batchStride, &result.headStride, &result.rowStride, &result.columnStride};
  int at = 0;
  for (const Axis axis : axes) {
    result.extents[axis] = view.extents[at];
    *strides[axis] = view.extents[at] > 1 ? view.strides[at] : 0;
    ++at;
  }
  return result;
}

}  // namespace fk::abi
