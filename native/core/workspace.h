// Scratch memory of a context. An operator describes its layout once, as a function of a cursor, and that function
// serves both to measure (no base) and to hand out pointers (with one): the two cannot disagree.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fk {

class WorkspaceCursor {
 public:
  static constexpr size_t kAlignment = 64;  // a cache line, and the widest vector

  explicit WorkspaceCursor(std::byte* base = nullptr) : base_(base) {}

  template <class T>
  T* take(int64_t count) {
    std::byte* at = base_ ? base_ + used_ : nullptr;
    used_ = sum(used_, roundedUp(product(static_cast<size_t>(count), sizeof(T))));
    return reinterpret_cast<T*>(at);
  }

  // SIZE_MAX when the layout is larger than the address space, which every workspace limit then refuses.
  size_t used() const { return used_; }

 private:
  static size_t product(size_t a, size_t b) {
    size_t result;
    return __builtin_mul_overflow(a, b, &result) ? SIZE_MAX : result;
  }
  static size_t sum(size_t a, size_t b) {
    size_t result;
    return __builtin_add_overflow(a, b, &result) ? SIZE_MAX : result;
  }
  static size_t roundedUp(size_t bytes) {
    return bytes > SIZE_MAX - kAlignment ? SIZE_MAX : (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }

  std::byte* base_;
  size_t used_ = 0;
};

// One growing block, kept between calls so that a steady state allocates nothing.
class Workspace {
 public:
  Workspace() = default;
  ~Workspace() { release(); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // At least `bytes`, aligned for WorkspaceCursor, contents unspecified. Throws Error when memory is short.
  std::byte* reserve(size_t bytes);
  void release();
  size_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace fk
