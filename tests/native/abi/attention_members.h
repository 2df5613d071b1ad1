// The arrays of fk_attention_tensors by name, for tests that go over them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "abi/attention_problem.h"

namespace fk::test {

struct AttentionMember {
  std::string name;
  std::function<DLTensor*(const fk_attention_tensors&)> get;
  std::function<void(fk_attention_tensors&, DLTensor*)> set;
};

template <class Pointer>
AttentionMember attentionMember(const char* name, Pointer fk_attention_tensors::*member) {
  return {name, [=](const fk_attention_tensors& t) { return const_cast<DLTensor*>(t.*member); },
          [=](fk_attention_tensors& t, DLTensor* tensor) { t.*member = tensor; }};
}

#define FK_ATTENTION_MEMBER(name) attentionMember(#name, &fk_attention_tensors::name)

inline const std::vector<AttentionMember> kAttentionInputs = {FK_ATTENTION_MEMBER(q),
                                                              FK_ATTENTION_MEMBER(k),
                                                              FK_ATTENTION_MEMBER(v),
                                                              FK_ATTENTION_MEMBER(query_lengths),
                                                              FK_ATTENTION_MEMBER(key_lengths),
                                                              FK_ATTENTION_MEMBER(prefix_lengths),
                                                              FK_ATTENTION_MEMBER(query_starts),
                                                              FK_ATTENTION_MEMBER(key_starts),
                                                              FK_ATTENTION_MEMBER(query_segments),
                                                              FK_ATTENTION_MEMBER(key_segments),
                                                              FK_ATTENTION_MEMBER(mask),
                                                              FK_ATTENTION_MEMBER(block_mask),
                                                              FK_ATTENTION_MEMBER(bias),
                                                              FK_ATTENTION_MEMBER(key_bias),
                                                              FK_ATTENTION_MEMBER(alibi_slopes),
                                                              FK_ATTENTION_MEMBER(relative_bias),
                                                              FK_ATTENTION_MEMBER(axial_bias_x),
                                                              FK_ATTENTION_MEMBER(axial_bias_y),
                                                              FK_ATTENTION_MEMBER(sinks),
                                                              FK_ATTENTION_MEMBER(toeplitz_factor)};
inline const std::vector<AttentionMember> kAttentionForwardOutputs = {
    FK_ATTENTION_MEMBER(output), FK_ATTENTION_MEMBER(log_sum_exp), FK_ATTENTION_MEMBER(max_score),
    FK_ATTENTION_MEMBER(entropy), FK_ATTENTION_MEMBER(key_weights)};
inline const std::vector<AttentionMember> kAttentionUpstream = {FK_ATTENTION_MEMBER(d_output),
                                                                FK_ATTENTION_MEMBER(d_log_sum_exp)};
inline const std::vector<AttentionMember> kAttentionGradients = {FK_ATTENTION_MEMBER(d_q),
                                                                 FK_ATTENTION_MEMBER(d_k),
                                                                 FK_ATTENTION_MEMBER(d_v),
                                                                 FK_ATTENTION_MEMBER(d_bias),
                                                                 FK_ATTENTION_MEMBER(d_key_bias),
                                                                 FK_ATTENTION_MEMBER(d_alibi_slopes),
                                                                 FK_ATTENTION_MEMBER(d_relative_bias),
                                                                 FK_ATTENTION_MEMBER(d_axial_bias_x),
                                                                 FK_ATTENTION_MEMBER(d_axial_bias_y),
                                                                 FK_ATTENTION_MEMBER(d_sinks),
                                                                 FK_ATTENTION_MEMBER(d_toeplitz_factor)};

#undef FK_ATTENTION_MEMBER

// Every term, factor, output and gradient at once.
inline AttentionCase attentionWithEverything(AttentionCase c) {
  c.options.softcap = 5;
  c.options.length_scale_base = 20;
  c.options.dropout = 0.2f;
  c.options.rotary_dims = static_cast<int32_t>(c.dim / 2 * 2);
  c.buckets = 8;
  c.mask = 0;
  c.parameters.fill(0);
  c.dParameters.fill(true);
  c.maxScore = c.entropy = c.keyWeights = c.dLogSumExp = true;
  return c;
}

}  // namespace fk::test
