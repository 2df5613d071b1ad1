// What the tests of the row operators share.
#pragma once

#include <atomic>

#include "core/error.h"
#include "oracles/row_operators.h"
#include "support.h"
#include "tolerance.h"

namespace fk::test {

// Around one vector and around several, with and without a tail.
inline const std::vector<int64_t> kRowLengths = {0, 1, 2, 3, 17, 63, 65, 129};
inline const std::vector<int64_t> kRowCounts = {0, 1, 3, 17};
inline const std::vector<MatrixLayout> kRowLayouts = {{}, {.gap = 5}, {.gap = 2, .reversed = true}};

inline oracle::Dense<double> dense(const StridedArray<float>& matrix) {
  return {matrix.extent(0), matrix.extent(1), matrix.values()};
}

inline std::vector<double> doubles(const std::vector<float>& values) { return {values.begin(), values.end()}; }

inline StridedArray<float> makeVector(int64_t size, int64_t stride, Random& random, double low = -1, double high = 1) {
  StridedArray<float> vector({size}, {stride});
  vector.fill([&] { return random.uniform(low, high); });
  return vector;
}

inline void append(std::vector<float>& all, const StridedArray<float>& array) {
  const std::vector<float> values = array.values();
  all.insert(all.end(), values.begin(), values.end());
}

// values[i] +- errors(i), and allWithin's own allowance for the rounding of the result to float.
template <class ErrorAt>
std::vector<Bounded> bounded(const std::vector<double>& values, ErrorAt&& errorAt) {
  std::vector<Bounded> result;
  for (size_t i = 0; i < values.size(); ++i) result.push_back(Bounded::of(values[i], errorAt(i)));
  return result;
}

// run(execution) returns all that the operator has written.
template <class Run>
void expectSameBitsOnAnyThreads(Run&& run) {
  const std::vector<float> expected = run(executionWith(1));
  for (int threads : kThreadCounts) EXPECT_TRUE(sameBits(run(executionWith(threads)), expected)) << threads << " threads";
}

template <class Run>
void expectCancellable(Run&& run) {
  const std::atomic<bool> cancelled{true};
  try {
    run(Execution{nullptr, 1, &cancelled});
    ADD_FAILURE() << "ran to the end";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), FK_ERROR_CANCELLED);
  }
}

}  // namespace fk::test
