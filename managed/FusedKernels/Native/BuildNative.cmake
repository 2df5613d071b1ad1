# Configures the native library once and builds it incrementally; MSBuild and the tests run it as
#
#     cmake -D SOURCE=<repository> -D BUILD=<folder> -D BUILD_TYPE=Release -D TESTS=OFF -D TARGET=fusedkernels -P BuildNative.cmake
#
# Safe when several processes run it at once: the second waits for the first. When it fails, BUILD/error.txt says why in one
# paragraph; compiler messages are on standard output.

file(LOCK "${BUILD}.lock" GUARD PROCESS)
file(REMOVE "${BUILD}/error.txt")

function(give_up reason)
  string(REGEX REPLACE "[ \n]+" " " reason "${reason}")
  file(WRITE "${BUILD}/error.txt" "${reason}\n")
  message(FATAL_ERROR "${reason}")
endfunction()

# A folder that was copied or moved together with its build folder would go on building the old sources.
if(EXISTS "${BUILD}/CMakeCache.txt")
  file(STRINGS "${BUILD}/CMakeCache.txt" configured_for REGEX "^CMAKE_HOME_DIRECTORY:INTERNAL=")
  file(REAL_PATH "${SOURCE}" source)
  if(NOT configured_for STREQUAL "CMAKE_HOME_DIRECTORY:INTERNAL=${source}")
    file(REMOVE_RECURSE "${BUILD}")
  endif()
endif()

set(missing)
find_program(NINJA NAMES ninja ninja-build)
if(NOT NINJA)
  list(APPEND missing ninja-build)
endif()
find_program(COMPILER NAMES $ENV{CXX} c++ g++ clang++)
if(NOT COMPILER)
  list(APPEND missing g++)
endif()
if(missing)
  list(JOIN missing " " packages)
  give_up("The native library cannot be built: a tool is missing. On Debian or Ubuntu: apt-get install -y ${packages}")
endif()

if(NOT EXISTS "${BUILD}/build.ninja")
  execute_process(
    COMMAND "${CMAKE_COMMAND}" -S "${SOURCE}" -B "${BUILD}" -G Ninja "-DCMAKE_MAKE_PROGRAM=${NINJA}"
      "-DCMAKE_BUILD_TYPE=${BUILD_TYPE}" "-DFUSEDKERNELS_TESTS=${TESTS}"
    RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE errors)
  if(result)
    # Our own message() calls say what to do; keep their text without CMake's line breaks and call stack.
    if(errors MATCHES "\\(message\\):\n(([ ]+[^\n]*\n)+)")
      set(errors "${CMAKE_MATCH_1}")
    endif()
    string(STRIP "${errors}" errors)
    give_up("The native library cannot be configured. ${errors}")
  endif()
endif()

execute_process(COMMAND "${CMAKE_COMMAND}" --build "${BUILD}" --target "${TARGET}" RESULT_VARIABLE result)
if(result)
  give_up("The native library does not compile. To see why: cmake --build ${BUILD} --target ${TARGET}")
endif()
