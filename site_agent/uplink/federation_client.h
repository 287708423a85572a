// The coordinator over gRPC with mutual TLS 1.3. Models and updates travel on a connection of their
// own, made for the transfer: control calls never wait behind them.
#ifndef CONSILIUM_SITE_AGENT_UPLINK_FEDERATION_CLIENT_H_
#define CONSILIUM_SITE_AGENT_UPLINK_FEDERATION_CLIENT_H_

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "consilium/v1/federation.grpc.pb.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "proto/wire/timeouts.h"
#include "proto/wire/transport.h"
#include "site_agent/round/federation.h"
#include "site_agent/round/site_log.h"
#include "site_agent/uplink/witness_client.h"

namespace consilium::agent {

// Thread-safe. Calls block; Cancel() ends those that run and all that come. One attempt a call:
// trying again is the round's business.
class FederationClient : public Federation {
 public:
  struct Options {
    std::string address;  // host:port; the server's certificate must name the host
    wire::TlsFiles tls;
    std::string federation;
    std::string site;  // who we are; Hello checks that the coordinator agrees
    std::string software_version;
    WitnessClient* witness = nullptr;  // null: the site witnesses nothing
    EventRecorder record;              // for the site's own log; may be empty
    absl::Duration call_timeout = wire::kCallTimeout;
    absl::Duration transfer_idle = wire::kTransferIdle;  // a transfer that moves has no limit
  };

  explicit FederationClient(Options options);
  ~FederationClient() override = default;

  void Cancel();

  // Every call from now on shows this certificate; those under way go on with the one they have.
  void UseIdentity(wire::TlsFiles tls);
  // A certificate for the request's key. Errors of the call.
  absl::StatusOr<std::string> RenewCertificate(const std::string& csr_pem);

  absl::Status Hello() override;
  absl::StatusOr<NextAnswer> NextTask(absl::Duration wait,
                                      const std::vector<std::string>& spooled_task_ids) override;
  absl::Status ReportCohort(const std::string& task_id, const CohortSummary& cohort) override;
  absl::Status DownloadModel(const ModelRef& model, const std::string& path,
                             const ByteProgress& progress) override;
  absl::StatusOr<UploadOutcome> Upload(const TaskKey& task, const UpdateOffer& offer,
                                       const std::string& path,
                                       const ByteProgress& progress) override;
  absl::Status ReportProgress(const TaskProgress& progress) override;
  absl::Status Decline(const std::string& task_id, const std::string& reason) override;
  absl::Status ReportEvaluation(const std::string& task_id,
                                const EvaluationResult& result) override;
  absl::StatusOr<AgreementReply> AgreeKeys(const std::string& task_id, const SiteKeys& keys,
                                           const SiteShares* shares) override;
  absl::Status SubmitConsent(const std::string& task_id, const ConsentResult& result) override;
  absl::Status SubmitReveal(const std::string& task_id, const RevealResult& result) override;

 private:
  class Call;
  // Adds to `file` and `hash` what is missing of the model from `have` on; says what it then has.
  absl::Status DownloadRest(const ModelRef& model, File& file, uint64_t& have,
                            privacy::Sha256Stream& hash, const ByteProgress& progress);
  absl::StatusOr<v1::BeginUploadReply> BeginUpload(const v1::BeginUploadRequest& request);
  // The offset that the coordinator has after the stream, which goes over `channel`.
  absl::StatusOr<uint64_t> SendChunks(const std::shared_ptr<grpc::Channel>& channel,
                                      const v1::BeginUploadReply& upload, const std::string& path,
                                      uint64_t bytes, const ByteProgress& progress);
  absl::StatusOr<UploadOutcome> CommitUpload(const std::string& upload_id);
  absl::Status LookAtLog(uint64_t checkpoint_size);
  absl::Status Record(const SiteEvent& event) const;

  std::shared_ptr<grpc::Channel> Connect(wire::Connection connection) const;
  // Control. The caller's copy keeps its connection for as long as its call runs.
  std::shared_ptr<v1::Federation::Stub> Stub() const;

  const Options options_;          // less `tls`, which may change
  const std::string incarnation_;  // random, new with each client
  mutable absl::Mutex mutex_;
  wire::TlsFiles tls_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<v1::Federation::Stub> stub_ ABSL_GUARDED_BY(mutex_);
  std::set<grpc::ClientContext*> running_ ABSL_GUARDED_BY(mutex_);
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_UPLINK_FEDERATION_CLIENT_H_
