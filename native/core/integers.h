// Integer arithmetic that the standard library lacks.
#pragma once

#include <cstdint>

namespace fk {

// a / b rounded up, for a >= 0 and b > 0, however large.
constexpr int64_t ceilDivide(int64_t a, int64_t b) { return a / b + (a % b != 0); }

}  // namespace fk
