#include "cpu/engine/stored_rows.h"

#include "low_precision.h"
#include "support.h"

namespace fk::cpu {
namespace {

using namespace test;

class StoredRowsTest : public testing::TestWithParam<Isa> {
 protected:
  const StoredRowsKernels& kernels = storedRowsKernelsFor(GetParam());
};

// Every number of 16 bits, the points halfway to its neighbour, and the floats on either side of these.
std::vector<float> interestingFloats(DataType type) {
  std::vector<float> result;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = floatOfElement(type, bits);
    result.push_back(value);
    if (!std::isfinite(value)) continue;
    const uint32_t halfway =
        type == DataType::kBfloat16 || std::abs(value) >= 0x1p-14f
            ? bitsOf(value) + (type == DataType::kBfloat16 ? 0x8000 : 0x1000)
            : bitsOf(static_cast<float>(value + std::copysign(0x1p-25, value)));  // half of the spacing of subnormals
    for (uint32_t at = halfway - 1; at != halfway + 2; ++at) result.push_back(floatOf(at));
  }
  return result;
}

uint16_t expectedBits(DataType type, float value) {
  if (type == DataType::kBfloat16) return std::isinf(value) ? bitsOf(value) >> 16 : BFloat16(value).bits;
  if (std::abs(value) >= 65520) return static_cast<uint16_t>(0x7c00 | (std::signbit(value) ? 0x8000 : 0));
  return Half(value).bits;
}

TEST_P(StoredRowsTest, RoundToNearestTiesToEven) {
  for (const DataType type : {DataType::kBfloat16, DataType::kFloat16}) {
    const std::vector<float> values = interestingFloats(type);
    std::vector<uint16_t> stored(values.size());
    kernels.store(values.data(), static_cast<int64_t>(values.size()), type, stored.data());
    for (size_t i = 0; i < values.size(); ++i) {
      if (std::isnan(values[i])) {
        EXPECT_TRUE(std::isnan(floatOfElement(type, stored[i])));
      } else {
        ASSERT_EQ(stored[i], expectedBits(type, values[i])) << nameOf(type) << " of " << values[i];
      }
    }
  }
}

TEST_P(StoredRowsTest, LoadsWhatIsStored) {
  for (const DataType type : kDataTypes) {
    std::vector<uint32_t> words;
    std::vector<std::byte> bytes;
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
      words.push_back(type == DataType::kFloat32 ? bits * 0x10001 : bits);
      const auto* first = reinterpret_cast<const std::byte*>(&words.back());
      bytes.insert(bytes.end(), first, first + elementSize(type));
    }
    std::vector<float> loaded(words.size());
    kernels.load(bytes.data(), static_cast<int64_t>(words.size()), type, loaded.data());
    for (size_t i = 0; i < words.size(); ++i)
      ASSERT_TRUE(sameFloat(loaded[i], floatOfElement(type, words[i]))) << nameOf(type) << " " << words[i];
  }
}

TEST_P(StoredRowsTest, StayWithinTheRow) {
  for (const DataType type : kDataTypes)
    for (const Guard guard : {Guard::kAtStart, Guard::kAtEnd})
      for (int64_t count = 0; count <= 40; ++count) {
        GuardedArray<float> from(count, guard, [] { return 1.5; });
        GuardedArray<uint8_t> to(count * elementSize(type), guard);
        kernels.store(from.data(), count, type, to.data());
        GuardedArray<float> back(count, guard);
        kernels.load(to.data(), count, type, back.data());
        for (int64_t i = 0; i < count; ++i) EXPECT_EQ(back.data()[i], 1.5f);
      }
}

INSTANTIATE_TEST_SUITE_P(, StoredRowsTest, testing::ValuesIn(supportedIsas()), isaTestName);

}  // namespace
}  // namespace fk::cpu
