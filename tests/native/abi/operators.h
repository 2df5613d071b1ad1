// Every operator of the ABI as data: its arguments in guarded memory and a function that calls it. Tests that hold for all
// operators (errors, memory, contexts) go over this list, so a new operator joins them by one entry here.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fusedkernels.h"
#include "guarded_memory.h"
#include "support.h"

namespace fk::test {

enum class Role { kInput, kIndices, kOutput, kOptionalOutput, kOptionalInput, kOptionalIndices, kInPlace };

// Contiguous but for `gap` unused elements after each row of the last axis.
struct OperatorArgument {
  std::string name;
  Role role;
  std::vector<int64_t> shape, strides;
  std::shared_ptr<GuardedMemory> memory;
  int limitingAxis = -1;           // the extent of this axis is free but for the indices, which must lie below it
  std::vector<std::string> mayBe;  // the arguments whose memory this output may share

  bool optional() const {
    return role == Role::kOptionalInput || role == Role::kOptionalOutput || role == Role::kOptionalIndices;
  }
  bool isIndices() const { return role == Role::kIndices || role == Role::kOptionalIndices; }
  bool written() const { return role == Role::kOutput || role == Role::kOptionalOutput || role == Role::kInPlace; }
  DLTensor tensor() {
    const DLDataType type = isIndices() ? dataTypeOf<int64_t>() : dataTypeOf<float>();
    return {memory->data(), {kDLCPU, 0}, static_cast<int32_t>(shape.size()), type, shape.data(), strides.data(), 0};
  }
};

struct OperatorCall {
  std::string name;
  std::vector<OperatorArgument> arguments;
  std::function<fk_status(fk_context*, DLTensor* const*)> function;

  std::vector<DLTensor> tensors() {
    std::vector<DLTensor> result;
    for (OperatorArgument& argument : arguments) result.push_back(argument.tensor());
    return result;
  }
  static std::vector<DLTensor*> pointers(std::vector<DLTensor>& tensors) {
    std::vector<DLTensor*> result;
    for (DLTensor& tensor : tensors) result.push_back(&tensor);
    return result;
  }
  fk_status run(fk_context* context) {
    std::vector<DLTensor> all = tensors();
    return function(context, pointers(all).data());
  }
};

struct OperatorSizes {
  int64_t rows, columns, depth;  // of the score matrix, and what is summed over
};

class OperatorBuilder {
 public:
  OperatorBuilder(const OperatorSizes& sizes, Guard guard, int64_t gap) : sizes_(sizes), guard_(guard), gap_(gap) {}

  std::vector<OperatorCall> all() {
    addGemm();
    addCutCrossEntropy();
    addDistillation();
    addAttention();
    addSoftmaxCrossEntropy();
    addRmsNorm();
    addSwiglu();
    addRotaryEmbedding();
    addEmbedding();
    addAdamW();
    return std::move(calls_);
  }

 private:
  void addGemm() {
    const auto [m, n, k] = sizes_;
    for (const bool transposeA : {false, true}) {
      for (const bool transposeB : {false, true}) {
        fk_gemm_options options;
        fk_gemm_options_init(&options);
        options.transpose_a = transposeA;
        options.transpose_b = transposeB;
        add(std::string("gemm") + (transposeA ? " a^T" : "") + (transposeB ? " b^T" : ""),
            {input("a", transposeA ? Dims{k, m} : Dims{m, k}), input("b", transposeB ? Dims{n, k} : Dims{k, n}),
             output("c", {m, n})},
            [=](fk_context* context, DLTensor* const* t) { return fk_gemm(context, &options, t[0], t[1], t[2]); });
      }
    }
  }

  static fk_cut_cross_entropy_tensors lossInputs(DLTensor* const* t) {
    fk_cut_cross_entropy_tensors tensors;
    fk_cut_cross_entropy_tensors_init(&tensors);
    tensors.embeddings = t[0];
    tensors.classifier = t[1];
    tensors.targets = t[2];
    return tensors;
  }

