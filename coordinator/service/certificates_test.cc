// Certificates that change while the coordinator runs, over real mutual TLS.
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "coordinator/service/home_certificates.h"
#include "coordinator/service/test_federation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/clock.h"

namespace consilium::coordinator {
namespace {

using ::testing::SizeIs;

constexpr uint64_t kPemBytesMax = 1 << 16;

// A site's stub on a connection of its own: every channel here makes a new handshake.
std::unique_ptr<v1::Federation::Stub> NewConnection(const std::string& address,
                                                    const wire::TlsFiles& tls) {
  return v1::Federation::NewStub(
      wire::ConnectTls(address, tls, "localhost", wire::Connection::kOwn));
}

struct Called {
  grpc::Status status;
  std::string server_pem;  // the certificate that the server showed
};

template <typename Stub, typename Method, typename Request, typename Reply>
Called Call(Stub& stub, Method method, const Request& request, Reply& reply) {
  Called called;
  grpc::ClientContext context;
  context.set_deadline(wire::DeadlineIn(kTestPatience));
  called.status = (stub.*method)(&context, request, &reply);
  if (const auto auth = context.auth_context(); auth != nullptr) {
    for (const auto& pem : auth->FindPropertyValues("x509_pem_cert")) {
      called.server_pem = std::string(pem.data(), pem.size());
    }
  }
  return called;
}

class CertificatesTest : public ::testing::Test {
 protected:
  CertificatesTest() : site_(federation_.AddSite("north")) {}

  std::string InHome(const char* file) {
    return ReadFile(JoinPath(federation_.home(), file), kPemBytesMax).value();
  }
  void Put(const char* file, absl::string_view text) {
    ASSERT_TRUE(WriteFileAtomic(JoinPath(federation_.home(), file), text, kPrivateFile).ok());
  }
  Called AskAnew(const wire::TlsFiles& tls) {
    const auto stub = NewConnection(federation_.address(), tls);
    v1::NextTaskReply reply;
    return Call(*stub, &v1::Federation::Stub::NextTask, v1::NextTaskRequest(), reply);
  }
  std::string SeenAtEnrolment() {
    const int port = federation_.server().enrolment_port();
    const auto stub = v1::Enrolment::NewStub(
        wire::ConnectTls(absl::StrCat("127.0.0.1:", port),
                         {.ca_pem = site_->tls().ca_pem, .certificate_pem = "", .key_pem = ""},
                         "localhost", wire::Connection::kOwn));
    v1::EnrolReply reply;
    return Call(*stub, &v1::Enrolment::Stub::Enrol, v1::EnrolRequest(), reply).server_pem;
  }
  // A certificate by the home's CA, or by `ca`, and its key.
  struct Made {
    std::string certificate_pem, key_pem;
  };
  Made MakeServer(const privacy::KeyAndCertificate& ca, absl::Duration since = absl::Hours(1)) {
    const privacy::SecretBytes key = *privacy::GenerateKeyPem();
    const auto certificate = privacy::IssueCertificate(
        ca, *privacy::MakeCsrPem(key, "coordinator"),
        {.identity = {"test-federation", privacy::Role::kCoordinator, "coordinator"},
         .dns_names = {"localhost"},
         .ip_addresses = {"127.0.0.1"},
         .not_before = Clock::System().Now() - since,
         .lifetime = absl::Hours(2)});
    EXPECT_TRUE(certificate.ok()) << certificate.status();
    return {*certificate, std::string(key.view())};
  }
  privacy::KeyAndCertificate HomeCa() {
    return *ReadCa(JoinPath(federation_.home(), "ca"));
  }

