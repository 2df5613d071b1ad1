# The shared library defines exactly the functions that the header declares.
#   cmake -DLIBRARY=libfusedkernels.so -DHEADER=fusedkernels.h -DNM=nm -P check_exports.cmake

execute_process(COMMAND ${NM} --dynamic --defined-only ${LIBRARY} OUTPUT_VARIABLE listing COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^ \n]+\n" exported "${listing}")
list(TRANSFORM exported STRIP)

file(READ ${HEADER} header)
string(REGEX MATCHALL "FK_API[^;(]*[ *]fk_[a-z0-9_]+\\(" declared "${header}")
list(TRANSFORM declared REPLACE ".*(fk_[a-z0-9_]+)\\(" "\\1")

set(missing ${declared})
list(REMOVE_ITEM missing ${exported})
set(unexpected ${exported})
list(REMOVE_ITEM unexpected ${declared})
list(LENGTH declared count)
if(count EQUAL 0 OR missing OR unexpected)
  message(FATAL_ERROR "declared but not exported: ${missing}\nexported but not declared: ${unexpected}\n(of ${count} declared)")
endif()
message(STATUS "${count} functions, declared and exported alike")
