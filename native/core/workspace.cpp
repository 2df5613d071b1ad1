#include "core/workspace.h"

#include <new>

#include "core/error.h"

namespace fk {

std::byte* Workspace::reserve(size_t bytes) {
  if (bytes <= bytes_) return data_;
  release();  // before the new block is asked for: the old contents are not kept, and two blocks would double the peak
  data_ = static_cast<std::byte*>(::operator new (bytes, std::align_val_t{WorkspaceCursor::kAlignment}, std::nothrow));
  if (data_ == nullptr)
    fail(FK_ERROR_OUT_OF_MEMORY, "a workspace of %zu bytes could not be allocated; a lower workspace_limit may need less",
         bytes);
  bytes_ = bytes;
  return data_;
}

void Workspace::release() {
  ::operator delete (data_, std::align_val_t{WorkspaceCursor::kAlignment});
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace fk
