// Kernels are compiled once per instruction set: CMake builds each kernel source several times, each time with that set's
// flags and with FK_ISA naming the namespace its code goes to. A header declares its function table for all of them with
// FK_KERNELS, and code outside the kernels picks one at run time with <name>For(isa).
#pragma once

#include "core/cpu_features.h"

// clang-format off
#if defined(__aarch64__)
#define FK_KERNELS(Type, name)                            \
  namespace scalar { extern const Type name; }            \
  namespace neon { extern const Type name; }              \
  inline const Type& name##For(::fk::Isa isa) {           \
    return isa == ::fk::Isa::kNeon ? neon::name : scalar::name; \
  }
#else
#define FK_KERNELS(Type, name)                                 \
  namespace scalar { extern const Type name; }                 \
  namespace sse4 { extern const Type name; }                   \
  namespace avx2 { extern const Type name; }                   \
  namespace avx512 { extern const Type name; }                 \
  inline const Type& name##For(::fk::Isa isa) {                \
    switch (isa) {                                             \
      case ::fk::Isa::kAvx512: return avx512::name;            \
      case ::fk::Isa::kAvx2: return avx2::name;                \
      case ::fk::Isa::kSse4: return sse4::name;                \
      default: return scalar::name;                            \
    }                                                          \
  }
#endif
// clang-format on