  void addCutCrossEntropy() {
    const auto [n, v, d] = sizes_;
    const OperatorArgument embeddings = input("embeddings", {n, d}), classifier = input("classifier", {v, d});
    const OperatorArgument targets = indices("targets", n, v);
    OperatorArgument onlyClassifier = classifier;  // without d_classifier beside it
    onlyClassifier.limitingAxis = 0;
    add("cut_cross_entropy_forward",
        {embeddings, onlyClassifier, targets, optionalOutput("loss", {1}), optionalOutput("log_sum_exp", {n})},
        [](fk_context* context, DLTensor* const* t) {
          fk_cut_cross_entropy_tensors tensors = lossInputs(t);
          tensors.loss = t[3];
          tensors.log_sum_exp = t[4];
          return fk_cut_cross_entropy_forward(context, nullptr, &tensors);
        });
    add("cut_cross_entropy_backward",
        {embeddings, classifier, targets, input("log_sum_exp", {n}), optionalInput("grad_loss", {1}),
         optionalOutput("d_embeddings", {n, d}), optionalOutput("d_classifier", {v, d})},
        [](fk_context* context, DLTensor* const* t) {
          fk_cut_cross_entropy_tensors tensors = lossInputs(t);
          tensors.log_sum_exp = t[3];
          tensors.grad_loss = t[4];
          tensors.d_embeddings = t[5];
          tensors.d_classifier = t[6];
          return fk_cut_cross_entropy_backward(context, nullptr, &tensors);
        });
    for (const fk_schedule schedule : {FK_SCHEDULE_RECOMPUTE, FK_SCHEDULE_FUSED}) {
      fk_cut_cross_entropy_options options;
      fk_cut_cross_entropy_options_init(&options);
      options.schedule = schedule;
      options.reduction = FK_REDUCTION_NONE;
      add(std::string("cut_cross_entropy_loss_and_gradient ") + (schedule == FK_SCHEDULE_FUSED ? "fused" : "recompute"),
          {embeddings, classifier, targets, optionalOutput("loss", {n}), optionalOutput("log_sum_exp", {n}),
           optionalOutput("d_embeddings", {n, d}), optionalOutput("d_classifier", {v, d})},
          [=](fk_context* context, DLTensor* const* t) {
            fk_cut_cross_entropy_tensors tensors = lossInputs(t);
            tensors.loss = t[3];
            tensors.log_sum_exp = t[4];
            tensors.d_embeddings = t[5];
            tensors.d_classifier = t[6];
            return fk_cut_cross_entropy_loss_and_gradient(context, &options, &tensors);
          });
    }
  }

  void addDistillation() {
    const auto [n, v, d] = sizes_;
    const int64_t teacherDim = d + 1;
    const std::vector<OperatorArgument> models = {input("student_embeddings", {n, d}), input("student_classifier", {v, d}),
                                                  input("teacher_embeddings", {n, teacherDim}),
                                                  input("teacher_classifier", {v, teacherDim}),
                                                  optionalInput("row_weights", {n})};
    for (const fk_reduction reduction : {FK_REDUCTION_MEAN, FK_REDUCTION_NONE}) {
      fk_distillation_options options;
      fk_distillation_options_init(&options);
      options.reduction = reduction;
      options.temperature = 2;
      const int64_t losses = reduction == FK_REDUCTION_NONE ? n : 1;
      const std::string suffix = reduction == FK_REDUCTION_NONE ? " none" : " mean";
      const auto tensorsOf = [](DLTensor* const* t) {
        fk_distillation_tensors tensors;
        fk_distillation_tensors_init(&tensors);
        tensors.student_embeddings = t[0], tensors.student_classifier = t[1];
        tensors.teacher_embeddings = t[2], tensors.teacher_classifier = t[3];
        tensors.row_weights = t[4];
        return tensors;
      };
      std::vector<OperatorArgument> forward = models;
      forward.push_back(output("loss", {losses}));
      forward.push_back(optionalOutput("student_log_sum_exp", {n}));
      forward.push_back(optionalOutput("teacher_log_sum_exp", {n}));
      add("distillation_forward" + suffix, forward, [=](fk_context* context, DLTensor* const* t) {
        fk_distillation_tensors tensors = tensorsOf(t);
        tensors.loss = t[5], tensors.student_log_sum_exp = t[6], tensors.teacher_log_sum_exp = t[7];
        return fk_distillation_forward(context, &options, &tensors);
      });
      std::vector<OperatorArgument> backward = models;
      backward.push_back(input("student_log_sum_exp", {n}));
      backward.push_back(input("teacher_log_sum_exp", {n}));
      backward.push_back(optionalInput("grad_loss", {losses}));
      backward.push_back(optionalOutput("d_student_embeddings", {n, d}));
      backward.push_back(optionalOutput("d_student_classifier", {v, d}));
      add("distillation_backward" + suffix, backward, [=](fk_context* context, DLTensor* const* t) {
        fk_distillation_tensors tensors = tensorsOf(t);
        tensors.student_log_sum_exp = t[5], tensors.teacher_log_sum_exp = t[6], tensors.grad_loss = t[7];
        tensors.d_student_embeddings = t[8], tensors.d_student_classifier = t[9];
        return fk_distillation_backward(context, &options, &tensors);
      });
    }
  }

