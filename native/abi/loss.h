// What the entry points of all losses with a reduction read alike.
#pragma once

#include "abi/arguments.h"

namespace fk::abi {

// One element for the mean and the sum, one per row for none. T is float for the loss and const float for its gradient.
template <class T>
Vector<T> readLoss(Arguments& arguments, fk_reduction reduction, const char* name, const DLTensor* tensor) {
  if (reduction == FK_REDUCTION_NONE) return arguments.vector<T>(name, tensor, "[...]");
  return arguments.scalar<T>(name, tensor);
}

}  // namespace fk::abi
