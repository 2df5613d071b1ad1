// Gradients against central differences, in double: how the oracles prove theirs.
#pragma once

#include <gtest/gtest.h>

#include <vector>

namespace fk::test {

// f's gradient at `parameter`, by differences whose error is about step^2 + 1e-16 / step.
template <class Function>
void expectGradient(std::vector<double>& parameter, const std::vector<double>& gradient, Function&& f) {
  const double step = 1e-5;
  ASSERT_EQ(parameter.size(), gradient.size());
  for (size_t i = 0; i < parameter.size(); ++i) {
    const double saved = parameter[i];
    parameter[i] = saved + step;
    const double above = f();
    parameter[i] = saved - step;
    const double below = f();
    parameter[i] = saved;
    EXPECT_NEAR(gradient[i], (above - below) / (2 * step), 1e-8) << "element " << i;
  }
}

}  // namespace fk::test