  static fk_attention_tensors attentionInputs(DLTensor* const* t) {
    fk_attention_tensors tensors;
    fk_attention_tensors_init(&tensors);
    tensors.q = t[0], tensors.k = t[1], tensors.v = t[2], tensors.sinks = t[3];
    return tensors;
  }

  void addAttention() {
    const int64_t b = 2, h = 2, g = 1, sq = sizes_.rows, sk = sizes_.columns, d = sizes_.depth, dv = d + 1;
    const std::vector<OperatorArgument> inputs = {input("q", {b, sq, h, d}), input("k", {b, sk, g, d}),
                                                  input("v", {b, sk, g, dv}), optionalInput("sinks", {h})};
    for (const bool causal : {false, true}) {
      fk_attention_options options;
      fk_attention_options_init(&options);
      options.causal = causal;
      const std::string suffix = causal ? " causal" : "";
      std::vector<OperatorArgument> forward = inputs;
      forward.push_back(output("output", {b, sq, h, dv}));
      for (const char* perRow : {"log_sum_exp", "max_score", "entropy"})
        forward.push_back(optionalOutput(perRow, {b, h, sq}));
      forward.push_back(optionalOutput("key_weights", {b, h, sk}));
      add("attention_forward" + suffix, forward, [=](fk_context* context, DLTensor* const* t) {
        fk_attention_tensors tensors = attentionInputs(t);
        tensors.output = t[4], tensors.log_sum_exp = t[5], tensors.max_score = t[6], tensors.entropy = t[7];
        tensors.key_weights = t[8];
        return fk_attention_forward(context, &options, &tensors);
      });
      std::vector<OperatorArgument> backward = inputs;
      backward.push_back(input("output", {b, sq, h, dv}));
      backward.push_back(input("log_sum_exp", {b, h, sq}));
      backward.push_back(input("d_output", {b, sq, h, dv}));
      backward.push_back(optionalInput("d_log_sum_exp", {b, h, sq}));
      backward.push_back(optionalOutput("d_q", {b, sq, h, d}));
      backward.push_back(optionalOutput("d_k", {b, sk, g, d}));
      backward.push_back(optionalOutput("d_v", {b, sk, g, dv}));
      add("attention_backward" + suffix, backward, [=](fk_context* context, DLTensor* const* t) {
        fk_attention_tensors tensors = attentionInputs(t);
        tensors.output = t[4], tensors.log_sum_exp = t[5], tensors.d_output = t[6], tensors.d_log_sum_exp = t[7];
        tensors.d_q = t[8], tensors.d_k = t[9], tensors.d_v = t[10];
        return fk_attention_backward(context, &options, &tensors);
      });
    }
    const int64_t parts = 3;
    add("attention_merge",
        {input("outputs", {parts, b, sq, h, dv}), input("log_sum_exps", {parts, b, h, sq}), output("output", {b, sq, h, dv}),
         optionalOutput("log_sum_exp", {b, h, sq})},
        [](fk_context* context, DLTensor* const* t) { return fk_attention_merge(context, t[0], t[1], t[2], t[3]); });
  }

