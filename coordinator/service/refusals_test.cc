// What a coordinator refuses, over real mutual TLS, and that the round ends unharmed all the same.
#include <cstdlib>
#include <limits>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "coordinator/service/test_federation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"
#include "proto/wire/retry.h"
#include "proto/wire/safetensors.h"

namespace consilium::coordinator {
namespace {

using ::testing::Each;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class RefusalsTest : public ::testing::Test {
 protected:
  // Three sites with a round 1 open, min_sites 3 and quorum 2.
  void OpenRound(const std::vector<std::string>& names) {
    for (const std::string& name : names) sites_.push_back(federation_.AddSite(name));
    federation_.CreateAndStart(TestStudy(static_cast<int>(names.size()), 1));
    for (auto& site : sites_) {
      ASSERT_TRUE(site->Prepare(site->Await(v1::Task::PREPARE), 10, 10, 0).ok());
    }
    MakeFirstWeights(sites_, 0.0f);
    for (auto& site : sites_) tasks_.push_back(site->Await(v1::Task::TRAIN));
  }

  // The others deliver 1.0, so the mean is 1.0 whoever was refused.
  void ExpectRoundEndsUnharmed(const std::vector<size_t>& good) {
    for (const size_t i : good) {
      const v1::CommitUploadReply reply = sites_[i]->Train(tasks_[i], 1.0f, 10);
      EXPECT_TRUE(reply.accepted()) << reply.reason();
    }
    Eventually([&] { return federation_.Study("hippo").latest_version() == "hippo/1"; },
               "the round's end");
    EXPECT_THAT(federation_.Model("hippo/1").values, Each(FloatNear(1.0f, 1e-6f)));
  }

  std::string Outcome(const std::string& site) {
    const v1::Round round = federation_.Round("hippo", 1);
    for (const v1::Contribution& c : round.contributions()) {
      if (c.site() == site) return absl::StrCat(c.outcome(), ": ", c.reason());
    }
    return "";
  }

  TestFederation federation_;
  std::vector<std::unique_ptr<TestSite>> sites_;
  std::vector<v1::Task> tasks_;
};

TEST_F(RefusalsTest, WrongValuesShapesAndSealsAreOutOfTheRound) {
  OpenRound({"good-1", "good-2", "huge", "nan", "other-seal", "oversized", "shape"});
  const float bad[] = {1e6f, std::numeric_limits<float>::quiet_NaN()};
  for (const size_t i : {2u, 3u}) {
    const v1::CommitUploadReply reply = sites_[i]->Train(tasks_[i], bad[i - 2], 10);
    EXPECT_FALSE(reply.accepted());
    EXPECT_FALSE(reply.reason().empty());
  }
  {  // sealed for another site's task
    TestUpdate update = sites_[4]->MakeUpdate(tasks_[4], 5.0f, 10, 0);
    v1::Task other = tasks_[4];
    other.set_task_id("train-1-of-somebody-else");
    sites_[4]->Seal(other, update);
    EXPECT_FALSE(sites_[4]->Submit(update).accepted());
  }
  {
    TestUpdate update = sites_[5]->MakeUpdate(tasks_[5], 5.0f, 10, 0);
    sites_[5]->Seal(tasks_[5], update);
    update.announcement.set_bytes(uint64_t{1} << 30);
    v1::BeginUploadReply reply;
    const grpc::Status status = sites_[5]->Begin(update, reply);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr("bytes"));
  }
  {  // announces the model's layout, sends another
    TestUpdate update = sites_[6]->MakeUpdate(tasks_[6], 5.0f, 10, 0);
    update.map.layout.tensors[0].shape = {3, 2};
    sites_[6]->Seal(tasks_[6], update);
    const v1::CommitUploadReply reply = sites_[6]->Submit(update);
    EXPECT_FALSE(reply.accepted());
    EXPECT_THAT(reply.reason(), HasSubstr("tensors"));
  }
  ExpectRoundEndsUnharmed({0, 1});
  for (const char* site : {"huge", "nan", "other-seal", "oversized", "shape"}) {
    EXPECT_THAT(Outcome(site), HasSubstr("refused: ")) << site;
  }
  EXPECT_THAT(federation_.Audit("update.refuse"), SizeIs(5));
}

TEST_F(RefusalsTest, WrongRoundDuplicateAndForeignTaskChangeNothing) {
  OpenRound({"a", "b", "c"});
  TestUpdate update = sites_[0]->MakeUpdate(tasks_[0], 1.0f, 10, 0);
  sites_[0]->Seal(tasks_[0], update);
  v1::BeginUploadReply begun;
  {
    TestUpdate wrong = update;
    wrong.announcement.set_round(7);
    EXPECT_EQ(sites_[0]->Begin(wrong, begun).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    wrong = update;
    wrong.announcement.set_base_model_sha256(std::string(64, 'a'));
    EXPECT_EQ(sites_[0]->Begin(wrong, begun).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    wrong = update;
    wrong.announcement.set_task_id(tasks_[1].task_id());
    EXPECT_EQ(sites_[0]->Begin(wrong, begun).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  }
  EXPECT_TRUE(sites_[0]->Submit(update).accepted());
  EXPECT_TRUE(sites_[0]->Submit(update).accepted()) << "the same update: the first answer";
  TestUpdate other = sites_[0]->MakeUpdate(tasks_[0], 9.0f, 10, 0);
  sites_[0]->Seal(tasks_[0], other);
  EXPECT_EQ(sites_[0]->Begin(other, begun).error_code(), grpc::StatusCode::ALREADY_EXISTS);
  v1::CommitUploadReply reply;
  EXPECT_FALSE(sites_[1]->Commit(privacy::Sha256Hex("x"), reply).ok());
  ExpectRoundEndsUnharmed({1, 2});
  EXPECT_THAT(federation_.Audit("update.accept"), SizeIs(4));
}

TEST_F(RefusalsTest, DamagedChunksAndDigestsAreSentAgain) {
  OpenRound({"a", "b"});
  TestUpdate update = sites_[0]->MakeUpdate(tasks_[0], 1.0f, 10, 0);
  sites_[0]->Seal(tasks_[0], update);
  v1::BeginUploadReply begun;
  ASSERT_TRUE(sites_[0]->Begin(update, begun).ok());
  {
    grpc::ClientContext context;
    v1::UploadChunksReply reply;
    auto writer = sites_[0]->stub().UploadChunks(&context, &reply);
    v1::UploadChunk message;
    message.set_upload_id(begun.upload_id());
    *message.mutable_chunk() = wire::MakeChunk(0, update.sealed.substr(0, 50));
    message.mutable_chunk()->set_crc32c(1);
    writer->Write(message);
    writer->WritesDone();
    EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
  ASSERT_TRUE(sites_[0]->Begin(update, begun).ok());
  EXPECT_EQ(begun.have_offset(), 0u);
  TestUpdate torn = update;
  torn.sealed[40] ^= 1;
  ASSERT_TRUE(sites_[0]->Send(torn, begun.upload_id(), 0, torn.sealed.size()).ok());
  v1::CommitUploadReply reply;
  EXPECT_EQ(sites_[0]->Commit(begun.upload_id(), reply).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  ASSERT_TRUE(sites_[0]->Begin(update, begun).ok());
  EXPECT_EQ(begun.have_offset(), 0u);
  EXPECT_TRUE(sites_[0]->Submit(update).accepted());
  ExpectRoundEndsUnharmed({1});
}

TEST_F(RefusalsTest, UpdatesBeyondTheBytesInFlightWaitAndAreTakenLater) {
  federation_.Stop();
  federation_.options().uploads_in_flight_bytes_max = 1;  // so: one at a time
  federation_.Start();
  OpenRound({"north", "south"});
  TestUpdate first = sites_[0]->MakeUpdate(tasks_[0], 1.0f, 10, 0);
  TestUpdate second = sites_[1]->MakeUpdate(tasks_[1], 2.0f, 10, 0);
  sites_[0]->Seal(tasks_[0], first);
  sites_[1]->Seal(tasks_[1], second);
  v1::BeginUploadReply begun, reply;
  ASSERT_TRUE(sites_[0]->Begin(first, begun).ok());
  const grpc::Status status = sites_[1]->Begin(second, reply);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("try again"));
  EXPECT_EQ(wire::RetryAfter(wire::FromGrpc(status)), absl::Seconds(10));
  EXPECT_TRUE(sites_[0]->Submit(first).accepted());
  EXPECT_TRUE(sites_[1]->Submit(second).accepted());
}

TEST_F(RefusalsTest, RevocationCutsTheOpenCallAndTheRoundGoesOn) {
  OpenRound({"a", "b", "c", "d"});
  // A call of the site that would last: nothing to do once its update is in.
  EXPECT_TRUE(sites_[0]->Train(tasks_[0], 3.0f, 10).accepted());
  grpc::Status held;
  std::thread waiting([&] {
    v1::Task task;
    held = sites_[0]->NextTask(task, 30);
  });
  Eventually(
      [&] {
        grpc::ClientContext context;
        v1::ListSitesReply reply;
        EXPECT_TRUE(
            federation_.admin().ListSites(&context, v1::ListSitesRequest(), &reply).ok());
        return reply.sites(0).connected();
      },
      "the site to be connected");
  absl::Notification pause;
  pause.WaitForNotificationWithTimeout(absl::Milliseconds(200));
  ASSERT_TRUE(federation_.SetState("a", "revoked").ok());
  ASSERT_TRUE(federation_.SetState("c", "suspended").ok());
  waiting.join();
  EXPECT_EQ(held.error_code(), grpc::StatusCode::CANCELLED);
  v1::Task task;
  EXPECT_EQ(sites_[0]->NextTask(task).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(sites_[2]->NextTask(task).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_FALSE(federation_.SetState("a", "approved").ok()) << "revoked is for good";
  ExpectRoundEndsUnharmed({1, 3});
  EXPECT_EQ(Outcome("a"), "refused: the site was revoked") << "it had delivered";
  EXPECT_THAT(federation_.Audit("update.drop"), SizeIs(1));
  EXPECT_THAT(Outcome("c"), HasSubstr("missing: the site was suspended"));
  EXPECT_THAT(federation_.Audit("task.next"), SizeIs(2));
}

TEST_F(RefusalsTest, RolesAndApprovalAreCheckedOnEveryCall) {
  const v1::InviteSiteReply invitation = federation_.Invite("north");
  TestSite north(invitation, federation_.folder());
  v1::Task task;
  grpc::Status status = north.NextTask(task);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(status.error_message(), HasSubstr("approve"));
  ASSERT_TRUE(federation_.SetState("north", "approved").ok());
  EXPECT_TRUE(north.NextTask(task).ok());
  {
    auto admin = v1::Admin::NewStub(
        wire::ConnectTls(federation_.address(), north.tls(), "localhost"));
    grpc::ClientContext context;
    v1::ListSitesReply reply;
    EXPECT_EQ(admin->ListSites(&context, v1::ListSitesRequest(), &reply).error_code(),
              grpc::StatusCode::PERMISSION_DENIED);
  }
  {
    auto site = v1::Federation::NewStub(
        wire::ConnectTls(federation_.address(), federation_.admin_tls(), "localhost"));
    grpc::ClientContext context;
    v1::NextTaskReply reply;
    EXPECT_EQ(site->NextTask(&context, v1::NextTaskRequest(), &reply).error_code(),
              grpc::StatusCode::PERMISSION_DENIED);
  }
  const auto enrol = [](const v1::InviteSiteReply& with) {
    auto enrolment = v1::Enrolment::NewStub(
        wire::ConnectTls(with.enrolment_address(),
                         {.ca_pem = with.ca_pem(), .certificate_pem = "", .key_pem = ""},
                         "localhost"));
    auto key = privacy::GenerateKeyPem();
    grpc::ClientContext context;
    v1::EnrolRequest request;
    request.set_token(with.token());
    request.set_csr_pem(privacy::MakeCsrPem(*key, "north").value());
    v1::EnrolReply reply;
    return enrolment->Enrol(&context, request, &reply).error_code();
  };
  EXPECT_EQ(enrol(invitation), grpc::StatusCode::PERMISSION_DENIED) << "the token is used up";
  {  // enrolling anew retires the old key and voids the other invitations
    const v1::InviteSiteReply other = federation_.Invite("north");
    TestSite again(federation_.Invite("north"), federation_.folder());
    EXPECT_EQ(enrol(other), grpc::StatusCode::PERMISSION_DENIED);
    EXPECT_EQ(north.NextTask(task).error_code(), grpc::StatusCode::PERMISSION_DENIED);
    ASSERT_TRUE(federation_.SetState("north", "approved").ok());
    EXPECT_TRUE(again.NextTask(task).ok());
    EXPECT_FALSE(north.NextTask(task).ok());
  }
}

TEST_F(RefusalsTest, CertificateOfAForeignCaDoesNotConnect) {
  const absl::Time since = Clock::System().Now() - absl::Hours(1);
  auto ca = privacy::MakeRootCa("test-federation", since, absl::Hours(24));
  auto key = privacy::GenerateKeyPem();
  ASSERT_TRUE(ca.ok() && key.ok());
  auto certificate = privacy::IssueCertificate(
      *ca, privacy::MakeCsrPem(*key, "north").value(),
      {.identity = {"test-federation", privacy::Role::kSite, "north"},
       .dns_names = {},
       .ip_addresses = {},
       .not_before = since,
       .lifetime = absl::Hours(2)});
  ASSERT_TRUE(certificate.ok());
  const wire::TlsFiles foreign = {.ca_pem = federation_.admin_tls().ca_pem,
                                  .certificate_pem = *certificate,
                                  .key_pem = std::string(key->view())};
  const wire::TlsFiles none = {.ca_pem = foreign.ca_pem, .certificate_pem = "", .key_pem = ""};
  for (const wire::TlsFiles& files : {foreign, none}) {
    auto stub = v1::Federation::NewStub(
        wire::ConnectTls(federation_.address(), files, "localhost"));
    grpc::ClientContext context;
    v1::NextTaskReply reply;
    EXPECT_EQ(stub->NextTask(&context, v1::NextTaskRequest(), &reply).error_code(),
              grpc::StatusCode::UNAVAILABLE);
  }
  Eventually([&] { return !federation_.Audit("tls.handshake").empty(); }, "an audited refusal");
}

TEST_F(RefusalsTest, Tls12DoesNotConnectAndTls13Does) {
  if (std::system("command -v openssl >/dev/null 2>&1") != 0) GTEST_SKIP() << "no openssl";
  EXPECT_TRUE(federation_.OpensslConnects("-tls1_3"));
  EXPECT_FALSE(federation_.OpensslConnects("-tls1_2"));
}

}  // namespace
}  // namespace consilium::coordinator
