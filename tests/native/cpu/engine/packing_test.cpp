// Packing against plain loops: every storage type, layout and gather, to the bit.
#include "cpu/engine/packing.h"

#include "cpu/engine/top_k.h"
#include "cpu/engine/windowed_linear_attention.h"
#include "stored_matrix.h"
#include "support.h"

namespace fk::test {
namespace {

struct Packed {
  std::vector<float> lanes, broadcast;
};

// Everything that packing gives for an operand, and nothing written behind it. What nobody writes stays a NaN.
Packed pack(Isa isa, const Operand& m) {
  const cpu::PackingKernels& kernels = cpu::packingKernelsFor(isa);
  Packed packed;
  packed.lanes.assign(static_cast<size_t>(kernels.lanePanelFloats(m.rows, m.columns)) + 1, kNan);
  packed.broadcast.assign(static_cast<size_t>(m.rows * m.columns) + 1, kNan);
  kernels.packLanes(m, packed.lanes.data(), executionWith(2));
  kernels.packBroadcast(m, packed.broadcast.data());
  EXPECT_TRUE(std::isnan(packed.lanes.back()) && std::isnan(packed.broadcast.back()));
  return packed;
}

// The number of places that hold something else than they should.
int64_t mistakes(Isa isa, const Operand& m) {
  const cpu::PackingKernels& kernels = cpu::packingKernelsFor(isa);
  const Packed packed = pack(isa, m);
  const int64_t lanePanel = kernels.lanePanel, broadcastHeight = kernels.broadcastHeight(m.rows);
  int64_t wrong = 0;
  for (int64_t item = 0; item < m.rows; ++item) {
    const int64_t first = item / broadcastHeight * broadcastHeight, height = std::min(broadcastHeight, m.rows - first);
    for (int64_t k = 0; k < m.columns; ++k) {
      const float expected = elementOf(m, item, k);
      const auto lane = static_cast<size_t>(item / lanePanel * lanePanel * m.columns + k * lanePanel + item % lanePanel);
      const auto broadcast = static_cast<size_t>(first * m.columns + k * height + item - first);
      wrong += !sameFloat(packed.lanes[lane], expected) + !sameFloat(packed.broadcast[broadcast], expected);
    }
  }
  const int64_t lanes = (m.rows + lanePanel - 1) / lanePanel * lanePanel;
  for (int64_t item = m.rows; item < lanes; ++item)
    for (int64_t k = 0; k < m.columns; ++k) {
      const int64_t at = (lanes - lanePanel) * m.columns + k * lanePanel + item % lanePanel;
      wrong += bitsOf(packed.lanes[static_cast<size_t>(at)]) != 0;
    }
  return wrong;
}

struct Layout {
  const char* name;
  int64_t rowStride, columnStride;
};

std::vector<Layout> layoutsOf(int64_t rows, int64_t columns) {
  return {{"contiguous", columns, 1},
          {"strided", columns + 3, 1},
          {"reversed", -(columns + 1), 1},
          {"transposed", 1, rows},
          {"transposed, reversed", 1, -(rows + 5)},
          {"no axis adjacent", 2 * columns + 1, 2}};
}

std::vector<int32_t> randomIds(int64_t count, int64_t limit, Random& random) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (int32_t& id : ids) id = static_cast<int32_t>(random.between(0, limit - 1));
  if (!ids.empty()) ids[0] = static_cast<int32_t>(limit - 1);  // the end of memory
  return ids;
}

void expectEveryLayout(int64_t items, int64_t depth) {
  Random random(static_cast<uint64_t>(items * 100 + depth));
  // Memory is larger than what is gathered from it.
  const int64_t rows = items + 2, columns = depth + 3;
  const std::vector<int32_t> rowIds = randomIds(items, rows, random), columnIds = randomIds(depth, columns, random);
  for (bool gatherRows : {false, true})
    for (bool gatherColumns : {false, true}) {
      const int64_t memoryRows = gatherRows ? rows : items, memoryColumns = gatherColumns ? columns : depth;
      for (const Layout& layout : layoutsOf(memoryRows, memoryColumns))
        for (DataType type : kDataTypes)
          for (Guard guard : {Guard::kAtStart, Guard::kAtEnd}) {
            const StoredMatrix memory(type, memoryRows, memoryColumns, layout.rowStride, layout.columnStride, guard,
                                      [&] { return static_cast<uint32_t>(random.next()); });
            Operand m = memory.operand();
            m.rows = items, m.columns = depth;
            if (gatherRows) m.rowIds = rowIds.data();
            if (gatherColumns) m.columnIds = columnIds.data();
            for (Isa isa : supportedIsas())
              EXPECT_EQ(mistakes(isa, m), 0) << nameOf(type) << ", " << items << " x " << depth << ", " << layout.name
                                             << (gatherRows ? ", rows gathered" : "")
                                             << (gatherColumns ? ", columns gathered" : "") << ", " << isaName(isa);
          }
    }
}

TEST(Packing, EveryTypeLayoutAndGather) {
  for (int64_t items : {1, 2, 3, 4, 5, 7, 13, 14, 15, 31, 32, 33, 67})
    for (int64_t depth : {1, 3, 4, 5, 8, 9, 17, 33}) expectEveryLayout(items, depth);
}

// More than the eight lane panels that are packed side by side.
TEST(Packing, ManyPanels) { expectEveryLayout(600, 10); }

TEST(Packing, NothingIsReadOfEmptyOperands) {
  for (Isa isa : supportedIsas())
    for (DataType type : kDataTypes)
      for (const auto& [rows, columns] : {std::pair(0, 5), {5, 0}, {0, 0}})
        pack(isa, Operand(nullptr, type, rows, columns, columns));
}

// Subnormals, infinities and NaN are converted by all three ways through packing: vector runs, 4 x 4 blocks and one by one.
TEST(Packing, All65536PatternsOf16Bits) {
  for (DataType type : {DataType::kBfloat16, DataType::kFloat16}) {
    uint32_t next = 0;
    const StoredMatrix memory(type, 256, 256, 256, 1, Guard::kAtEnd, [&] { return next++; });
    std::vector<int32_t> ids(256);
    std::iota(ids.begin(), ids.end(), 0);
    Operand oneByOne = memory.operand();
    oneByOne.columnIds = ids.data();
    for (Isa isa : supportedIsas()) {
      EXPECT_EQ(mistakes(isa, memory.operand()), 0) << nameOf(type) << ", blocks, " << isaName(isa);
      EXPECT_EQ(mistakes(isa, memory.operand().transposed()), 0) << nameOf(type) << ", runs, " << isaName(isa);
      EXPECT_EQ(mistakes(isa, oneByOne), 0) << nameOf(type) << ", one by one, " << isaName(isa);
    }
  }
}

TEST(Packing, ConversionsOfKnownValues) {
  const std::vector<std::pair<uint32_t, float>> halves = {
      {0x0000, 0.0f}, {0x8000, -0.0f}, {0x0001, 0x1p-24f}, {0x83ff, -0x3ffp-24f}, {0x0400, 0x1p-14f},
      {0x3c00, 1.0f}, {0xc100, -2.5f}, {0x7bff, 65504.0f}, {0x7c00, kInfinity},   {0xfc00, -kInfinity}};
  for (const auto& [bits, value] : halves) EXPECT_EQ(bitsOf(floatOfHalf(static_cast<uint16_t>(bits))), bitsOf(value));
  EXPECT_EQ(floatOfElement(DataType::kBfloat16, 0x3f80), 1.0f);
  EXPECT_TRUE(std::isnan(floatOfHalf(0x7c01)) && std::isnan(floatOfHalf(0xfe00)));
}

// A matrix of numbers between 2^-3 and 2^3 in size, stored or gathered in some way, and what it holds as plain floats.
struct Twin {
  Twin(DataType type, int64_t rows, int64_t columns, bool gather, Random& random)
      : memory(type, rows + 5, columns, columns + 1, 1, Guard::kAtEnd, [&] { return number(type, random); }),
        ids(randomIds(rows, rows + 5, random)),
        floats({rows, columns}) {
    stored = memory.operand();
    stored.rows = rows;
    if (gather) stored.rowIds = ids.data();
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) floats(i, j) = elementOf(stored, i, j);
  }

