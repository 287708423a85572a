// The calls of administrators. Each one: admit, one call of the domain, convert. No logic.
//
// Thread-safe. What is changed is recorded under the caller's name by the part that changes it.
#ifndef CONSILIUM_COORDINATOR_SERVICE_ADMIN_SERVICE_H_
#define CONSILIUM_COORDINATOR_SERVICE_ADMIN_SERVICE_H_

#include <functional>
#include <string>
#include <vector>

#include "consilium/v1/admin.grpc.pb.h"
#include "coordinator/round/federation_driver.h"
#include "coordinator/round/model_registry.h"
#include "coordinator/round/site_registry.h"
#include "coordinator/service/access_gate.h"
#include "coordinator/service/audit_calls.h"
#include "coordinator/store/store.h"

namespace consilium::coordinator {

// What an invitation tells a site.
struct InvitationTerms {
  std::string federation;
  std::string federation_address;
  std::string enrolment_address;
  std::string ca_pem;
  std::string ca_sha256;
};

class AdminService final : public v1::Admin::Service {
 public:
  // All must outlive it.
  struct Parts {
    FederationDriver& driver;
    SiteRegistry& sites;
    ModelRegistry& models;
    Store& store;
    ModelStore& weights;
    AccessGate& gate;
    AuditCalls& audit;
    std::string home;
  };
  // `terms` is asked for each invitation: the ports are known only once the server listens.
  AdminService(const Parts& parts, std::function<InvitationTerms()> terms)
      : driver_(parts.driver),
        sites_(parts.sites),
        models_(parts.models),
        store_(parts.store),
        weights_(parts.weights),
        gate_(parts.gate),
        audit_(parts.audit),
        home_(parts.home),
        terms_(std::move(terms)) {}

  grpc::Status InviteSite(grpc::ServerContext* context, const v1::InviteSiteRequest* request,
                          v1::InviteSiteReply* reply) override;
  grpc::Status ListSites(grpc::ServerContext* context, const v1::ListSitesRequest* request,
                         v1::ListSitesReply* reply) override;
  grpc::Status SetSiteState(grpc::ServerContext* context, const v1::SetSiteStateRequest* request,
                            v1::Site* reply) override;
  grpc::Status CreateStudy(grpc::ServerContext* context, const v1::CreateStudyRequest* request,
                           v1::Study* reply) override;
  grpc::Status ListStudies(grpc::ServerContext* context, const v1::ListStudiesRequest* request,
                           v1::ListStudiesReply* reply) override;
  grpc::Status GetStudy(grpc::ServerContext* context, const v1::GetStudyRequest* request,
                        v1::Study* reply) override;
  grpc::Status ControlStudy(grpc::ServerContext* context, const v1::ControlStudyRequest* request,
                            v1::Study* reply) override;
  grpc::Status WatchStudy(grpc::ServerContext* context, const v1::GetStudyRequest* request,
                          grpc::ServerWriter<v1::Study>* writer) override;
  grpc::Status ListRounds(grpc::ServerContext* context, const v1::ListRoundsRequest* request,
                          v1::ListRoundsReply* reply) override;
  grpc::Status ListModels(grpc::ServerContext* context, const v1::ListModelsRequest* request,
                          v1::ListModelsReply* reply) override;
  grpc::Status GetModel(grpc::ServerContext* context, const v1::GetModelRequest* request,
                        v1::Model* reply) override;
  grpc::Status ExportModel(grpc::ServerContext* context, const v1::GetModelRequest* request,
                           grpc::ServerWriter<v1::Chunk>* writer) override;
  grpc::Status SetAlias(grpc::ServerContext* context, const v1::SetAliasRequest* request,
                        v1::Model* reply) override;
  // admin_registry.cc
  grpc::Status Rollback(grpc::ServerContext* context, const v1::RollbackRequest* request,
                        v1::Model* reply) override;
  grpc::Status ImportModel(grpc::ServerContext* context,
                           grpc::ServerReader<v1::ImportModelRequest>* reader,
                           v1::Model* reply) override;
  grpc::Status DiffModels(grpc::ServerContext* context, const v1::DiffModelsRequest* request,
                          v1::DiffModelsReply* reply) override;
  grpc::Status CollectGarbage(grpc::ServerContext* context,
                              const v1::CollectGarbageRequest* request,
                              v1::CollectGarbageReply* reply) override;
  // admin_upkeep.cc
  grpc::Status CreateBackup(grpc::ServerContext* context, const v1::CreateBackupRequest* request,
                            v1::CreateBackupReply* reply) override;
  grpc::Status RunDoctor(grpc::ServerContext* context, const v1::RunDoctorRequest* request,
                         v1::RunDoctorReply* reply) override;
  grpc::Status CreateRelease(grpc::ServerContext* context, const v1::CreateReleaseRequest* request,
                             v1::Release* reply) override;
  grpc::Status ListReleases(grpc::ServerContext* context, const v1::ListReleasesRequest* request,
                            v1::ListReleasesReply* reply) override;
  grpc::Status RecordPublication(grpc::ServerContext* context,
                                 const v1::RecordPublicationRequest* request,
                                 v1::Release* reply) override;
  grpc::Status SearchAudit(grpc::ServerContext* context, const v1::SearchAuditRequest* request,
                           v1::SearchAuditReply* reply) override;
  grpc::Status GetAuditCheckpoint(grpc::ServerContext* context,
                                  const v1::GetAuditCheckpointRequest* request,
                                  v1::GetAuditCheckpointReply* reply) override;
  grpc::Status ProveAudit(grpc::ServerContext* context, const v1::ProveAuditRequest* request,
                          v1::ProveAuditReply* reply) override;
  grpc::Status ExportAudit(grpc::ServerContext* context, const v1::ExportAuditRequest* request,
                           grpc::ServerWriter<v1::ExportAuditPiece>* writer) override;
  grpc::Status EraseAuditName(grpc::ServerContext* context,
                              const v1::EraseAuditNameRequest* request,
                              v1::EraseAuditNameReply* reply) override;

 private:
  v1::Site SiteMessage(const SiteStatus& site) const;
  grpc::Status Serve(grpc::ServerContext* context, absl::string_view action,
                     const std::function<absl::Status(const std::string& admin)>& call);
  absl::Status Import(grpc::ServerReader<v1::ImportModelRequest>& reader, const std::string& admin,
                      v1::Model& reply);
  absl::StatusOr<v1::Study> StudyMessage(const StudyView& view) const;

  FederationDriver& driver_;
  SiteRegistry& sites_;
  ModelRegistry& models_;
  Store& store_;
  ModelStore& weights_;
  AccessGate& gate_;
  AuditCalls& audit_;
  const std::string home_;
  const std::function<InvitationTerms()> terms_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_ADMIN_SERVICE_H_
