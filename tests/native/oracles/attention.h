// Attention with every option, its other outputs, and its gradients, as fusedkernels.h defines them: plain loops over plain
// arrays.
#pragma once

#include <algorithm>

#include "oracles/attention_problem.h"
#include "oracles/cut_cross_entropy.h"

namespace fk::oracle {

template <class Real>
struct AttentionResult {
  Array<Real> output, logSumExp, maxScore, entropy, keyWeights;
  Array<Real> dQ, dK, dV;
  AttentionParameters<Real> dParameters;  // of those that are there
};

template <class Real, std::enable_if_t<std::is_floating_point_v<Real>, int> = 0>
Real storedWith(const test::Roundoff&, Real x) {
  return x;
}

template <class Real, std::enable_if_t<std::is_floating_point_v<Real>, int> = 0>
Real largestOf(const std::vector<Real>& values) {
  return values.empty() ? Real(-HUGE_VAL) : *std::max_element(values.begin(), values.end());
}

template <class Real>
Real stored(const Attention& problem, const Real& x) {
  if constexpr (std::is_same_v<Real, double>) {
    if (problem.stored) return problem.stored(x);
  }
  return x;
}

// Of [B, S, H, D].
template <class AnyArray>
auto rowOf(AnyArray& heads, int64_t b, int64_t i, int64_t h) {
  return heads.values.data() + ((b * heads.shape[1] + i) * heads.shape[2] + h) * heads.shape[3];
}

// [B, S, H, D] turned by the positions of its rows; the rows outside every sequence stay as they are.
template <class Real>
void rotateHeads(const Attention& problem, Array<Real>& heads, bool areQueries, bool inverse) {
  if (problem.rotary.rotaryDims == 0) return;
  RotaryEmbedding rotary = problem.rotary;
  rotary.inverse = inverse;
  for (const AttentionSequence& s : problem.sequences())
    for (int64_t i = 0; i < (areQueries ? s.queries : s.keys); ++i)
      for (int64_t h = 0; h < heads.shape[2]; ++h) {
        const int64_t row = i + (areQueries ? s.firstQuery : s.firstKey);
        const int64_t position =
            areQueries ? problem.queryPosition(s, i) + problem.rotaryQueryOffset : i + problem.rotaryKeyOffset;
        Real* at = rowOf(heads, s.batch, row, h);
        std::vector<Real> head(at, at + heads.shape[3]);
        rotate(rotary, static_cast<double>(position), head);
        std::copy(head.begin(), head.end(), at);
      }
}

// One query of one head: its way from scores to output, and back.
template <class Real>
class AttentionRow {
 public:
  // q and k are rotated. `query` counts from the start of the sequence.
  AttentionRow(const Attention& problem, const Array<Real>& q, const Array<Real>& k, const AttentionSequence& sequence,
               int64_t head, int64_t query)
      : problem_(problem),
        q_(q),
        k_(k),
        s_(sequence),
        h_(head),
        x_(problem.queryPosition(sequence, query)),
        query_(query),
        i_(sequence.firstQuery + query) {
    if (problem.lengthScaleBase != 0) scale_ = scale_ * (Real(problem.lengthScale(s_, x_)) * Real(1));
    for (int64_t j = 0; j < s_.keys; ++j)
      if (problem.inSight(s_, x_, j) && problem.unmasked(s_.batch, h_, i_, s_.firstKey + j)) addKey(j);
    computeProbabilities();
  }

  void writeOutputs(AttentionResult<Real>& result) const {
    const int64_t b = s_.batch;
    result.logSumExp(b, h_, i_) = logSumExp_;
    result.maxScore(b, h_, i_) = largestOf(exponents_);
    for (size_t at = 0; at < keys_.size(); ++at) {
      result.entropy(b, h_, i_) += probabilities_[at] * (logSumExp_ - scores_[at]);
      result.keyWeights(b, h_, axisKey(at)) += probabilities_[at];
      const Real weight = stored(problem_, multiplier(at) * probabilities_[at]);
      const double* v = rowOf(problem_.v, b, axisKey(at), problem_.keyHead(h_));
      Real* output = rowOf(result.output, b, i_, h_);
      for (int64_t d = 0; d < problem_.valueDim(); ++d) output[d] += weight * Real(v[d]);
    }
    for (int64_t d = 0; d < problem_.valueDim(); ++d) {
      Real& output = result.output(b, i_, h_, d);
      output = stored(problem_, output);
    }
  }

