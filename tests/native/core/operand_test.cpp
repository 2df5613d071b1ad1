#include "core/operand.h"

#include "stored_matrix.h"
#include "support.h"

namespace fk::test {
namespace {

TEST(Operand, IsAMatrixOfFloats) {
  std::vector<float> values(40);
  const Matrix<float> written{values.data(), 3, 5, 8, 1};
  const Matrix<const float> read{values.data(), 3, 5, 8, 1};
  for (const Operand& m : {Operand(written), Operand(read)}) {
    EXPECT_EQ(m.data, values.data());
    EXPECT_EQ(m.type, DataType::kFloat32);
    EXPECT_EQ(m.rows, 3);
    EXPECT_EQ(m.columns, 5);
    EXPECT_EQ(m.rowStride, 8);
    EXPECT_EQ(m.columnStride, 1);
    EXPECT_TRUE(m && !m.rowIds && !m.columnIds);
  }
  EXPECT_FALSE(Operand());
}

// Slices and transposes name the same elements, whether rows or columns are gathered or not.
TEST(Operand, SlicesAndTransposes) {
  Random random(1);
  const std::vector<int32_t> rowIds = {4, 0, 6, 6, 1}, columnIds = {2, 8, 8, 0, 5, 3};
  for (DataType type : kDataTypes) {
    const StoredMatrix memory(type, 7, 9, 11, -1, Guard::kAtEnd,
                              [&] { return static_cast<uint32_t>(random.between(0, 999)); });
    for (bool gatherRows : {false, true})
      for (bool gatherColumns : {false, true}) {
        Operand m = memory.operand();
        m.rows = static_cast<int64_t>(rowIds.size()), m.columns = static_cast<int64_t>(columnIds.size());
        if (gatherRows) m.rowIds = rowIds.data();
        if (gatherColumns) m.columnIds = columnIds.data();
        const Operand rows = rowsOf(m, 1, 3), columns = columnsOf(m, 2, 4), both = rowsOf(columns.transposed(), 1, 3);
        EXPECT_EQ(rows.rows, 3);
        EXPECT_EQ(columns.columns, 4);
        EXPECT_EQ(both.rows, 3);
        EXPECT_EQ(both.columns, m.rows);
        for (int64_t i = 0; i < m.rows; ++i) {
          EXPECT_EQ(m.rowOffset(i), 11 * (gatherRows ? rowIds[static_cast<size_t>(i)] : i));
          for (int64_t j = 0; j < m.columns; ++j) {
            const float expected = elementOf(m, i, j);
            EXPECT_EQ(m.columnOffset(j), gatherColumns ? -columnIds[static_cast<size_t>(j)] : -j);
            EXPECT_TRUE(i < 1 || i >= 4 || sameFloat(elementOf(rows, i - 1, j), expected));
            EXPECT_TRUE(j < 2 || sameFloat(elementOf(columns, i, j - 2), expected));
            EXPECT_TRUE(j < 3 || sameFloat(elementOf(both, j - 3, i), expected));
          }
        }
      }
  }
}

}  // namespace
}  // namespace fk::test
