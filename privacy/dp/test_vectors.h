// The shared vectors of the accountants and samplers, for tests only.
#ifndef CONSILIUM_PRIVACY_DP_TEST_VECTORS_H_
#define CONSILIUM_PRIVACY_DP_TEST_VECTORS_H_

#include <optional>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"

// nullopt: the folder is not there. A broken file fails the test.
inline std::optional<nlohmann::json> DpVectors() {
  const std::string path = consilium::JoinPath(CONSILIUM_SHARED_DIR, "data/crypto/dp_vectors.json");
  if (!consilium::PathExists(path)) return std::nullopt;
  const auto text = consilium::ReadFile(path, 1 << 20);
  EXPECT_TRUE(text.ok()) << text.status();
  return nlohmann::json::parse(text.value_or("{}"));
}

// Ends the test as skipped where there are none.
#define CSL_DP_VECTORS_OR_SKIP(name)                      \
  const std::optional<nlohmann::json> name = DpVectors(); \
  if (!name.has_value()) GTEST_SKIP() << "no shared data: dp_vectors.json was not run"

#endif  // CONSILIUM_PRIVACY_DP_TEST_VECTORS_H_
