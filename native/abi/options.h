// Option structs of the ABI: defaults for NULL, fields appended over time, and checks of single fields.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "abi/boundary.h"
#include "core/error.h"

namespace fk::abi {

// The caller's struct over the defaults that `initialise` fills in. A caller that was compiled against an older header has
// a smaller struct, and the fields that it lacks keep their defaults; one with a newer header has a larger struct, whose
// tail must be zero, because this library would ignore what it asks for. firstSize: sizeof in the first released version.
template <class Struct>
Struct readStruct(const char* name, const Struct* given, void (*initialise)(Struct*) noexcept,
                  size_t firstSize = sizeof(Struct)) {
  constexpr size_t kPlausible = 4096;
  const size_t size = given->struct_size;
  if (size < firstSize || size > kPlausible)
    fail(FK_ERROR_INVALID_ARGUMENT, "%s: struct_size is %zu, needs %zu or more; fill the struct with its _init function",
         name, size, firstSize);
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  if (std::any_of(bytes + std::min(size, sizeof(Struct)), bytes + size, [](unsigned char byte) { return byte != 0; }))
    fail(FK_ERROR_INVALID_ARGUMENT,
         "%s: a field beyond byte %zu is set, which this version of the library does not know; leave it zero or use a newer "
         "library",
         name, sizeof(Struct));
  Struct read;
  initialise(&read);
  std::memcpy(&read, given, std::min(size, sizeof(Struct)));
  return read;
}

// As above; NULL means the defaults.
template <class Options>
Options readOptions(const Options* given, void (*initialise)(Options*) noexcept, size_t firstSize = sizeof(Options)) {
  if (given != nullptr) return readStruct("options", given, initialise, firstSize);
  Options options;
  initialise(&options);
  return options;
}

// The struct of a call's arrays.
template <class Tensors>
Tensors readTensors(const Tensors* given, void (*initialise)(Tensors*) noexcept) {
  requireNotNull(given, "tensors");
  const Tensors tensors = readStruct("tensors", given, initialise);
  if (tensors.reserved != 0) fail(FK_ERROR_INVALID_ARGUMENT, "tensors: reserved is %u, needs 0", tensors.reserved);
  return tensors;
}

[[noreturn]] inline void failUnwanted(const char* name, const char* why) {
  fail(FK_ERROR_INVALID_ARGUMENT, "%s: given, needs NULL %s", name, why);
}

// An array that the call would not look at is a mistake of the caller.
inline void requireAbsent(const void* pointer, const char* name, const char* why) {
  if (pointer) failUnwanted(name, why);
}

// For fields with the values 0 and 1.
inline bool readFlag(int32_t value, const char* name) {
  if (value != 0 && value != 1) fail(FK_ERROR_INVALID_ARGUMENT, "options: %s is %d, needs 0 or 1", name, value);
  return value == 1;
}

// For enumerations whose values are 0 .. last.
template <class Enum>
Enum readEnum(int32_t value, Enum last, const char* name) {
  if (value < 0 || value > static_cast<int32_t>(last))
    fail(FK_ERROR_INVALID_ARGUMENT, "options: %s is %d, needs 0 to %d", name, value, static_cast<int>(last));
  return static_cast<Enum>(value);
}

inline void requireFinite(float value, const char* name) {
  if (!std::isfinite(value)) fail(FK_ERROR_INVALID_ARGUMENT, "options: %s is %g, needs a finite number", name, value);
}

inline float readNonNegative(float value, const char* name) {
  requireFinite(value, name);
  if (value < 0) fail(FK_ERROR_INVALID_ARGUMENT, "options: %s is %g, needs 0 or more", name, value);
  return value;
}

}  // namespace fk::abi
