#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "core/cpu_features.h"
#include "fusedkernels.h"

namespace fk::test {
namespace {

TEST(Info, Version) { EXPECT_EQ(fk_abi_version(), static_cast<uint32_t>(FK_ABI_VERSION)); }

TEST(Info, BuildInfoIsOneLineWithAllItPromises) {
  const std::string info = fk_build_info();
  EXPECT_EQ(info.rfind("FusedKernels ", 0), 0u) << info;
  EXPECT_EQ(info.find('\n'), std::string::npos) << info;
  for (const std::string part : {", scalar ", isaName(selectedIsa()), ", no CUDA"})
    EXPECT_NE(info.find(part), std::string::npos) << info << " lacks " << part;
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

// The text between `open`, from `at` on, and `close`; moves `at` behind it, to npos when there is none.
std::string between(const std::string& text, const std::string& open, const std::string& close, size_t& at) {
  const size_t begin = text.find(open, at), end = text.find(close, begin);
  if (begin == text.npos || end == text.npos) {
    at = text.npos;
    return "";
  }
  at = end + close.size();
  return text.substr(begin + open.size(), end - begin - open.size());
}

std::string lastWord(const std::string& text) { return text.substr(text.find_last_of(" *\n") + 1); }

// Every field of every public struct, read from the header itself, so that an appended field cannot be forgotten.
TEST(Info, LayoutsCoverTheHeader) {
  std::ifstream file(FK_HEADER);
  std::string header{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  ASSERT_FALSE(header.empty()) << FK_HEADER;
  for (size_t at = 0; (at = header.find("/*", at)) != header.npos;) header.erase(at, header.find("*/", at) + 2 - at);
  int types = 0, fields = 0;
  for (size_t at = 0;;) {
    const std::string body = between(header, "typedef struct {", "}", at);
    if (at == header.npos) break;
    const std::string type = header.substr(at + 1, header.find(';', at) - at - 1);
    EXPECT_GT(fk_struct_layout(type.c_str(), nullptr), 0) << type;
    for (size_t field = 0, end; (end = body.find(';', field)) != body.npos; field = end + 1, ++fields) {
      const std::string name = lastWord(body.substr(field, end - field));
      EXPECT_GE(fk_struct_layout(type.c_str(), name.c_str()), 0) << type << "." << name;
    }
    ++types;
  }
  EXPECT_GE(types, 10);
  EXPECT_GE(fields, 48);
}

}  // namespace
}  // namespace fk::test