  // Adds to the gradients, after the output. dQ and dK are those of the rotated q and k.
  void addGradients(AttentionResult<Real>& result) const {
    using std::exp;
    const int64_t b = s_.batch;
    Real along = 0;  // sum over keys of p dp
    for (int64_t d = 0; d < problem_.valueDim(); ++d)
      along += Real(problem_.dOutput(b, i_, h_, d)) * storedWith(problem_.outputRoundoff, result.output(b, i_, h_, d));
    if (problem_.dLogSumExp) along = along - Real(problem_.dLogSumExp(b, h_, i_));
    if (hasSink()) result.dParameters[kSinks](h_) += exp(sink() - logSumExp_) * (Real(0) - along);
    for (size_t at = 0; at < keys_.size(); ++at) addGradientsOfKey(at, along, result);
  }

 private:
  bool hasSink() const { return problem_.parameters[kSinks] && problem_.parameters[kSinks](h_) != -HUGE_VAL; }
  Real sink() const { return problem_.parameters[kSinks](h_); }
  int64_t axisKey(size_t at) const { return s_.firstKey + keys_[at]; }

  // Calls visit(parameter, position of the element, coefficient) for all that is added to the score of key j.
  template <class Visit>
  void forEachTerm(int64_t j, const Visit& visit) const {
    const AttentionParameters<double>& p = problem_.parameters;
    const int64_t b = s_.batch, axisJ = s_.firstKey + j;
    if (p[kBias]) visit(kBias, p[kBias].position(b, h_, i_, axisJ), 1);
    if (p[kKeyBias]) visit(kKeyBias, p[kKeyBias].position(b, h_, axisJ), 1);
    if (p[kAlibiSlopes]) visit(kAlibiSlopes, p[kAlibiSlopes].position(b, h_), -static_cast<double>(std::abs(x_ - j)));
    if (p[kRelativeBias]) visit(kRelativeBias, p[kRelativeBias].position(problem_.relativeBucket(x_ - j), h_), 1);
    if (p[kAxialBiasX]) visit(kAxialBiasX, p[kAxialBiasX].position(b, h_, i_, axisJ % p[kAxialBiasX].shape[3]), 1);
    if (p[kAxialBiasY]) {
      const int64_t width = problem_.keys() / p[kAxialBiasY].shape[3];
      visit(kAxialBiasY, p[kAxialBiasY].position(b, h_, i_, axisJ / width), 1);
    }
  }

  void addKey(int64_t j) {
    using std::tanh;
    const Real* q = rowOf(q_, s_.batch, i_, h_);
    const Real* k = rowOf(k_, s_.batch, s_.firstKey + j, problem_.keyHead(h_));
    Real dot = 0;
    for (int64_t d = 0; d < problem_.dim(); ++d) dot += q[d] * k[d];
    Real score = stored(problem_, scale_ * dot);
    Real slope = scale_;
    if (problem_.softcap != 0) {
      const Real squashed = tanh(score / Real(problem_.softcap));
      score = stored(problem_, Real(problem_.softcap) * squashed);
      slope = slope * (Real(1) - squashed * squashed);
    }
    forEachTerm(j, [&](AttentionParameter parameter, size_t position, double coefficient) {
      score = stored(problem_, score + Real(coefficient) * Real(problem_.parameters[parameter].values[position]));
    });
    keys_.push_back(j);
    scores_.push_back(score);
    slopes_.push_back(slope);
  }

  void computeProbabilities() {
    using std::exp;
    exponents_ = scores_;
    if (hasSink()) exponents_.push_back(sink());
    logSumExp_ = oracle::logSumExp(exponents_);
    for (const Real& score : scores_) probabilities_.push_back(stored(problem_, exp(score - logSumExp_)));
  }

  // What dropout and the Toeplitz factor make of a probability.
  Real multiplier(size_t at) const {
    Real result = dropoutFactor(at);
    if (problem_.parameters[kToeplitzFactor])
      result = result * Real(problem_.parameters[kToeplitzFactor].values[toeplitzPosition(at)]);
    return result;
  }
  Real dropoutFactor(size_t at) const {
    if (!problem_.kept(s_.batch, h_, i_, axisKey(at))) return 0;
    return problem_.dropout == 0 ? Real(1) : Real(1) / (Real(1) - Real(problem_.dropout));
  }
  size_t toeplitzPosition(size_t at) const {
    return problem_.parameters[kToeplitzFactor].position(h_, keys_[at] - query_ + problem_.queries() - 1);
  }

