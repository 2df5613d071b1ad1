#include "cpu/rows/embedding.h"

#include "abi/arguments.h"
#include "abi/boundary.h"

using namespace fk::abi;

fk_status fk_embedding_gather(fk_context* context, const DLTensor* table, const DLTensor* ids, DLTensor* output) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    fk::cpu::EmbeddingGatherArguments call;
    call.table = arguments.matrix<const float>("table", table, "[V, D]");
    call.ids = arguments.indices("ids", ids, "[...]");
    call.output = arguments.matrix<float>("output", output, "[..., D]");
    requireInRange("ids", call.ids, call.table.rows);
    fk::cpu::embeddingKernelsFor(lock->isa).gather(call, lock->execution());
  });
}

fk_status fk_embedding_scatter_add(fk_context* context, const DLTensor* d_output, const DLTensor* ids,
                                   DLTensor* d_table) noexcept {
  return guarded([&] {
    const ContextLock lock(context);
    Arguments arguments;
    fk::cpu::EmbeddingScatterAddArguments call;
    call.dOutput = arguments.matrix<const float>("d_output", d_output, "[..., D]");
    call.ids = arguments.indices("ids", ids, "[...]");
    call.dTable = arguments.matrix<float>("d_table", d_table, "[V, D]");
    requireInRange("ids", call.ids, call.dTable.rows);
    fk::cpu::embeddingKernelsFor(lock->isa).scatterAdd(call, lock->execution());
  });
}