  void addSoftmaxCrossEntropy() {
    const auto [n, v, d] = sizes_;
    OperatorArgument logits = inPlace("logits", {n, v});
    logits.limitingAxis = 1;
    for (const fk_reduction reduction : {FK_REDUCTION_MEAN, FK_REDUCTION_NONE}) {
      fk_softmax_cross_entropy_options options;
      fk_softmax_cross_entropy_options_init(&options);
      options.reduction = reduction;
      const bool perRow = reduction == FK_REDUCTION_NONE;
      add(std::string("softmax_cross_entropy") + (perRow ? " none" : " mean"),
          {logits, indices("targets", n, v), output("loss", {perRow ? n : 1})},
          [=](fk_context* context, DLTensor* const* t) {
            return fk_softmax_cross_entropy(context, &options, t[0], t[1], t[2]);
          });
    }
  }

  void addRmsNorm() {
    const int64_t n = sizes_.rows, d = sizes_.depth;
    const OperatorArgument x = input("x", {n, d}), weight = input("weight", {d});
    add("rms_norm_forward", {x, weight, mayBe({"x"}, output("y", {n, d})), optionalOutput("inverse_rms", {n})},
        [](fk_context* context, DLTensor* const* t) {
          return fk_rms_norm_forward(context, nullptr, t[0], t[1], t[2], t[3]);
        });
    add("rms_norm_backward",
        {x, weight, input("inverse_rms", {n}), input("d_y", {n, d}), mayBe({"d_y"}, optionalOutput("d_x", {n, d})),
         optionalOutput("d_weight", {d})},
        [](fk_context* context, DLTensor* const* t) {
          return fk_rms_norm_backward(context, nullptr, t[0], t[1], t[2], t[3], t[4], t[5]);
        });
  }

  void addSwiglu() {
    const int64_t n = sizes_.rows, d = sizes_.depth;
    const OperatorArgument gate = input("gate", {n, d}), up = input("up", {n, d});
    add("swiglu_forward", {gate, up, mayBe({"gate", "up"}, output("output", {n, d}))},
        [](fk_context* context, DLTensor* const* t) { return fk_swiglu_forward(context, t[0], t[1], t[2]); });
    add("swiglu_backward",
        {gate, up, input("d_output", {n, d}), mayBe({"gate", "d_output"}, output("d_gate", {n, d})),
         mayBe({"up", "d_output"}, output("d_up", {n, d}))},
        [](fk_context* context, DLTensor* const* t) { return fk_swiglu_backward(context, t[0], t[1], t[2], t[3], t[4]); });
  }

  void addRotaryEmbedding() {
    const int64_t b = 2, h = 2, s = sizes_.rows, d = 2 * sizes_.depth;
    OperatorArgument positions = indices("positions", s, 1000);
    positions.role = Role::kOptionalIndices;
    for (const bool interleaved : {false, true}) {
      fk_rotary_embedding_options options;
      fk_rotary_embedding_options_init(&options);
      options.interleaved = interleaved;
      add(std::string("rotary_embedding") + (interleaved ? " interleaved" : ""),
          {input("x", {b, s, h, d}), positions, mayBe({"x"}, output("y", {b, s, h, d}))},
          [=](fk_context* context, DLTensor* const* t) { return fk_rotary_embedding(context, &options, t[0], t[1], t[2]); });
    }
  }

  void addEmbedding() {
    const auto [n, v, d] = sizes_;
    OperatorArgument table = input("table", {v, d}), dTable = inPlace("d_table", {v, d});
    table.limitingAxis = dTable.limitingAxis = 0;
    add("embedding_gather", {table, indices("ids", n, v), output("output", {n, d})},
        [](fk_context* context, DLTensor* const* t) { return fk_embedding_gather(context, t[0], t[1], t[2]); });
    add("embedding_scatter_add", {input("d_output", {n, d}), indices("ids", n, v), dTable},
        [](fk_context* context, DLTensor* const* t) { return fk_embedding_scatter_add(context, t[0], t[1], t[2]); });
  }

