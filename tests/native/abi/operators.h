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

enum class Role { kInput, kIndices, kOutput, kOptionalOutput, kOptionalInput, kInPlace };

// Contiguous but for `gap` unused elements after each row of the last axis.
struct OperatorArgument {
  std::string name;
  Role role;
  std::vector<int64_t> shape, strides;
  std::shared_ptr<GuardedMemory> memory;
  bool limitsIndices = false;  // its first extent is free but for the indices, which must lie below it

  bool optional() const { return role == Role::kOptionalInput || role == Role::kOptionalOutput; }
  bool written() const { return role == Role::kOutput || role == Role::kOptionalOutput || role == Role::kInPlace; }
  DLTensor tensor() {
    const DLDataType type = role == Role::kIndices ? dataTypeOf<int64_t>() : dataTypeOf<float>();
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
    addAttention();
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

  void addCutCrossEntropy() {
    const auto [n, v, d] = sizes_;
    const OperatorArgument embeddings = input("embeddings", {n, d}), classifier = input("classifier", {v, d});
    const OperatorArgument targets = indices("targets", n, v);
    OperatorArgument onlyClassifier = classifier;  // without d_classifier beside it
    onlyClassifier.limitsIndices = true;
    add("cut_cross_entropy_forward",
        {embeddings, onlyClassifier, targets, output("loss", {1}), optionalOutput("log_sum_exp", {n})},
        [](fk_context* context, DLTensor* const* t) {
          return fk_cut_cross_entropy_forward(context, nullptr, t[0], t[1], t[2], t[3], t[4]);
        });
    add("cut_cross_entropy_backward",
        {embeddings, classifier, targets, input("log_sum_exp", {n}), optionalInput("grad_loss", {1}),
         optionalOutput("d_embeddings", {n, d}), optionalOutput("d_classifier", {v, d})},
        [](fk_context* context, DLTensor* const* t) {
          return fk_cut_cross_entropy_backward(context, nullptr, t[0], t[1], t[2], t[3], t[4], t[5], t[6]);
        });
    for (const fk_schedule schedule : {FK_SCHEDULE_RECOMPUTE, FK_SCHEDULE_FUSED}) {
      fk_cut_cross_entropy_options options;
      fk_cut_cross_entropy_options_init(&options);
      options.schedule = schedule;
      options.reduction = FK_REDUCTION_NONE;
      add(std::string("cut_cross_entropy_loss_and_gradient ") + (schedule == FK_SCHEDULE_FUSED ? "fused" : "recompute"),
          {embeddings, classifier, targets, output("loss", {n}), optionalOutput("log_sum_exp", {n}),
           optionalOutput("d_embeddings", {n, d}), optionalOutput("d_classifier", {v, d})},
          [=](fk_context* context, DLTensor* const* t) {
            return fk_cut_cross_entropy_loss_and_gradient(context, &options, t[0], t[1], t[2], t[3], t[4], t[5], t[6]);
          });
    }
  }

  void addAttention() {
    const int64_t b = 2, h = 2, sq = sizes_.rows, sk = sizes_.columns, d = sizes_.depth, dv = d + 1;
    const OperatorArgument q = input("q", {b, sq, h, d}), k = input("k", {b, sk, h, d}), v = input("v", {b, sk, h, dv});
    for (const bool causal : {false, true}) {
      fk_attention_options options;
      fk_attention_options_init(&options);
      options.causal = causal;
      add(std::string("attention_forward") + (causal ? " causal" : ""),
          {q, k, v, output("output", {b, sq, h, dv}), optionalOutput("log_sum_exp", {b, h, sq})},
          [=](fk_context* context, DLTensor* const* t) {
            return fk_attention_forward(context, &options, t[0], t[1], t[2], t[3], t[4]);
          });
      add(std::string("attention_backward") + (causal ? " causal" : ""),
          {q, k, v, input("output", {b, sq, h, dv}), input("log_sum_exp", {b, h, sq}), input("d_output", {b, sq, h, dv}),
           output("d_q", {b, sq, h, d}), output("d_k", {b, sk, h, d}), output("d_v", {b, sk, h, dv})},
          [=](fk_context* context, DLTensor* const* t) {
            return fk_attention_backward(context, &options, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8]);
          });
    }
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
    return {name, role, std::move(shape), std::move(strides), std::move(memory), false};
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
