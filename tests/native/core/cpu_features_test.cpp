#include "core/cpu_features.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "core/error.h"
#include "cpu/dense/gemm.h"
#include "support.h"

namespace fk {
namespace {

TEST(CpuFeatures, ScalarIsAlwaysThere) {
  EXPECT_TRUE(isaSupported(Isa::kScalar));
  EXPECT_EQ(selectIsa("scalar"), Isa::kScalar);
}

TEST(CpuFeatures, WithoutANameTheBestIsTaken) {
  const Isa best = selectIsa(nullptr);
  EXPECT_TRUE(isaSupported(best));
  EXPECT_EQ(best, test::supportedIsas().back());  // which lists them from the simplest to the best
}

TEST(CpuFeatures, ANameForcesThatOne) {
  for (const Isa isa : test::supportedIsas()) EXPECT_EQ(selectIsa(isaName(isa)), isa) << isaName(isa);
}

TEST(CpuFeatures, RefusesUnknownNamesAndSaysWhatIsAllowed) {
  for (const char* name : {"", "AVX2", "avx", "avx512 ", "none"}) {
    try {
      selectIsa(name);
      FAIL() << name;
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_EQ(error.status(), FK_ERROR_INVALID_ARGUMENT);
      EXPECT_NE(text.find("FUSEDKERNELS_ISA is \"" + std::string(name) + "\""), std::string::npos) << text;
      for (const Isa isa : test::supportedIsas()) EXPECT_NE(text.find(isaName(isa)), std::string::npos) << text;
    }
  }
}

TEST(CpuFeatures, RefusesWhatThisCpuLacks) {
#if defined(__x86_64__)
  for (const Isa isa : {Isa::kSse4, Isa::kAvx2, Isa::kAvx512}) {
    if (isaSupported(isa)) continue;
    try {
      selectIsa(isaName(isa));
      FAIL() << isaName(isa);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), FK_ERROR_UNSUPPORTED);
    }
  }
#endif
}

// Linux lists a flag when the CPU has it and the kernel saves its registers: what isaSupported claims to find out by itself.
TEST(CpuFeatures, AgreesWithTheOperatingSystem) {
#if defined(__x86_64__) && defined(__linux__)
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::set<std::string> flags;
  for (std::string line; flags.empty() && std::getline(cpuinfo, line);) {
    if (line.rfind("flags", 0) != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    for (std::string word; words >> word;) flags.insert(word);
  }
  if (flags.empty()) GTEST_SKIP() << "/proc/cpuinfo lists no flags";
  const auto hasAll = [&](std::initializer_list<const char*> names) {
    return std::all_of(names.begin(), names.end(), [&](const char* name) { return flags.count(name) > 0; });
  };
  const bool sse4 = hasAll({"pni", "ssse3", "sse4_1", "sse4_2", "popcnt", "pclmulqdq", "aes"});
  const bool avx2 = sse4 && hasAll({"avx", "avx2", "fma", "bmi1", "bmi2", "f16c"});
  const bool avx512 = avx2 && hasAll({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"});
  EXPECT_EQ(isaSupported(Isa::kSse4), sse4);
  EXPECT_EQ(isaSupported(Isa::kAvx2), avx2);
  EXPECT_EQ(isaSupported(Isa::kAvx512), avx512);
#endif
}

TEST(CpuFeatures, EachInstructionSetHasKernelsOfItsOwn) {
  std::set<const void*> tables;
  for (const Isa isa : test::supportedIsas()) tables.insert(&cpu::gemmKernelsFor(isa));
  EXPECT_EQ(tables.size(), test::supportedIsas().size());
}

}  // namespace
}  // namespace fk
