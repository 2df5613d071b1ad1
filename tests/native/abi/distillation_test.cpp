// What the entry points of distillation refuse beyond what holds for every operator (operators_test.cpp), and that they pass
// on what they take.
#include "oracles/distillation.h"

#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <memory>

#include "abi/expect_error.h"
#include "core/context.h"
#include "support.h"
#include "tolerance.h"

namespace fk::test {
namespace {

struct TestContext : fk_context {
  explicit TestContext(size_t limit = kDefaultLimit)
      : fk_context(selectedIsa(), 2, std::make_shared<ThreadPool>(2), limit) {}
};

// Batches of sequences [2, 3], five classes, dimensions 4 and 6.
struct Call {
  explicit Call(size_t limit = kDefaultLimit) : context(limit) {
    Random random(1);
    for (auto* array : {&studentEmbeddings, &studentClassifier, &teacherEmbeddings, &teacherClassifier})
      array->fill([&] { return random.uniform(-1, 1); });
    rowWeights.fill([&] { return random.uniform(0.5, 2); });
    fk_distillation_options_init(&options);
    fk_distillation_tensors_init(&tensors);
    tensors.student_embeddings = &descriptors[0];
    tensors.student_classifier = &descriptors[1];
    tensors.teacher_embeddings = &descriptors[2];
    tensors.teacher_classifier = &descriptors[3];
    tensors.row_weights = &descriptors[4];
    tensors.student_log_sum_exp = &descriptors[6];
    tensors.teacher_log_sum_exp = &descriptors[7];
  }
  fk_status forward() {
    fk_distillation_tensors forwards = tensors;
    forwards.loss = &descriptors[5];
    return fk_distillation_forward(&context, &options, &forwards);
  }
  fk_status backward() {
    fk_distillation_tensors backwards = tensors;
    backwards.d_student_embeddings = &descriptors[8];
    backwards.d_student_classifier = &descriptors[9];
    return fk_distillation_backward(&context, &options, &backwards);
  }

