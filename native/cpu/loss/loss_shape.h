// Losses that are a function f of a row's cross-entropy l = -log p: their gradient is that of the cross-entropy times f'(l).
// See fk_loss_shape for the formulas and papers.
#pragma once

#include <cmath>

#include "fusedkernels.h"

namespace fk::cpu {

struct LossShape {
  fk_loss_shape kind;
  double parameter;

  double value(double l) const {
    switch (kind) {
      case FK_LOSS_SHAPE_FOCAL:
        return std::pow(others(l), parameter) * l;
      case FK_LOSS_SHAPE_POLY1:
        return l + parameter * others(l);
      case FK_LOSS_SHAPE_GENERALISED:
        return parameter == 0 ? l : -std::expm1(-parameter * l) / parameter;
      case FK_LOSS_SHAPE_TOKEN_SCALED:
        return std::exp(-l) * l;
      default:
        return l;
    }
  }

  double derivative(double l) const {
    switch (kind) {
      case FK_LOSS_SHAPE_FOCAL: {
        // (1 - p)^a + a (1 - p)^(a - 1) p l, where l / (1 - p) tends to 1 as p does.
        const double ratio = l > 0 ? l / others(l) : 1;
        return std::pow(others(l), parameter) * (1 + parameter * (std::isinf(l) ? 0 : std::exp(-l) * ratio));
      }
      case FK_LOSS_SHAPE_POLY1:
        return 1 + parameter * std::exp(-l);
      case FK_LOSS_SHAPE_GENERALISED:
        return std::exp(-parameter * l);
      case FK_LOSS_SHAPE_TOKEN_SCALED:
        return std::exp(-l);
      default:
        return 1;
    }
  }

 private:
  static double others(double l) { return -std::expm1(-l); }  // 1 - p, without cancellation
};

}  // namespace fk::cpu
