#include "abi/boundary.h"

#include <cstring>
#include <new>

namespace fk::abi {
namespace {

// A fixed buffer: recording an error must not fail for want of memory. Longer texts are cut.
thread_local char lastError[1024];

}  // namespace

void setLastError(const char* message) noexcept { std::strncpy(lastError, message, sizeof(lastError) - 1); }

fk_status statusOfCurrentException() noexcept {
  try {
    throw;
  } catch (const Error& error) {
    setLastError(error.what());
    return error.status();
  } catch (const std::bad_alloc&) {
    setLastError("the process is out of memory");
    return FK_ERROR_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    setLastError(error.what());
  } catch (...) {
    setLastError("an exception of unknown type");
  }
  return FK_ERROR_INTERNAL;
}

void requireNotNull(const void* pointer, const char* name) {
  if (pointer == nullptr) fail(FK_ERROR_INVALID_ARGUMENT, "%s: NULL", name);
}

BusyGuard::BusyGuard(const fk_context* context) : context_(context) {
  requireNotNull(context, "context");
  if (context->busy.exchange(true, std::memory_order_acquire))
    fail(FK_ERROR_BUSY, "context: in use by another call; make one context per thread (they may share threads)");
}

}  // namespace fk::abi

const char* fk_last_error(void) noexcept { return fk::abi::lastError; }
