#include "abi/boundary.h"

#include <gtest/gtest.h>

#include <new>
#include <stdexcept>
#include <string>

namespace fk::abi {
namespace {

TEST(Boundary, EveryExceptionBecomesAStatusAndAText) {
  EXPECT_EQ(guarded([] {}), FK_OK);
  EXPECT_EQ(guarded([] { fail(FK_ERROR_UNSUPPORTED, "%s: %d", "text", 7); }), FK_ERROR_UNSUPPORTED);
  EXPECT_STREQ(fk_last_error(), "text: 7");
  EXPECT_EQ(guarded([] { throw std::bad_alloc(); }), FK_ERROR_OUT_OF_MEMORY);
  EXPECT_STREQ(fk_last_error(), "the process is out of memory");
  EXPECT_EQ(guarded([] { throw std::runtime_error("inside"); }), FK_ERROR_INTERNAL);
  EXPECT_STREQ(fk_last_error(), "inside");
  EXPECT_EQ(guarded([] { throw 42; }), FK_ERROR_INTERNAL);
  EXPECT_STREQ(fk_last_error(), "an exception of unknown type");
  EXPECT_EQ(guarded([] {}), FK_OK);
  EXPECT_STREQ(fk_last_error(), "an exception of unknown type");  // the last error, not the last call
}

TEST(Boundary, LongTextsAreCut) {
  const std::string text(5000, 'x');
  setLastError(text.c_str());
  const std::string kept = fk_last_error();
  EXPECT_GT(kept.size(), 500u);
  EXPECT_EQ(kept, text.substr(0, kept.size()));
  setLastError("short");
  EXPECT_STREQ(fk_last_error(), "short");
}

}  // namespace
}  // namespace fk::abi
