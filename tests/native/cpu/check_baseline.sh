#!/bin/sh
# No AVX instruction outside the kernels of the AVX instruction sets: neither by a compiler flag that went to the wrong source
# nor by the linker, which keeps one copy of an inline function and could keep a kernel's.
#   check_baseline.sh OBJDUMP PROGRAM        (PROGRAM with its symbols)
"$1" --disassemble --no-show-raw-insn --demangle "$2" | awk '
  /^[0-9a-f]+ <.*>:$/ { function_name = $0; ours += /fk::/; wide_kernel = /avx2::|avx512::/ }
  /%[yz]mm|\tv[a-z]/ { if (wide_kernel) inside++; else outside[function_name]++ }
  END {
    for (name in outside) print outside[name], "AVX instructions in", name
    print ours, "functions of ours,", inside, "AVX instructions in the kernels for AVX"
    exit length(outside) > 0 || ours == 0 || inside == 0
  }'
