// The edge of the library: every entry point runs its body through guarded(), so nothing but a status gets out.
#pragma once

#include <utility>

#include "core/context.h"
#include "core/error.h"

namespace fk::abi {

void setLastError(const char* message) noexcept;

// The status of the exception in flight; records its text.
fk_status statusOfCurrentException() noexcept;

template <class Body>
fk_status guarded(Body&& body) noexcept {
  try {
    std::forward<Body>(body)();
    return FK_OK;
  } catch (...) {
    return statusOfCurrentException();
  }
}

// "argument: NULL" as an error.
void requireNotNull(const void* pointer, const char* name);

// Marks a context as in use, for as long as it lives. Refuses null and busy contexts.
class BusyGuard {
 public:
  explicit BusyGuard(const fk_context* context);
  ~BusyGuard() { context_->busy.store(false, std::memory_order_release); }
  BusyGuard(const BusyGuard&) = delete;
  BusyGuard& operator=(const BusyGuard&) = delete;

 private:
  const fk_context* context_;
};

// Holds a context for one call of an operator: refuses null, busy and cancelled contexts.
class ContextLock {
 public:
  explicit ContextLock(fk_context* context) : guard_(context), context_(context) { context->execution().throwIfCancelled(); }

  fk_context* operator->() const { return context_; }

 private:
  BusyGuard guard_;
  fk_context* context_;
};

// Reserves what `bytes` says within the context's limit, and runs. Every operator with a workspace ends in this.
template <class Arguments, class BytesFunction, class RunFunction>
void runWithWorkspace(const ContextLock& context, const Arguments& arguments, BytesFunction bytes, RunFunction run) {
  const size_t needed = bytes(arguments, context->threads, context->workspaceLimit);
  if (needed > context->workspaceLimit)
    fail(FK_ERROR_WORKSPACE_LIMIT, "this call needs a workspace of %zu bytes, the context's workspace_limit is %zu", needed,
         context->workspaceLimit);
  run(arguments, context->execution(), context->workspaceLimit, context->workspace.reserve(needed));
}

}  // namespace fk::abi
