// c = alpha * a * b + beta * c, as the definition says.
#pragma once

#include "oracles/dense.h"

namespace fk::oracle {

template <class Real>
Dense<Real> gemm(double alpha, const Dense<double>& a, const Dense<double>& b, double beta, const Dense<double>& c) {
  Dense<Real> result(a.rows, b.columns);
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < b.columns; ++j) {
      Real sum = 0;
      for (int64_t k = 0; k < a.columns; ++k) sum += Real(a(i, k)) * Real(b(k, j));
      result(i, j) = Real(alpha) * sum;
      if (beta != 0) result(i, j) = result(i, j) + Real(beta) * Real(c(i, j));
    }
  }
  return result;
}

}  // namespace fk::oracle
