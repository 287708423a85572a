#include "privacy/crypto/certificate.h"

#include <sys/wait.h>

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/pem.h"
#include "privacy/crypto/random.h"
#include "proto/base/file.h"

namespace consilium::privacy {
namespace {

using absl::StatusCode;

// Made with the openssl program: requests that are sound but not what we issue for.
constexpr char kEd25519Csr[] = R"pem(-----BEGIN CERTIFICATE REQUEST-----
MIGMMEACAQAwDTELMAkGA1UEAwwCZWQwKjAFBgMrZXADIQBDJce2ubBSrwf2dRyD
Eh5PjEV7lVhKTYFVmEptRS2zcKAAMAUGAytlcANBADHjLXsB8oIwmjQG+ZG+pUSX
SSym0kpQWN4AUpsSAmCgsyLj3J54yfTRpYQiG5enWj5C9NuKptlwYSM+ckgaYwk=
-----END CERTIFICATE REQUEST-----
)pem";

// On P-384.
constexpr char kP384Csr[] = R"pem(-----BEGIN CERTIFICATE REQUEST-----
MIIBCDCBjgIBADAPMQ0wCwYDVQQDDARwMzg0MHYwEAYHKoZIzj0CAQYFK4EEACID
YgAEbeXziMehIaOFJQhCQ2q1t2iEQ+qEa3d8LahDeI46yL062MncX0uLwNHxkM5m
cUrPYeAEVwyK+jTqyrth894mvWjFZEZ4VmGIXxUXsgOAcEtSynK3eFdhhH5iOXAh
NXyNoAAwCgYIKoZIzj0EAwIDaQAwZgIxAPFqZi0sAH7YYSQZALlNFeB77gLg4kOa
x3/hd731wVADRaln4saTGL2ix3rL7OyPZAIxAMtlnIKy9KY3g6gfw0qO3n7/bgCv
b2jl/mYoh86xcboeW+U2HBpUiuzeM2up02YK9w==
-----END CERTIFICATE REQUEST-----
)pem";

// On P-256, but with the parameters of the curve spelled out (the door to CVE-2020-0601).
constexpr char kExplicitCurveCsr[] = R"pem(-----BEGIN CERTIFICATE REQUEST-----
MIIBwzCCAWkCAQAwEzERMA8GA1UEAwwIZXhwbGljaXQwggFLMIIBAwYHKoZIzj0C
ATCB9wIBATAsBgcqhkjOPQEBAiEA/////wAAAAEAAAAAAAAAAAAAAAD/////////
//////8wWwQg/////wAAAAEAAAAAAAAAAAAAAAD///////////////wEIFrGNdiq
OpPns+u9VXaYhrxlHQawzFOw9jvOPD4n0mBLAxUAxJ02CIbnBJNqZnjhE50mt4Gf
fpAEQQRrF9Hy4SxCR/i85uVjpEDydwN9gS3rM6D0oTlF2JjClk/jQuL+Gn+bjufr
SnwPnhYrzjNXazFezsu2QGg3v1H1AiEA/////wAAAAD//////////7zm+q2nF56E
87nKwvxjJVECAQEDQgAEBWlIwkKSpaj4jlw5V0m0pbBJVWKroHHTqyfcG6Gs+Ine
iAS4WPY1tReNI2tawpo5TakQGL76YxW7eNnflsBktKAAMAoGCCqGSM49BAMCA0gA
MEUCIGT6ODSvz2lkB7y/vck1uUxY25ObLULgn5ffGIyu2QGRAiEAoVCwJVenOQAc
0nDUa+0VXbmo1cB6csNBujyrPePtadA=
-----END CERTIFICATE REQUEST-----
)pem";

// On P-256, signed over SHA-1.
constexpr char kSha1Csr[] = R"pem(-----BEGIN CERTIFICATE REQUEST-----
MIHHMHECAQAwDzENMAsGA1UEAwwEc2hhMTBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABGXlJqqYh/TC4nly1x3q0T2MppxGEanEspk8f4qeAOnmDE6M4mpDGVknuTLb
5o1PdtM50T1xoo3QqWaDsA70lcSgADAJBgcqhkjOPQQBA0cAMEQCIBQ+EPZ8jmWc
rveWN6LDkzm1giEt2ZeXa4WleV8xiKEqAiBmnIH2wWYUlI1AGS61hjj6TbP3X79T
dxXZ4mWe3lQKcQ==
-----END CERTIFICATE REQUEST-----
)pem";

