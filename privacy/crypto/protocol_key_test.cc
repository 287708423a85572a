#include "privacy/crypto/protocol_key.h"

#include "gtest/gtest.h"
#include "privacy/crypto/ed25519.h"

namespace consilium::privacy {
namespace {

class ProtocolKeyTest : public testing::Test {
 protected:
  ProtocolKeyTest()
      : ca_(*MakeRootCa("fed", now_ - absl::Hours(1), absl::Hours(48))),
        key_(*GenerateKeyPem()),
        certificate_(Issue(ca_, key_, site_)),
        public_key_(Ed25519Key::Generate().public_key()),
        signature_(*SignProtocolKey(key_, site_, public_key_)) {}

  std::string Issue(const KeyAndCertificate& ca, const SecretBytes& key,
                    const Identity& identity) const {
    IssueOptions options;
    options.identity = identity;
    options.not_before = now_ - absl::Minutes(5);
    options.lifetime = absl::Hours(24);
    return *IssueCertificate(ca, *MakeCsrPem(key, "x"), options);
  }
  ProtocolKeyOwner Owner() const { return {"fed", "site-a", public_key_, signature_}; }
  absl::Status Verify(const ProtocolKeyOwner& owner) const {
    return VerifyProtocolKey(certificate_, ca_.certificate_pem, now_, owner);
  }

  const absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  const Identity site_ = {"fed", Role::kSite, "site-a"};
  const KeyAndCertificate ca_;
  const SecretBytes key_;
  const std::string certificate_;
  const std::string public_key_;
  const std::string signature_;
};

TEST_F(ProtocolKeyTest, WhatTheCertificatesKeySignedIsTaken) {
  EXPECT_TRUE(Verify(Owner()).ok()) << Verify(Owner());
}

TEST_F(ProtocolKeyTest, ARenewedCertificateSignsAnew) {
  const SecretBytes next = *GenerateKeyPem();
  const std::string renewed = Issue(ca_, next, site_);
  EXPECT_TRUE(
      absl::IsPermissionDenied(VerifyProtocolKey(renewed, ca_.certificate_pem, now_, Owner())));
  const std::string signature = *SignProtocolKey(next, site_, public_key_);
  EXPECT_TRUE(VerifyProtocolKey(renewed, ca_.certificate_pem, now_,
                                {"fed", "site-a", public_key_, signature})
                  .ok());
}

TEST_F(ProtocolKeyTest, AnotherKeySiteOrFederationIsRefused) {
  const std::string other = Ed25519Key::Generate().public_key();
  EXPECT_TRUE(absl::IsPermissionDenied(Verify({"fed", "site-a", other, signature_})));
  EXPECT_TRUE(absl::IsPermissionDenied(Verify({"fed", "site-b", public_key_, signature_})));
  EXPECT_TRUE(absl::IsPermissionDenied(Verify({"other", "site-a", public_key_, signature_})));
}

TEST_F(ProtocolKeyTest, ASignatureMadeForAnotherSiteIsRefused) {
  const std::string signature = *SignProtocolKey(key_, {"fed", Role::kSite, "site-b"}, public_key_);
  EXPECT_TRUE(absl::IsPermissionDenied(Verify({"fed", "site-a", public_key_, signature})));
}

TEST_F(ProtocolKeyTest, OnlyASitesCertificateOfThisRootCounts) {
  const Identity admin = {"fed", Role::kAdmin, "site-a"};
  const std::string signature = *SignProtocolKey(key_, admin, public_key_);
  EXPECT_TRUE(
      absl::IsPermissionDenied(VerifyProtocolKey(Issue(ca_, key_, admin), ca_.certificate_pem, now_,
                                                 {"fed", "site-a", public_key_, signature})));
  const KeyAndCertificate impostor = *MakeRootCa("fed", now_ - absl::Hours(1), absl::Hours(48));
  EXPECT_TRUE(absl::IsPermissionDenied(
      VerifyProtocolKey(Issue(impostor, key_, site_), ca_.certificate_pem, now_, Owner())));
}

TEST_F(ProtocolKeyTest, AnEndedCertificateIsRefused) {
  EXPECT_TRUE(absl::IsFailedPrecondition(
      VerifyProtocolKey(certificate_, ca_.certificate_pem, now_ + absl::Hours(25), Owner())));
}

TEST_F(ProtocolKeyTest, WhatDoesNotParseIsRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(Verify({"fed", "site-a", "short", signature_})));
  EXPECT_TRUE(absl::IsInvalidArgument(Verify({"fed", "site-a", public_key_, ""})));
  EXPECT_TRUE(
      absl::IsInvalidArgument(Verify({"fed", "site-a", public_key_, std::string(73, 's')})));
  EXPECT_TRUE(absl::IsPermissionDenied(
      Verify({"fed", "site-a", public_key_, signature_.substr(0, signature_.size() - 1)})));
  EXPECT_TRUE(
      absl::IsInvalidArgument(VerifyProtocolKey("rubbish", ca_.certificate_pem, now_, Owner())));
  EXPECT_FALSE(SignProtocolKey(key_, site_, "short").ok());
  EXPECT_FALSE(SignProtocolKey(Ed25519Key::Generate().ToPem(), site_, public_key_).ok());
}

}  // namespace
}  // namespace consilium::privacy
