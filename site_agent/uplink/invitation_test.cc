#include "site_agent/uplink/invitation.h"

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/certificate.h"
#include "site_agent/uplink/test_federation.h"

namespace consilium::agent {
namespace {

using Json = nlohmann::json;

class InvitationTest : public testing::Test {
 protected:
  Json Good() const {
    return {{"federation", "testfed"},
            {"site", "site-a"},
            {"token", "0123456789abcdef-SECRET"},
            {"enrolment_address", "localhost:7444"},
            {"federation_address", "localhost:7443"},
            {"ca_pem", federation_.ca_pem()},
            {"ca_sha256", *privacy::CertificateSha256Hex(federation_.ca_pem())},
            {"expires_unix", absl::ToUnixSeconds(federation_.now()) + 3600}};
  }
  absl::Status Parse(const std::string& text) const {
    return ParseInvitation(text, federation_.now()).status();
  }
  TestFederation federation_;
};

TEST_F(InvitationTest, GoodOneIsRead) {
  const auto invitation = ParseInvitation(Good().dump(), federation_.now());
  ASSERT_TRUE(invitation.ok()) << invitation.status();
  EXPECT_EQ(invitation->site, "site-a");
  EXPECT_EQ(invitation->federation, "testfed");
  EXPECT_EQ(invitation->enrolment_address, "localhost:7444");
  EXPECT_EQ(invitation->token, "0123456789abcdef-SECRET");
}

TEST_F(InvitationTest, ProtobufsOwnSpellingIsRead) {
  Json json = Good();
  for (const char* key : {"enrolment_address", "federation_address", "ca_pem", "ca_sha256"}) {
    std::string camel = key;
    const size_t at = camel.find('_');
    camel.erase(at, 1);
    camel[at] = static_cast<char>(camel[at] - 'a' + 'A');
    json[camel] = json[key];
    json.erase(key);
  }
  json["expiresUnix"] = std::to_string(json["expires_unix"].get<int64_t>());
  json.erase("expires_unix");
  EXPECT_TRUE(Parse(json.dump()).ok()) << Parse(json.dump());
}

TEST_F(InvitationTest, EveryBadFieldIsRefusedByName) {
  const std::vector<std::pair<std::string, Json>> bad = {
      {"federation", ""},
      {"federation", "../up"},
      {"site", "Site A"},
      {"site", std::string(64, 'a')},
      {"token", ""},
      {"token", std::string(600, 'a')},
      {"token", "with space"},
      {"enrolment_address", "localhost"},
      {"federation_address", "unix:/run/x:1"},
      {"ca_pem", "no certificate"},
      {"ca_sha256", std::string(64, '0')},
      {"ca_sha256", ""},
      {"expires_unix", absl::ToUnixSeconds(federation_.now())},
      {"expires_unix", -1},
  };
  for (const auto& [key, value] : bad) {
    Json json = Good();
    json[key] = value;
    const absl::Status status = Parse(json.dump());
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << key << value;
  }
}

TEST_F(InvitationTest, MissingFieldIsRefused) {
  const Json good = Good();
  for (const auto& item : good.items()) {
    Json json = Good();
    json.erase(item.key());
    EXPECT_TRUE(absl::IsInvalidArgument(Parse(json.dump()))) << item.key();
  }
}

TEST_F(InvitationTest, HostileTextIsRefusedWithoutQuotingIt) {
  Json extra = Good();
  extra["command"] = "rm";
  Json number = Good();
  number["site"] = 7;
  Json list = Good();
  list["token"] = {"SECRET"};
  const std::string deep(20'000, '[');
  for (const std::string& text :
       {std::string(), std::string("null"), std::string("[]"), std::string("{"), extra.dump(),
        list.dump(), deep, std::string(kInvitationBytesMax + 1, ' '),
        std::string("\xff\xfe{}"), Good().dump() + "x", std::string("{\"token\":\"SECRET\"")}) {
    const absl::Status status = Parse(text);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << text.substr(0, 60) << status;
    EXPECT_EQ(status.message().find("SECRET"), absl::string_view::npos);
  }
}

}  // namespace
}  // namespace consilium::agent
