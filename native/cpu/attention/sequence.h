// One sequence of an attention call: which part of the arrays it is, and where its queries stand among its keys.
#pragma once

#include <algorithm>

#include "cpu/attention/attention.h"

namespace fk::cpu {

struct Sequence {
  int64_t item;                 // of the batch axis
  int64_t firstQuery, queries;  // along q's axis
  int64_t firstKey, keys;       // along k's axis
  int64_t prefix;               // keys before this one are seen by all
  int64_t position;             // of query 0; key j is at position j
};

inline Sequence sequenceAt(const AttentionArguments& a, int64_t n) {
  Sequence s = {n, 0, a.q.sequence, 0, a.k.sequence, 0, 0};
  if (a.queryStarts) {
    s = {0, a.queryStarts[n], 0, a.keyStarts[n], 0, 0, 0};
    s.queries = a.queryStarts[n + 1] - s.firstQuery;
    s.keys = a.keyStarts[n + 1] - s.firstKey;
  }
  if (a.queryLengths) s.queries = a.queryLengths[n];
  if (a.keyLengths) s.keys = a.keyLengths[n];
  if (a.prefixLengths) s.prefix = std::min<int64_t>(a.prefixLengths[n], s.keys);
  s.position = a.topLeft ? 0 : s.keys - s.queries;
  return s;
}

// Whether every query and key belongs to a sequence. Where not, nobody visits their outputs.
inline bool sequencesCoverEverything(const AttentionArguments& a) {
  return !a.queryStarts && !a.queryLengths && !a.keyLengths;
}

}  // namespace fk::cpu