// A certificate with two URIs in its subjectAltName.
constexpr char kTwoUrisCertificate[] = R"pem(-----BEGIN CERTIFICATE-----
MIIBrTCCAVSgAwIBAgIUBsjEJFtBuPX1PdoZsMiy21svPWAwCgYIKoZIzj0EAwIw
DjEMMAoGA1UEAwwDdHdvMB4XDTI2MTEyMTEwNDMzMFoXDTM2MTExODEwNDMzMFow
DjEMMAoGA1UEAwwDdHdvMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEZeUmqpiH
9MLieXLXHerRPYymnEYRqcSymTx/ip4A6eYMToziakMZWSe5MtvmjU920znRPXGi
jdCpZoOwDvSVxKOBjzCBjDAdBgNVHQ4EFgQUT0H8ceROFP/pgk20Tu215rBOF0cw
HwYDVR0jBBgwFoAUT0H8ceROFP/pgk20Tu215rBOF0cwDwYDVR0TAQH/BAUwAwEB
/zA5BgNVHREEMjAwhhZjb25zaWxpdW06Ly9mZWQvc2l0ZS9hhhZjb25zaWxpdW06
Ly9mZWQvc2l0ZS9iMAoGCCqGSM49BAMCA0cAMEQCIBmaVlMQbsAxPn83JPSWvwNL
bKYJJfx11rTFLdxbCB9IAiBPuctq8k35/97TXqxVYwIMCwOdcl9A5QhxxFdrBCHc
Hg==
-----END CERTIFICATE-----
)pem";

// A certificate with only a DNS name there.
constexpr char kNoUriCertificate[] = R"pem(-----BEGIN CERTIFICATE-----
MIIBijCCATGgAwIBAgIUcethsQwzk5/aYD6X5bq9UZ1RTO0wCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEbm9uZTAeFw0yNjExMjExMDQzMzBaFw0zNjExMTgxMDQzMzBa
MA8xDTALBgNVBAMMBG5vbmUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARl5Saq
mIf0wuJ5ctcd6tE9jKacRhGpxLKZPH+KngDp5gxOjOJqQxlZJ7ky2+aNT3bTOdE9
caKN0Klmg7AO9JXEo2swaTAdBgNVHQ4EFgQUT0H8ceROFP/pgk20Tu215rBOF0cw
HwYDVR0jBBgwFoAUT0H8ceROFP/pgk20Tu215rBOF0cwDwYDVR0TAQH/BAUwAwEB
/zAWBgNVHREEDzANggtleGFtcGxlLm9yZzAKBggqhkjOPQQDAgNHADBEAiAio1YW
lUtlj1YlUn7JIpojfuGdYvUY2AM4bstYlpJ5UAIgYBzGfjLXqfHSG8dCBDIiOdsp
Iu0l1d3qthXDKLAjrT4=
-----END CERTIFICATE-----
)pem";

const absl::Time kStart = absl::FromUnixSeconds(1767225600);  // 2026-01-01
constexpr absl::Duration kDay = absl::Hours(24);

class CertificateTest : public testing::Test {
 protected:
  CertificateTest()
      : ca_(*MakeRootCa("fed", kStart, 3650 * kDay)),
        key_(*GenerateKeyPem()),
        csr_(*MakeCsrPem(key_, "site-a")) {}

  static IssueOptions Options(Role role) {
    return IssueOptions{.identity = {.federation = "fed", .role = role, .name = "site-a"},
                        .dns_names = {},
                        .ip_addresses = {},
                        .not_before = kStart,
                        .lifetime = 90 * kDay};
  }
  std::string Issue(const IssueOptions& options) {
    const auto certificate = IssueCertificate(ca_, csr_, options);
    EXPECT_TRUE(certificate.ok()) << certificate.status();
    return certificate.value_or("");
  }
  StatusCode IssueCode(const IssueOptions& options) {
    return IssueCertificate(ca_, csr_, options).status().code();
  }
  StatusCode CsrCode(absl::string_view csr) {
    return IssueCertificate(ca_, csr, Options(Role::kSite)).status().code();
  }

  const KeyAndCertificate ca_;
  const SecretBytes key_;
  const std::string csr_;
};

