#include "coordinator/service/test_federation.h"

#include <cmath>
#include <cstdlib>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"
#include "privacy/crypto/hpke.h"
#include "privacy/crypto/sealed_update.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/clock.h"
#include "proto/wire/safetensors.h"

namespace consilium::coordinator {
namespace {

constexpr uint64_t kFileBytesMax = 64 << 20;

void Pause() {
  absl::Notification never;
  never.WaitForNotificationWithTimeout(absl::Milliseconds(20));
}

}  // namespace

wire::TensorLayout TestLayout() {
  return {{{.name = "conv.weight", .shape = {2, 3}}, {.name = "conv.bias", .shape = {3}}}};
}

wire::TensorMap TestMap(float value) {
  wire::TensorMap map;
  map.layout = TestLayout();
  map.values.assign(static_cast<size_t>(map.layout.parameters()), value);
  return map;
}

void MakeFirstWeights(absl::Span<const std::unique_ptr<TestSite>> sites, float value) {
  bool done = false;
  Eventually(
      [&] {
        for (const auto& site : sites) {
          v1::Task task;
          EXPECT_TRUE(site->NextTask(task).ok());
          if (task.kind() != v1::Task::INITIALISE) continue;
          EXPECT_TRUE(site->Train(task, value, 0).accepted());
          done = true;
        }
        return done;
      },
      "INITIALISE");
}

void Eventually(const std::function<bool()>& holds, const char* what) {
  const absl::Time until = absl::Now() + kTestPatience;
  while (!holds()) {
    ASSERT_LT(absl::Now(), until) << "waited in vain for: " << what;
    Pause();
  }
}

TestSite::TestSite(const v1::InviteSiteReply& invitation, const std::string& folder)
    : name_(invitation.site()), federation_(invitation.federation()), folder_(folder) {
  auto key = privacy::GenerateKeyPem();
  EXPECT_TRUE(key.ok());
  auto csr = privacy::MakeCsrPem(*key, name_);
  EXPECT_TRUE(csr.ok());
  auto enrolment = v1::Enrolment::NewStub(
      wire::ConnectTls(invitation.enrolment_address(),
                       {.ca_pem = invitation.ca_pem(), .certificate_pem = "", .key_pem = ""},
                       "localhost"));
  grpc::ClientContext context;
  v1::EnrolRequest request;
  request.set_token(invitation.token());
  request.set_csr_pem(*csr);
  request.set_software_version("test-1");
  v1::EnrolReply reply;
  const grpc::Status status = enrolment->Enrol(&context, request, &reply);
  EXPECT_TRUE(status.ok()) << status.error_message();
  tls_ = {.ca_pem = reply.ca_pem(),
          .certificate_pem = reply.certificate_pem(),
          .key_pem = std::string(key->view())};
  Connect(invitation.federation_address());
}

void TestSite::Connect(const std::string& address) {
  stub_ = v1::Federation::NewStub(wire::ConnectTls(address, tls_, "localhost"));
}

grpc::Status TestSite::NextTask(v1::Task& task, int wait_seconds) {
  grpc::ClientContext context;
  v1::NextTaskRequest request;
  request.set_wait_seconds(static_cast<uint32_t>(wait_seconds));
  v1::NextTaskReply reply;
  task.Clear();
  const grpc::Status status = stub_->NextTask(&context, request, &reply);
  if (reply.has_task()) task = reply.task();
  return status;
}

v1::Task TestSite::Await(v1::Task::Kind kind) {
  v1::Task task;
  Eventually(
      [&] {
        const grpc::Status status = NextTask(task);
        EXPECT_TRUE(status.ok()) << name_ << ": " << status.error_message();
        return !status.ok() || task.kind() == kind;
      },
      v1::Task::Kind_Name(kind).c_str());
  return task;
}

grpc::Status TestSite::Prepare(const v1::Task& task, int64_t cases, int64_t labelled,
                               int64_t held_out) {
  v1::CohortReport report;
  report.set_task_id(task.task_id());
  report.set_cases(cases);
  report.set_labelled_cases(labelled);
  report.set_held_out_cases(held_out);
  for (const double spacing : {1.0, 1.0, 1.2}) report.add_median_spacing_xyz_mm(spacing);
  for (const double size : {36.0, 50.0, 30.0}) report.add_median_size_xyz(size);
  grpc::ClientContext context;
  v1::Acknowledgement ack;
  return stub_->ReportCohort(&context, report, &ack);
}

absl::StatusOr<std::string> TestSite::Download(const std::string& sha256, uint64_t offset) {
  grpc::ClientContext context;
  v1::DownloadModelRequest request;
  request.set_sha256(sha256);
  request.set_offset(offset);
  auto reader = stub_->DownloadModel(&context, request);
  std::string bytes;
  for (v1::Chunk chunk; reader->Read(&chunk);) {
    EXPECT_TRUE(wire::CheckChunk(chunk, offset + bytes.size(), kFileBytesMax).ok());
    bytes += chunk.data();
  }
  const absl::Status status = wire::FromGrpc(reader->Finish());
  if (!status.ok()) return status;
  return bytes;
}

TestUpdate TestSite::MakeUpdate(const v1::Task& task, float value, int64_t labelled,
                                int64_t unlabelled) {
  TestUpdate update;
  update.map = TestMap(value);
  // Two sites never train to the same: in the last bits each update says whose it is.
  uint32_t bits = 5381;
  for (const char c : name_) bits = bits * 33 + static_cast<unsigned char>(c);
  for (float& one : update.map.values) {
    if ((bits & 1) != 0) one = std::nextafter(one, 0.0f);
    bits >>= 1;
  }
  v1::BeginUploadRequest& a = update.announcement;
  a.set_task_id(task.task_id());
  a.set_study(task.study());
  a.set_round(task.round());
  a.set_base_model_sha256(task.model().sha256());
  a.set_layout_sha256(privacy::Sha256Hex(update.map.layout.Canonical()));
  a.set_labelled_cases(labelled);
  a.set_unlabelled_cases(unlabelled);
  a.mutable_summary()->set_mean_loss(0.5);
  return update;
}

void TestSite::Seal(const v1::Task& task, TestUpdate& update) {
  const std::string plain = JoinPath(folder_, absl::StrCat(name_, ".safetensors"));
  const std::string sealed = JoinPath(folder_, absl::StrCat(name_, ".sealed"));
  ASSERT_TRUE(wire::WriteSafetensors(plain, update.map, {}).ok());
  ASSERT_TRUE(privacy::SealFile(plain, sealed, task.sealing_public_key(),
                                {.federation = federation_,
                                 .study = task.study(),
                                 .round = task.round(),
                                 .site = name_,
                                 .task_id = task.task_id()})
                  .ok());
  absl::StatusOr<std::string> bytes = ReadFile(sealed, kFileBytesMax);
  ASSERT_TRUE(bytes.ok());
  update.sealed = *std::move(bytes);
  update.announcement.set_bytes(update.sealed.size());
  update.announcement.set_sha256(privacy::Sha256Hex(update.sealed));
}

grpc::Status TestSite::Begin(const TestUpdate& update, v1::BeginUploadReply& reply) {
  grpc::ClientContext context;
  return stub_->BeginUpload(&context, update.announcement, &reply);
}

grpc::Status TestSite::Send(const TestUpdate& update, const std::string& upload_id, uint64_t offset,
                            uint64_t end) {
  grpc::ClientContext context;
  v1::UploadChunksReply reply;
  auto writer = stub_->UploadChunks(&context, &reply);
  constexpr uint64_t kStep = 100;  // small, so that a file of a test has several chunks
  for (uint64_t at = offset; at < end; at += kStep) {
    v1::UploadChunk message;
    message.set_upload_id(upload_id);
    *message.mutable_chunk() =
        wire::MakeChunk(at, update.sealed.substr(at, std::min(kStep, end - at)));
    if (!writer->Write(message)) break;
  }
  writer->WritesDone();
  return writer->Finish();
}

grpc::Status TestSite::Commit(const std::string& upload_id, v1::CommitUploadReply& reply) {
  grpc::ClientContext context;
  v1::CommitUploadRequest request;
  request.set_upload_id(upload_id);
  return stub_->CommitUpload(&context, request, &reply);
}

v1::CommitUploadReply TestSite::Submit(const TestUpdate& update) {
  v1::BeginUploadReply begun;
  v1::CommitUploadReply reply;
  grpc::Status status = Begin(update, begun);
  EXPECT_TRUE(status.ok()) << name_ << ": " << status.error_message();
  if (!status.ok()) return reply;
  if (begun.have_offset() < update.sealed.size()) {
    status = Send(update, begun.upload_id(), begun.have_offset(), update.sealed.size());
    EXPECT_TRUE(status.ok()) << name_ << ": " << status.error_message();
  }
  status = Commit(begun.upload_id(), reply);
  EXPECT_TRUE(status.ok()) << name_ << ": " << status.error_message();
  return reply;
}

v1::CommitUploadReply TestSite::Train(const v1::Task& task, float value, int64_t labelled,
                                      int64_t unlabelled) {
  TestUpdate update = MakeUpdate(task, value, labelled, unlabelled);
  Seal(task, update);
  return Submit(update);
}

TestFederation::TestFederation() : temp_(TempDir::Create("federation").value()) {
  wire::RequireTls13();
  home_ = JoinPath(temp_.path(), "home");
  options_.federation = "test-federation";
  options_.listen = "127.0.0.1:0";
  options_.enrolment_listen = "127.0.0.1:0";
  options_.http_listen = "127.0.0.1:0";
  options_.disk_floor_bytes = 0;
  const absl::Status made = InitHome(home_, options_);
  EXPECT_TRUE(made.ok()) << made;
  Start();
}

void TestFederation::Start() {
  auto server = CoordinatorServer::Start(home_, options_, Clock::System());
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  const std::string folder = JoinPath(home_, "admin");
  admin_tls_ = {.ca_pem = ReadFile(JoinPath(folder, "ca.crt"), kFileBytesMax).value(),
                .certificate_pem = ReadFile(JoinPath(folder, "client.crt"), kFileBytesMax).value(),
                .key_pem = ReadFile(JoinPath(folder, "client.key"), kFileBytesMax).value()};
  admin_ = v1::Admin::NewStub(wire::ConnectTls(address(), admin_tls_, "localhost"));
}

std::string TestFederation::address() const {
  return absl::StrCat("127.0.0.1:", server_->federation_port());
}

bool TestFederation::OpensslConnects(const char* version) const {
  const std::string admin = JoinPath(home_, "admin");
  return std::system(absl::StrCat("openssl s_client -connect ", address(), " ", version, " -cert ",
                                  admin, "/client.crt -key ", admin, "/client.key -CAfile ", admin,
                                  "/ca.crt -verify_return_error -alpn h2 </dev/null >/dev/null "
                                  "2>&1")
                         .c_str()) == 0;
}

v1::InviteSiteReply TestFederation::Invite(const std::string& name) {
  grpc::ClientContext context;
  v1::InviteSiteRequest request;
  request.set_site(name);
  v1::InviteSiteReply reply;
  const grpc::Status status = admin_->InviteSite(&context, request, &reply);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return reply;
}

std::unique_ptr<TestSite> TestFederation::AddSite(const std::string& name) {
  auto site = std::make_unique<TestSite>(Invite(name), temp_.path());
  const grpc::Status status = SetState(name, "approved");
  EXPECT_TRUE(status.ok()) << status.error_message();
  return site;
}

grpc::Status TestFederation::SetState(const std::string& name, const std::string& state) {
  grpc::ClientContext context;
  v1::SetSiteStateRequest request;
  request.set_name(name);
  request.set_state(state);
  v1::Site reply;
  return admin_->SetSiteState(&context, request, &reply);
}

void TestFederation::CreateAndStart(const std::string& yaml) {
  v1::Study study;
  {
    grpc::ClientContext context;
    v1::CreateStudyRequest request;
    request.set_yaml(yaml);
    const grpc::Status status = admin_->CreateStudy(&context, request, &study);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  grpc::ClientContext context;
  v1::ControlStudyRequest request;
  request.set_name(study.name());
  request.set_action("start");
  const grpc::Status status = admin_->ControlStudy(&context, request, &study);
  ASSERT_TRUE(status.ok()) << status.error_message();
}

v1::Study TestFederation::Study(const std::string& name) {
  grpc::ClientContext context;
  v1::GetStudyRequest request;
  request.set_name(name);
  v1::Study study;
  const grpc::Status status = admin_->GetStudy(&context, request, &study);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return study;
}

v1::Study TestFederation::AwaitState(const std::string& name, const std::string& state) {
  v1::Study study;
  Eventually(
      [&] {
        study = Study(name);
        return study.state() == state;
      },
      state.c_str());
  return study;
}

v1::Round TestFederation::Round(const std::string& study, int64_t number) {
  grpc::ClientContext context;
  v1::ListRoundsRequest request;
  request.set_study(study);
  v1::ListRoundsReply reply;
  const grpc::Status status = admin_->ListRounds(&context, request, &reply);
  EXPECT_TRUE(status.ok()) << status.error_message();
  for (const v1::Round& round : reply.rounds()) {
    if (round.number() == number) return round;
  }
  ADD_FAILURE() << "no round " << number;
  return {};
}

std::vector<std::string> TestFederation::Audit(const std::string& action) {
  grpc::ClientContext context;
  v1::SearchAuditRequest request;
  request.set_action(action);
  request.set_count_max(1000);
  v1::SearchAuditReply reply;
  EXPECT_TRUE(admin_->SearchAudit(&context, request, &reply).ok());
  std::vector<std::string> entries;
  for (const v1::AuditEntry& entry : reply.entries()) entries.push_back(entry.json());
  return entries;
}

wire::TensorMap TestFederation::Model(const std::string& version) {
  grpc::ClientContext context;
  v1::GetModelRequest request;
  request.set_version(version);
  auto reader = admin_->ExportModel(&context, request);
  std::string bytes;
  for (v1::Chunk chunk; reader->Read(&chunk);) bytes += chunk.data();
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  const std::string path = JoinPath(temp_.path(), "export.safetensors");
  EXPECT_TRUE(WriteFileAtomic(path, bytes).ok());
  auto file = wire::ReadSafetensors(path);
  EXPECT_TRUE(file.ok()) << file.status();
  return file.ok() ? file->map : wire::TensorMap{};
}

std::string TestStudy(int min_sites, int rounds, const std::string& more) {
  return absl::StrCat(
      "name: hippo\n"
      "task: {labels: {1: Anterior, 2: Posterior}, codes: {1: HIPPOCAMPUS_ANTERIOR}}\n"
      "series: {modality: MR, rules: [{ImageType: \"!LOCALIZER\"}]}\n"
      "plan: auto\n"
      "aggregation: {min_sites: ",
      min_sites, ", unlabelled_weight: 0.2, unlabelled_after: 0}\n", "rounds: {count: ", rounds,
      ", deadline: 10m, quorum: ", std::min(2, min_sites), "}\nprotection: sealed\n", more);
}

}  // namespace consilium::coordinator
