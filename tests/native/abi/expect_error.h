// How the tests of the ABI look at errors: the status, and what the text says.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "core/error.h"

namespace fk::test {

// The error that `body` throws; status FK_OK when it throws none.
template <class Body>
Error errorOf(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  return Error(FK_OK, "no error");
}

#define EXPECT_ERROR(body, expectedStatus, expectedText)                                          \
  do {                                                                                            \
    const ::fk::Error caught = ::fk::test::errorOf([&] { body; });                                \
    EXPECT_EQ(caught.status(), expectedStatus) << caught.what();                                  \
    EXPECT_NE(std::string(caught.what()).find(expectedText), std::string::npos) << caught.what(); \
  } while (0)

#define EXPECT_STATUS(call, expectedStatus, expectedText)                                             \
  do {                                                                                                \
    EXPECT_EQ(call, expectedStatus) << fk_last_error();                                               \
    EXPECT_NE(std::string(fk_last_error()).find(expectedText), std::string::npos) << fk_last_error(); \
  } while (0)

}  // namespace fk::test