// The same block around other DER bytes.
std::string WithDer(absl::string_view label, absl::string_view der) {
  return std::string(EncodePem(der, label).view());
}

TEST(IdentityTest, UriRoundTrips) {
  for (const Role role : {Role::kCoordinator, Role::kAdmin, Role::kSite}) {
    const Identity identity{.federation = "fed.example", .role = role, .name = "a-1"};
    EXPECT_EQ(ParseIdentityUri(IdentityUri(identity)).value(), identity);
  }
  EXPECT_EQ(IdentityUri({.federation = "fed", .role = Role::kSite, .name = "a"}),
            "consilium://fed/site/a");
}

TEST(IdentityTest, AnythingElseIsRefused) {
  for (const absl::string_view uri :
       {"", "consilium://", "consilium://fed/site", "consilium://fed/site/", "consilium://fed//a",
        "consilium:///site/a", "consilium://fed/site/a/", "consilium://fed/site/a/b",
        "consilium://fed/root/a", "consilium://fed/Site/a", "consilium://Fed/site/a",
        "spiffe://fed/site/a", "CONSILIUM://fed/site/a", " consilium://fed/site/a",
        "consilium://fed/site/a?x", "consilium://fed/site/..", "consilium://fed/site/a%2fb"}) {
    EXPECT_EQ(ParseIdentityUri(uri).status().code(), StatusCode::kInvalidArgument) << uri;
  }
  EXPECT_FALSE(ParseIdentityUri(absl::string_view("consilium://fed/site/a\0b", 24)).ok());
}

TEST_F(CertificateTest, IssuedCertificateCarriesTheOptionsAndVerifies) {
  for (const Role role : {Role::kCoordinator, Role::kAdmin, Role::kSite}) {
    const std::string certificate = Issue(Options(role));
    EXPECT_EQ(CertificateIdentity(certificate).value(), Options(role).identity);
    EXPECT_EQ(CertificateNotAfter(certificate).value(), kStart + 90 * kDay);
    EXPECT_TRUE(VerifyCertificate(certificate, ca_.certificate_pem, kStart + kDay).ok())
        << VerifyCertificate(certificate, ca_.certificate_pem, kStart + kDay);
  }
}

TEST_F(CertificateTest, FingerprintsFollowKeyAndCertificate) {
  const std::string first = Issue(Options(Role::kSite));
  const std::string second = Issue(Options(Role::kSite));
  EXPECT_EQ(SpkiSha256Hex(first).value(), SpkiSha256Hex(second).value());
  EXPECT_NE(CertificateSha256Hex(first).value(), CertificateSha256Hex(second).value());
  EXPECT_EQ(SpkiSha256Hex(first)->size(), 64u);
  const std::string other = *MakeCsrPem(*GenerateKeyPem(), "site-a");
  EXPECT_NE(SpkiSha256Hex(*IssueCertificate(ca_, other, Options(Role::kSite))).value(),
            SpkiSha256Hex(first).value());
}

TEST_F(CertificateTest, ValidityHasBothEnds) {
  const std::string certificate = Issue(Options(Role::kSite));
  const auto code = [&](absl::Time now) {
    return VerifyCertificate(certificate, ca_.certificate_pem, now).code();
  };
  EXPECT_EQ(code(kStart - absl::Seconds(1)), StatusCode::kFailedPrecondition);
  EXPECT_EQ(code(kStart), StatusCode::kOk);
  EXPECT_EQ(code(kStart + 90 * kDay - absl::Seconds(1)), StatusCode::kOk);
  EXPECT_EQ(code(kStart + 90 * kDay + absl::Seconds(1)), StatusCode::kFailedPrecondition);
}

TEST_F(CertificateTest, CertificateOfAnotherCaIsRefused) {
  // The same subject name, and another key.
  const auto foreign = MakeRootCa("fed", kStart, 3650 * kDay);
  const auto certificate = IssueCertificate(*foreign, csr_, Options(Role::kSite));
  ASSERT_TRUE(certificate.ok());
  EXPECT_EQ(VerifyCertificate(*certificate, ca_.certificate_pem, kStart + kDay).code(),
            StatusCode::kPermissionDenied);
  EXPECT_EQ(VerifyCertificate(kNoUriCertificate, ca_.certificate_pem, kStart + kDay).code(),
            StatusCode::kPermissionDenied);
}

