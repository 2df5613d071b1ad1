// Memory with a forbidden page at either end, so that one byte read or written past it stops the test at the culprit.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <new>

namespace fk::test {

// Which end of the array touches its forbidden page. At the other end lies up to a page of slack.
enum class Guard { kAtStart, kAtEnd };

class GuardedMemory {
 public:
  GuardedMemory(size_t bytes, Guard guard) : bytes_(bytes) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    middle_ = (bytes + page - 1) / page * page;
    mapping_ = middle_ + 2 * page;
    void* mapped = mmap(nullptr, mapping_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    start_ = static_cast<std::byte*>(mapped);
    pages_ = start_ + page;
    if (middle_ > 0) mprotect(pages_, middle_, PROT_READ | PROT_WRITE);
    data_ = guard == Guard::kAtStart ? pages_ : pages_ + middle_ - bytes;
  }
  ~GuardedMemory() { munmap(start_, mapping_); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  // For bytes == 0, an address that can be neither read nor written.
  std::byte* data() { return data_; }
  size_t bytes() const { return bytes_; }

  // Writing stops the test from now on.
  void makeReadOnly() {
    if (middle_ > 0) mprotect(pages_, middle_, PROT_READ);
  }

 private:
  size_t bytes_, middle_, mapping_;
  std::byte *start_, *pages_, *data_;
};

}  // namespace fk::test
