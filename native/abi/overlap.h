// Whether strided arrays share memory, exactly, so that interleaved views of one buffer (packed Q, K and V) pass.
#pragma once

#include "abi/arguments.h"

namespace fk::abi {

// True when two elements of the view may share memory. Decided by nesting: each axis, in the order of the strides' sizes,
// must step over everything that the smaller ones reach. Interleavings that do without (strides 2 and 3) count as overlap.
bool overlapsItself(const View& view);

// True when some byte belongs to both. Exact, except that a search of more than a few thousand steps, which needs strides
// that fit no common layout, counts as overlap.
bool overlap(const View& a, const View& b);

}  // namespace fk::abi
