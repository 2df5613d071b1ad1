// Which instruction set the kernels use: the CPU's best, or the one that FUSEDKERNELS_ISA names.
#pragma once

namespace fk {

enum class Isa { kScalar, kSse4, kAvx2, kAvx512, kNeon };

const char* isaName(Isa isa);

// True when this build has the kernels and this CPU (and its operating system) can run them.
bool isaSupported(Isa isa);

// Decided once per process. Throws Error (every time) when FUSEDKERNELS_ISA names an unknown or unsupported one.
Isa selectedIsa();

// The pure part of the decision, for tests: `name` is the variable's value, or null.
Isa selectIsa(const char* name);

}  // namespace fk
