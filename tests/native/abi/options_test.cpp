#include "abi/options.h"

#include <gtest/gtest.h>

#include <cmath>

#include "abi/expect_error.h"

namespace fk::abi {
namespace {

// The second version of a struct whose first ended before `added`.
struct Options {
  uint32_t struct_size;
  float first;
  float added;
};
constexpr size_t kFirstSize = 8;

void initialise(Options* options) noexcept { *options = {sizeof(Options), 1, 2}; }
Options read(const void* given) { return readOptions(static_cast<const Options*>(given), initialise, kFirstSize); }

TEST(Options, NullMeansDefaults) {
  const Options options = read(nullptr);
  EXPECT_EQ(options.first, 1);
  EXPECT_EQ(options.added, 2);
}

TEST(Options, AreTakenOver) {
  const Options given{sizeof(Options), 10, 20};
  EXPECT_EQ(read(&given).first, 10);
  EXPECT_EQ(read(&given).added, 20);
}

TEST(Options, AnOlderCallerGetsDefaultsForNewFields) {
  const Options given{kFirstSize, 10, 20};
  EXPECT_EQ(read(&given).first, 10);
  EXPECT_EQ(read(&given).added, 2);
}

TEST(Options, ANewerCallerIsFineWhileTheUnknownIsZero) {
  struct Newer {
    Options known;
    float unknown[3];
  } given{{sizeof(Newer), 10, 20}, {0, 0, 0}};
  EXPECT_EQ(read(&given).added, 20);
  given.unknown[2] = 1;
  EXPECT_ERROR(read(&given), FK_ERROR_INVALID_ARGUMENT, "a field beyond byte 12 is set");
}

TEST(Options, SizesThatNoVersionHas) {
  for (const uint32_t size : {0u, 7u, 4097u, 0xffffffffu}) {
    const Options given{size, 10, 20};
    EXPECT_ERROR(read(&given), FK_ERROR_INVALID_ARGUMENT, "struct_size is " + std::to_string(size) + ", needs 8 or more");
  }
}

TEST(Options, OtherStructsHaveTheSameRules) {
  const auto readAsTensors = [](const Options* given) { return readStruct("tensors", given, initialise, kFirstSize); };
  const Options older{kFirstSize, 10, 20}, tooSmall{7, 10, 20};
  EXPECT_EQ(readAsTensors(&older).first, 10);
  EXPECT_EQ(readAsTensors(&older).added, 2);
  EXPECT_ERROR(readAsTensors(&tooSmall), FK_ERROR_INVALID_ARGUMENT, "tensors: struct_size is 7, needs 8 or more");
}

TEST(Options, Fields) {
  EXPECT_TRUE(readFlag(1, "causal"));
  EXPECT_FALSE(readFlag(0, "causal"));
  EXPECT_ERROR(readFlag(2, "causal"), FK_ERROR_INVALID_ARGUMENT, "options: causal is 2, needs 0 or 1");
  EXPECT_ERROR(readFlag(-1, "causal"), FK_ERROR_INVALID_ARGUMENT, "causal is -1");
  EXPECT_EQ(readEnum(2, FK_REDUCTION_NONE, "reduction"), FK_REDUCTION_NONE);
  EXPECT_ERROR(readEnum(3, FK_REDUCTION_NONE, "reduction"), FK_ERROR_INVALID_ARGUMENT,
               "options: reduction is 3, needs 0 to 2");
  EXPECT_ERROR(readEnum(-1, FK_REDUCTION_NONE, "reduction"), FK_ERROR_INVALID_ARGUMENT, "reduction is -1");
  EXPECT_NO_THROW(requireFinite(0, "scale"));
  EXPECT_ERROR(requireFinite(INFINITY, "scale"), FK_ERROR_INVALID_ARGUMENT, "options: scale is inf, needs a finite number");
}

}  // namespace
}  // namespace fk::abi
