#include "abi/expect_error.h"
#include "abi/kv_cache_problem.h"

namespace fk::test {
namespace {

class KvCacheCopyPage : public testing::TestWithParam<Isa> {
 protected:
  // Three pools whose pages 0 and 1, 2 and 3, 4 and 5 are f32, bf16 and int8. All is filled.
  KvCacheCopyPage() {
    int64_t first = 0;
    for (const Precision precision : {Precision::kFloat32, Precision::kBFloat16, Precision::kInt8}) {
      const PageLayout layout = precision == Precision::kBFloat16 ? PageLayout::kHeadsFirst : PageLayout::kGaps;
      pools.push_back(
          {precision, first, 2, makePages(precision, layout, 2, 7, 3, 21), makePages(precision, layout, 2, 7, 3, 16)});
      first += 2;
      for (PageRows* rows : {&pools.back().keys, &pools.back().values})
        for (int64_t row = 0; row < 2 * 7 * 3; ++row) rows->fill(row / 21, row / 3 % 7, row % 3, 2, random);
    }
  }

  fk_status copy(int64_t from, int64_t to, fk_context* context) {
    KvCacheProblem::PoolTensors t;
    t.value.k_f32 = t.keep(pools[0].keys.numbers), t.value.v_f32 = t.keep(pools[0].values.numbers);
    t.value.k_bf16 = t.keep(pools[1].keys.numbers), t.value.v_bf16 = t.keep(pools[1].values.numbers);
    t.value.k_int8 = t.keep(pools[2].keys.numbers), t.value.v_int8 = t.keep(pools[2].values.numbers);
    t.value.k_int8_scales = t.keep(pools[2].keys.scales), t.value.v_int8_scales = t.keep(pools[2].values.scales);
    return fk_kv_cache_copy_page(context, &t.value, from, to);
  }
  fk_status copy(int64_t from, int64_t to) { return copy(from, to, contextFor(GetParam(), 2)); }

  Random random{3};
  std::vector<KvCacheProblem::Pool> pools;
};

void expectCopied(const PageRows& from, int64_t fromPage, const PageRows& to, int64_t toPage) {
  for (int64_t slot = 0; slot < 7; ++slot)
    for (int64_t head = 0; head < 3; ++head) {
      const std::vector<Bounded> source = from.row(fromPage, slot, head), copied = to.row(toPage, slot, head);
      double largest = 0;
      for (const Bounded& x : source) largest = std::max(largest, std::abs(x.value) + x.error());
      for (size_t i = 0; i < source.size(); ++i) {
        const double x = source[i].value, y = copied[i].value, error = source[i].error() + copied[i].error();
        if (to.precision == from.precision || to.precision == Precision::kFloat32) {
          EXPECT_NEAR(y, x, error);
        } else if (to.precision == Precision::kBFloat16) {
          EXPECT_NEAR(y, x, error + 0x1p-8 * (std::abs(x) + error));
        } else {
          EXPECT_NEAR(y, x, error + largest / 127 * (0.5 + 127 * 3 * kUnitRoundoff));
        }
      }
    }
}

TEST_P(KvCacheCopyPage, FromEveryPrecisionToEvery) {
  for (int64_t from = 0; from < 6; ++from)
    for (int64_t to = 0; to < 6; ++to) {
      const std::vector<KvCacheProblem::Pool> before = pools;
      ASSERT_EQ(copy(from, to), FK_OK) << fk_last_error();
      KvCacheProblem::Pool& target = pools[static_cast<size_t>(to / 2)];
      const KvCacheProblem::Pool& source = before[static_cast<size_t>(from / 2)];
      expectCopied(source.keys, from % 2, target.keys, to % 2);
      expectCopied(source.values, from % 2, target.values, to % 2);
      if (from == to) {
        EXPECT_TRUE(target.keys.sameAs(source.keys) && target.values.sameAs(source.values));
      }
      for (int64_t row = 0; row < 21; ++row) {  // all else is as it was
        target.keys.copyRow(before[static_cast<size_t>(to / 2)].keys, to % 2, row / 3, row % 3);
        target.values.copyRow(before[static_cast<size_t>(to / 2)].values, to % 2, row / 3, row % 3);
      }
      for (size_t i = 0; i < 3; ++i) {
        EXPECT_TRUE(pools[i].keys.sameAs(before[i].keys) && pools[i].values.sameAs(before[i].values));
        EXPECT_TRUE(pools[i].keys.canariesIntact() && pools[i].values.canariesIntact());
      }
    }
}

TEST_P(KvCacheCopyPage, RefusesPagesThatAreNone) {
  EXPECT_STATUS(copy(-1, 0), FK_ERROR_INDEX_OUT_OF_RANGE, "from: page -1, needs 0 to 5");
  EXPECT_STATUS(copy(6, 0), FK_ERROR_INDEX_OUT_OF_RANGE, "from: page 6, needs 0 to 5");
  EXPECT_STATUS(copy(0, 6), FK_ERROR_INDEX_OUT_OF_RANGE, "to: page 6, needs 0 to 5");
  EXPECT_STATUS(copy(0, INT64_MIN), FK_ERROR_INDEX_OUT_OF_RANGE, "to: page -9223372036854775808, needs 0 to 5");
  EXPECT_STATUS(copy(0, 1, nullptr), FK_ERROR_INVALID_ARGUMENT, "context: NULL");
  EXPECT_STATUS(fk_kv_cache_copy_page(contextFor(GetParam(), 1), nullptr, 0, 0), FK_ERROR_INVALID_ARGUMENT, "cache: NULL");
}

INSTANTIATE_TEST_SUITE_P(, KvCacheCopyPage, testing::ValuesIn(supportedIsas()), isaTestName);

}  // namespace
}  // namespace fk::test
