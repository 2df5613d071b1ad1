#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include "core/cpu_features.h"
#include "fusedkernels.h"

namespace fk::test {
namespace {

TEST(Info, Version) { EXPECT_EQ(fk_abi_version(), static_cast<uint32_t>(FK_ABI_VERSION)); }

TEST(Info, BuildInfoIsOneLineWithAllItPromises) {
  const std::string info = fk_build_info();
  EXPECT_TRUE(
      std::regex_match(info, std::regex(R"(FusedKernels \d+\.\d+\.\d+, (g\+\+|clang) [\d.]+.*, scalar .*, no CUDA)")))
      << info;
  EXPECT_NE(info.find(isaName(selectedIsa())), std::string::npos) << info;
}

TEST(Info, CpuIsa) { EXPECT_STREQ(fk_cpu_isa(), isaName(selectedIsa())); }

TEST(Info, StatusNames) {
  std::set<std::string> names;
  for (int status = FK_OK; status <= FK_ERROR_INTERNAL; ++status)
    names.insert(fk_status_name(static_cast<fk_status>(status)));
  EXPECT_EQ(names.size(), FK_ERROR_INTERNAL + 1u);
  EXPECT_STREQ(fk_status_name(FK_OK), "FK_OK");
  EXPECT_STREQ(fk_status_name(FK_ERROR_NO_CUDA), "FK_ERROR_NO_CUDA");
  EXPECT_STREQ(fk_status_name(static_cast<fk_status>(10)), "FK_ERROR_UNKNOWN");
}

TEST(Info, LayoutsOfKnownTypes) {
  EXPECT_EQ(fk_struct_layout("DLTensor", nullptr), 48);
  EXPECT_EQ(fk_struct_layout("DLTensor", "shape"), 24);
  EXPECT_EQ(fk_struct_layout("fk_gemm_options", "struct_size"), 0);
  EXPECT_EQ(fk_struct_layout("fk_gemm_options", "alpha"), static_cast<int64_t>(offsetof(fk_gemm_options, alpha)));
  EXPECT_EQ(fk_struct_layout("fk_gemm_options", "gamma"), -1);
  EXPECT_EQ(fk_struct_layout("fk_context", nullptr), -1);
  EXPECT_EQ(fk_struct_layout(nullptr, nullptr), -1);
}

// Every field of every public struct, read from the header itself, so that an appended field cannot be forgotten.
TEST(Info, LayoutsCoverTheHeader) {
  std::ifstream file(FK_HEADER);
  const std::string header{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  ASSERT_FALSE(header.empty()) << FK_HEADER;
  const std::string text = std::regex_replace(header, std::regex(R"(/\*[^*]*\*+([^/*][^*]*\*+)*/)"), "");
  const std::regex structs(R"(typedef struct \{([^}]*)\} (\w+);)"), fields(R"((\w+);)");
  int types = 0;
  for (std::sregex_iterator found(text.begin(), text.end(), structs), end; found != end; ++found, ++types) {
    const std::string body = (*found)[1], type = (*found)[2];
    EXPECT_GT(fk_struct_layout(type.c_str(), nullptr), 0) << type;
    for (std::sregex_iterator field(body.begin(), body.end(), fields); field != end; ++field)
      EXPECT_GE(fk_struct_layout(type.c_str(), (*field)[1].str().c_str()), 0) << type << "." << (*field)[1];
  }
  EXPECT_GE(types, 9);
}

}  // namespace
}  // namespace fk::test
