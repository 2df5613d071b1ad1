// The one exception type of the library. The ABI boundary turns it into a status and the thread's error text.
#pragma once

#include <stdexcept>
#include <string>

#include "fusedkernels.h"

namespace fk {

class Error : public std::runtime_error {
 public:
  Error(fk_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  fk_status status() const noexcept { return status_; }

 private:
  fk_status status_;
};

// printf-style, so that call sites stay one line.
[[noreturn]] void fail(fk_status status, const char* format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace fk