TEST_F(CertificateTest, RootIsNoLeafAndLeafIsNoRoot) {
  const std::string leaf = Issue(Options(Role::kAdmin));
  EXPECT_EQ(VerifyCertificate(ca_.certificate_pem, ca_.certificate_pem, kStart + kDay).code(),
            StatusCode::kPermissionDenied);
  EXPECT_EQ(VerifyCertificate(leaf, leaf, kStart + kDay).code(), StatusCode::kInvalidArgument);
  const KeyAndCertificate posing{key_.Clone(), leaf};
  EXPECT_EQ(IssueCertificate(posing, csr_, Options(Role::kSite)).status().code(),
            StatusCode::kInvalidArgument);
}

TEST_F(CertificateTest, EveryChangedBitOfACertificateIsSeen) {
  const std::string certificate = Issue(Options(Role::kSite));
  const SecretBytes der = *DecodePem(certificate, "CERTIFICATE");
  for (size_t i = 0; i < der.size(); ++i) {
    SecretBytes changed = der.Clone();
    changed.data()[i] ^= static_cast<char>(1 << (i % 8));
    const std::string pem = WithDer("CERTIFICATE", changed.view());
    EXPECT_FALSE(VerifyCertificate(pem, ca_.certificate_pem, kStart + kDay).ok()) << "byte " << i;
    // Whatever these say, they say it without a crash.
    (void)CertificateIdentity(pem);
    (void)CertificateNotAfter(pem);
    (void)SpkiSha256Hex(pem);
  }
}

TEST_F(CertificateTest, CaAndKeyMustFit) {
  const KeyAndCertificate mixed{key_.Clone(), ca_.certificate_pem};
  EXPECT_EQ(IssueCertificate(mixed, csr_, Options(Role::kSite)).status().code(),
            StatusCode::kInvalidArgument);
  IssueOptions other = Options(Role::kSite);
  other.identity.federation = "other";
  EXPECT_EQ(IssueCode(other), StatusCode::kInvalidArgument);
}

TEST_F(CertificateTest, KeyOfACertificateIsKnownFromOthers) {
  const std::string certificate = Issue(Options(Role::kSite));
  EXPECT_TRUE(CheckCertificateKey(certificate, key_).ok());
  EXPECT_EQ(CheckCertificateKey(certificate, *GenerateKeyPem()).code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckCertificateKey("", key_).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckCertificateKey(certificate, SecretBytes("")).code(),
            StatusCode::kInvalidArgument);
}

TEST_F(CertificateTest, CertificateEndsWithItsCaAtTheLatest) {
  IssueOptions options = Options(Role::kSite);
  options.lifetime = 20000 * kDay;
  EXPECT_EQ(CertificateNotAfter(Issue(options)).value(), kStart + 3650 * kDay);
  options.not_before = kStart + 3650 * kDay;
  EXPECT_EQ(IssueCode(options), StatusCode::kInvalidArgument);
}

TEST_F(CertificateTest, OddValidityIsRefused) {
  for (const absl::Duration lifetime :
       {absl::ZeroDuration(), -kDay, absl::Milliseconds(300), absl::InfiniteDuration()}) {
    IssueOptions options = Options(Role::kSite);
    options.lifetime = lifetime;
    EXPECT_EQ(IssueCode(options), StatusCode::kInvalidArgument);
    EXPECT_FALSE(MakeRootCa("fed", kStart, lifetime).ok());
  }
  EXPECT_FALSE(MakeRootCa("fed", absl::InfinitePast(), kDay).ok());
  EXPECT_FALSE(MakeRootCa("fed", absl::InfiniteFuture(), kDay).ok());
  EXPECT_FALSE(MakeRootCa("Fed/eration", kStart, kDay).ok());
  // 2050 and later is written as GeneralizedTime.
  const auto late = MakeRootCa("fed", kStart, 20000 * kDay);
  EXPECT_EQ(CertificateNotAfter(late->certificate_pem).value(), kStart + 20000 * kDay);
}

