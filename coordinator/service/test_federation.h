// A whole federation in one process for tests: a coordinator on port 0 and sites that enrol, sign on
// and answer tasks with a model of two tensors over real mutual TLS. The "training" of a site adds a
// constant to every weight, so the right answer is known.
#ifndef CONSILIUM_COORDINATOR_SERVICE_TEST_FEDERATION_H_
#define CONSILIUM_COORDINATOR_SERVICE_TEST_FEDERATION_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "consilium/v1/admin.grpc.pb.h"
#include "consilium/v1/federation.grpc.pb.h"
#include "coordinator/home.h"
#include "coordinator/service/coordinator_server.h"
#include "privacy/crypto/certificate.h"
#include "proto/base/file.h"
#include "proto/wire/tensor_map.h"
#include "proto/wire/transport.h"

namespace consilium::coordinator {

inline constexpr absl::Duration kTestPatience = absl::Seconds(20);

wire::TensorLayout TestLayout();  // 6 + 3 parameters
wire::TensorMap TestMap(float value);

// What a site sends for a task; tests change it before it goes out.
struct TestUpdate {
  wire::TensorMap map;
  v1::BeginUploadRequest announcement;
  std::string sealed;  // filled by Seal
};

class TestSite {
 public:
  // Enrols by the invitation.
  TestSite(const v1::InviteSiteReply& invitation, const std::string& folder);
  // Points at another address, as after the coordinator's restart.
  void Connect(const std::string& address);
  v1::Federation::Stub& stub() { return *stub_; }
  const std::string& name() const { return name_; }
  const wire::TlsFiles& tls() const { return tls_; }

  grpc::Status NextTask(v1::Task& task, int wait_seconds = 0);
  // Asks until there is a task of `kind`; fails the test after kTestPatience.
  v1::Task Await(v1::Task::Kind kind);
  grpc::Status Prepare(const v1::Task& task, int64_t cases, int64_t labelled, int64_t held_out);
  absl::StatusOr<std::string> Download(const std::string& sha256, uint64_t offset);

  TestUpdate MakeUpdate(const v1::Task& task, float value, int64_t labelled, int64_t unlabelled);
  void Seal(const v1::Task& task, TestUpdate& update);
  grpc::Status Begin(const TestUpdate& update, v1::BeginUploadReply& reply);
  grpc::Status Send(const TestUpdate& update, const std::string& upload_id, uint64_t offset,
                    uint64_t end);
  grpc::Status Commit(const std::string& upload_id, v1::CommitUploadReply& reply);
  // All of it; the test fails unless the transport does its part.
  v1::CommitUploadReply Submit(const TestUpdate& update);
  v1::CommitUploadReply Train(const v1::Task& task, float value, int64_t labelled,
                              int64_t unlabelled = 0);

 private:
  std::string name_;
  std::string federation_;
  std::string folder_;
  wire::TlsFiles tls_;
  std::unique_ptr<v1::Federation::Stub> stub_;
};

class TestFederation {
 public:
  TestFederation();
  void Start();
  void Stop() { server_.reset(); }
  // What the next Start takes.
  CoordinatorOptions& options() { return options_; }
  CoordinatorServer& server() { return *server_; }
  std::string address() const;
  const std::string& home() const { return home_; }
  const std::string& folder() const { return temp_.path(); }
  v1::Admin::Stub& admin() { return *admin_; }
  const wire::TlsFiles& admin_tls() const { return admin_tls_; }

  // Whether openssl s_client gets through with the administrator's certificate and this option.
  bool OpensslConnects(const char* version) const;
  v1::InviteSiteReply Invite(const std::string& name);
  // Invited, enrolled and approved.
  std::unique_ptr<TestSite> AddSite(const std::string& name);
  grpc::Status SetState(const std::string& name, const std::string& state);
  void CreateAndStart(const std::string& yaml);
  v1::Study Study(const std::string& name);
  v1::Study AwaitState(const std::string& name, const std::string& state);
  v1::Round Round(const std::string& study, int64_t number);
  std::vector<std::string> Audit(const std::string& action);
  wire::TensorMap Model(const std::string& version);

 private:
  TempDir temp_;
  std::string home_;
  CoordinatorOptions options_;
  std::unique_ptr<CoordinatorServer> server_;
  wire::TlsFiles admin_tls_;
  std::unique_ptr<v1::Admin::Stub> admin_;
};

// Two labels, two rounds unless `rounds` says otherwise, quorum 2 of min_sites.
std::string TestStudy(int min_sites, int rounds, const std::string& more = "");

// Whichever of the sites is asked makes the first weights, all of them `value`.
void MakeFirstWeights(absl::Span<const std::unique_ptr<TestSite>> sites, float value);

// Polls until `holds`; fails the test after kTestPatience.
void Eventually(const std::function<bool()>& holds, const char* what);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_TEST_FEDERATION_H_
