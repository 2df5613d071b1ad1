// Contexts: how many threads, how much workspace, and cancellation.
#include "abi/boundary.h"
#include "abi/options.h"
#include "core/processors.h"

namespace fk::abi {
namespace {

constexpr int kMaxThreads = 1024;
constexpr uint64_t kDefaultWorkspaceLimit = uint64_t{1} << 30;

std::shared_ptr<ThreadPool> poolFor(const fk_context_options& options) {
  if (options.threads < 0 || options.threads > kMaxThreads)
    fail(FK_ERROR_INVALID_ARGUMENT, "options: threads is %d, needs 0 (as many as this process may use) to %d",
         options.threads, kMaxThreads);
  if (options.share_threads_with == nullptr)
    return std::make_shared<ThreadPool>(options.threads ? options.threads : std::min(availableProcessors(), kMaxThreads));
  const std::shared_ptr<ThreadPool>& pool = options.share_threads_with->pool;
  if (options.threads > pool->threads())
    fail(FK_ERROR_INVALID_ARGUMENT, "options: threads is %d, but the pool of share_threads_with has %d", options.threads,
         pool->threads());
  return pool;
}

fk_context* createContext(const fk_context_options& options) {
  if (options.device_type == kDLCUDA) fail(FK_ERROR_NO_CUDA, "options: device_type is kDLCUDA, and this build has no CUDA");
  if (options.device_type != kDLCPU)
    fail(FK_ERROR_INVALID_ARGUMENT, "options: device_type is %d, needs kDLCPU (%d) or kDLCUDA (%d)", options.device_type,
         kDLCPU, kDLCUDA);
  if (options.device_id != 0)
    fail(FK_ERROR_INVALID_ARGUMENT, "options: device_id is %d, needs 0 on the CPU", options.device_id);
  if (options.stream != nullptr) fail(FK_ERROR_INVALID_ARGUMENT, "options: stream is set, needs NULL on the CPU");
  const Isa isa = selectedIsa();
  std::shared_ptr<ThreadPool> pool = poolFor(options);
  const int threads = options.threads ? options.threads : pool->threads();
  const uint64_t limit = options.workspace_limit ? options.workspace_limit : kDefaultWorkspaceLimit;
  return new fk_context(isa, threads, std::move(pool), static_cast<size_t>(std::min<uint64_t>(limit, SIZE_MAX - 1)));
}

}  // namespace
}  // namespace fk::abi

using namespace fk::abi;

void fk_context_options_init(fk_context_options* options) noexcept {
  *options = {.struct_size = sizeof(*options),
              .device_type = kDLCPU,
              .device_id = 0,
              .threads = 0,
              .workspace_limit = 0,
              .share_threads_with = nullptr,
              .stream = nullptr};
}

fk_status fk_context_create(const fk_context_options* options, fk_context** context) noexcept {
  return guarded([&] {
    requireNotNull(context, "context");
    *context = createContext(readOptions(options, fk_context_options_init));
  });
}

fk_status fk_context_destroy(fk_context* context) noexcept {
  return guarded([&] {
    if (context == nullptr) return;
    if (context->busy.exchange(true, std::memory_order_acquire))
      fk::fail(FK_ERROR_BUSY, "context: a call runs in it; cancel the call and wait for its return before destroying");
    delete context;
  });
}

fk_status fk_context_cancel(fk_context* context) noexcept {
  return guarded([&] {
    requireNotNull(context, "context");
    context->cancelled.store(true, std::memory_order_relaxed);
  });
}

fk_status fk_context_clear_cancel(fk_context* context) noexcept {
  return guarded([&] {
    requireNotNull(context, "context");
    context->cancelled.store(false, std::memory_order_relaxed);
  });
}

fk_status fk_context_threads(const fk_context* context, int32_t* threads) noexcept {
  return guarded([&] {
    requireNotNull(context, "context");
    requireNotNull(threads, "threads");
    *threads = context->threads;
  });
}

fk_status fk_context_workspace_bytes(const fk_context* context, uint64_t* bytes) noexcept {
  return guarded([&] {
    const BusyGuard guard(context);
    requireNotNull(bytes, "bytes");
    *bytes = context->workspace.bytes();
  });
}

fk_status fk_context_release_workspace(fk_context* context) noexcept {
  return guarded([&] {
    const BusyGuard guard(context);
    context->workspace.release();
  });
}