TEST_F(CertificateTest, HostNamesAreForTheCoordinatorAndWellFormed) {
  IssueOptions site = Options(Role::kSite);
  site.dns_names = {"host.example"};
  EXPECT_EQ(IssueCode(site), StatusCode::kInvalidArgument);
  for (const std::string& name :
       {std::string(), std::string("a,URI:consilium://fed/admin/x"), std::string("*.example"),
        std::string("a..b"), std::string("-a"), std::string("a b"), std::string("a\0b", 3),
        std::string(64, 'a'), std::string("a\n")}) {
    IssueOptions options = Options(Role::kCoordinator);
    options.dns_names = {name};
    EXPECT_EQ(IssueCode(options), StatusCode::kInvalidArgument) << name;
  }
  for (const std::string& address :
       {std::string(), std::string("1.2.3"), std::string("host"), std::string("1.2.3.4\0", 8),
        std::string("1.2.3.400"), std::string("::1::")}) {
    IssueOptions options = Options(Role::kCoordinator);
    options.ip_addresses = {address};
    EXPECT_EQ(IssueCode(options), StatusCode::kInvalidArgument) << address;
  }
  IssueOptions many = Options(Role::kCoordinator);
  many.dns_names.assign(33, "a.example");
  EXPECT_EQ(IssueCode(many), StatusCode::kInvalidArgument);
  IssueOptions good = Options(Role::kCoordinator);
  good.dns_names = {"localhost", "Coordinator-1.example.org"};
  good.ip_addresses = {"127.0.0.1", "::1"};
  EXPECT_EQ(CertificateIdentity(Issue(good)).value(), good.identity);
}

TEST_F(CertificateTest, NamesOfTheRequestAreIgnored) {
  const std::string csr = *MakeCsrPem(key_, "admin");
  const auto certificate = IssueCertificate(ca_, csr, Options(Role::kSite));
  EXPECT_EQ(CertificateIdentity(*certificate)->name, "site-a");
  EXPECT_FALSE(MakeCsrPem(key_, "Not A Name").ok());
  EXPECT_FALSE(MakeCsrPem(SecretBytes("nonsense"), "site-a").ok());
  EXPECT_FALSE(MakeCsrPem(ca_.key_pem, "site-a").ok());  // P-384
}

TEST_F(CertificateTest, RequestsForOtherKeysOrSignaturesAreRefused) {
  EXPECT_EQ(CsrCode(kEd25519Csr), StatusCode::kInvalidArgument);
  EXPECT_EQ(CsrCode(kP384Csr), StatusCode::kInvalidArgument);
  EXPECT_EQ(CsrCode(kExplicitCurveCsr), StatusCode::kInvalidArgument);
  EXPECT_EQ(CsrCode(kSha1Csr), StatusCode::kInvalidArgument);
}

TEST_F(CertificateTest, EveryChangedBitOfARequestIsSeen) {
  const SecretBytes der = *DecodePem(csr_, "CERTIFICATE REQUEST");
  for (size_t bit = 0; bit < der.size() * 8; ++bit) {
    SecretBytes changed = der.Clone();
    changed.data()[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    EXPECT_EQ(CsrCode(WithDer("CERTIFICATE REQUEST", changed.view())), StatusCode::kInvalidArgument)
        << "bit " << bit;
  }
  for (size_t size = 1; size < der.size(); ++size) {
    EXPECT_EQ(CsrCode(WithDer("CERTIFICATE REQUEST", der.view().substr(0, size))),
              StatusCode::kInvalidArgument);
  }
  EXPECT_FALSE(IssueCertificate(ca_, WithDer("CERTIFICATE REQUEST", absl::StrCat(der.view(), "x")),
                                Options(Role::kSite))
                   .ok());
}

TEST_F(CertificateTest, HostilePemIsRefused) {
  const std::string wrapped = absl::StrCat("\r\n ", csr_, "\n\n");
  EXPECT_EQ(CsrCode(wrapped), StatusCode::kOk);
  EXPECT_EQ(CsrCode(absl::StrReplaceAll(csr_, {{"\n", "\r\n"}})), StatusCode::kOk);
  const std::string begin = "-----BEGIN CERTIFICATE REQUEST-----\n";
  for (const std::string& text :
       {std::string(), begin, csr_ + csr_, "text\n" + csr_, csr_ + "text",
        csr_.substr(0, csr_.size() / 2), absl::StrReplaceAll(csr_, {{"REQUEST", "REQUESTS"}}),
        absl::StrReplaceAll(csr_, {{begin, begin + "Proc-Type: 4,ENCRYPTED\n\n"}}),
        absl::StrReplaceAll(csr_, {{begin, begin + "===="}}),
        absl::StrReplaceAll(csr_, {{begin, begin + std::string(1, '\0')}}),
        csr_ + std::string(kPemBytesMax, ' '), std::string(kPemBytesMax, 'A'),
        std::string(1 << 20, '-'), begin + "\n-----END CERTIFICATE REQUEST-----",
        begin + "-----END CERTIFICATE REQUEST-----", ca_.certificate_pem}) {
    EXPECT_EQ(CsrCode(text), StatusCode::kInvalidArgument) << text.substr(0, 80);
  }
  // Deep nesting and lengths that lie, up to the limit of the text.
  std::string nested;
  while (nested.size() < 40000) nested += "\x30\x80";
  EXPECT_EQ(CsrCode(WithDer("CERTIFICATE REQUEST", nested)), StatusCode::kInvalidArgument);
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(CsrCode(WithDer("CERTIFICATE REQUEST", RandomBytes(300))),
              StatusCode::kInvalidArgument);
  }
}