  void addAdamW() {
    const int64_t size = sizes_.rows * sizes_.depth;
    add("adamw_step",
        {inPlace("parameter", {size}), input("gradient", {size}), inPlace("first_moment", {size}),
         inPlace("second_moment", {size})},
        [](fk_context* context, DLTensor* const* t) { return fk_adamw_step(context, nullptr, t[0], t[1], t[2], t[3]); });
  }

  using Dims = std::vector<int64_t>;

  OperatorArgument make(const std::string& name, Role role, Dims shape, size_t elementSize) {
    Dims padded = shape;
    if (padded.size() > 1) padded.back() += gap_;
    Dims strides = StridedArray<float>::contiguous(padded);
    int64_t elements = 1;
    for (size_t axis = 0; axis < shape.size(); ++axis) elements += (shape[axis] - 1) * strides[axis];
    if (std::count(shape.begin(), shape.end(), 0) > 0) elements = 0;
    auto memory = std::make_shared<GuardedMemory>(static_cast<size_t>(elements) * elementSize, guard_);
    return {name, role, std::move(shape), std::move(strides), std::move(memory), -1, {}};
  }
  OperatorArgument makeFloats(const std::string& name, Role role, Dims shape) {
    OperatorArgument argument = make(name, role, std::move(shape), sizeof(float));
    auto* values = reinterpret_cast<float*>(argument.memory->data());
    for (size_t i = 0; i < argument.memory->bytes() / sizeof(float); ++i)
      values[i] = static_cast<float>(random_.uniform(-1, 1));
    return argument;
  }
  OperatorArgument readOnly(OperatorArgument argument) {
    argument.memory->makeReadOnly();
    return argument;
  }
  OperatorArgument input(const char* name, Dims shape) { return readOnly(makeFloats(name, Role::kInput, std::move(shape))); }
  OperatorArgument optionalInput(const char* name, Dims shape) {
    return readOnly(makeFloats(name, Role::kOptionalInput, std::move(shape)));
  }
  OperatorArgument output(const char* name, Dims shape) { return makeFloats(name, Role::kOutput, std::move(shape)); }
  OperatorArgument optionalOutput(const char* name, Dims shape) {
    return makeFloats(name, Role::kOptionalOutput, std::move(shape));
  }
  OperatorArgument inPlace(const char* name, Dims shape) { return makeFloats(name, Role::kInPlace, std::move(shape)); }
  static OperatorArgument mayBe(std::vector<std::string> others, OperatorArgument argument) {
    argument.mayBe = std::move(others);
    return argument;
  }
  // Ids below `limit`, the largest among them.
  OperatorArgument indices(const char* name, int64_t count, int64_t limit) {
    OperatorArgument argument = make(name, Role::kIndices, {count}, sizeof(int64_t));
    auto* values = reinterpret_cast<int64_t*>(argument.memory->data());
    for (int64_t i = 0; i < count; ++i) values[i] = i == 0 ? limit - 1 : random_.between(0, limit - 1);
    return readOnly(std::move(argument));
  }

  void add(std::string name, std::vector<OperatorArgument> arguments,
           std::function<fk_status(fk_context*, DLTensor* const*)> function) {
    calls_.push_back({std::move(name), std::move(arguments), std::move(function)});
  }

  OperatorSizes sizes_;
  Guard guard_;
  int64_t gap_;
  Random random_{7};
  std::vector<OperatorCall> calls_;
};

// Every operator at these sizes; outputs and arguments that may be changed are writable, all others are not.
inline std::vector<OperatorCall> everyOperator(const OperatorSizes& sizes, Guard guard = Guard::kAtEnd, int64_t gap = 0) {
  return OperatorBuilder(sizes, guard, gap).all();
}

}  // namespace fk::test
