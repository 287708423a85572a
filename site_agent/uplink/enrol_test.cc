#include "site_agent/uplink/enrol.h"

#include <sys/stat.h>

#include "consilium/v1/federation.grpc.pb.h"
#include "gtest/gtest.h"
#include "privacy/crypto/certificate.h"
#include "proto/base/file.h"
#include "site_agent/agent_options.h"
#include "site_agent/uplink/test_federation.h"

namespace consilium::agent {
namespace {

// Issues for one token; a test can make it misbehave.
class FakeEnrolment final : public v1::Enrolment::Service {
 public:
  explicit FakeEnrolment(const TestFederation& federation) : federation_(federation) {}
  grpc::Status Enrol(grpc::ServerContext*, const v1::EnrolRequest* request,
                     v1::EnrolReply* reply) override {
    if (request->token() != "good-token") {
      return {grpc::StatusCode::PERMISSION_DENIED, "token unknown, used or expired"};
    }
    std::string csr = request->csr_pem();
    if (swap_key) csr = *privacy::MakeCsrPem(*privacy::GenerateKeyPem(), "site-a");
    reply->set_certificate_pem(federation_.Issue(csr, privacy::Role::kSite, name));
    reply->set_ca_pem(ca_pem.empty() ? federation_.ca_pem() : ca_pem);
    return grpc::Status::OK;
  }
  bool swap_key = false;
  std::string name = "site-a";
  std::string ca_pem;

 private:
  const TestFederation& federation_;
};

class EnrolTest : public testing::Test {
 protected:
  EnrolTest() : service_(federation_), home_(*TempDir::Create("enrol")) {
    server_ = federation_.Serve(service_, wire::PeerCertificate::kNone, port_);
    invitation_.federation = "testfed";
    invitation_.site = "site-a";
    invitation_.token = "good-token";
    invitation_.enrolment_address = absl::StrCat("localhost:", port_);
    invitation_.federation_address = "localhost:7443";
    invitation_.ca_pem = federation_.ca_pem();
    options_.home = home_.path();
    options_.now = federation_.now();
    options_.timeout = absl::Seconds(5);
  }
  std::string File(const std::string& name) const {
    return JoinPath(home_.path(), "identity/" + name);
  }

  TestFederation federation_;
  FakeEnrolment service_;
  TempDir home_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  Invitation invitation_;
  EnrolOptions options_;
};

TEST_F(EnrolTest, HomeHasIdentityAndOptions) {
  ASSERT_TRUE(Enrol(invitation_, options_).ok()) << Enrol(invitation_, options_);
  const auto identity = ReadIdentity(home_.path());
  ASSERT_TRUE(identity.ok()) << identity.status();
  EXPECT_EQ(identity->ca_pem, federation_.ca_pem());
  struct stat info = {};
  ASSERT_EQ(::stat(File("site.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const auto options = ReadAgentOptions(home_.path());
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->site, "site-a");
  EXPECT_EQ(options->federation_address, "localhost:7443");
}

TEST_F(EnrolTest, SecondInvitationRenewsTheCertificateAndKeepsTheRest) {
  ASSERT_TRUE(Enrol(invitation_, options_).ok());
  const std::string key = *ReadFile(File("site.key"), 10'000);
  const std::string before = *ReadFile(File("site.crt"), 10'000);
  const std::string options = JoinPath(home_.path(), "agent.yaml");
  ASSERT_TRUE(WriteFileAtomic(options, "# ours\n" + *ReadFile(options, 10'000)).ok());
  const std::string kept = *ReadFile(options, 10'000);
  ASSERT_TRUE(Enrol(invitation_, options_).ok()) << Enrol(invitation_, options_);
  EXPECT_EQ(*ReadFile(File("site.key"), 10'000), key);
  EXPECT_NE(*ReadFile(File("site.crt"), 10'000), before);
  EXPECT_EQ(*ReadFile(options, 10'000), kept);
}

TEST_F(EnrolTest, FailedRenewalKeepsTheCertificate) {
  ASSERT_TRUE(Enrol(invitation_, options_).ok());
  const std::string before = *ReadFile(File("site.crt"), 10'000);
  invitation_.token = "other";
  EXPECT_EQ(Enrol(invitation_, options_).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(*ReadFile(File("site.crt"), 10'000), before);
}

TEST_F(EnrolTest, InvitationOfAnotherSiteFederationOrCaLeavesTheHomeAlone) {
  ASSERT_TRUE(Enrol(invitation_, options_).ok());
  const std::string before = *ReadFile(File("site.crt"), 10'000);
  Invitation other = invitation_;
  other.site = "site-b";
  EXPECT_EQ(Enrol(other, options_).code(), absl::StatusCode::kAlreadyExists);
  other = invitation_;
  other.federation = "otherfed";
  EXPECT_EQ(Enrol(other, options_).code(), absl::StatusCode::kAlreadyExists);
  other = invitation_;
  other.ca_pem = TestFederation().ca_pem();
  EXPECT_EQ(Enrol(other, options_).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(*ReadFile(File("site.crt"), 10'000), before);
}

TEST_F(EnrolTest, RefusedTokenIsDeniedAndCanBeTriedAgainWithTheSameKey) {
  invitation_.token = "other";
  EXPECT_EQ(Enrol(invitation_, options_).code(), absl::StatusCode::kPermissionDenied);
  const std::string key = *ReadFile(File("site.key"), 10'000);
  EXPECT_TRUE(absl::IsNotFound(ReadIdentity(home_.path()).status()));
  invitation_.token = "good-token";
  ASSERT_TRUE(Enrol(invitation_, options_).ok());
  EXPECT_EQ(*ReadFile(File("site.key"), 10'000), key);
}

TEST_F(EnrolTest, CertificateForAnotherKeyIsRefused) {
  service_.swap_key = true;
  EXPECT_TRUE(absl::IsInvalidArgument(Enrol(invitation_, options_)));
  EXPECT_FALSE(PathExists(File("site.crt")));
}

TEST_F(EnrolTest, CertificateForAnotherSiteIsRefused) {
  service_.name = "site-b";
  EXPECT_TRUE(absl::IsInvalidArgument(Enrol(invitation_, options_)));
  EXPECT_FALSE(PathExists(File("site.crt")));
}

TEST_F(EnrolTest, AnotherCaInTheReplyIsRefused) {
  service_.ca_pem = TestFederation().ca_pem();
  EXPECT_TRUE(absl::IsInvalidArgument(Enrol(invitation_, options_)));
}

TEST_F(EnrolTest, ServerOfAnotherCaNeverGetsTheToken) {
  invitation_.ca_pem = TestFederation().ca_pem();
  EXPECT_FALSE(Enrol(invitation_, options_).ok());
  EXPECT_FALSE(PathExists(File("site.crt")));
}

TEST_F(EnrolTest, KeyThatOthersMayReadIsRefused) {
  ASSERT_TRUE(Enrol(invitation_, options_).ok());
  ASSERT_EQ(::chmod(File("site.key").c_str(), 0644), 0);
  EXPECT_EQ(ReadIdentity(home_.path()).status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace consilium::agent
