#include "guarded_memory.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace fk::test {
namespace {

// A test of the instrument: what the other tests rely on to stop them does stop them.
class GuardedMemoryDeathTest : public testing::Test {
 protected:
  static std::byte read(GuardedMemory& memory, int64_t offset) {
    return *static_cast<volatile std::byte*>(memory.data() + offset);
  }
  static void write(GuardedMemory& memory, int64_t offset) {
    *static_cast<volatile std::byte*>(memory.data() + offset) = std::byte{1};
  }
};

TEST_F(GuardedMemoryDeathTest, StopsAtTheGuardedEnd) {
  for (const int64_t bytes : {4, 4096, 5000}) {
    GuardedMemory start(static_cast<size_t>(bytes), Guard::kAtStart), end(static_cast<size_t>(bytes), Guard::kAtEnd);
    write(start, 0);
    write(end, bytes - 1);
    EXPECT_DEATH(read(start, -1), "");
    EXPECT_DEATH(read(end, bytes), "");
    EXPECT_DEATH(write(end, bytes), "");
  }
}

TEST_F(GuardedMemoryDeathTest, StopsWritesToReadOnlyMemory) {
  GuardedMemory memory(16, Guard::kAtEnd);
  memory.makeReadOnly();
  EXPECT_EQ(read(memory, 0), std::byte{0});
  EXPECT_DEATH(write(memory, 0), "");
}

TEST_F(GuardedMemoryDeathTest, StopsEveryAccessToEmptyMemory) {
  GuardedMemory memory(0, Guard::kAtEnd);
  EXPECT_DEATH(read(memory, 0), "");
}

}  // namespace
}  // namespace fk::test
