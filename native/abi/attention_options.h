// The options that attention and the key-value cache read alike.
#pragma once

#include "abi/options.h"
#include "cpu/attention/attention.h"
#include "fusedkernels.h"

namespace fk::abi {

// Both or none.
inline void requireTogether(const char* firstName, const void* first, const char* secondName, const void* second) {
  if ((first == nullptr) == (second == nullptr)) return;
  fail(FK_ERROR_INVALID_ARGUMENT, "%s: NULL, needs an array beside %s", first ? secondName : firstName,
       first ? firstName : secondName);
}

int64_t readAtLeastOne(int64_t value, const char* name);

// All but what belongs to an array of the call: masks' blocks and the relative buckets. Looks at call.q.
void readAttentionOptions(const fk_attention_options& options, cpu::AttentionArguments& call);

}  // namespace fk::abi