  static uint32_t number(DataType type, Random& random) {
    const auto sign = static_cast<uint32_t>(random.between(0, 1));
    const auto mantissa = static_cast<uint32_t>(random.next());
    const auto exponent = static_cast<uint32_t>(random.between(-3, 2));
    if (type == DataType::kFloat16) return sign << 15 | (15 + exponent) << 10 | (mantissa & 0x3ff);
    const uint32_t bits = sign << 31 | (127 + exponent) << 23 | (mantissa & 0x7fffff);
    return type == DataType::kBfloat16 ? bits >> 16 : bits;
  }

  StoredMatrix memory;
  std::vector<int32_t> ids;
  Operand stored;
  StridedArray<float> floats;
};

// Sweeps see no difference between what is stored and its floats: the forward sweep by top-k ...
TEST(Packing, ForwardSweepOfStoredTypesAndGathers) {
  Random random(1);
  for (DataType type : kDataTypes)
    for (bool gather : {false, true}) {
      Twin x(type, 37, 531, gather, random), y(type, 300, 531, gather, random);
      for (Isa isa : supportedIsas()) {
        const auto run = [&](const Operand& rows, const Operand& columns) {
          StridedArray<float> scores({37, 8});
          StridedArray<int64_t> indices({37, 8});
          const cpu::TopKArguments arguments{rows, columns, scores, indices};
          const cpu::TopKKernels& kernels = cpu::topKKernelsFor(isa);
          runKernel(kernels.bytes, kernels.run, arguments, executionWith(2));
          return std::pair(scores.values(), indices.values());
        };
        const auto stored = run(x.stored, y.stored), plain = run(x.floats, y.floats);
        EXPECT_TRUE(sameBits(stored.first, plain.first)) << nameOf(type) << ", " << isaName(isa);
        EXPECT_EQ(stored.second, plain.second) << nameOf(type) << ", " << isaName(isa);
      }
    }
}

