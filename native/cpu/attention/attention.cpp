#include "cpu/attention/attention.h"

#include <cmath>

namespace fk::cpu::FK_ISA {
namespace {

size_t bytes(const AttentionArguments&, int, size_t) { return 0; }

float dot(const float* a, const float* b, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

int64_t visibleKeys(const AttentionArguments& a, int64_t query) {
  if (!a.causal) return a.k.sequence;
  const int64_t end = query + 1 + a.k.sequence - a.q.sequence;
  return end < 0 ? 0 : end;
}

template <class Function>
void forEachHead(const AttentionArguments& a, const Execution& execution, Function&& function) {
  execution.forEach(a.q.batch * a.q.heads, [&](int64_t task, int) { function(task / a.q.heads, task % a.q.heads); });
}

void forward(const AttentionArguments& a, const Execution& execution, size_t, std::byte*) {
  forEachHead(a, execution, [&](int64_t b, int64_t h) {
    const auto q = a.q.head(b, h), k = a.k.head(b, h), v = a.v.head(b, h);
    const auto output = a.output.head(b, h);
    for (int64_t i = 0; i < q.rows; ++i) {
      execution.throwIfCancelled();
      const int64_t keys = visibleKeys(a, i);
      float max = -INFINITY, sum = 0;
      for (int64_t j = 0; j < keys; ++j) max = std::fmax(max, a.scale * dot(q.row(i), k.row(j), q.columns));
      for (int64_t d = 0; d < v.columns; ++d) output(i, d) = 0;
      for (int64_t j = 0; j < keys; ++j) {
        const float p = std::exp(a.scale * dot(q.row(i), k.row(j), q.columns) - max);
        sum += p;
        for (int64_t d = 0; d < v.columns; ++d) output(i, d) += p * v(j, d);
      }
      for (int64_t d = 0; d < v.columns && keys > 0; ++d) output(i, d) /= sum;
      if (a.logSumExp.data)
        a.logSumExp.data[b * a.logSumExp.batchStride + h * a.logSumExp.headStride + i * a.logSumExp.rowStride] =
            keys > 0 ? max + std::log(sum) : -INFINITY;
    }
  });
}

void clear(const Matrix<float>& m) {
  for (int64_t i = 0; i < m.rows; ++i)
    for (int64_t j = 0; j < m.columns; ++j) m(i, j) = 0;
}

void backward(const AttentionArguments& a, const Execution& execution, size_t, std::byte*) {
  forEachHead(a, execution, [&](int64_t b, int64_t h) {
    const auto q = a.q.head(b, h), k = a.k.head(b, h), v = a.v.head(b, h), o = a.savedOutput.head(b, h),
               dO = a.dOutput.head(b, h);
    const auto dQ = a.dQ.head(b, h), dK = a.dK.head(b, h), dV = a.dV.head(b, h);
    clear(dQ), clear(dK), clear(dV);
    for (int64_t i = 0; i < q.rows; ++i) {
      execution.throwIfCancelled();
      const float logSumExp =
          a.logSumExp.data[b * a.logSumExp.batchStride + h * a.logSumExp.headStride + i * a.logSumExp.rowStride];
      const float delta = dot(o.row(i), dO.row(i), v.columns);
      for (int64_t j = 0; j < visibleKeys(a, i); ++j) {
        const float p = std::exp(a.scale * dot(q.row(i), k.row(j), q.columns) - logSumExp);
        const float dScore = p * (dot(dO.row(i), v.row(j), v.columns) - delta) * a.scale;
        for (int64_t d = 0; d < v.columns; ++d) dV(j, d) += p * dO(i, d);
        for (int64_t d = 0; d < q.columns; ++d) dQ(i, d) += dScore * k(j, d);
        for (int64_t d = 0; d < q.columns; ++d) dK(j, d) += dScore * q(i, d);
      }
    }
  });
}

}  // namespace

const AttentionKernels attentionKernels = {bytes, bytes, forward, backward};

}  // namespace fk::cpu::FK_ISA
