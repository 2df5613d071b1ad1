#include "abi/overlap.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "support.h"

namespace fk::abi {
namespace {

constexpr uintptr_t kBase = 1 << 20;

View makeView(int64_t offset, const std::vector<int64_t>& extents, const std::vector<int64_t>& strides,
              int elementSize = 4) {
  View view{};
  view.axes = static_cast<uint8_t>(extents.size());
  view.elementSize = static_cast<uint8_t>(elementSize);
  int64_t low = 0, high = 1;
  for (size_t axis = 0; axis < extents.size(); ++axis) {
    view.extents[axis] = extents[axis];
    view.strides[axis] = strides[axis];
    const int64_t reach = (extents[axis] - 1) * strides[axis];
    (reach < 0 ? low : high) += reach;
  }
  view.low = kBase + static_cast<uintptr_t>((offset + low) * elementSize);
  view.high = kBase + static_cast<uintptr_t>((offset + high) * elementSize);
  return view;
}

// Every byte address of a view, one entry per element and byte: the definition, spelt out.
std::vector<uintptr_t> bytesOf(const View& view) {
  int64_t lowest = 0;
  for (int axis = 0; axis < view.axes; ++axis) lowest += std::min<int64_t>(0, (view.extents[axis] - 1) * view.strides[axis]);
  const uintptr_t origin = view.low - static_cast<uintptr_t>(lowest * view.elementSize);
  std::vector<uintptr_t> bytes;
  std::vector<int64_t> index(view.axes, 0);
  while (true) {
    int64_t at = 0;
    for (int axis = 0; axis < view.axes; ++axis) at += index[static_cast<size_t>(axis)] * view.strides[axis];
    for (int byte = 0; byte < view.elementSize; ++byte)
      bytes.push_back(origin + static_cast<uintptr_t>(at * view.elementSize + byte));
    int axis = view.axes - 1;
    while (axis >= 0 && ++index[static_cast<size_t>(axis)] == view.extents[axis]) index[static_cast<size_t>(axis--)] = 0;
    if (axis < 0) return bytes;
  }
}

bool overlapByDefinition(const View& a, const View& b) {
  const std::vector<uintptr_t> bytesA = bytesOf(a);
  const std::set<uintptr_t> set(bytesA.begin(), bytesA.end());
  const std::vector<uintptr_t> bytesB = bytesOf(b);
  return std::any_of(bytesB.begin(), bytesB.end(), [&](uintptr_t byte) { return set.count(byte) > 0; });
}

bool overlapsItselfByDefinition(const View& view) {
  const std::vector<uintptr_t> bytes = bytesOf(view);
  return std::set<uintptr_t>(bytes.begin(), bytes.end()).size() < bytes.size();
}

TEST(Overlap, PackedQueriesKeysAndValuesAreApart) {
  const int64_t b = 2, s = 1000, h = 12, d = 64;
  const std::vector<int64_t> extents = {b, s, h, d}, strides = {s * 3 * h * d, 3 * h * d, d, 1};
  const View q = makeView(0, extents, strides), k = makeView(h * d, extents, strides),
             v = makeView(2 * h * d, extents, strides);
  EXPECT_FALSE(overlap(q, k));
  EXPECT_FALSE(overlap(q, v));
  EXPECT_FALSE(overlap(v, k));
  EXPECT_TRUE(overlap(q, makeView(h * d - 1, extents, strides)));
  EXPECT_TRUE(overlap(q, q));
  // Per head [q, k, v] instead: strides of D * 3 between the heads.
  const std::vector<int64_t> perHead = {s * 3 * h * d, 3 * h * d, 3 * d, 1};
  EXPECT_FALSE(overlap(makeView(0, extents, perHead), makeView(d, extents, perHead)));
  EXPECT_TRUE(overlap(makeView(0, extents, perHead), makeView(d - 1, extents, perHead)));
}

TEST(Overlap, ColumnsOfOneMatrixAreApartAndRowsToo) {
  EXPECT_FALSE(overlap(makeView(0, {100}, {10}), makeView(1, {100}, {10})));
  EXPECT_FALSE(overlap(makeView(0, {10, 5}, {10, 1}), makeView(5, {10, 5}, {-10, 1})));
  EXPECT_FALSE(overlap(makeView(0, {10, 10}, {20, 1}), makeView(10, {10, 10}, {20, 1})));
  EXPECT_TRUE(overlap(makeView(0, {10, 11}, {20, 1}), makeView(10, {10, 10}, {20, 1})));
  EXPECT_TRUE(overlap(makeView(0, {10, 10}, {20, 1}), makeView(0, {1, 1}, {1, 1}, 8)));
}

// Random small views, where the definition can be counted out.
TEST(Overlap, AgreesWithCountingEveryByte) {
  test::Random random(1);
  int overlapping = 0, apart = 0;
  for (int i = 0; i < 3000; ++i) {
    const auto draw = [&] {
      std::vector<int64_t> extents, strides;
      for (int64_t axis = random.between(0, 3); axis >= 0; --axis) {
        extents.push_back(random.between(1, 4));
        strides.push_back(random.between(-12, 12));
      }
      return makeView(random.between(-10, 10), extents, strides, random.pick({4, 8}));
    };
    const View a = draw(), b = draw();
    const bool expected = overlapByDefinition(a, b);
    ASSERT_EQ(overlap(a, b), expected) << "case " << i;
    ++(expected ? overlapping : apart);
  }
  EXPECT_GT(overlapping, 300);
  EXPECT_GT(apart, 300);
}

TEST(Overlap, GivesUpOnTheSafeSide) {
  // Coprime strides of large axes: the search would be long. Refusing is allowed, accepting an overlap is not.
  const View a = makeView(0, {1000, 1000, 1000}, {999983, 1009, 17}),
             b = makeView(8, {1000, 1000, 1000}, {999979, 1013, 19});
  EXPECT_TRUE(overlap(a, b));
}

TEST(Overlap, ViewsOverlapThemselvesWhenTheirStridesDoNotNest) {
  EXPECT_FALSE(overlapsItself(makeView(0, {3, 5}, {5, 1})));
  EXPECT_FALSE(overlapsItself(makeView(0, {5, 3}, {1, 5})));
  EXPECT_FALSE(overlapsItself(makeView(0, {1, 1}, {0, 0})));
  EXPECT_FALSE(overlapsItself(makeView(0, {2, 3, 4, 5}, {-60, 20, -5, 1})));
  EXPECT_TRUE(overlapsItself(makeView(0, {3, 5}, {4, 1})));
  EXPECT_TRUE(overlapsItself(makeView(0, {3, 5}, {1, 1})));
  EXPECT_TRUE(overlapsItself(makeView(0, {3}, {0})));
  EXPECT_TRUE(overlapsItself(makeView(0, {2, 3}, {3, 2})));  // apart in truth; documented as refused
}

TEST(Overlap, NoViewThatOverlapsItselfPasses) {
  test::Random random(2);
  int passed = 0;
  for (int i = 0; i < 3000; ++i) {
    std::vector<int64_t> extents, strides;
    for (int64_t axis = random.between(0, 3); axis >= 0; --axis) {
      extents.push_back(random.between(1, 4));
      strides.push_back(random.between(-20, 20));
    }
    const View view = makeView(0, extents, strides);
    if (overlapsItself(view)) continue;
    ++passed;
    ASSERT_FALSE(overlapsItselfByDefinition(view)) << "case " << i;
  }
  EXPECT_GT(passed, 300);
}

}  // namespace
}  // namespace fk::abi
