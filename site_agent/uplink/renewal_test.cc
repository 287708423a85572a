#include "site_agent/uplink/renewal.h"

#include <sys/stat.h>

#include <thread>

#include "consilium/v1/federation.grpc.pb.h"
#include "gtest/gtest.h"
#include "privacy/crypto/certificate.h"
#include "proto/base/file.h"
#include "site_agent/uplink/federation_client.h"
#include "site_agent/uplink/test_federation.h"

namespace consilium::agent {
namespace {

constexpr uint64_t kPemBytesMax = 1 << 16;

class StillClock final : public Clock {
 public:
  absl::Time Now() const override { return now; }
  absl::Duration Monotonic() const override { return now - absl::UnixEpoch(); }
  absl::Time now = Clock::System().Now();
};

// Certifies for as long as `lifetime` says, over mutual TLS.
class FakeCoordinator final : public v1::Federation::Service {
 public:
  explicit FakeCoordinator(const TestFederation& federation) : federation_(federation) {}
  grpc::Status Hello(grpc::ServerContext*, const v1::HelloRequest*, v1::HelloReply* reply) override {
    reply->set_protocol_version(1);
    reply->set_federation("testfed");
    reply->set_site("site-a");
    return grpc::Status::OK;
  }
  grpc::Status RenewCertificate(grpc::ServerContext*, const v1::RenewCertificateRequest* request,
                                v1::RenewCertificateReply* reply) override {
    ++renewals;
    reply->set_certificate_pem(federation_.Issue(request->csr_pem(), privacy::Role::kSite, "site-a",
                                                 Clock::System().Now() - absl::Seconds(1),
                                                 lifetime));
    return grpc::Status::OK;
  }
  absl::Duration lifetime = absl::Seconds(6);
  std::atomic<int> renewals{0};

 private:
  const TestFederation& federation_;
};

class RenewalTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { wire::RequireTls13(); }
  RenewalTest() : home_(*TempDir::Create("renewal")) {
    EXPECT_TRUE(MakeDirs(File("")).ok());
    EXPECT_TRUE(WriteFileAtomic(File("ca.crt"), federation_.ca_pem()).ok());
    Enrolled(Clock::System().Now() - absl::Minutes(1), absl::Hours(24));
  }
  std::string File(const std::string& name) const {
    return JoinPath(home_.path(), "identity/" + name);
  }
  std::string Read(const std::string& name) const { return *ReadFile(File(name), kPemBytesMax); }
  std::string Certify(const std::string& csr_pem, const std::string& site = "site-a") const {
    return federation_.Issue(csr_pem, privacy::Role::kSite, site);
  }
  void Enrolled(absl::Time since, absl::Duration lifetime) {
    const privacy::SecretBytes key = *privacy::GenerateKeyPem();
    EXPECT_TRUE(WriteFileAtomic(File("site.key"), key.view(), kPrivateFile).ok());
    EXPECT_TRUE(WriteFileAtomic(File("site.crt"),
                                federation_.Issue(*privacy::MakeCsrPem(key, "site-a"),
                                                  privacy::Role::kSite, "site-a", since, lifetime))
                    .ok());
  }
  // The identity in the home is whole, and its key is this one.
  void ExpectKey(const std::string& key_pem) {
    const auto identity = ReadIdentity(home_.path());
    ASSERT_TRUE(identity.ok()) << identity.status();
    EXPECT_EQ(std::string(identity->key_pem.view()), key_pem);
    EXPECT_TRUE(privacy::CheckCertificateKey(identity->certificate_pem, identity->key_pem).ok());
  }
  Renewal Make(std::function<absl::StatusOr<std::string>(const std::string&)> ask,
               const Clock& clock) {
    return Renewal(home_.path(), *ReadIdentity(home_.path()),
                   {.ask = std::move(ask),
                    .use = [this](const SiteIdentity& next) { used_.push_back(next.certificate_pem); },
                    .record =
                        [this](const SiteEvent& event) {
                          recorded_.push_back(event.action + " " + event.outcome);
                          return absl::OkStatus();
                        },
                    .uniform = [] { return 0.5; }},
                   clock);
  }

