// What holds for every operator alike: see operators.h for the list.
#include "abi/operators.h"

#include <gtest/gtest.h>

#include "abi/boundary.h"
#include "abi/expect_error.h"

namespace fk::test {
namespace {

constexpr OperatorSizes kSmall{3, 5, 4};

struct TestContext : fk_context {
  explicit TestContext(int threads = 1, Isa isa = selectedIsa(), size_t limit = kDefaultLimit)
      : fk_context(isa, threads, std::make_shared<ThreadPool>(threads), limit) {}
};

std::vector<std::byte> writtenBytes(OperatorCall& call) {
  std::vector<std::byte> bytes;
  for (OperatorArgument& argument : call.arguments) {
    if (argument.written())
      bytes.insert(bytes.end(), argument.memory->data(), argument.memory->data() + argument.memory->bytes());
  }
  return bytes;
}

// Calls with one tensor changed, and expects an error that says `text`, with nothing written.
void expectRefused(OperatorCall& call, size_t index, const std::function<void(DLTensor&)>& spoil, const std::string& text,
                   fk_status expected = FK_ERROR_INVALID_ARGUMENT) {
  SCOPED_TRACE(call.name + ", " + call.arguments[index].name);
  TestContext context;
  const std::vector<std::byte> before = writtenBytes(call);
  std::vector<DLTensor> tensors = call.tensors();
  spoil(tensors[index]);
  EXPECT_STATUS(call.function(&context, OperatorCall::pointers(tensors).data()), expected, text);
  EXPECT_EQ(writtenBytes(call), before);
}

template <class Visit>
void forEachArgument(Visit&& visit) {
  for (OperatorCall& call : everyOperator(kSmall)) {
    for (size_t i = 0; i < call.arguments.size(); ++i) visit(call, i, call.arguments[i]);
  }
}

TEST(Operators, AcceptTheirList) {
  for (OperatorCall& call : everyOperator(kSmall)) {
    TestContext context;
    EXPECT_EQ(call.run(&context), FK_OK) << call.name << ": " << fk_last_error();
  }
}

TEST(Operators, RefuseNullUnlessOptional) {
  forEachArgument([](OperatorCall& call, size_t i, const OperatorArgument& argument) {
    SCOPED_TRACE(call.name + ", " + argument.name);
    TestContext context;
    std::vector<DLTensor> tensors = call.tensors();
    std::vector<DLTensor*> pointers = OperatorCall::pointers(tensors);
    pointers[i] = nullptr;
    const fk_status status = call.function(&context, pointers.data());
    if (argument.optional()) {
      EXPECT_EQ(status, FK_OK) << fk_last_error();
    } else {
      EXPECT_STATUS(status, FK_ERROR_INVALID_ARGUMENT, argument.name + ": NULL");
    }
  });
}

TEST(Operators, RefuseOtherTypesAndDevices) {
  forEachArgument([](OperatorCall& call, size_t i, const OperatorArgument& argument) {
    const std::string& name = argument.name;
    expectRefused(
        call, i, [](DLTensor& t) { t.dtype.code = kDLUInt; }, name + ": dtype uint");
    expectRefused(
        call, i, [](DLTensor& t) { t.dtype.bits = 8; }, name + ": dtype ");
    expectRefused(
        call, i, [](DLTensor& t) { t.dtype.lanes = 2; }, name + ": dtype ");
    expectRefused(
        call, i, [](DLTensor& t) { t.device.device_type = kDLCUDA; }, name + ": on device type 2");
  });
}

TEST(Operators, RefuseMalformedTensors) {
  forEachArgument([](OperatorCall& call, size_t i, const OperatorArgument& argument) {
    const std::string& name = argument.name;
    expectRefused(
        call, i, [](DLTensor& t) { t.data = nullptr; }, name + ": data is NULL");
    expectRefused(
        call, i, [](DLTensor& t) { t.shape = nullptr; }, name + ": shape is NULL");
    expectRefused(
        call, i, [](DLTensor& t) { t.byte_offset = 1; }, name + ": data + byte_offset");
    expectRefused(
        call, i, [](DLTensor& t) { t.ndim = -1; }, name + ": ndim is -1");
    std::vector<int64_t> shape = argument.shape;
    shape[0] = -1;
    expectRefused(
        call, i, [&](DLTensor& t) { t.shape = shape.data(); }, name + ": shape [-1");
    shape[0] = INT64_MAX / 2;
    expectRefused(
        call, i, [&](DLTensor& t) { t.shape = shape.data(); }, name + ": shape [" + std::to_string(shape[0]));
    std::vector<int64_t> strides = argument.strides;
    strides[0] = INT64_MAX / 2;
    if (argument.shape[0] > 1)
      expectRefused(
          call, i, [&](DLTensor& t) { t.strides = strides.data(); }, "does not fit into the address space");
  });
}

TEST(Operators, RefuseOutputsThatOverlap) {
  for (OperatorCall& call : everyOperator(kSmall)) {
    for (size_t i = 0; i < call.arguments.size(); ++i) {
      if (!call.arguments[i].written()) continue;
      for (size_t other = 0; other < call.arguments.size(); ++other) {
        const std::vector<std::string>& mayBe = call.arguments[i].mayBe;
        if (other == i || std::count(mayBe.begin(), mayBe.end(), call.arguments[other].name) > 0) continue;
        void* const data = call.arguments[other].memory->data();
        expectRefused(
            call, i, [&](DLTensor& t) { t.data = data; }, " in memory; it needs memory of its own");
      }
      std::vector<int64_t> strides = call.arguments[i].strides;
      strides[0] = 0;
      if (call.arguments[i].shape[0] > 1)
        expectRefused(
            call, i, [&](DLTensor& t) { t.strides = strides.data(); }, "share memory");
    }
  }
}

// Every extent stands in several arguments; here it is changed in one. A smaller one, so that no memory outside the array
// would be touched if it were accepted.
TEST(Operators, RefuseShapesThatDoNotMatch) {
  forEachArgument([](OperatorCall& call, size_t i, const OperatorArgument& argument) {
    for (size_t axis = 0; axis < argument.shape.size(); ++axis) {
      std::vector<int64_t> shape = argument.shape;
      shape[axis] -= 1;
      const auto shrink = [&](DLTensor& t) { t.shape = shape.data(); };
      if (static_cast<int>(axis) == argument.limitingAxis) {
        expectRefused(call, i, shrink, "row 0 is ", FK_ERROR_INDEX_OUT_OF_RANGE);
      } else {
        expectRefused(call, i, shrink, ": shape [");
      }
    }
  });
}

TEST(Operators, RefuseBusyCancelledAndMissingContexts) {
  for (OperatorCall& call : everyOperator(kSmall)) {
    SCOPED_TRACE(call.name);
    TestContext context;
    EXPECT_STATUS(call.run(nullptr), FK_ERROR_INVALID_ARGUMENT, "context: NULL");
    {
      abi::BusyGuard guard(&context);
      EXPECT_STATUS(call.run(&context), FK_ERROR_BUSY, "context: in use by another call");
    }
    fk_context_cancel(&context);
    EXPECT_STATUS(call.run(&context), FK_ERROR_CANCELLED, "cancelled");
    EXPECT_STATUS(call.run(&context), FK_ERROR_CANCELLED, "fk_context_clear_cancel()");
    fk_context_clear_cancel(&context);
    EXPECT_EQ(call.run(&context), FK_OK) << fk_last_error();
  }
}

TEST(Operators, KeepTheWorkspaceLimit) {
  for (OperatorCall& call : everyOperator({40, 70, 33})) {
    SCOPED_TRACE(call.name);
    TestContext unlimited, exact(1, selectedIsa(), 1);
    ASSERT_EQ(call.run(&unlimited), FK_OK) << fk_last_error();
    if (unlimited.workspace.bytes() <= 1) continue;
    EXPECT_STATUS(call.run(&exact), FK_ERROR_WORKSPACE_LIMIT, "workspace_limit is 1");
    EXPECT_EQ(exact.workspace.bytes(), 0u);
  }
}

// Runs everything with all arguments against forbidden pages: a stray read of one element kills the test.
class OperatorMemoryTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, OperatorMemoryTest, testing::ValuesIn(supportedIsas()), isaTestName);

TEST_P(OperatorMemoryTest, NothingOutsideTheArgumentsIsTouched) {
  constexpr OperatorSizes kSizes[] = {{1, 1, 1},   {1, 2, 3},    {2, 17, 1},  {17, 3, 2},   {3, 129, 17},
                                      {65, 63, 9}, {33, 31, 65}, {129, 2, 7}, {15, 16, 64}, {63, 65, 33}};
  for (const int threads : {1, 3}) {
    TestContext context(threads, GetParam());
    for (const OperatorSizes& sizes : kSizes) {
      for (const Guard guard : {Guard::kAtStart, Guard::kAtEnd}) {
        for (const int64_t gap : {0, 3}) {
          for (OperatorCall& call : everyOperator(sizes, guard, gap)) {
            SCOPED_TRACE(call.name);
            ASSERT_EQ(call.run(&context), FK_OK) << fk_last_error();
          }
        }
      }
    }
  }
}

TEST_P(OperatorMemoryTest, EmptyArgumentsAreNotTouched) {
  TestContext context(2, GetParam());
  for (const OperatorSizes& sizes : {OperatorSizes{0, 3, 4}, {0, 0, 0}, {3, 5, 0}}) {
    for (OperatorCall& call : everyOperator(sizes)) {
      SCOPED_TRACE(call.name);
      EXPECT_EQ(call.run(&context), FK_OK) << fk_last_error();
    }
  }
}

}  // namespace
}  // namespace fk::test
