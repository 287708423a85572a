#include "site_agent/agent_options.h"

#include "gtest/gtest.h"
#include "proto/base/file.h"

namespace consilium::agent {
namespace {

constexpr const char* kGood =
    "federation: hippo\nsite: site-a\nfederation_address: \"coordinator.example:7443\"\n";

TEST(AgentOptionsTest, WrittenOptionsReadBack) {
  const TempDir home = *TempDir::Create("options");
  AgentOptions options;
  options.federation = "hippo";
  options.site = "site-a";
  options.federation_address = "[::1]:7443";
  options.compute = {3, "cpu"};
  options.cache_bytes_max = uint64_t{1} << 30;
  options.cache_encrypted = true;
  options.atna_repository = "audit.hospital.example:6514";
  options.atna_key = "/etc/consilium/atna key.pem";
  ASSERT_TRUE(WriteAgentOptions(home.path(), options).ok());
  const auto read = ReadAgentOptions(home.path());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->federation, "hippo");
  EXPECT_EQ(read->site, "site-a");
  EXPECT_EQ(read->federation_address, "[::1]:7443");
  EXPECT_EQ(read->compute.threads, 3);
  EXPECT_EQ(read->compute.device, "cpu");
  EXPECT_EQ(read->cache_bytes_max, uint64_t{1} << 30);
  EXPECT_TRUE(read->cache_encrypted);
  EXPECT_EQ(read->atna_repository, "audit.hospital.example:6514");
  EXPECT_EQ(read->atna_ca, "atna/ca.crt");
  EXPECT_EQ(read->atna_key, "/etc/consilium/atna key.pem");
}

TEST(AgentOptionsTest, DefaultsAreFilledIn) {
  const auto options = ParseAgentOptions(kGood);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->compute.threads, 0);
  EXPECT_EQ(options->cache_bytes_max, uint64_t{20} << 30);
  EXPECT_FALSE(options->cache_encrypted);
}

TEST(AgentOptionsTest, WhatIsNotMeantIsRefused) {
  const std::string good = kGood;
  for (const std::string& bad :
       {good + "thread: 2\n", good + "threads: many\n", good + "threads: -1\n",
        good + "threads: 2\nthreads: 3\n", good + "device: tpu\n", good + "cache_bytes_max: 5\n",
        good + "cache_encrypted: yes\n",
        good + "threads: [1]\n", good + "atna_repository: nowhere\n", std::string("site: a"), std::string("- a\n- b"),
        std::string("{"), std::string(""), good + "site: \"../x\"\n",
        std::string("federation: hippo\nsite: a\nfederation_address: nowhere\n")}) {
    EXPECT_EQ(ParseAgentOptions(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(AgentOptionsTest, MissingFileSaysWhatToDo) {
  const TempDir home = *TempDir::Create("options");
  const auto options = ReadAgentOptions(home.path());
  EXPECT_TRUE(absl::IsNotFound(options.status()));
  EXPECT_NE(options.status().message().find("enroll"), absl::string_view::npos);
}

TEST(AddressTest, HostAndPort) {
  EXPECT_TRUE(CheckAddress("a", "host-1.example:7443").ok());
  EXPECT_TRUE(CheckAddress("a", "[fe80::1]:1").ok());
  for (const char* bad : {"host", ":1", "host:", "host:0", "host:65536", "host:1x", "a b:1",
                          "fe80::1:7443", "unix:/tmp/x:1", "[]:1"}) {
    EXPECT_FALSE(CheckAddress("a", bad).ok()) << bad;
  }
  EXPECT_EQ(AddressHost("host.example:7443"), "host.example");
  EXPECT_EQ(AddressHost("[::1]:7443"), "::1");
}

}  // namespace
}  // namespace consilium::agent
