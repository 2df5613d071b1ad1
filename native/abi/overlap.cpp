#include "abi/overlap.h"

#include <algorithm>
#include <cstdlib>

namespace fk::abi {
namespace {

// A multiple of `step`, from 0 to `most` times. `rest` is the largest sum of the terms after this one.
struct Term {
  uint64_t step, most, rest = 0;
};

// The terms of a byte's distance from an array's end: its axes, largest step first. At most two arrays and the bytes within
// an element.
struct Terms {
  Term items[2 * Shape::kMaxAxes + 1];
  int count = 0;

  const Term* begin() const { return items; }
  const Term* end() const { return items + count; }

  void add(uint64_t step, uint64_t most) {
    int at = count++;
    for (; at > 0 && items[at - 1].step < step; --at) items[at] = items[at - 1];
    items[at] = {step, most};
  }

  void add(const View& view) {
    for (int axis = 0; axis < view.axes; ++axis) {
      const auto step = static_cast<uint64_t>(std::llabs(view.strides[axis])) * view.elementSize;
      if (view.extents[axis] > 1) add(step, static_cast<uint64_t>(view.extents[axis] - 1));
    }
  }

  void mergeEqualSteps() {
    int merged = 0;
    for (int i = 0; i < count; ++i) {
      if (merged > 0 && items[merged - 1].step == items[i].step) {
        items[merged - 1].most += items[i].most;
      } else {
        items[merged++] = items[i];
      }
    }
    count = merged;
  }

  void sumRests() {
    for (int i = count - 2; i >= 0; --i) items[i].rest = items[i + 1].rest + items[i + 1].step * items[i + 1].most;
  }
};

// Can the terms sum to the target? Depth first, largest steps first: where strides nest, only two or three multiples of
// each step leave something that the smaller ones can still reach.
bool reachable(const Term* term, const Term* end, uint64_t target, int& budget) {
  if (term == end) return target == 0;
  if (term->step == 0) return reachable(term + 1, end, target, budget);
  const uint64_t least = target > term->rest ? (target - term->rest + term->step - 1) / term->step : 0;
  const uint64_t most = std::min(term->most, target / term->step);
  for (uint64_t n = least; n <= most; ++n) {
    if (--budget < 0 || reachable(term + 1, end, target - n * term->step, budget)) return true;
  }
  return false;
}

}  // namespace

bool overlapsItself(const View& view) {
  Terms terms;
  terms.add(view);
  terms.sumRests();
  return std::any_of(terms.begin(), terms.end(), [&](const Term& term) { return term.step < term.rest + view.elementSize; });
}

bool overlap(const View& a, const View& b) {
  if (a.low >= b.high || b.low >= a.high) return false;
  // With every stride made positive, a's bytes lie at a.low plus sums of a's terms, and b's at b.high - 1 minus sums of b's
  // terms. A byte is shared exactly when the terms of both together sum to the difference.
  Terms terms;
  terms.add(a);
  terms.add(b);
  terms.add(1, a.elementSize - 1u + b.elementSize - 1u);
  terms.mergeEqualSteps();
  terms.sumRests();
  int budget = 4096;
  return reachable(terms.begin(), terms.end(), b.high - 1 - a.low, budget);
}

}  // namespace fk::abi
