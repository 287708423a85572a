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
#include "coordinator/service/witness_calls.h"

namespace consilium::coordinator {

inline constexpr uint32_t kProtocolVersion = 1;     // the newest that is spoken here
inline constexpr uint32_t kProtocolVersionMin = 1;  // the oldest

class FederationService final : public v1::Federation::Service {
 public:
  // All must outlive it.
  FederationService(std::string federation, FederationDriver& driver, SiteRegistry& sites,
                    AccessGate& gate, WitnessCalls& witnesses)
      : federation_(std::move(federation)),
        driver_(driver),
        sites_(sites),
        gate_(gate),
        witnesses_(witnesses) {}

  grpc::Status Hello(grpc::ServerContext* context, const v1::HelloRequest* request,
                     v1::HelloReply* reply) override;
  grpc::Status NextTask(grpc::ServerContext* context, const v1::NextTaskRequest* request,
                        v1::NextTaskReply* reply) override;
  grpc::Status ReportCohort(grpc::ServerContext* context, const v1::CohortReport* request,
                            v1::Acknowledgement* reply) override;
  grpc::Status DownloadModel(grpc::ServerContext* context, const v1::DownloadModelRequest* request,
                             grpc::ServerWriter<v1::Chunk>* writer) override;
  grpc::Status BeginUpload(grpc::ServerContext* context, const v1::BeginUploadRequest* request,
                           v1::BeginUploadReply* reply) override;
  grpc::Status UploadChunks(grpc::ServerContext* context,
                            grpc::ServerReader<v1::UploadChunk>* reader,
                            v1::UploadChunksReply* reply) override;
  grpc::Status CommitUpload(grpc::ServerContext* context, const v1::CommitUploadRequest* request,
                            v1::CommitUploadReply* reply) override;
  grpc::Status ReportProgress(grpc::ServerContext* context, const v1::ProgressReport* request,
                              v1::ProgressReply* reply) override;
  grpc::Status DeclineTask(grpc::ServerContext* context, const v1::DeclineTaskRequest* request,
                           v1::Acknowledgement* reply) override;
  grpc::Status ReportEvaluation(grpc::ServerContext* context, const v1::EvaluationReport* request,
                                v1::Acknowledgement* reply) override;
  grpc::Status GetCheckpoint(grpc::ServerContext* context, const v1::GetCheckpointRequest* request,
                             v1::GetCheckpointReply* reply) override;
  grpc::Status SubmitCosignature(grpc::ServerContext* context,
                                 const v1::SubmitCosignatureRequest* request,
                                 v1::Acknowledgement* reply) override;

 private:
  // Admits the caller as a site, runs `call` with its name, records a refusal.
  grpc::Status Serve(grpc::ServerContext* context, absl::string_view action,
                     const std::function<absl::Status(const std::string& site)>& call);

  const std::string federation_;
  FederationDriver& driver_;
  SiteRegistry& sites_;
  AccessGate& gate_;
  WitnessCalls& witnesses_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_FEDERATION_SERVICE_H_
