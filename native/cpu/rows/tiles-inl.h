// How the row operators split their work into tasks. The split depends on the shapes alone, so results do not depend on the
// number of threads; and an array of at most kTaskElements is one task, which runs on the calling thread.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/integers.h"
#include "core/thread_pool.h"

namespace fk::cpu::FK_ISA {

// 64 KiB of floats: some ten microseconds of work, against the few that waking a worker takes.
constexpr int64_t kTaskElements = 16384;

// body(begin, end, slot) for blocks of whole rows, each row standing for `rowElements` elements of work.
template <class Body>
void forEachRowBlock(const Execution& execution, int64_t rows, int64_t rowElements, Body&& body) {
  const int64_t size = std::max<int64_t>(1, kTaskElements / std::max<int64_t>(1, rowElements));
  execution.forEach(ceilDivide(rows, size), [&](int64_t task, int slot) {
    execution.throwIfCancelled();
    body(task * size, std::min(rows, (task + 1) * size), slot);
  });
}

// body(row, begin, end) for every row and, where rows are long, for each part [begin, end) of its columns: for elementwise
// operators, which may also see an array as one long row.
template <class Body>
void forEachRowPart(const Execution& execution, int64_t rows, int64_t columns, Body&& body) {
  const int64_t parts = std::max<int64_t>(1, ceilDivide(columns, kTaskElements));
  const int64_t partSize = ceilDivide(columns, parts);
  forEachRowBlock(execution, rows * parts, partSize, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % parts * partSize;
      body(i / parts, std::min(columns, first), std::min(columns, first + partSize));
    }
  });
}

}  // namespace fk::cpu::FK_ISA
