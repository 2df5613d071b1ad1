// The functions of a row's cross-entropy l = -log p that fk_loss_shape names, and what their gradients multiply that of l
// with. Both keep their digits as p goes to 1, where 1 - p = -expm1(-l).
#pragma once

#include <cmath>

#include "fusedkernels.h"

namespace fk::oracle {

struct LossShape {
  fk_loss_shape shape = FK_LOSS_SHAPE_CROSS_ENTROPY;
  double parameter = 0;

  double value(double l) const {
    const double a = parameter, p = std::exp(-l), rest = -std::expm1(-l);
    switch (shape) {
      case FK_LOSS_SHAPE_CROSS_ENTROPY:
        return l;
      case FK_LOSS_SHAPE_FOCAL:
        return std::pow(rest, a) * l;
      case FK_LOSS_SHAPE_POLY1:
        return l + a * rest;
      case FK_LOSS_SHAPE_GENERALISED:
        return a == 0 ? l : -std::expm1(-a * l) / a;
      case FK_LOSS_SHAPE_TOKEN_SCALED:
        return p * l;
    }
    return 0;
  }

  // d value / d l, with p held constant in FK_LOSS_SHAPE_TOKEN_SCALED.
  double slope(double l) const {
    const double a = parameter, p = std::exp(-l), rest = -std::expm1(-l);
    switch (shape) {
      case FK_LOSS_SHAPE_CROSS_ENTROPY:
        return 1;
      case FK_LOSS_SHAPE_FOCAL:
        if (a == 0) return 1;
        return l == 0 ? 0 : std::pow(rest, a) + a * std::pow(rest, a - 1) * p * l;
      case FK_LOSS_SHAPE_POLY1:
        return 1 + a * p;
      case FK_LOSS_SHAPE_GENERALISED:
        return std::exp(-a * l);
      case FK_LOSS_SHAPE_TOKEN_SCALED:
        return p;
    }
    return 0;
  }
};

}  // namespace fk::oracle
