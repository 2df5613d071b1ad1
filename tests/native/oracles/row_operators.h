// The row operators as their definitions say, in double.
#pragma once

#include <cmath>

#include "fusedkernels.h"
#include "oracles/dense.h"

namespace fk::oracle {

// ---- RMSNorm

struct RmsNorm {
  Dense<double> x;
  std::vector<double> weight;
  double epsilon = 1e-6;
  Dense<double> dY;
};

inline double inverseRms(const RmsNorm& problem, int64_t row) {
  double squares = 0;
  for (int64_t i = 0; i < problem.x.columns; ++i) squares += problem.x(row, i) * problem.x(row, i);
  return 1 / std::sqrt(squares / static_cast<double>(problem.x.columns) + problem.epsilon);
}

inline Dense<double> rmsNorm(const RmsNorm& problem) {
  Dense<double> y(problem.x.rows, problem.x.columns);
  for (int64_t n = 0; n < y.rows; ++n) {
    const double scale = inverseRms(problem, n);
    for (int64_t i = 0; i < y.columns; ++i) y(n, i) = problem.x(n, i) * scale * problem.weight[static_cast<size_t>(i)];
  }
  return y;
}

struct RmsNormGradient {
  Dense<double> dX;
  std::vector<double> dWeight;
  // The absolute sums behind each element: what rounding errors are relative to.
  Dense<double> dXTerms;
  std::vector<double> dWeightTerms;
};

// inverseRms: one per row, as the caller has it.
inline RmsNormGradient rmsNormGradient(const RmsNorm& problem, const std::vector<double>& inverseRms) {
  const int64_t rows = problem.x.rows, dim = problem.x.columns;
  const std::vector<double> zeros(static_cast<size_t>(dim));
  RmsNormGradient result{Dense<double>(rows, dim), zeros, Dense<double>(rows, dim), zeros};
  for (int64_t n = 0; n < rows; ++n) {
    const double r = inverseRms[static_cast<size_t>(n)];
    double projection = 0, projectionTerms = 0;
    for (int64_t i = 0; i < dim; ++i) {
      const double term = problem.dY(n, i) * problem.weight[static_cast<size_t>(i)] * problem.x(n, i);
      projection += term / static_cast<double>(dim);
      projectionTerms += std::abs(term) / static_cast<double>(dim);
    }
    for (int64_t i = 0; i < dim; ++i) {
      const double direct = r * problem.dY(n, i) * problem.weight[static_cast<size_t>(i)];
      const double along = problem.x(n, i) * r * r * r;
      result.dX(n, i) = direct - along * projection;
      result.dXTerms(n, i) = std::abs(direct) + std::abs(along) * projectionTerms;
      const double weightTerm = problem.dY(n, i) * problem.x(n, i) * r;
      result.dWeight[static_cast<size_t>(i)] += weightTerm;
      result.dWeightTerms[static_cast<size_t>(i)] += std::abs(weightTerm);
    }
  }
  return result;
}

// ---- SwiGLU

inline double sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }

inline double swiglu(double gate, double up) { return gate * sigmoid(gate) * up; }

struct SwigluGradient {
  double dGate, dUp;
};

inline SwigluGradient swigluGradient(double gate, double up, double dOutput) {
  const double slope = sigmoid(gate) + gate * sigmoid(gate) * sigmoid(-gate);
  return {dOutput * up * slope, dOutput * gate * sigmoid(gate)};
}

// ---- Rotary embedding, of one head at one position, in place; cosine and sine are rounded once

struct RotaryEmbedding {
  bool interleaved = false, inverse = false;
  int64_t rotaryDims = 0;
  double base = 10000;
};

template <class Real>
void rotate(const RotaryEmbedding& problem, double position, std::vector<Real>& head) {
  const int64_t pairs = problem.rotaryDims / 2;
  for (int64_t i = 0; i < pairs; ++i) {
    const long double exponent = -2.0L * i / problem.rotaryDims;
    const long double angle =
        (problem.inverse ? -1 : 1) * position * std::pow(static_cast<long double>(problem.base), exponent);
    const Real cosine = Real(static_cast<double>(std::cos(angle))) * Real(1);
    const Real sine = Real(static_cast<double>(std::sin(angle))) * Real(1);
    Real& a = head[static_cast<size_t>(problem.interleaved ? 2 * i : i)];
    Real& b = head[static_cast<size_t>(problem.interleaved ? 2 * i + 1 : i + pairs)];
    const Real rotatedA = a * cosine - b * sine;
    b = a * sine + b * cosine;
    a = rotatedA;
  }
}

// ---- AdamW, of one element

struct AdamWState {
  double parameter, firstMoment, secondMoment;
};

inline AdamWState adamW(const fk_adamw_options& o, AdamWState state, double gradient) {
  gradient *= o.gradient_scale;
  const double beta1 = o.beta1, beta2 = o.beta2;
  state.parameter -= static_cast<double>(o.learning_rate) * o.weight_decay * state.parameter;
  state.firstMoment = beta1 * state.firstMoment + (1 - beta1) * gradient;
  state.secondMoment = beta2 * state.secondMoment + (1 - beta2) * gradient * gradient;
  const double step = static_cast<double>(o.step);
  const double unbiasedFirst = state.firstMoment / (1 - std::pow(beta1, step));
  const double unbiasedSecond = state.secondMoment / (1 - std::pow(beta2, step));
  state.parameter -= o.learning_rate * unbiasedFirst / (std::sqrt(unbiasedSecond) + o.epsilon);
  return state;
}

// ---- Cross-entropy of one row of logits

struct SoftmaxCrossEntropy {
  double loss;
  std::vector<double> gradient;  // of the loss with respect to the logits
};

inline SoftmaxCrossEntropy softmaxCrossEntropy(const std::vector<double>& logits, int64_t target) {
  double maximum = logits[0];
  for (double logit : logits) maximum = std::fmax(maximum, logit);
  double others = 0;  // what is not the target's, so that a confident row keeps its small loss
  for (size_t v = 0; v < logits.size(); ++v)
    if (static_cast<int64_t>(v) != target) others += std::exp(logits[v] - maximum);
  const double own = std::exp(logits[static_cast<size_t>(target)] - maximum);
  SoftmaxCrossEntropy result{std::log(own + others) + maximum - logits[static_cast<size_t>(target)], {}};
  for (double logit : logits) result.gradient.push_back(std::exp(logit - maximum) / (own + others));
  result.gradient[static_cast<size_t>(target)] = -others / (own + others);
  return result;
}

}  // namespace fk::oracle
