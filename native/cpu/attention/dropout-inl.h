// Dropout from a counter, so that backward draws the mask of forward without storing it: Salmon et al., "Parallel Random
// Numbers: As Easy as 1, 2, 3", 2011, Philox4x32-10. About as much arithmetic per weight as an exp.
#pragma once

#include "cpu/engine/score_tiles-inl.h"

namespace fk::cpu::FK_ISA {

// One counter and its four random words per lane.
struct PhiloxLanes {
  uint32_t words[4][kLanePanel];

  void run(uint64_t seed) {
    uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round, key0 += 0x9e3779b9u, key1 += 0xbb67ae85u) {
      for (int64_t lane = 0; lane < kLanePanel; ++lane) {
        const uint64_t first = uint64_t{0xd2511f53u} * words[0][lane], second = uint64_t{0xcd9e8d57u} * words[2][lane];
        const uint32_t word1 = words[1][lane], word3 = words[3][lane];
        words[0][lane] = static_cast<uint32_t>(second >> 32) ^ word1 ^ key0;
        words[1][lane] = static_cast<uint32_t>(second);
        words[2][lane] = static_cast<uint32_t>(first >> 32) ^ word3 ^ key1;
        words[3][lane] = static_cast<uint32_t>(first);
      }
    }
  }
};

struct Dropout {
  float probability = 0;
  uint64_t seed = 0;
  uint32_t item = 0, head = 0;

  explicit operator bool() const { return probability > 0; }

  // factors[column][lane] *= 0 or 1 / (1 - probability), for queries from firstQuery and keys from firstKey on.
  void multiply(int64_t firstQuery, int64_t firstKey, int64_t columns, float* factors) const {
    const auto threshold = static_cast<uint32_t>(static_cast<double>(probability) * 0x1p32);
    const float kept = 1 / (1 - probability);
    PhiloxLanes random;
    for (int64_t c = 0; c < columns; ++c, factors += kLanePanel) {
      const int64_t key = firstKey + c;
      if (c == 0 || key % 4 == 0) draw(random, firstQuery, key / 4);
      const uint32_t* words = random.words[key % 4];
      for (int64_t lane = 0; lane < kLanePanel; ++lane) factors[lane] *= words[lane] >= threshold ? kept : 0.0f;
    }
  }

 private:
  void draw(PhiloxLanes& random, int64_t firstQuery, int64_t keyGroup) const {
    for (int64_t lane = 0; lane < kLanePanel; ++lane) {
      random.words[0][lane] = static_cast<uint32_t>(keyGroup);
      random.words[1][lane] = static_cast<uint32_t>(firstQuery + lane);
      random.words[2][lane] = head;
      random.words[3][lane] = item;
    }
    random.run(seed);
  }
};

}  // namespace fk::cpu::FK_ISA