  void addGradientsOfKey(size_t at, const Real& along, AttentionResult<Real>& result) const {
    const int64_t b = s_.batch, g = problem_.keyHead(h_), j = axisKey(at);
    const double* dOutput = rowOf(problem_.dOutput, b, i_, h_);
    const double* v = rowOf(problem_.v, b, j, g);
    const Real weight = stored(problem_, multiplier(at) * probabilities_[at]);
    Real dWeight = 0;
    Real* dV = rowOf(result.dV, b, j, g);
    for (int64_t d = 0; d < problem_.valueDim(); ++d) {
      dWeight += Real(dOutput[d]) * Real(v[d]);
      dV[d] += weight * Real(dOutput[d]);
    }
    dWeight = stored(problem_, dWeight);
    if (problem_.parameters[kToeplitzFactor])
      result.dParameters[kToeplitzFactor].values[toeplitzPosition(at)] += dropoutFactor(at) * probabilities_[at] * dWeight;
    const Real dScore = stored(problem_, probabilities_[at] * (multiplier(at) * dWeight - along));
    forEachTerm(keys_[at], [&](AttentionParameter parameter, size_t position, double coefficient) {
      result.dParameters[parameter].values[position] += Real(coefficient) * dScore;
    });
    const Real dDot = stored(problem_, slopes_[at] * dScore);
    Real *dQ = rowOf(result.dQ, b, i_, h_), *dK = rowOf(result.dK, b, j, g);
    const Real *q = rowOf(q_, b, i_, h_), *k = rowOf(k_, b, j, g);
    for (int64_t d = 0; d < problem_.dim(); ++d) {
      dQ[d] += dDot * k[d];
      dK[d] += dDot * q[d];
    }
  }

  const Attention& problem_;
  const Array<Real>&q_, &k_;
  const AttentionSequence& s_;
  const int64_t h_, x_, query_, i_;  // head, position, and the query from its sequence's start and along q's axis
  Real scale_ = Real(problem_.scale);
  std::vector<int64_t> keys_;                          // that the query sees, from the start of the sequence
  std::vector<Real> scores_, slopes_, probabilities_;  // slopes: d score / d (q . k)
  std::vector<Real> exponents_;                        // the scores, and the sink
  Real logSumExp_ = 0;
};

template <class Real>
AttentionResult<Real> emptyAttentionResult(const Attention& problem) {
  const int64_t b = problem.batch(), h = problem.heads(), queries = problem.queries(), keys = problem.keys();
  AttentionResult<Real> result;
  result.output = Array<Real>({b, queries, h, problem.valueDim()});
  result.logSumExp = result.maxScore = result.entropy = Array<Real>({b, h, queries});
  for (Array<Real>* array : {&result.logSumExp, &result.maxScore})
    std::fill(array->values.begin(), array->values.end(), Real(-HUGE_VAL));
  result.keyWeights = Array<Real>({b, h, keys});
  result.dQ = Array<Real>(problem.q.shape);
  result.dK = Array<Real>(problem.k.shape);
  result.dV = Array<Real>(problem.v.shape);
  for (size_t i = 0; i < kAttentionParameters; ++i)
    if (problem.parameters[i]) result.dParameters[i] = Array<Real>(problem.parameters[i].shape);
  return result;
}

// Without dOutput, without gradients.
template <class Real>
AttentionResult<Real> attention(const Attention& problem) {
  AttentionResult<Real> result = emptyAttentionResult<Real>(problem);
  Array<Real> q(problem.q.shape, problem.q.values), k(problem.k.shape, problem.k.values);
  rotateHeads(problem, q, true, false);
  rotateHeads(problem, k, false, false);
  for (const AttentionSequence& sequence : problem.sequences())
    for (int64_t h = 0; h < problem.heads(); ++h)
      for (int64_t i = 0; i < sequence.queries; ++i) {
        const AttentionRow<Real> row(problem, q, k, sequence, h, i);
        row.writeOutputs(result);
        if (problem.dOutput) row.addGradients(result);
      }
  rotateHeads(problem, result.dQ, true, true);
  rotateHeads(problem, result.dK, false, true);
  for (Array<Real>* gradient : {&result.dQ, &result.dK, &result.dV})
    for (Real& value : gradient->values) value = stored(problem, value);
  return result;
}

}  // namespace fk::oracle
