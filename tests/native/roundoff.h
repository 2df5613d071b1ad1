// What storing a number costs: the nearest number x of a type is off by at most relative * |x| + absolute.
#pragma once

namespace fk::test {

struct Roundoff {
  double relative = 0, absolute = 0;
};

constexpr double kUnitRoundoff = 0x1p-24;
constexpr double kSmallestNormal = 0x1p-126;  // results below it may be flushed to zero, by exp() below twice that

constexpr Roundoff kFloat32Roundoff = {kUnitRoundoff, kSmallestNormal};
constexpr Roundoff kBFloat16Roundoff = {0x1p-8, kSmallestNormal};
constexpr Roundoff kFloat16Roundoff = {0x1p-11, 0x1p-25};

}  // namespace fk::test