// ... and those with values, which read every operand along either axis, by an attention. Types may differ.
TEST(Packing, SweepsWithValuesOfStoredTypesAndGathers) {
  Random random(2);
  for (DataType type : kDataTypes)
    for (DataType other : kDataTypes)
      for (bool gather : {false, true}) {
        Twin q(type, 61, 45, gather, random), k(other, 270, 45, gather, random);
        Twin v(type, 270, 19, gather, random), dOutput(other, 61, 19, gather, random);
        for (Isa isa : supportedIsas()) {
          const auto run = [&](const Operand& rows, const Operand& keys, const Operand& values, const Operand& gradient) {
            StridedArray<float> output({61, 19}), dQ({61, 45}), dK({270, 45}), dV({270, 19});
            const cpu::WindowedLinearAttentionArguments arguments{rows, keys, values, 200, output, gradient, dQ, dK, dV};
            const cpu::WindowedLinearAttentionKernels& kernels = cpu::windowedLinearAttentionKernelsFor(isa);
            runKernel(kernels.forwardBytes, kernels.forward, arguments, executionWith(2));
            runKernel(kernels.backwardBytes, kernels.backward, arguments, executionWith(2));
            std::vector<float> all;
            for (const auto* result : {&output, &dQ, &dK, &dV})
              for (float value : result->values()) all.push_back(value);
            return all;
          };
          EXPECT_TRUE(
              sameBits(run(q.stored, k.stored, v.stored, dOutput.stored), run(q.floats, k.floats, v.floats, dOutput.floats)))
              << nameOf(type) << " and " << nameOf(other) << ", " << isaName(isa);
        }
      }
}

}  // namespace
}  // namespace fk::test