  TestFederation federation_;
  std::unique_ptr<TestSite> site_;
};

TEST_F(CertificatesTest, AReplacedOneIsShownToTheNextConnectionWhileAStreamGoesOn) {
  federation_.CreateAndStart(TestStudy(1, 1));
  ASSERT_TRUE(site_->Prepare(site_->Await(v1::Task::PREPARE), 10, 10, 0).ok());
  const v1::Task task = site_->Await(v1::Task::INITIALISE);
  TestUpdate update = site_->MakeUpdate(task, 1.0f, 0, 0);
  site_->Seal(task, update);
  v1::BeginUploadReply begun;
  ASSERT_TRUE(site_->Begin(update, begun).ok());
  grpc::ClientContext context;
  v1::UploadChunksReply uploaded;
  const auto stream = site_->stub().UploadChunks(&context, &uploaded);
  const auto send = [&](size_t from, size_t to) {
    v1::UploadChunk message;
    message.set_upload_id(begun.upload_id());
    *message.mutable_chunk() = wire::MakeChunk(from, update.sealed.substr(from, to - from));
    return stream->Write(message);
  };
  const size_t half = update.sealed.size() / 2;
  ASSERT_TRUE(send(0, half));

  const std::string before = InHome("server.crt");
  EXPECT_EQ(AskAnew(site_->tls()).server_pem, before);
  ASSERT_TRUE(RenewHome(federation_.home(), Clock::System()).ok());
  const std::string after = InHome("server.crt");
  ASSERT_NE(after, before);
  Eventually([&] { return AskAnew(site_->tls()).server_pem == after; }, "the new certificate");
  EXPECT_EQ(SeenAtEnrolment(), after);
  EXPECT_THAT(federation_.Audit("server.certificate"), SizeIs(1));

  ASSERT_TRUE(send(half, update.sealed.size()));
  ASSERT_TRUE(stream->WritesDone());
  const grpc::Status ended = stream->Finish();
  ASSERT_TRUE(ended.ok()) << ended.error_message();
  EXPECT_EQ(uploaded.have_offset(), update.sealed.size());
  v1::CommitUploadReply committed;
  ASSERT_TRUE(site_->Commit(begun.upload_id(), committed).ok());
  EXPECT_TRUE(committed.accepted()) << committed.reason();
}

TEST_F(CertificatesTest, EveryGuaranteeHoldsWithTheReplacedOne) {
  const Made made = MakeServer(HomeCa());
  Put("server.key", made.key_pem);  // for a while the two do not fit
  Put("server.crt", made.certificate_pem);
  Eventually([&] { return AskAnew(site_->tls()).server_pem == made.certificate_pem; },
             "the new key");
  const wire::TlsFiles none = {.ca_pem = site_->tls().ca_pem, .certificate_pem = "", .key_pem = ""};
  EXPECT_EQ(AskAnew(none).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  const auto other_ca = privacy::MakeRootCa(
      "test-federation", Clock::System().Now() - absl::Hours(2), absl::Hours(24));
  wire::TlsFiles foreign = site_->tls();
  const Made theirs = MakeServer(*other_ca);
  foreign.certificate_pem = theirs.certificate_pem;
  foreign.key_pem = theirs.key_pem;
  EXPECT_EQ(AskAnew(foreign).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(AskAnew(site_->tls()).status.ok());
  ASSERT_TRUE(federation_.SetState("north", "revoked").ok());
  EXPECT_EQ(AskAnew(site_->tls()).status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  if (std::system("command -v openssl >/dev/null 2>&1") != 0) GTEST_SKIP() << "no openssl";
  EXPECT_TRUE(federation_.OpensslConnects("-tls1_3"));
  EXPECT_FALSE(federation_.OpensslConnects("-tls1_2"));
}

class StillClock final : public Clock {
 public:
  absl::Time Now() const override { return now; }
  absl::Duration Monotonic() const override { return now - absl::UnixEpoch(); }
  absl::Time now = Clock::System().Now();
};

TEST_F(CertificatesTest, WhatIsNotSoundIsLeftAlone) {
  federation_.Stop();
  StoreOptions options;
  options.path = JoinPath(federation_.folder(), "store");
  const auto store = Store::Open(options);
  ASSERT_TRUE(store.ok()) << store.status();
  StillClock clock;
  const auto certificates =
      HomeCertificates::Open(federation_.home(), "test-federation", **store, clock);
  ASSERT_TRUE(certificates.ok()) << certificates.status();
  // One that is taken is in the log.
  const auto taken_after = [&](const Made& made) {
    const uint64_t before = (*store)->AuditSize();
    Put("server.key", made.key_pem);
    Put("server.crt", made.certificate_pem);
    clock.now += kCertificatesLookEvery;
    (*certificates)->LookAgain();
    (*certificates)->LookAgain();  // not again before the time has come
    return (*store)->AuditSize() - before;
  };
  const auto other_ca =
      privacy::MakeRootCa("test-federation", clock.now - absl::Hours(5), absl::Hours(24));
  EXPECT_EQ(taken_after(MakeServer(*other_ca)), 0u) << "of another CA";
  EXPECT_EQ(taken_after(MakeServer(HomeCa(), absl::Hours(-1))), 0u) << "not valid yet";
  EXPECT_EQ(taken_after({InHome("admin/client.crt"), InHome("admin/client.key")}), 0u);
  EXPECT_EQ(taken_after({MakeServer(HomeCa()).certificate_pem, InHome("server.key")}), 0u)
      << "another key";
  EXPECT_EQ(taken_after({"", ""}), 0u);
  const Made good = MakeServer(HomeCa());
  EXPECT_EQ(taken_after(good), 1u);
  EXPECT_EQ(taken_after(good), 0u) << "the same";
  EXPECT_TRUE(absl::IsInvalidArgument(
      (Put("server.key", InHome("admin/client.key")),
       HomeCertificates::Open(federation_.home(), "test-federation", **store, clock).status())));
}

struct Asked {
  std::string key_pem;
  std::string csr_pem;
};
Asked NewKey(const std::string& site) {
  const privacy::SecretBytes key = *privacy::GenerateKeyPem();
  return {std::string(key.view()), *privacy::MakeCsrPem(key, site)};
}

TEST_F(CertificatesTest, ASiteRenewsAndBothKeysAreGoodUntilTheNewOneWasUsed) {
  const auto renew = [&](const wire::TlsFiles& tls, const Asked& asked, std::string& certificate) {
    const auto stub = NewConnection(federation_.address(), tls);
    v1::RenewCertificateRequest request;
    request.set_csr_pem(asked.csr_pem);
    v1::RenewCertificateReply reply;
    const grpc::Status status =
        Call(*stub, &v1::Federation::Stub::RenewCertificate, request, reply).status;
    certificate = reply.certificate_pem();
    return status;
  };
  const auto shown = [&] {
    grpc::ClientContext context;
    v1::ListSitesReply reply;
    EXPECT_TRUE(federation_.admin().ListSites(&context, v1::ListSitesRequest(), &reply).ok());
    return reply.sites(0);
  };
  const std::string first_key = *privacy::SpkiSha256Hex(site_->tls().certificate_pem);
  EXPECT_EQ(shown().certificate_not_after_unix(),
            absl::ToUnixSeconds(*privacy::CertificateNotAfter(site_->tls().certificate_pem)));
  const Asked asked = NewKey("north");
  wire::TlsFiles renewed = site_->tls();
  const grpc::Status status = renew(site_->tls(), asked, renewed.certificate_pem);
  ASSERT_TRUE(status.ok()) << status.error_message();
  renewed.key_pem = asked.key_pem;
  const std::string key = *privacy::SpkiSha256Hex(renewed.certificate_pem);
  EXPECT_EQ(*privacy::CertificateIdentity(renewed.certificate_pem),
            *privacy::CertificateIdentity(site_->tls().certificate_pem));
  EXPECT_THAT(federation_.Audit("site.renew"), SizeIs(1));
  // The reply may be lost: nothing has changed for the old key.
  EXPECT_TRUE(AskAnew(site_->tls()).status.ok());
  EXPECT_EQ(shown().key_sha256(), first_key);
  std::string again;
  EXPECT_EQ(renew(site_->tls(), asked, again).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);

  EXPECT_TRUE(AskAnew(renewed).status.ok());
  EXPECT_THAT(federation_.Audit("site.rekey"), SizeIs(1));
  EXPECT_EQ(shown().key_sha256(), key);
  EXPECT_EQ(shown().state(), "approved");
  EXPECT_TRUE(AskAnew(site_->tls()).status.ok()) << "calls that were on their way";
  EXPECT_EQ(renew(site_->tls(), NewKey("north"), again).error_code(),
            grpc::StatusCode::PERMISSION_DENIED) << "not with the old key";
  federation_.Stop();
  federation_.Start();
  EXPECT_TRUE(AskAnew(renewed).status.ok());
  EXPECT_EQ(shown().key_sha256(), key);

  ASSERT_EQ(std::rename(JoinPath(federation_.home(), "ca/ca.key").c_str(),
                        JoinPath(federation_.folder(), "ca.key").c_str()),
            0);
  EXPECT_EQ(renew(renewed, NewKey("north"), again).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  ASSERT_TRUE(federation_.SetState("north", "revoked").ok());
  EXPECT_EQ(renew(renewed, NewKey("north"), again).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_FALSE(AskAnew(site_->tls()).status.ok());
}

class RenewalTest : public CertificatesTest {
 protected:
  RenewalTest() {
    federation_.Stop();
    ca_ = HomeCa();
    StoreOptions options;
    options.path = JoinPath(federation_.folder(), "store");
    store_ = *Store::Open(options);
    sites_ = *SiteRegistry::Create({.federation = "test-federation"}, *store_, clock_);
    key_ = Enrol();
    EXPECT_TRUE(sites_->SetState("north", SiteState::kApproved, "", "admin").ok());
  }
  std::string Enrol() {
    const auto invitation = sites_->Invite("north", absl::Hours(1), "admin");
    const auto enrolment =
        sites_->Enrol(invitation->token, NewKey("north").csr_pem, "test", ca_);
    EXPECT_TRUE(enrolment.ok()) << enrolment.status();
    return *privacy::SpkiSha256Hex(enrolment->certificate_pem);
  }
  absl::StatusOr<std::string> Renew(const std::string& with) {
    const auto certificate = sites_->Renew("north", with, NewKey("north").csr_pem, ca_);
    if (!certificate.ok()) return certificate.status();
    return privacy::SpkiSha256Hex(*certificate);
  }
  bool IsGood(const std::string& key) {
    return sites_->Authorise({"test-federation", privacy::Role::kSite, "north"}, key,
                             privacy::Role::kSite)
        .ok();
  }

  StillClock clock_;
  privacy::KeyAndCertificate ca_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<SiteRegistry> sites_;
  std::string key_;
};

TEST_F(RenewalTest, TheOldKeyIsRetiredAfterTheOverlap) {
  const auto next = Renew(key_);
  ASSERT_TRUE(next.ok()) << next.status();
  ASSERT_TRUE(sites_->KeyUsed("north", key_).ok());
  clock_.now += absl::Hours(24);
  EXPECT_TRUE(IsGood(key_)) << "the new one was not used yet";
  ASSERT_TRUE(sites_->KeyUsed("north", *next).ok());
  EXPECT_TRUE(IsGood(key_) && IsGood(*next));
  EXPECT_EQ(*sites_->EnrolmentKey("north"), key_);
  clock_.now += kOldKeyOverlap;
  EXPECT_FALSE(IsGood(key_));
  EXPECT_TRUE(IsGood(*next));
  EXPECT_TRUE(absl::IsPermissionDenied(Renew(key_).status()));
}

TEST_F(RenewalTest, AnotherRenewalTakesThePlaceOfOneThatWasNotUsed) {
  const auto lost = Renew(key_);
  ASSERT_TRUE(lost.ok());
  EXPECT_TRUE(absl::IsResourceExhausted(Renew(key_).status()));
  clock_.now += kRenewalEvery;
  const auto next = Renew(key_);
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_FALSE(IsGood(*lost));
  EXPECT_TRUE(IsGood(*next) && IsGood(key_));
}

TEST_F(RenewalTest, WhoIsNotApprovedDoesNotRenewAndAnInvitationEndsEveryKey) {
  const auto next = Renew(key_);
  ASSERT_TRUE(next.ok());
  clock_.now += kRenewalEvery;
  ASSERT_TRUE(sites_->SetState("north", SiteState::kSuspended, "", "admin").ok());
  EXPECT_TRUE(absl::IsPermissionDenied(Renew(key_).status()));
  ASSERT_TRUE(sites_->SetState("north", SiteState::kApproved, "", "admin").ok());
  ASSERT_TRUE(sites_->KeyUsed("north", *next).ok());
  const std::string fresh = Enrol();
  ASSERT_TRUE(sites_->SetState("north", SiteState::kApproved, "", "admin").ok());
  EXPECT_TRUE(IsGood(fresh));
  EXPECT_FALSE(IsGood(key_));
  EXPECT_FALSE(IsGood(*next));
  EXPECT_EQ(*sites_->EnrolmentKey("north"), fresh);
  ASSERT_TRUE(sites_->SetState("north", SiteState::kRevoked, "", "admin").ok());
  EXPECT_TRUE(absl::IsPermissionDenied(Renew(fresh).status()));
}

}  // namespace
}  // namespace consilium::coordinator
