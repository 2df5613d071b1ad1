#include "cpu/rows/adamw.h"

#include "abi/arguments.h"
#include "abi/boundary.h"
#include "abi/options.h"

using namespace fk::abi;

namespace {

void requireDecayRate(float beta, const char* name) {
  if (!(beta >= 0 && beta < 1))
    fk::fail(FK_ERROR_INVALID_ARGUMENT, "options: %s is %g, needs 0 or more and less than 1", name, beta);
}

fk_adamw_options readAdamWOptions(const fk_adamw_options* given) {
  const fk_adamw_options options = readOptions(given, fk_adamw_options_init);
  requireFinite(options.learning_rate, "learning_rate");
  requireDecayRate(options.beta1, "beta1");
  requireDecayRate(options.beta2, "beta2");
  requireFinite(options.epsilon, "epsilon");
  if (options.epsilon < 0) fk::fail(FK_ERROR_INVALID_ARGUMENT, "options: epsilon is %g, needs 0 or more", options.epsilon);
  requireFinite(options.weight_decay, "weight_decay");
  requireFinite(options.gradient_scale, "gradient_scale");
  if (options.step < 1)
    fk::fail(FK_ERROR_INVALID_ARGUMENT, "options: step is %lld, needs 1 for the first update and one more for each after it",
             static_cast<long long>(options.step));
  return options;
}

}  // namespace

void fk_adamw_options_init(fk_adamw_options* options) noexcept {
  *options = {.struct_size = sizeof(*options),
              .learning_rate = 1e-3f,
              .beta1 = 0.9f,
              .beta2 = 0.999f,
              .epsilon = 1e-8f,
              .weight_decay = 0.01f,
              .gradient_scale = 1,
              .step = 1};
}

fk_status fk_adamw_step(fk_context* context, const fk_adamw_options* options, DLTensor* parameter, const DLTensor* gradient,
                        DLTensor* first_moment, DLTensor* second_moment) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    fk::cpu::AdamWArguments call;
    call.options = readAdamWOptions(options);
    call.parameter = arguments.contiguous<float>("parameter", parameter, "[...]");
    call.gradient = arguments.contiguous<const float>("gradient", gradient, "[...]");
    call.firstMoment = arguments.contiguous<float>("first_moment", first_moment, "[...]");
    call.secondMoment = arguments.contiguous<float>("second_moment", second_moment, "[...]");
    fk::cpu::adamWKernelsFor(lock->isa).step(call, lock->execution());
  });
}
