#include "core/workspace.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>

#include "core/error.h"

namespace fk {
namespace {

TEST(WorkspaceCursor, MeasuresAndHandsOutTheSameLayout) {
  alignas(WorkspaceCursor::kAlignment) std::byte block[256];
  WorkspaceCursor measure, cursor(block);
  EXPECT_EQ(measure.take<float>(3), nullptr);
  EXPECT_EQ(measure.take<double>(9), nullptr);
  EXPECT_EQ(reinterpret_cast<std::byte*>(cursor.take<float>(3)), block);
  EXPECT_EQ(reinterpret_cast<std::byte*>(cursor.take<double>(9)), block + 64);
  EXPECT_EQ(measure.used(), 64u + 128u);
  EXPECT_EQ(cursor.used(), measure.used());
}

TEST(WorkspaceCursor, SaysMoreThanAnyLimitWhenTheLayoutOverflows) {
  for (const int64_t count : {INT64_MAX, INT64_MAX / 2, int64_t{-1}}) {
    WorkspaceCursor cursor;
    cursor.take<float>(10);
    cursor.take<double>(count);
    cursor.take<float>(10);
    EXPECT_EQ(cursor.used(), SIZE_MAX) << count;
  }
}

TEST(Workspace, GrowsAndKeepsItsBlock) {
  Workspace workspace;
  EXPECT_EQ(workspace.bytes(), 0u);
  std::byte* first = workspace.reserve(1000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % WorkspaceCursor::kAlignment, 0u);
  std::memset(first, 1, 1000);
  EXPECT_EQ(workspace.reserve(10), first);
  EXPECT_EQ(workspace.bytes(), 1000u);
  std::byte* larger = workspace.reserve(100000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(larger) % WorkspaceCursor::kAlignment, 0u);
  std::memset(larger, 1, 100000);
  workspace.release();
  EXPECT_EQ(workspace.bytes(), 0u);
}

TEST(Workspace, NamesTheBytesThatAreMissing) {
  Workspace workspace;
  workspace.reserve(64);
  const size_t tooMuch = SIZE_MAX / 4;
  try {
    workspace.reserve(tooMuch);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), FK_ERROR_OUT_OF_MEMORY);
    EXPECT_NE(std::string(error.what()).find(std::to_string(tooMuch)), std::string::npos) << error.what();
  }
  EXPECT_EQ(workspace.bytes(), 0u);
  EXPECT_NE(workspace.reserve(64), nullptr);
}

}  // namespace
}  // namespace fk
