# Kernels are compiled once per instruction set, with FK_ISA naming the namespace their code goes to (see cpu/dispatch.h).

if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(ISAS scalar neon)
else()
  set(ISAS scalar sse4 avx2 avx512)
endif()
# scalar is the portable fallback: Highway's one-lane emulation under the compiler's baseline flags.
set(FLAGS_scalar -DHWY_COMPILE_ONLY_SCALAR)
set(FLAGS_neon -DHWY_COMPILE_ONLY_STATIC)
set(FLAGS_sse4 -DHWY_COMPILE_ONLY_STATIC -msse4.2 -mpclmul -maes)
set(FLAGS_avx2 -DHWY_COMPILE_ONLY_STATIC -mavx2 -mfma -mbmi -mbmi2 -mf16c -mpclmul -maes)
set(FLAGS_avx512 -DHWY_COMPILE_ONLY_STATIC -mavx512f -mavx512bw -mavx512cd -mavx512dq -mavx512vl
  -mavx2 -mfma -mbmi -mbmi2 -mf16c -mpclmul -maes)

# Object libraries <name>_<isa> of the sources, whose objects are appended to the list <objects>, the scalar ones first.
function(fk_add_kernels name objects)
  foreach(isa IN LISTS ISAS)
    add_library(${name}_${isa} OBJECT ${ARGN})
    target_include_directories(${name}_${isa} PRIVATE ${CMAKE_SOURCE_DIR}/native ${CMAKE_SOURCE_DIR}/native/include)
    target_include_directories(${name}_${isa} SYSTEM PRIVATE ${HIGHWAY_INCLUDE_DIR})
    target_compile_definitions(${name}_${isa} PRIVATE FK_ISA=${isa})
    target_compile_options(${name}_${isa} PRIVATE ${FLAGS_${isa}})
    list(APPEND ${objects} $<TARGET_OBJECTS:${name}_${isa}>)
  endforeach()
  set(${objects} ${${objects}} PARENT_SCOPE)
endfunction()
