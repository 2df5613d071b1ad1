// Errors, for gates above -87 (below, sigmoid leaves the normal floats and what is below 1e-36 |up| may become 0):
//   output, dUp   at most 5 ulp
//   dGate         at most 9 ulp of |dOutput * up| sigmoid(gate) (1 + |gate| sigmoid(-gate)), the size of its two terms
// Finite arguments give finite results unless the exact result overflows. A gate of -inf gives NaN, as in PyTorch.
#include "cpu/rows/swiglu.h"

#include "cpu/engine/vector_loop-inl.h"
#include "cpu/engine/vector_math-inl.h"
#include "cpu/rows/tiles-inl.h"

namespace fk::cpu::FK_ISA {
namespace {

void forward(const SwigluArguments& a, const Execution& execution) {
  forEachRowPart(execution, a.gate.rows, a.gate.columns, [&](int64_t row, int64_t begin, int64_t end) {
    const float* gate = a.gate.row(row) + begin;
    const float* up = a.up.row(row) + begin;
    float* output = a.output.row(row) + begin;
    forEachVector(end - begin, [=](auto d, int64_t i) {
      const auto g = hn::LoadU(d, gate + i);
      const auto silu = hn::Mul(g, Sigmoid(d, g));
      hn::StoreU(hn::Mul(silu, hn::LoadU(d, up + i)), d, output + i);
    });
  });
}

// With s = sigmoid(gate):   d silu / d gate = s (1 + gate (1 - s)), where 1 - s = sigmoid(-gate) without cancellation.
void backward(const SwigluArguments& a, const Execution& execution) {
  forEachRowPart(execution, a.gate.rows, a.gate.columns, [&](int64_t row, int64_t begin, int64_t end) {
    const float* gate = a.gate.row(row) + begin;
    const float* up = a.up.row(row) + begin;
    const float* dOutput = a.dOutput.row(row) + begin;
    float* dGate = a.dGate.row(row) + begin;
    float* dUp = a.dUp.row(row) + begin;
    forEachVector(end - begin, [=](auto d, int64_t i) {
      const auto g = hn::LoadU(d, gate + i);
      const auto u = hn::LoadU(d, up + i);
      const auto upstream = hn::LoadU(d, dOutput + i);
      const auto s = Sigmoid(d, g);
      const auto silu = hn::Mul(g, s);
      // The slope reaches 1.1, so the product with a huge upstream could overflow before `up` makes it small: go by halves.
      const auto half = hn::Set(d, 0.5f);
      const auto halfSlope = hn::Mul(s, hn::MulAdd(hn::Mul(g, half), Sigmoid(d, hn::Neg(g)), half));
      const auto halfGradient = hn::Mul(hn::Mul(halfSlope, upstream), u);
      hn::StoreU(hn::Add(halfGradient, halfGradient), d, dGate + i);
      hn::StoreU(hn::Mul(silu, upstream), d, dUp + i);
    });
  });
}

}  // namespace

const SwigluKernels swigluKernels = {forward, backward};

}  // namespace fk::cpu::FK_ISA
