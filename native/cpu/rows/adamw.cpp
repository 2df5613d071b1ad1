// In PyTorch's order: decay the parameter, update the moments, correct their bias, add epsilon to the root, step. What is
// the same for all elements is computed in double, as Python does, and rounded once; the elements are float. (PyTorch writes
// the first moment as m + (1 - beta1) (g - m); here it is beta1 m + (1 - beta1) g, which cannot overflow on finite values.)
// A gradient beyond 5e20 makes the second moment infinite and its step 0, as there.
#include "cpu/rows/adamw.h"

#include <cmath>

#include "cpu/engine/vector_loop-inl.h"
#include "cpu/rows/tiles-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

struct Coefficients {
  explicit Coefficients(const fk_adamw_options& o)
      : gradientScale(o.gradient_scale),
        decay(static_cast<float>(1.0 - static_cast<double>(o.learning_rate) * o.weight_decay)),
        beta1(o.beta1),
        oneMinusBeta1(static_cast<float>(1.0 - o.beta1)),
        beta2(o.beta2),
        oneMinusBeta2(static_cast<float>(1.0 - o.beta2)),
        epsilon(o.epsilon) {
    const double correction1 = 1.0 - ::pow(o.beta1, static_cast<double>(o.step));
    const double correction2 = 1.0 - ::pow(o.beta2, static_cast<double>(o.step));
    negativeStepSize = static_cast<float>(-o.learning_rate / correction1);
    rootOfCorrection2 = static_cast<float>(::sqrt(correction2));
  }

  float gradientScale, decay, beta1, oneMinusBeta1, beta2, oneMinusBeta2, epsilon;
  float negativeStepSize, rootOfCorrection2;
};

void step(const AdamWArguments& a, const Execution& execution) {
  const Coefficients c(a.options);
  forEachRowPart(execution, 1, a.parameter.size, [&](int64_t, int64_t begin, int64_t end) {
    float* parameter = a.parameter.data + begin;
    const float* gradient = a.gradient.data + begin;
    float* firstMoment = a.firstMoment.data + begin;
    float* secondMoment = a.secondMoment.data + begin;
    forEachVector(end - begin, [=](auto d, int64_t i) {
      const auto times = [d](auto v, float factor) { return hn::Mul(v, hn::Set(d, factor)); };
      const auto g = times(hn::LoadU(d, gradient + i), c.gradientScale);
      const auto decayed = times(hn::LoadU(d, parameter + i), c.decay);
      const auto first = hn::MulAdd(hn::LoadU(d, firstMoment + i), hn::Set(d, c.beta1), times(g, c.oneMinusBeta1));
      const auto second =
          hn::MulAdd(hn::LoadU(d, secondMoment + i), hn::Set(d, c.beta2), hn::Mul(times(g, c.oneMinusBeta2), g));
      const auto root = hn::Div(hn::Sqrt(second), hn::Set(d, c.rootOfCorrection2));
      const auto change = hn::Div(times(first, c.negativeStepSize), hn::Add(root, hn::Set(d, c.epsilon)));
      hn::StoreU(first, d, firstMoment + i);
      hn::StoreU(second, d, secondMoment + i);
      hn::StoreU(hn::Add(decayed, change), d, parameter + i);
    });
  });
}

}  // namespace

const AdamWKernels adamWKernels = {step};

}  // namespace fk::cpu::FK_ISA