  TestFederation federation_;
  TempDir home_;
  std::vector<std::string> used_, recorded_;
};

TEST_F(RenewalTest, AKillAfterAnyStepLeavesAWholeIdentity) {
  const std::string old_key = Read("site.key"), old_certificate = Read("site.crt");
  const auto first = PrepareRenewal(home_.path());
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string next_key(first->key_pem.view());
  ASSERT_NE(next_key, old_key);
  ExpectKey(old_key);  // killed with the new key written and no certificate
  const auto again = PrepareRenewal(home_.path());
  EXPECT_EQ(std::string(again->key_pem.view()), next_key) << "the request can be repeated";
  struct stat info = {};
  ASSERT_EQ(::stat(File("next.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);

  // Killed between the certificate and the rename of its key.
  ASSERT_TRUE(WriteFileAtomic(File("site.crt"), Certify(first->csr_pem)).ok());
  ExpectKey(next_key);
  EXPECT_EQ(Read("site.key"), old_key) << "reading changes nothing";
  const auto after = PrepareRenewal(home_.path());  // the next one ends what was begun
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(Read("site.key"), next_key);
  EXPECT_NE(std::string(after->key_pem.view()), next_key);
  ExpectKey(next_key);
  ASSERT_TRUE(FinishRenewal(home_.path(), Certify(after->csr_pem), federation_.now()).ok());
  ExpectKey(std::string(after->key_pem.view()));
  EXPECT_FALSE(PathExists(File("next.key")));

  // Neither key fits: that is said, and no wrong key is used.
  ASSERT_TRUE(WriteFileAtomic(File("site.crt"), old_certificate).ok());
  EXPECT_TRUE(absl::IsDataLoss(ReadIdentity(home_.path()).status()));
}

TEST_F(RenewalTest, ACertificateThatIsNotOursIsNotPutInPlace) {
  const std::string before = Read("site.crt"), key = Read("site.key");
  const auto request = PrepareRenewal(home_.path());
  const auto finish = [&](const std::string& certificate, absl::Time now) {
    const absl::Status status = FinishRenewal(home_.path(), certificate, now);
    EXPECT_EQ(Read("site.crt"), before);
    ExpectKey(key);
    return status.code();
  };
  const absl::Time now = federation_.now();
  const std::string other_key =
      *privacy::MakeCsrPem(*privacy::GenerateKeyPem(), "site-a");
  EXPECT_EQ(finish(Certify(other_key), now), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(finish(Certify(request->csr_pem, "site-b"), now), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(finish(TestFederation().Issue(request->csr_pem, privacy::Role::kSite, "site-a"), now),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(finish(Certify(request->csr_pem), now + absl::Hours(48)),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(finish("", now), absl::StatusCode::kInvalidArgument);
}

TEST_F(RenewalTest, IsAskedForAtAThirdOfTheLifetimeLeftAndAgainAfterAPause) {
  StillClock clock;
  int asked = 0;
  bool refuse = true;
  Renewal renewal = Make(
      [&](const std::string& csr) -> absl::StatusOr<std::string> {
        ++asked;
        if (refuse) return absl::PermissionDeniedError("site site-a is revoked");
        return federation_.Issue(csr, privacy::Role::kSite, "site-a", clock.now - absl::Minutes(1),
                                 absl::Hours(24));
      },
      clock);
  const std::string before = Read("site.crt");
  clock.now += absl::Hours(14);
  renewal.Look();
  EXPECT_EQ(asked, 0);
  clock.now += absl::Minutes(61);  // 16 hours, less half of the jitter's two
  renewal.Look();
  renewal.Look();
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(Read("site.crt"), before);
  EXPECT_EQ(recorded_, std::vector<std::string>{"certificate.renew refused"});
  clock.now += absl::Minutes(2);
  refuse = false;
  renewal.Look();
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(used_, std::vector<std::string>{Read("site.crt")});
  EXPECT_EQ(recorded_.back(), "certificate.renew ok");
  renewal.Look();
  EXPECT_EQ(asked, 2);
  Enrolled(clock.now - absl::Minutes(1), absl::Hours(24));  // as `enroll` does
  renewal.Look();
  EXPECT_EQ(used_.back(), Read("site.crt"));
  EXPECT_EQ(used_.size(), 2u);
}

TEST_F(RenewalTest, AnAgentGoesOnThroughTheEndOfItsCertificates) {
  FakeCoordinator service(federation_);
  int port = 0;
  const auto server = federation_.Serve(service, wire::PeerCertificate::kRequired, port);
  Enrolled(Clock::System().Now() - absl::Seconds(1), service.lifetime);
  const auto identity = ReadIdentity(home_.path());
  const auto tls = [](const SiteIdentity& of) {
    return wire::TlsFiles{of.ca_pem, of.certificate_pem, std::string(of.key_pem.view())};
  };
  FederationClient::Options options;
  options.address = absl::StrCat("localhost:", port);
  options.federation = "testfed";
  options.site = "site-a";
  options.tls = tls(*identity);
  options.call_timeout = absl::Seconds(5);
  FederationClient client(options);
  Renewal renewal(home_.path(), *identity,
                  {.ask = [&](const std::string& csr) { return client.RenewCertificate(csr); },
                   .use = [&](const SiteIdentity& next) { client.UseIdentity(tls(next)); },
                   .record = {},
                   .uniform = [] { return 0.5; }},
                  Clock::System());
  const absl::Time first_ends = *privacy::CertificateNotAfter(identity->certificate_pem);
  const absl::Time until = first_ends + service.lifetime;
  while (Clock::System().Now() < until) {
    renewal.Look();
    FederationClient::Options anew = options;  // a new handshake with what the home holds now
    anew.tls = tls(*ReadIdentity(home_.path()));
    ASSERT_TRUE(FederationClient(anew).Hello().ok());
    ASSERT_TRUE(client.Hello().ok());
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_GE(service.renewals, 2);
  options.tls = tls(*identity);
  EXPECT_FALSE(FederationClient(options).Hello().ok()) << "the first certificate has ended";
}

}  // namespace
}  // namespace consilium::agent
