// The matrix of the oracles: dense, row-major, of doubles or of what stands in for them (see tolerance.h).
#pragma once

#include <cstdint>
#include <vector>

namespace fk::oracle {

template <class Real>
struct Dense {
  Dense(int64_t rows = 0, int64_t columns = 0) : rows(rows), columns(columns), values(static_cast<size_t>(rows * columns)) {}

  template <class Source>
  Dense(int64_t rows, int64_t columns, const std::vector<Source>& source)
      : rows(rows), columns(columns), values(source.begin(), source.end()) {}

  Real& operator()(int64_t i, int64_t j) { return values[static_cast<size_t>(i * columns + j)]; }
  const Real& operator()(int64_t i, int64_t j) const { return values[static_cast<size_t>(i * columns + j)]; }

  int64_t rows, columns;
  std::vector<Real> values;
};

}  // namespace fk::oracle
