#include "abi/arguments.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <new>
#include <vector>

#include "abi/expect_error.h"
#include "support.h"

namespace fk::abi {
namespace {

using test::StridedArray;

// A tensor with fields to spoil.
struct Sample {
  std::vector<float> values = std::vector<float>(4096);
  std::vector<int64_t> shape, strides;
  DLTensor tensor;

  explicit Sample(std::vector<int64_t> shapeIn, std::vector<int64_t> stridesIn = {})
      : shape(std::move(shapeIn)), strides(std::move(stridesIn)) {
    tensor = {values.data() + 2048,
              {kDLCPU, 0},
              static_cast<int32_t>(shape.size()),
              {kDLFloat, 32, 1},
              shape.data(),
              strides.empty() ? nullptr : strides.data(),
              0};
  }
  const DLTensor* get() const { return &tensor; }
  float* at(int64_t offset) { return values.data() + 2048 + offset; }
};

Matrix<const float> readMatrix(const Sample& sample, const Shape& shape = "[M, K]") {
  Arguments arguments;
  return arguments.matrix<const float>("a", &sample.tensor, shape);
}

TEST(Arguments, MatrixTakesShapeAndStrides) {
  Sample contiguous({3, 5}), padded({3, 5}, {8, 1}), reversed({3, 5}, {-8, 1});
  const auto a = readMatrix(contiguous), b = readMatrix(padded), c = readMatrix(reversed);
  EXPECT_EQ(a.data, contiguous.at(0));
  EXPECT_EQ(a.rows, 3);
  EXPECT_EQ(a.columns, 5);
  EXPECT_EQ(a.rowStride, 5);
  EXPECT_EQ(a.columnStride, 1);
  EXPECT_EQ(b.rowStride, 8);
  EXPECT_EQ(c.rowStride, -8);
}

TEST(Arguments, ByteOffsetIsAdded) {
  Sample sample({3, 5});
  sample.tensor.byte_offset = 12;
  EXPECT_EQ(readMatrix(sample).data, sample.at(3));
}

TEST(Arguments, StridesOfSingleRowsAndColumnsDoNotMatter) {
  EXPECT_EQ(readMatrix(Sample({1, 5}, {-77, 1})).rowStride, 5);
  EXPECT_EQ(readMatrix(Sample({4, 1}, {3, 99})).columnStride, 1);
  EXPECT_EQ(readMatrix(Sample({4, 1}, {3, 99})).rowStride, 3);
}

TEST(Arguments, LeadingAxesBecomeOne) {
  const auto a = readMatrix(Sample({2, 3, 4, 5}), "[..., D]");
  EXPECT_EQ(a.rows, 24);
  EXPECT_EQ(a.rowStride, 5);
  const auto padded = readMatrix(Sample({2, 3, 5}, {21, 7, 1}), "[..., D]");
  EXPECT_EQ(padded.rows, 6);
  EXPECT_EQ(padded.rowStride, 7);
  const auto withOnes = readMatrix(Sample({1, 2, 1, 3, 1, 5}, {0, 30, -4, 10, 3, 1}), "[..., D]");
  EXPECT_EQ(withOnes.rows, 6);
  EXPECT_EQ(withOnes.rowStride, 10);
  const auto vector = readMatrix(Sample({5}), "[..., D]");
  EXPECT_EQ(vector.rows, 1);
  EXPECT_EQ(vector.columns, 5);
  EXPECT_ERROR(readMatrix(Sample({2, 3, 5}, {20, 5, 1}), "[..., D]"), FK_ERROR_INVALID_ARGUMENT,
               "a: strides [20, 5, 1] for shape [2, 3, 5]: the leading axes are used as one");
}

TEST(Arguments, EmptyArraysNeedNoMemory) {
  for (const auto& shape : {std::vector<int64_t>{0, 5}, {5, 0}, {0, 0}, {0}, {3, 0, 5}}) {
    Sample sample(shape);
    sample.tensor.data = nullptr;
    const auto a = readMatrix(sample, "[..., D]");
    EXPECT_EQ(a.rows * a.columns, 0);
    EXPECT_EQ(a.columns, shape.back());
  }
  Sample strange({2, 3, 0}, {7, 5, 9});  // strides of an empty array mean nothing
  EXPECT_EQ(readMatrix(strange, "[..., D]").rows, 6);
}

TEST(Arguments, MatrixOfEitherOrder) {
  const auto read = [](const Sample& sample) {
    Arguments arguments;
    return arguments.matrixOfEitherOrder<const float>("a", &sample.tensor, "[M, K]");
  };
  EXPECT_EQ(read(Sample({3, 5}, {1, 3})).rowStride, 1);
  EXPECT_EQ(read(Sample({3, 5}, {1, 3})).columnStride, 3);
  EXPECT_EQ(read(Sample({3, 5}, {9, 1})).columnStride, 1);
  EXPECT_EQ(read(Sample({1, 5}, {9, 7})).columnStride, 7);  // a row of a column-major matrix
  EXPECT_EQ(read(Sample({1, 5}, {9, 7})).rowStride, 1);
  EXPECT_EQ(read(Sample({5, 1}, {9, 7})).columnStride, 1);
  EXPECT_EQ(read(Sample({5, 1}, {9, 7})).rowStride, 9);
  EXPECT_ERROR(read(Sample({3, 5}, {20, 2})), FK_ERROR_INVALID_ARGUMENT,
               "a: strides [20, 2] for shape [3, 5], needs stride 1 along one of the two axes");
}

TEST(Arguments, VectorsTakeAnyStrideAndScalarsAnyRank) {
  Sample reversed({7}, {-3}), same({7}, {0}), grid({2, 3}, {30, 10}), one({1, 1, 1}), rank0({});
  Arguments arguments;
  EXPECT_EQ(arguments.vector<const float>("reversed", &reversed.tensor, "[D]").stride, -3);
  EXPECT_EQ(arguments.vector<const float>("same", &same.tensor, "[D]").stride, 0);
  const auto flattened = arguments.vector<float>("grid", &grid.tensor, "[...]");
  EXPECT_EQ(flattened.size, 6);
  EXPECT_EQ(flattened.stride, 10);
  EXPECT_EQ(arguments.scalar<float>("one", &one.tensor).size, 1);
  EXPECT_EQ(arguments.scalar<float>("rank0", &rank0.tensor).data, rank0.at(0));
  EXPECT_ERROR(arguments.scalar<float>("two", Sample({2}).get()), FK_ERROR_INVALID_ARGUMENT,
               "two: shape [2], needs one element");
}

TEST(Arguments, Contiguous) {
  Arguments arguments;
  EXPECT_EQ(arguments.contiguous<float>("a", Sample({2, 3, 4}).get(), "[...]").size, 24);
  EXPECT_EQ(Arguments().contiguous<float>("a", Sample({2, 3}, {3, 1}).get(), "[...]").size, 6);
  EXPECT_ERROR(Arguments().contiguous<float>("a", Sample({6}, {2}).get(), "[...]"), FK_ERROR_INVALID_ARGUMENT, "stride 1");
}

TEST(Arguments, Heads) {
  Sample packed({2, 3, 4, 5}, {180, 60, 5, 1}), scattered({2, 3, 4, 5}, {60, 20, 5, 2});
  Arguments arguments;
  const auto q = arguments.heads<const float>("q", &packed.tensor, "[B, S, H, D]");
  EXPECT_EQ(q.batch, 2);
  EXPECT_EQ(q.sequence, 3);
  EXPECT_EQ(q.heads, 4);
  EXPECT_EQ(q.dim, 5);
  EXPECT_EQ(q.batchStride, 180);
  EXPECT_EQ(q.sequenceStride, 60);
  EXPECT_EQ(q.headStride, 5);
  EXPECT_ERROR(Arguments().heads<const float>("q", &scattered.tensor, "[B, S, H, D]"), FK_ERROR_INVALID_ARGUMENT,
               "q: strides [60, 20, 5, 2] for shape [2, 3, 4, 5], needs stride 1 along the last axis");
}

TEST(Arguments, Indices) {
  StridedArray<int32_t> narrow({3}, {2});
  StridedArray<int64_t> wide({3}, {-1});
  narrow.fill([i = 0]() mutable { return i++; });
  wide.fill([i = 10]() mutable { return i++; });
  const DLTensor narrowTensor = narrow.tensor(), wideTensor = wide.tensor();
  Arguments arguments;
  const IndexVector a = arguments.indices("a", &narrowTensor, "[...]"), b = arguments.indices("b", &wideTensor, "[...]");
  EXPECT_FALSE(a.is64);
  EXPECT_TRUE(b.is64);
  EXPECT_EQ(a[2], 2);
  EXPECT_EQ(b[2], 12);
  DLTensor wrong = wideTensor;
  wrong.dtype.code = kDLUInt;
  EXPECT_ERROR(Arguments().indices("ids", &wrong, "[...]"), FK_ERROR_INVALID_ARGUMENT,
               "ids: dtype uint64, needs int32 or int64");
  wrong.dtype = {kDLInt, 16, 1};
  EXPECT_ERROR(Arguments().indices("ids", &wrong, "[...]"), FK_ERROR_INVALID_ARGUMENT,
               "ids: dtype int16, needs int32 or int64");
  EXPECT_ERROR(Arguments().indices("ids", nullptr, "[...]"), FK_ERROR_INVALID_ARGUMENT, "ids: NULL");
}

TEST(Arguments, IndicesOutOfRangeNameTheRow) {
  const std::vector<int32_t> values = {0, 6, -100, 7, -1};
  const auto prefix = [&](int64_t size) { return IndexVector{values.data(), false, size, 1}; };
  EXPECT_NO_THROW(requireInRange("targets", prefix(2), 7));
  EXPECT_NO_THROW(requireInRange("targets", prefix(3), 7, true, -100));
  EXPECT_ERROR(requireInRange("targets", prefix(3), 7), FK_ERROR_INDEX_OUT_OF_RANGE,
               "targets: row 2 is -100, needs 0 or more and less than 7");
  EXPECT_ERROR(requireInRange("targets", prefix(5), 7, true, -100), FK_ERROR_INDEX_OUT_OF_RANGE,
               "targets: row 3 is 7, needs 0 or more and less than 7, or the ignored index -100");
  EXPECT_ERROR(requireInRange("targets", prefix(1), 0), FK_ERROR_INDEX_OUT_OF_RANGE, "row 0 is 0");
}

TEST(Arguments, NamesHaveOneExtent) {
  Sample embeddings({2, 4, 7}), classifier({3, 5}), good({3, 7});
  Arguments arguments;
  arguments.matrix<const float>("embeddings", &embeddings.tensor, "[..., D]");
  EXPECT_ERROR(arguments.matrix<const float>("classifier", &classifier.tensor, "[V, D]"), FK_ERROR_INVALID_ARGUMENT,
               "classifier: shape [3, 5], needs [V, 7] to match embeddings of shape [2, 4, 7]");
}

TEST(Arguments, LeadingAxesAgree) {
  Sample embeddings({2, 4, 7}), classifier({3, 7}), wrong({4, 2, 7}), flat({8}), right({2, 4});
  const auto read = [&](const Sample& last, const Shape& shape) {
    Arguments arguments;
    arguments.matrix<const float>("embeddings", &embeddings.tensor, "[..., D]");
    arguments.matrix<const float>("classifier", &classifier.tensor, "[V, D]");
    if (shape.named == 0) {
      arguments.vector<const float>("loss", &last.tensor, shape);
    } else {
      arguments.matrix<float>("d_embeddings", &last.tensor, shape);
    }
  };
  EXPECT_NO_THROW(read(right, "[...]"));
  EXPECT_ERROR(read(flat, "[...]"), FK_ERROR_INVALID_ARGUMENT,
               "loss: shape [8], needs [2, 4] to match embeddings of shape [2, 4, 7]");
  EXPECT_ERROR(read(wrong, "[..., D]"), FK_ERROR_INVALID_ARGUMENT,
               "d_embeddings: shape [4, 2, 7], needs [2, 4, 7] to match embeddings of shape [2, 4, 7]");
  EXPECT_ERROR(
      read(wrong, "[..., V]"), FK_ERROR_INVALID_ARGUMENT,
      "d_embeddings: shape [4, 2, 7], needs [2, 4, 3] to match embeddings of shape [2, 4, 7] and classifier of shape "
      "[3, 7]");
}

TEST(Arguments, RanksAgree) {
  EXPECT_ERROR(readMatrix(Sample({3})), FK_ERROR_INVALID_ARGUMENT, "a: shape [3], needs [M, K]");
  EXPECT_ERROR(readMatrix(Sample({3, 4, 5})), FK_ERROR_INVALID_ARGUMENT, "a: shape [3, 4, 5], needs [M, K]");
  EXPECT_ERROR(readMatrix(Sample({}), "[..., D]"), FK_ERROR_INVALID_ARGUMENT, "a: shape [], needs [..., D]");
}

TEST(Arguments, MalformedTensors) {
  const auto spoiled = [](auto spoil, const char* text) {
    Sample sample({3, 5}, {5, 1});
    spoil(sample);
    EXPECT_ERROR(readMatrix(sample), FK_ERROR_INVALID_ARGUMENT, text);
  };
  EXPECT_ERROR(Arguments().matrix<const float>("a", nullptr, "[M, K]"), FK_ERROR_INVALID_ARGUMENT, "a: NULL");
  spoiled([](Sample& s) { s.tensor.data = nullptr; }, "a: data is NULL for shape [3, 5]");
  spoiled([](Sample& s) { s.tensor.shape = nullptr; }, "a: shape is NULL, needs 2 extents");
  spoiled([](Sample& s) { s.tensor.ndim = -1; }, "a: ndim is -1, needs 0 to 64");
  spoiled([](Sample& s) { s.tensor.ndim = 1 << 30; }, "a: ndim is 1073741824, needs 0 to 64");
  spoiled([](Sample& s) { s.shape[0] = -3; }, "a: shape [-3, 5] has a negative extent");
  spoiled([](Sample& s) { s.tensor.dtype = {kDLFloat, 64, 1}; }, "a: dtype float64, needs float32");
  spoiled([](Sample& s) { s.tensor.dtype = {kDLInt, 32, 1}; }, "a: dtype int32, needs float32");
  spoiled([](Sample& s) { s.tensor.dtype = {kDLBfloat, 16, 1}; }, "a: dtype bfloat16, needs float32");
  spoiled([](Sample& s) { s.tensor.dtype = {kDLFloat, 32, 4}; }, "a: dtype float32x4, needs float32");
  spoiled([](Sample& s) { s.tensor.dtype = {200, 32, 1}; }, "a: dtype code 200 of bits 32, needs float32");
  spoiled([](Sample& s) { s.tensor.device.device_type = kDLCUDA; }, "a: on device type 2, this context needs kDLCPU (1)");
  spoiled([](Sample& s) { s.tensor.byte_offset = 2; }, "needs a multiple of the element's 4 bytes");
  spoiled([](Sample& s) { s.strides[1] = 2; }, "a: strides [5, 2] for shape [3, 5], needs stride 1 along the last axis");
}

TEST(Arguments, OperandsOfEveryStorageType) {
  const std::vector<std::pair<DLDataType, DataType>> types = {{{kDLFloat, 32, 1}, DataType::kFloat32},
                                                              {{kDLBfloat, 16, 1}, DataType::kBfloat16},
                                                              {{kDLFloat, 16, 1}, DataType::kFloat16}};
  for (const auto& [dtype, type] : types) {
    Sample sample({2, 3, 5}, {24, 8, 1});
    sample.tensor.dtype = dtype;
    sample.tensor.byte_offset = 4;
    const Operand x = Arguments().operand("x", &sample.tensor, "[..., D]");
    EXPECT_EQ(x.data, sample.at(1));
    EXPECT_EQ(x.type, type);
    EXPECT_EQ(x.rows, 6);
    EXPECT_EQ(x.columns, 5);
    EXPECT_EQ(x.rowStride, 8);
    EXPECT_EQ(x.columnStride, 1);
    EXPECT_TRUE(x.rowIds == nullptr && x.columnIds == nullptr);
  }
  EXPECT_EQ(Arguments().operand("x", Sample({1, 5}, {-77, 1}).get(), "[N, D]").rowStride, 5);
}

TEST(Arguments, OperandsOfOtherTypesOrOrders) {
  const auto spoiled = [](auto spoil, const char* text) {
    Sample sample({3, 5}, {5, 1});
    sample.tensor.dtype = {kDLBfloat, 16, 1};
    spoil(sample);
    EXPECT_ERROR(Arguments().operand("x", &sample.tensor, "[N, D]"), FK_ERROR_INVALID_ARGUMENT, text);
  };
  EXPECT_ERROR(Arguments().operand("x", nullptr, "[N, D]"), FK_ERROR_INVALID_ARGUMENT, "x: NULL, needs a DLTensor");
  spoiled([](Sample& s) { s.tensor.dtype = {kDLInt, 32, 1}; }, "x: dtype int32, needs float32, bfloat16 or float16");
  spoiled([](Sample& s) { s.tensor.dtype = {kDLFloat, 64, 1}; }, "x: dtype float64, needs float32, bfloat16 or float16");
  spoiled([](Sample& s) { s.tensor.dtype = {kDLUInt, 16, 1}; }, "x: dtype uint16, needs");
  spoiled([](Sample& s) { s.tensor.dtype = {kDLBfloat, 16, 2}; }, "x: dtype bfloat16x2, needs");
  spoiled([](Sample& s) { s.tensor.byte_offset = 1; }, "needs a multiple of the element's 2 bytes");
  spoiled([](Sample& s) { s.strides[1] = 2; }, "x: strides [5, 2] for shape [3, 5], needs stride 1 along the last axis");
  spoiled([](Sample& s) { s.tensor.ndim = 1; }, "x: shape [3], needs [N, D]");
}

// 3 rows of 5 elements of 2 bytes are 30 bytes, 7.5 floats: an output of f32 may start at the ninth.
TEST(Arguments, OverlapsCountTheBytesOfAnOperand) {
  std::vector<float> buffer(100);
  int64_t shape[] = {3, 5};
  const DLTensor input{buffer.data(), {kDLCPU, 0}, 2, {kDLFloat, 16, 1}, shape, nullptr, 0};
  const auto run = [&](int64_t offset, Arguments::Aliases mayBe) {
    const DLTensor output{buffer.data() + offset, {kDLCPU, 0}, 2, {kDLFloat, 32, 1}, shape, nullptr, 0};
    Arguments arguments;
    arguments.operand("x", &input, "[M, N]");
    arguments.matrix<float>("y", &output, "[M, N]", mayBe);
  };
  EXPECT_NO_THROW(run(8, {}));
  EXPECT_ERROR(run(7, {}), FK_ERROR_INVALID_ARGUMENT, "y: overlaps x in memory; it needs memory of its own");
  EXPECT_ERROR(run(0, {"x"}), FK_ERROR_INVALID_ARGUMENT, "y: overlaps x");  // the same address, but not the same bytes
}

TEST(Arguments, AsManyAsTheLargestCallTakes) {
  const Sample sample({3, 5});
  Arguments arguments;
  for (int i = 0; i < 40; ++i) arguments.operand("x", &sample.tensor, "[M, N]");
  EXPECT_ERROR(arguments.operand("x", &sample.tensor, "[M, N]"), FK_ERROR_INTERNAL, "x: more than 40 arguments");
}

TEST(Arguments, SizesThatOverflow) {
  const int64_t huge = int64_t{1} << 62;
  const auto overflows = [](const Sample& sample, const Shape& shape = "[..., D]") {
    EXPECT_ERROR(readMatrix(sample, shape), FK_ERROR_INVALID_ARGUMENT, "does not fit into the address space");
  };
  overflows(Sample({huge, 4}));                // elements
  overflows(Sample({huge, 1}));                // bytes
  overflows(Sample({huge, huge}, {0, 1}));     // elements of a broadcast
  overflows(Sample({huge, 4, 0}, {0, 0, 1}));  // rows of an empty array
  overflows(Sample({3, 5}, {huge, 1}));        // a stride
  overflows(Sample({3, 5}, {-huge, 1}));       // a stride backwards
  overflows(Sample({3, 5}, {INT64_MIN, 1}));   // a stride without an absolute value
  overflows(Sample({2, 5}, {INT64_MIN, 1}));
  overflows(Sample({2, 5}, {INT64_MIN / 4, 1}));
  overflows(Sample({2, 2, 5}, {huge, huge / 2, 1}));  // within an axis, but not between two
  Sample offset({3, 5});
  offset.tensor.byte_offset = UINT64_MAX - 3;
  overflows(offset);
  Sample low({3, 5}, {-(int64_t{1} << 60), 1});  // below address 0
  overflows(low);
}

TEST(Arguments, OutputsMustNotOverlapThemselves) {
  const auto output = [](const Sample& sample) {
    Arguments arguments;
    arguments.matrix<float>("c", &sample.tensor, "[M, N]");
  };
  EXPECT_NO_THROW(output(Sample({3, 5}, {5, 1})));
  EXPECT_NO_THROW(output(Sample({3, 5}, {-5, 1})));
  EXPECT_NO_THROW(output(Sample({1, 5}, {0, 1})));
  EXPECT_ERROR(output(Sample({3, 5}, {4, 1})), FK_ERROR_INVALID_ARGUMENT,
               "c: strides [4, 1] for shape [3, 5] make elements of an output share memory");
  EXPECT_ERROR(output(Sample({3, 5}, {0, 1})), FK_ERROR_INVALID_ARGUMENT, "share memory");
  EXPECT_ERROR(Arguments().vector<float>("y", Sample({3}, {0}).get(), "[D]"), FK_ERROR_INVALID_ARGUMENT, "share memory");
}

TEST(Arguments, OutputsMustNotOverlapInputs) {
  std::vector<float> buffer(100);
  int64_t shape[] = {3, 5}, strides[] = {10, 1};
  const auto at = [&](int64_t offset) {
    return DLTensor{buffer.data() + offset, {kDLCPU, 0}, 2, {kDLFloat, 32, 1}, shape, strides, 0};
  };
  const auto run = [](const DLTensor& input, const DLTensor& output, Arguments::Aliases mayBe) {
    Arguments arguments;
    arguments.matrix<const float>("x", &input, "[M, N]");
    arguments.matrix<float>("y", &output, "[M, N]", mayBe);
  };
  EXPECT_NO_THROW(run(at(0), at(5), {}));  // the other columns of the same rows
  EXPECT_NO_THROW(run(at(0), at(50), {}));
  EXPECT_ERROR(run(at(0), at(4), {}), FK_ERROR_INVALID_ARGUMENT, "y: overlaps x in memory; it needs memory of its own");
  EXPECT_ERROR(run(at(0), at(0), {}), FK_ERROR_INVALID_ARGUMENT, "y: overlaps x");
  EXPECT_ERROR(run(at(0), at(0), {"z"}), FK_ERROR_INVALID_ARGUMENT, "y: overlaps x");
  EXPECT_NO_THROW(run(at(0), at(0), {"z", "x"}));
  EXPECT_ERROR(run(at(0), at(1), {"x"}), FK_ERROR_INVALID_ARGUMENT, "or exactly the other's address, shape and strides");
  Arguments inputs;  // inputs may share memory as they like
  const DLTensor a = at(0), b = at(1);
  inputs.matrix<const float>("a", &a, "[M, N]");
  EXPECT_NO_THROW(inputs.matrix<const float>("b", &b, "[M, N]"));
}

TEST(Arguments, NothingIsReadThroughEmptyOutputs) {
  std::vector<float> buffer(100);
  int64_t shape[] = {5, 5}, empty[] = {0, 5};
  const DLTensor input{buffer.data(), {kDLCPU, 0}, 2, {kDLFloat, 32, 1}, shape, nullptr, 0};
  const DLTensor output{buffer.data() + 3, {kDLCPU, 0}, 2, {kDLFloat, 32, 1}, empty, nullptr, 0};
  Arguments arguments;
  arguments.matrix<float>("y", &output, "[M, N]");
  EXPECT_NO_THROW(arguments.matrix<const float>("x", &input, "[K, N]"));
}

}  // namespace
}  // namespace fk::abi
