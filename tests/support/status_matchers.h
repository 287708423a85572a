// GoogleTest matchers for absl::Status and absl::StatusOr; Debian's Abseil ships none.
//
//   ASSERT_OK(store.Commit(update));
//   ASSERT_OK_AND_ASSIGN(auto series, AssembleSeries(paths));
//   EXPECT_THAT(Parse("x"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("key")));
#ifndef CONSILIUM_TESTS_SUPPORT_STATUS_MATCHERS_H_
#define CONSILIUM_TESTS_SUPPORT_STATUS_MATCHERS_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace consilium::testing {

inline const absl::Status& StatusOf(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& status_or) {
  return status_or.status();
}

MATCHER(IsOk, negation ? "is an error" : "is OK") {
  const absl::Status& status = StatusOf(arg);
  if (!status.ok()) *result_listener << status.ToString();
  return status.ok();
}

MATCHER_P2(StatusIs, code, message_matcher,
           "has code " + absl::StatusCodeToString(code) + " and a message that " +
               ::testing::DescribeMatcher<std::string>(message_matcher)) {
  const absl::Status& status = StatusOf(arg);
  *result_listener << status.ToString();
  return status.code() == code &&
         ::testing::ExplainMatchResult(message_matcher, std::string(status.message()),
                                       result_listener);
}

inline auto StatusIs(absl::StatusCode code) { return StatusIs(code, ::testing::_); }

}  // namespace consilium::testing

#define EXPECT_OK(expression) EXPECT_THAT((expression), ::consilium::testing::IsOk())
#define ASSERT_OK(expression) ASSERT_THAT((expression), ::consilium::testing::IsOk())

#define CSL_TEST_CONCAT_INNER(a, b) a##b
#define CSL_TEST_CONCAT(a, b) CSL_TEST_CONCAT_INNER(a, b)
#define ASSERT_OK_AND_ASSIGN(lhs, expression) \
  ASSERT_OK_AND_ASSIGN_INNER(CSL_TEST_CONCAT(csl_statusor_, __LINE__), lhs, expression)
#define ASSERT_OK_AND_ASSIGN_INNER(tmp, lhs, expression)                           \
  auto tmp = (expression);                                                         \
  ASSERT_TRUE(tmp.ok()) << #expression << " returned " << tmp.status().ToString(); \
  lhs = *std::move(tmp)

#endif  // CONSILIUM_TESTS_SUPPORT_STATUS_MATCHERS_H_