  TestContext context;
  StridedArray<float> studentEmbeddings{{2, 3, 4}}, studentClassifier{{5, 4}}, teacherEmbeddings{{2, 3, 6}},
      teacherClassifier{{5, 6}}, rowWeights{{2, 3}}, loss{std::vector<int64_t>{}}, studentLogSumExp{{2, 3}},
      teacherLogSumExp{{2, 3}}, dEmbeddings{{2, 3, 4}}, dClassifier{{5, 4}};
  std::vector<DLTensor> descriptors = {studentEmbeddings.tensor(), studentClassifier.tensor(), teacherEmbeddings.tensor(),
                                       teacherClassifier.tensor(), rowWeights.tensor(),        loss.tensor(),
                                       studentLogSumExp.tensor(),  teacherLogSumExp.tensor(),  dEmbeddings.tensor(),
                                       dClassifier.tensor()};
  fk_distillation_options options;
  fk_distillation_tensors tensors;
};

TEST(DistillationAbi, Defaults) {
  fk_distillation_options options;
  fk_distillation_options_init(&options);
  EXPECT_EQ(options.struct_size, sizeof options);
  EXPECT_EQ(options.reduction, FK_REDUCTION_MEAN);
  EXPECT_EQ(options.temperature, 1);
  EXPECT_EQ(options.reserved, 0);
  fk_distillation_tensors tensors;
  fk_distillation_tensors_init(&tensors);
  EXPECT_EQ(tensors.struct_size, sizeof tensors);
  EXPECT_EQ(tensors.student_embeddings, nullptr);
  EXPECT_EQ(tensors.d_student_classifier, nullptr);
}

TEST(DistillationAbi, PassesOptionsAndArraysOn) {
  for (fk_reduction reduction : {FK_REDUCTION_MEAN, FK_REDUCTION_SUM}) {
    Call call;
    call.options.reduction = reduction;
    call.options.temperature = 3;
    oracle::Distillation problem;
    problem.studentEmbeddings = {6, 4, call.studentEmbeddings.values()};
    problem.studentClassifier = {5, 4, call.studentClassifier.values()};
    problem.teacherEmbeddings = {6, 6, call.teacherEmbeddings.values()};
    problem.teacherClassifier = {5, 6, call.teacherClassifier.values()};
    const std::vector<float> weights = call.rowWeights.values();
    problem.rowWeights.assign(weights.begin(), weights.end());
    problem.temperature = 3;
    problem.reduction = reduction;
    const auto expected = oracle::distillation<Bounded>(problem);
    ASSERT_EQ(call.forward(), FK_OK) << fk_last_error();
    ASSERT_EQ(call.backward(), FK_OK) << fk_last_error();
    EXPECT_TRUE(allWithin(call.loss.values(), expected.loss));
    EXPECT_TRUE(allWithin(call.studentLogSumExp.values(), expected.studentLogSumExp));
    EXPECT_TRUE(allWithin(call.teacherLogSumExp.values(), expected.teacherLogSumExp));
    EXPECT_TRUE(allWithin(call.dEmbeddings.values(), expected.dStudentEmbeddings.values));
    EXPECT_TRUE(allWithin(call.dClassifier.values(), expected.dStudentClassifier.values));
  }
}

TEST(DistillationAbi, RefusesOptions) {
  Call call;
  for (auto [temperature, text] : {std::pair{0.0f, "options: temperature is 0, needs 1.17549e-38 or more"},
                                   {-1.0f, "options: temperature is -1"},
                                   {FLT_MIN / 2, "options: temperature is 5.87747e-39"},
                                   {kInfinity, "options: temperature is inf, needs a finite number"},
                                   {kNan, "options: temperature is nan"}}) {
    call.options.temperature = temperature;
    EXPECT_STATUS(call.forward(), FK_ERROR_INVALID_ARGUMENT, text);
    EXPECT_STATUS(call.backward(), FK_ERROR_INVALID_ARGUMENT, text);
  }
  call.options.temperature = 1;
  call.options.reduction = 3;
  EXPECT_STATUS(call.forward(), FK_ERROR_INVALID_ARGUMENT, "options: reduction is 3, needs 0 to 2");
  call.options.reduction = FK_REDUCTION_SUM;
  call.options.reserved = 1;
  EXPECT_STATUS(call.forward(), FK_ERROR_INVALID_ARGUMENT, "options: reserved is 1, needs 0");
  call.options.reserved = 0;
  call.tensors.reserved = 2;
  EXPECT_STATUS(call.backward(), FK_ERROR_INVALID_ARGUMENT, "tensors: reserved is 2, needs 0");
  call.tensors.reserved = 0;
  call.tensors.struct_size = 3;
  EXPECT_STATUS(call.forward(), FK_ERROR_INVALID_ARGUMENT, "tensors: struct_size is 3, needs ");
  EXPECT_STATUS(fk_distillation_forward(&call.context, nullptr, nullptr), FK_ERROR_INVALID_ARGUMENT, "tensors: NULL");
}

// An array that a pass would not look at is a mistake of the caller.
TEST(DistillationAbi, RefusesWhatBelongsToTheOtherPass) {
  Call call;
  fk_distillation_tensors tensors = call.tensors;
  tensors.loss = &call.descriptors[5];
  EXPECT_STATUS(fk_distillation_backward(&call.context, nullptr, &tensors), FK_ERROR_INVALID_ARGUMENT,
                "loss: given, needs NULL in backward");
  tensors.d_student_embeddings = &call.descriptors[8];
  EXPECT_STATUS(fk_distillation_forward(&call.context, nullptr, &tensors), FK_ERROR_INVALID_ARGUMENT,
                "d_student_embeddings: given, needs NULL in forward");
  tensors.d_student_embeddings = nullptr;
  tensors.d_student_classifier = &call.descriptors[9];
  EXPECT_STATUS(fk_distillation_forward(&call.context, nullptr, &tensors), FK_ERROR_INVALID_ARGUMENT,
                "d_student_classifier: given, needs NULL in forward");
  tensors.d_student_classifier = nullptr;
  tensors.grad_loss = &call.descriptors[4];
  EXPECT_STATUS(fk_distillation_forward(&call.context, nullptr, &tensors), FK_ERROR_INVALID_ARGUMENT,
                "grad_loss: given, needs NULL in forward");
}

TEST(DistillationAbi, NamesTheMatricesThatDoNotMatch) {
  Call call;
  StridedArray<float> otherClasses({7, 6}), otherRows({3, 2, 6});
  const DLTensor classes = otherClasses.tensor(), rows = otherRows.tensor();
  call.tensors.teacher_classifier = &classes;
  EXPECT_STATUS(call.forward(), FK_ERROR_INVALID_ARGUMENT,
                "teacher_classifier: shape [7, 6], needs [5, 6] to match student_classifier of shape [5, 4]");
  call.tensors.teacher_classifier = &call.descriptors[3];
  call.tensors.teacher_embeddings = &rows;
  EXPECT_STATUS(call.forward(), FK_ERROR_INVALID_ARGUMENT,
                "teacher_embeddings: shape [3, 2, 6], needs [2, 3, T] to match student_embeddings of shape [2, 3, 4]");
}

// Sixteen bits of ones and zeros, a number in both types: 1.
TEST(DistillationAbi, TakesBfloat16AndFloat16) {
  Call call;
  std::vector<uint16_t> bfloats(24, 0x3f80), halves(30, 0x3c00);
  for (int64_t i = 0; i < call.studentEmbeddings.size(); ++i) call.studentEmbeddings.data()[i] = 1;
  for (int64_t i = 0; i < call.teacherClassifier.size(); ++i) call.teacherClassifier.data()[i] = 1;
  ASSERT_EQ(call.forward(), FK_OK) << fk_last_error();
  const float loss = call.loss();
  call.descriptors[0].data = bfloats.data();
  call.descriptors[0].dtype = {kDLBfloat, 16, 1};
  call.descriptors[3].data = halves.data();
  call.descriptors[3].dtype = {kDLFloat, 16, 1};
  ASSERT_EQ(call.forward(), FK_OK) << fk_last_error();
  EXPECT_EQ(call.loss(), loss);
  EXPECT_EQ(call.backward(), FK_OK) << fk_last_error();
  call.descriptors[5].dtype = {kDLBfloat, 16, 1};
  EXPECT_STATUS(call.forward(), FK_ERROR_INVALID_ARGUMENT, "loss: dtype bfloat16, needs float32");
}

TEST(DistillationAbi, WorkspaceSizeIsWhatTheCallsTake) {
  Call call;
  uint64_t forwardBytes = 0, backwardBytes = 0;
  ASSERT_EQ(fk_distillation_workspace_size(&call.context, &call.options, &call.tensors, &forwardBytes, &backwardBytes),
            FK_OK)
      << fk_last_error();
  ASSERT_EQ(call.forward(), FK_OK);
  EXPECT_EQ(call.context.workspace.bytes(), forwardBytes);
  ASSERT_EQ(call.backward(), FK_OK);
  EXPECT_EQ(call.context.workspace.bytes(), std::max(forwardBytes, backwardBytes));

  Call exact(std::min(forwardBytes, backwardBytes)), tight(1);
  EXPECT_EQ((forwardBytes < backwardBytes ? exact.forward() : exact.backward()), FK_OK) << fk_last_error();
  EXPECT_STATUS(tight.forward(), FK_ERROR_WORKSPACE_LIMIT, "workspace_limit is 1");
  EXPECT_STATUS(tight.backward(), FK_ERROR_WORKSPACE_LIMIT, "workspace_limit is 1");
  EXPECT_EQ(fk_distillation_workspace_size(&call.context, nullptr, &call.tensors, nullptr, nullptr), FK_OK);
  EXPECT_STATUS(fk_distillation_workspace_size(&call.context, nullptr, nullptr, nullptr, nullptr), FK_ERROR_INVALID_ARGUMENT,
                "tensors: NULL");
}

}  // namespace
}  // namespace fk::test
