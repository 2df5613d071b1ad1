#include "cpu/engine/vector_math.h"

#include "cpu/engine/vector_loop-inl.h"
#include "cpu/engine/vector_math-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

void exp(const float* x, float* y, int64_t count) {
  forEachVector(count, [=](auto d, int64_t i) { hn::StoreU(Exp(d, hn::LoadU(d, x + i)), d, y + i); });
}

void expBelowOverflow(const float* x, float* y, int64_t count) {
  forEachVector(count, [=](auto d, int64_t i) { hn::StoreU(ExpBelowOverflow(d, hn::LoadU(d, x + i)), d, y + i); });
}

void sigmoid(const float* x, float* y, int64_t count) {
  forEachVector(count, [=](auto d, int64_t i) { hn::StoreU(Sigmoid(d, hn::LoadU(d, x + i)), d, y + i); });
}

void tanh(const float* x, float* y, int64_t count) {
  forEachVector(count, [=](auto d, int64_t i) { hn::StoreU(Tanh(d, hn::LoadU(d, x + i)), d, y + i); });
}

void log(const float* x, float* y, int64_t count) {
  forEachVector(count, [=](auto d, int64_t i) { hn::StoreU(Log(d, hn::LoadU(d, x + i)), d, y + i); });
}

}  // namespace

// MaxLanes, not Lanes: the table must be a compile-time constant, or loading the library would run this ISA's code.
constexpr int kLanes = static_cast<int>(hn::MaxLanes(hn::ScalableTag<float>()));

const VectorMathKernels vectorMathKernels = {exp, expBelowOverflow, sigmoid, tanh, log, kLanes};

}  // namespace fk::cpu::FK_ISA
