// The calls of sites. Each one: who is it (access gate), bounds, one call of the driver. No logic.
//
// Thread-safe. A call of a site that is suspended or revoked meanwhile ends with CANCELLED.
#ifndef CONSILIUM_COORDINATOR_SERVICE_FEDERATION_SERVICE_H_
#define CONSILIUM_COORDINATOR_SERVICE_FEDERATION_SERVICE_H_

#include <functional>
#include <string>

#include "consilium/v1/federation.grpc.pb.h"
#include "coordinator/round/federation_driver.h"
#include "coordinator/round/site_registry.h"
#include "coordinator/service/access_gate.h"
#include "coordinator/service/masking_calls.h"
#include "coordinator/service/witness_calls.h"
#include "proto/base/thread_pool.h"

namespace consilium::coordinator {

inline constexpr uint32_t kProtocolVersion = 1;     // the newest that is spoken here
inline constexpr uint32_t kProtocolVersionMin = 1;  // the oldest

// NextTask is held for minutes by every site at once, and transfers last as long as a hospital's line
// makes them: these cost no thread. The others are answered at once, on a thread each.
using FederationMethods = v1::Federation::WithCallbackMethod_NextTask<
    v1::Federation::WithRawCallbackMethod_UploadChunks<
        v1::Federation::WithRawCallbackMethod_DownloadModel<v1::Federation::Service>>>;

int TransferThreads();  // as many as the machine has processors, and at least two

class FederationService final : public FederationMethods {
 public:
  // All must outlive it.
  // `ca_folder` holds ca.crt and, while certificates are to be renewed, ca.key.
  FederationService(std::string federation, std::string ca_folder, FederationDriver& driver,
                    SiteRegistry& sites, AccessGate& gate, WitnessCalls& witnesses)
      : federation_(std::move(federation)),
        ca_folder_(std::move(ca_folder)),
        driver_(driver),
        sites_(sites),
        gate_(gate),
        witnesses_(witnesses),
        masking_(driver, sites, ca_folder_),
        transfers_(TransferThreads()) {}

  grpc::Status Hello(grpc::ServerContext* context, const v1::HelloRequest* request,
                     v1::HelloReply* reply) override;
  grpc::ServerUnaryReactor* NextTask(grpc::CallbackServerContext* context,
                                     const v1::NextTaskRequest* request,
                                     v1::NextTaskReply* reply) override;
  grpc::Status ReportCohort(grpc::ServerContext* context, const v1::CohortReport* request,
                            v1::Acknowledgement* reply) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* DownloadModel(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) override;
  grpc::Status BeginUpload(grpc::ServerContext* context, const v1::BeginUploadRequest* request,
                           v1::BeginUploadReply* reply) override;
  grpc::ServerReadReactor<grpc::ByteBuffer>* UploadChunks(grpc::CallbackServerContext* context,
                                                          grpc::ByteBuffer* reply) override;
  grpc::Status CommitUpload(grpc::ServerContext* context, const v1::CommitUploadRequest* request,
                            v1::CommitUploadReply* reply) override;
  grpc::Status ReportProgress(grpc::ServerContext* context, const v1::ProgressReport* request,
                              v1::ProgressReply* reply) override;
  grpc::Status DeclineTask(grpc::ServerContext* context, const v1::DeclineTaskRequest* request,
                           v1::Acknowledgement* reply) override;
  grpc::Status AgreeKeys(grpc::ServerContext* context, const v1::AgreeKeysRequest* request,
                         v1::AgreeKeysReply* reply) override;
  grpc::Status SubmitConsent(grpc::ServerContext* context, const v1::ConsentReport* request,
                             v1::Acknowledgement* reply) override;
  grpc::Status SubmitReveal(grpc::ServerContext* context, const v1::RevealReport* request,
                            v1::Acknowledgement* reply) override;
  grpc::Status ReportEvaluation(grpc::ServerContext* context, const v1::EvaluationReport* request,
                                v1::Acknowledgement* reply) override;
  grpc::Status GetCheckpoint(grpc::ServerContext* context, const v1::GetCheckpointRequest* request,
                             v1::GetCheckpointReply* reply) override;
  grpc::Status SubmitCosignature(grpc::ServerContext* context,
                                 const v1::SubmitCosignatureRequest* request,
                                 v1::Acknowledgement* reply) override;
  grpc::Status RenewCertificate(grpc::ServerContext* context,
                                const v1::RenewCertificateRequest* request,
                                v1::RenewCertificateReply* reply) override;

 private:
  // Admits the caller as a site, runs `call` with its name, records a refusal.
  grpc::Status Serve(grpc::ServerContext* context, absl::string_view action,
                     const std::function<absl::Status(const std::string& site)>& call);

  const std::string federation_;
  const std::string ca_folder_;
  FederationDriver& driver_;
  SiteRegistry& sites_;
  AccessGate& gate_;
  WitnessCalls& witnesses_;
  const MaskingCalls masking_;
  ThreadPool transfers_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_FEDERATION_SERVICE_H_
