#include "site_agent/uplink/masking_home.h"

#include <sys/stat.h>

#include "gtest/gtest.h"
#include "privacy/crypto/protocol_key.h"
#include "proto/base/file.h"
#include "site_agent/uplink/test_federation.h"

namespace consilium::agent {
namespace {

class MaskingHomeTest : public testing::Test {
 protected:
  MaskingHomeTest() : home_(*TempDir::Create("masking-home")) { WriteIdentity(); }

  // As an enrolment, or a renewal, leaves it.
  void WriteIdentity() {
    const wire::TlsFiles tls = federation_.Tls(privacy::Role::kSite, "site-a");
    const std::string folder = JoinPath(home_.path(), "identity");
    ASSERT_TRUE(MakeDirs(folder).ok());
    ASSERT_TRUE(WriteFileAtomic(JoinPath(folder, "site.key"), tls.key_pem, kPrivateFile).ok());
    ASSERT_TRUE(WriteFileAtomic(JoinPath(folder, "site.crt"), tls.certificate_pem).ok());
    ASSERT_TRUE(WriteFileAtomic(JoinPath(folder, "ca.crt"), tls.ca_pem).ok());
  }
  absl::StatusOr<std::unique_ptr<MaskingHome>> Open() const {
    return MaskingHome::Open(home_.path(), "testfed", "site-a", Clock::System());
  }
  absl::Status Verify(const MaskingSite& site) const {
    const auto in_force = site.certificate();
    if (!in_force.ok()) return in_force.status();
    return privacy::VerifyProtocolKey(
        in_force->certificate_pem, federation_.ca_pem(), federation_.now(),
        {"testfed", "site-a", site.key.public_key(), in_force->protocol_key_signature});
  }

  const TestFederation federation_;
  const TempDir home_;
};

TEST_F(MaskingHomeTest, TheKeyIsMadeOnceIsPrivateAndIsVouchedForByTheCertificate) {
  const auto first = Open();
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string public_key = (*first)->public_key();
  EXPECT_TRUE(Verify((*first)->Site()).ok()) << Verify((*first)->Site());
  struct stat info = {};
  ASSERT_EQ(::stat(JoinPath(home_.path(), "identity/protocol.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ((*Open())->public_key(), public_key);
}

TEST_F(MaskingHomeTest, ARenewedCertificateVouchesForTheSameKey) {
  const auto home = Open();
  ASSERT_TRUE(home.ok()) << home.status();
  const std::string before = (*home)->Site().certificate()->certificate_pem;
  WriteIdentity();
  EXPECT_NE((*home)->Site().certificate()->certificate_pem, before);
  EXPECT_TRUE(Verify((*home)->Site()).ok());
}

TEST_F(MaskingHomeTest, AKeyThatOthersMayReadOrThatIsNoneIsRefused) {
  ASSERT_TRUE(Open().ok());
  const std::string path = JoinPath(home_.path(), "identity/protocol.key");
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(Open().status()));
  ASSERT_TRUE(WriteFileAtomic(path, "rubbish", kPrivateFile).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(Open().status()));
}

}  // namespace
}  // namespace consilium::agent
