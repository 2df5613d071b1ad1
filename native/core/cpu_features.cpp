#include "core/cpu_features.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/error.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

namespace fk {
namespace {

struct NamedIsa {
  const char* name;
  Isa isa;
};

#if defined(__aarch64__)

// Best first.
constexpr NamedIsa kIsas[] = {{"neon", Isa::kNeon}, {"scalar", Isa::kScalar}};

bool cpuRuns(Isa isa) { return isa == Isa::kScalar || isa == Isa::kNeon; }  // NEON is part of the AArch64 baseline

#else

constexpr NamedIsa kIsas[] = {
    {"avx512", Isa::kAvx512}, {"avx2", Isa::kAvx2}, {"sse4", Isa::kSse4}, {"scalar", Isa::kScalar}};

constexpr uint32_t bit(int position) { return uint32_t{1} << position; }

// Feature bits of Intel's Software Developer's Manual, volume 2, CPUID: the sets that native/CMakeLists.txt compiles for.
constexpr uint32_t kSse4Leaf1Ecx = bit(0) | bit(9) | bit(19) | bit(20) | bit(23) | bit(1) | bit(25);  // SSE3, SSSE3, SSE4.1,
                                                                                                      // SSE4.2, POPCNT,
                                                                                                      // PCLMUL, AES
constexpr uint32_t kOsxsave = bit(27);
constexpr uint32_t kAvx2Leaf1Ecx = kSse4Leaf1Ecx | bit(28) | bit(12) | bit(29);        // AVX, FMA, F16C
constexpr uint32_t kAvx2Leaf7Ebx = bit(5) | bit(3) | bit(8);                           // AVX2, BMI1, BMI2
constexpr uint32_t kAvx512Leaf7Ebx = bit(16) | bit(17) | bit(28) | bit(30) | bit(31);  // F, DQ, CD, BW, VL
constexpr uint64_t kYmmState = bit(1) | bit(2);                                        // XMM, upper halves of YMM
constexpr uint64_t kZmmState = kYmmState | bit(5) | bit(6) | bit(7);  // mask registers, ZMM0-15's upper halves, ZMM16-31

// The register sets that the operating system saves on a context switch. Only with OSXSAVE.
uint64_t enabledStates() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

bool hasAll(uint64_t value, uint64_t wanted) { return (value & wanted) == wanted; }

bool cpuRuns(Isa isa) {
  if (isa == Isa::kScalar) return true;
  uint32_t eax, ebx, leaf1Ecx, edx, leaf7Ebx = 0, leaf7Ecx;
  if (!__get_cpuid(1, &eax, &ebx, &leaf1Ecx, &edx)) return false;
  if (isa == Isa::kSse4) return hasAll(leaf1Ecx, kSse4Leaf1Ecx);
  __get_cpuid_count(7, 0, &eax, &leaf7Ebx, &leaf7Ecx, &edx);
  const uint64_t states = hasAll(leaf1Ecx, kOsxsave) ? enabledStates() : 0;
  const bool avx2 = hasAll(leaf1Ecx, kAvx2Leaf1Ecx) && hasAll(leaf7Ebx, kAvx2Leaf7Ebx) && hasAll(states, kYmmState);
  if (isa == Isa::kAvx2) return avx2;
  return isa == Isa::kAvx512 && avx2 && hasAll(leaf7Ebx, kAvx512Leaf7Ebx) && hasAll(states, kZmmState);
}

#endif

std::string supportedNames() {
  std::string names;
  for (const NamedIsa& candidate : kIsas) {
    if (!isaSupported(candidate.isa)) continue;
    if (!names.empty()) names += ", ";
    names += candidate.name;
  }
  return names;
}

}  // namespace

const char* isaName(Isa isa) {
  for (const NamedIsa& candidate : kIsas) {
    if (candidate.isa == isa) return candidate.name;
  }
  return "unknown";
}

bool isaSupported(Isa isa) { return cpuRuns(isa); }

Isa selectIsa(const char* name) {
  for (const NamedIsa& candidate : kIsas) {
    if (name == nullptr ? isaSupported(candidate.isa) : std::strcmp(name, candidate.name) == 0) {
      if (isaSupported(candidate.isa)) return candidate.isa;
      fail(FK_ERROR_UNSUPPORTED, "FUSEDKERNELS_ISA is \"%s\", which this CPU or its operating system lacks; it can be %s",
           name, supportedNames().c_str());
    }
  }
  fail(FK_ERROR_INVALID_ARGUMENT, "FUSEDKERNELS_ISA is \"%s\", which is no instruction set of this build; it can be %s",
       name, supportedNames().c_str());
}

Isa selectedIsa() {
  // A throwing initializer runs again at the next call, so a bad value is reported every time.
  static const Isa isa = selectIsa(std::getenv("FUSEDKERNELS_ISA"));
  return isa;
}

}  // namespace fk