TEST_F(CertificateTest, IdentityIsOneUri) {
  EXPECT_EQ(CertificateIdentity(kTwoUrisCertificate).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(CertificateIdentity(kNoUriCertificate).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(CertificateIdentity(ca_.certificate_pem).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(CertificateIdentity("").status().code(), StatusCode::kInvalidArgument);
}

TEST(PemTest, RoundTripsEveryLength) {
  for (size_t size = 1; size < 200; ++size) {
    const std::string der = RandomBytes(size);
    const SecretBytes pem = EncodePem(der, "PRIVATE KEY");
    EXPECT_EQ(DecodePem(pem.view(), "PRIVATE KEY")->view(), der);
    EXPECT_FALSE(DecodePem(pem.view(), "CERTIFICATE").ok());
  }
}

class OpensslProgramTest : public CertificateTest {
 protected:
  // The exit code of `openssl ARGUMENTS` in the test's folder; its output goes to "out".
  int Run(const std::string& arguments) {
    const int status = std::system(
        absl::StrCat("cd ", dir_.path(), " && openssl ", arguments, " >out 2>&1").c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  void Write(const char* name, absl::string_view data) {
    ASSERT_TRUE(WriteFileAtomic(JoinPath(dir_.path(), name), data).ok());
  }
  std::string Output() { return ReadFile(JoinPath(dir_.path(), "out"), 1 << 20).value_or(""); }

  TempDir dir_ = *TempDir::Create("openssl_program_test");
};

TEST_F(OpensslProgramTest, AcceptsOurChainsKeysAndRequests) {
  if (Run("version") != 0) GTEST_SKIP() << "no openssl program";
  IssueOptions options = Options(Role::kCoordinator);
  options.dns_names = {"localhost"};
  options.ip_addresses = {"127.0.0.1"};
  Write("ca.pem", ca_.certificate_pem);
  Write("server.pem", Issue(options));
  Write("client.pem", Issue(Options(Role::kSite)));
  Write("key.pem", key_.view());
  Write("csr.pem", csr_);
  const std::string verify = absl::StrCat("verify -x509_strict -attime ",
                                          absl::ToUnixSeconds(kStart + kDay), " -CAfile ca.pem ");
  EXPECT_EQ(Run(verify + "-purpose sslserver -verify_hostname localhost server.pem"), 0)
      << Output();
  EXPECT_EQ(Run(verify + "-purpose sslserver -verify_ip 127.0.0.1 server.pem"), 0) << Output();
  EXPECT_NE(Run(verify + "-purpose sslclient server.pem"), 0);
  EXPECT_EQ(Run(verify + "-purpose sslclient client.pem"), 0) << Output();
  EXPECT_NE(Run(verify + "-purpose sslserver client.pem"), 0);
  EXPECT_EQ(Run("pkey -check -noout -in key.pem"), 0) << Output();
  EXPECT_EQ(Run("req -verify -noout -in csr.pem"), 0) << Output();
  EXPECT_EQ(Run("x509 -noout -ext subjectAltName -in server.pem"), 0);
  EXPECT_TRUE(absl::StrContains(Output(), "URI:consilium://fed/coordinator/site-a")) << Output();
}

}  // namespace
}  // namespace consilium::privacy
