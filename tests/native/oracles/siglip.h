// The sigmoid loss over all pairs of rows of x and y, and its gradient, as the definition says.
#pragma once

#include <cmath>

#include "oracles/dense.h"

namespace fk::oracle {

template <class Real>
struct SiglipResult {
  Real loss = 0;
  Dense<Real> dX, dY;
};

template <class Real>
SiglipResult<Real> siglip(const Dense<double>& x, const Dense<double>& y, double scale, double bias) {
  using std::exp, std::log;
  SiglipResult<Real> result{0, {x.rows, x.columns}, {y.rows, y.columns}};
  const double weight = 1.0 / static_cast<double>(x.rows);
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < y.rows; ++j) {
      Real score = 0;
      for (int64_t d = 0; d < x.columns; ++d) score += Real(x(i, d)) * Real(y(j, d));
      const double label = i == j ? 1 : -1;
      const Real u = Real(-label) * (Real(scale) * score + Real(bias));
      result.loss += Real(weight) * (u < Real(0) ? log(Real(1) + exp(u)) : u + log(Real(1) + exp(Real(-1) * u)));
      const Real dScore = Real(-label * scale * weight) * (Real(1) / (Real(1) + exp(Real(-1) * u)));
      for (int64_t d = 0; d < x.columns; ++d) {
        result.dX(i, d) += dScore * Real(y(j, d));
        result.dY(j, d) += dScore * Real(x(i, d));
      }
    }
  return result;
}

}  // namespace fk::oracle
