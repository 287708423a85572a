#include "site_agent/receive/dicom_config.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"

namespace consilium::agent {
namespace {

using testing::HasSubstr;

TEST(DicomConfigTest, TheExampleIsRight) {
  const auto text = ReadFile(CONSILIUM_SOURCE_DIR "/deploy/config/dicom.yaml", 1 << 20);
  ASSERT_TRUE(text.ok());
  const auto config = ParseDicomConfig(*text);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->ae_title, "CONSILIUM");
  ASSERT_EQ(config->peers.size(), 3u);
  const auto pacs = config->Peer("pacs");
  ASSERT_TRUE(pacs.ok());
  EXPECT_EQ(pacs->method, RetrieveMethod::kMove);
  EXPECT_EQ(FormatHourWindow(pacs->hours.windows.at(0)), "20:00-06:00");
  EXPECT_EQ(pacs->studies_per_hour, 60);
  EXPECT_TRUE(absl::IsNotFound(config->Peer("none").status()));
  EXPECT_EQ(config->quarantine.settle, absl::Minutes(2));
}

TEST(DicomConfigTest, DicomwebNeedsNoAeTitle) {
  const auto config = ParseDicomConfig(
      "tls: {certificate: c, key: k, ca: a}\n"
      "listen: {web: {port: 0, token: t}}\n"
      "peers: {gateway: {host: gw.example},\n"
      "        pacs: {method: web, web_root: 'https://pacs.example/dicom-web', web_login: l}}\n");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->listen.web->token_file, "t");
  EXPECT_TRUE(config->Peer("gateway")->may_send);
  const DicomPeer pacs = *config->Peer("pacs");
  EXPECT_FALSE(pacs.may_send);
  EXPECT_EQ(pacs.method, RetrieveMethod::kWeb);
  EXPECT_EQ(pacs.web_credentials->kind, WebCredentials::Kind::kLogin);
  EXPECT_TRUE(IsHostName("gw.example"));
  EXPECT_FALSE(IsHostName("10.1.2.3"));
}

TEST(DicomConfigTest, WhatIsWrongIsNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {"ae_tile: A", "not a known key"},
      {"ae_title: ABCDEFGHIJKLMNOPQ", "1 to 16 characters"},
      {"ae_title: 'A\\B'", "1 to 16 characters"},
      {"listen: {port: 70000}", "0 to 65535"},
      {"listen: {tls: true}", "tls"},
      {"peers: {pacs: {ae_title: A}}", "host"},
      {"peers: {pacs: {ae_title: A, host: 'a b'}}", "host name"},
      {"peers: {Pacs: {ae_title: A, host: a}}", "a peer's name"},
      {"peers: {p: {ae_title: A, host: a, method: ftp}}", "must be get"},
      {"peers: {p: {ae_title: A, host: a, method: web}}", "web_root"},
      {"peers: {p: {host: a}}", "peers.p.ae_title"},
      {"peers: {p: {host: a, port: 104}}", "needed to call"},
      {"peers: {p: {method: web, web_root: 'https://a/x'}}", "is missing, and listen"},
      {"peers: {p: {method: web, web_root: 'ftp://a'}}", "service root"},
      {"peers: {p: {method: web, web_root: 'http://a', web_token: t}}", "must be https"},
      {"peers: {p: {method: web, web_root: 'https://a', web_token: t, web_login: l}}", "beside"},
      {"listen: {web: {port: 1}}", "is missing, and listen"},
      {"listen: {web: {path: /x}}", "not a known key"},
      {"peers: {p: {ae_title: A, host: a, hours: nights}}", "hours"},
      {"quarantine: {object_bytes_max: 1}", "at least 1048576"},
      {"[", "not YAML"}};
  for (const auto& [yaml, words] : cases) {
    const auto config = ParseDicomConfig(yaml);
    EXPECT_TRUE(absl::IsInvalidArgument(config.status())) << yaml;
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(words));
  }
}

}  // namespace
}  // namespace consilium::agent
