#include "coordinator/service/admin_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/service/convert.h"
#include "coordinator/service/model_stream.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"
#include "proto/wire/transport.h"

namespace consilium::coordinator {
namespace {

constexpr size_t kReasonBytesMax = 500;
constexpr absl::Duration kWatchWait = absl::Seconds(1);  // how soon a gone caller is noticed
constexpr absl::Duration kWatchPause = absl::Milliseconds(100);  // between two states, at least
constexpr int64_t kInvitationSecondsMax = int64_t{1} << 31;

Caller AdminCaller(const std::string& name) { return {name, "admin"}; }

absl::Status CheckReason(const std::string& reason) {
  if (reason.size() <= kReasonBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("reason: at most ", kReasonBytesMax, " bytes"));
}

bool HasEnded(const v1::Study& study) {
  return study.state() == "finished" || study.state() == "stopped" || study.state() == "failed";
}

}  // namespace

grpc::Status AdminService::Serve(
    grpc::ServerContext* context, absl::string_view action,
    const std::function<absl::Status(const std::string& admin)>& call) {
  const absl::StatusOr<Peer> peer = PeerOf(*context->auth_context());
  if (!peer.ok()) {
    gate_.Refused("unknown", action, peer.status());
    return wire::ToGrpc(peer.status());
  }
  const std::string& name = peer->identity.name;
  if (const absl::Status admitted = gate_.Authorise(*peer, privacy::Role::kAdmin);
      !admitted.ok()) {
    gate_.Refused(name, action, admitted);
    return wire::ToGrpc(admitted);
  }
  // What an administrator gets wrong is told to the administrator; only refusals at the door are
  // worth an entry.
  return wire::ToGrpc(call(name));
}

absl::StatusOr<v1::Study> AdminService::StudyMessage(const StudyView& view) const {
  CSL_ASSIGN_OR_RETURN(const std::vector<EvaluationRecord> evaluations,
                       store_.Evaluations(view.run->record().name));
  return ToMessage(view, sites_.List(), evaluations);
}

grpc::Status AdminService::InviteSite(grpc::ServerContext* context,
                                      const v1::InviteSiteRequest* request,
                                      v1::InviteSiteReply* reply) {
  return Serve(context, "site.invite", [&](const std::string& admin) -> absl::Status {
    if (request->valid_seconds() < 0 || request->valid_seconds() > kInvitationSecondsMax) {
      return absl::InvalidArgumentError("valid_seconds: out of range");
    }
    CSL_ASSIGN_OR_RETURN(
        const SiteRegistry::Invitation invitation,
        sites_.Invite(request->site(), absl::Seconds(request->valid_seconds()), admin));
    const InvitationTerms terms = terms_();
    reply->set_federation(terms.federation);
    reply->set_site(request->site());
    reply->set_token(invitation.token);
    reply->set_enrolment_address(terms.enrolment_address);
    reply->set_federation_address(terms.federation_address);
    reply->set_ca_pem(terms.ca_pem);
    reply->set_ca_sha256(terms.ca_sha256);
    reply->set_expires_unix(absl::ToUnixSeconds(invitation.expires));
    return absl::OkStatus();
  });
}

v1::Site AdminService::SiteMessage(const SiteStatus& site) const {
  v1::Site message = ToMessage(site, driver_.WorkOf(site.record.name));
  if (const auto declined = driver_.LastDeclined(site.record.name)) {
    message.set_declined(absl::StrCat(declined->study, ": ", declined->reason));
    message.set_declined_unix(absl::ToUnixSeconds(declined->time));
  }
  return message;
}

grpc::Status AdminService::ListSites(grpc::ServerContext* context,
                                     const v1::ListSitesRequest* request,
                                     v1::ListSitesReply* reply) {
  return Serve(context, "site.list", [&](const std::string&) -> absl::Status {
    if (!request->name().empty()) {
      CSL_ASSIGN_OR_RETURN(const SiteStatus site, sites_.Get(request->name()));
      *reply->add_sites() = SiteMessage(site);
      return absl::OkStatus();
    }
    for (const SiteStatus& site : sites_.List()) {
      *reply->add_sites() = SiteMessage(site);
    }
    return absl::OkStatus();
  });
}

grpc::Status AdminService::SetSiteState(grpc::ServerContext* context,
                                        const v1::SetSiteStateRequest* request, v1::Site* reply) {
  return Serve(context, "site.state", [&](const std::string& admin) -> absl::Status {
    CSL_RETURN_IF_ERROR(CheckReason(request->reason()));
    CSL_ASSIGN_OR_RETURN(const SiteState state, SiteStateFromName(request->state()));
    CSL_ASSIGN_OR_RETURN(const SiteStatus site, sites_.SetState(request->name(), state,
                                                                request->reason(), admin));
    if (state != SiteState::kApproved) {
      gate_.Cut(request->name());
      driver_.OnSiteGone(request->name(), absl::StrCat("the site was ", Name(state)));
    }
    *reply = ToMessage(site, driver_.WorkOf(site.record.name));
    return absl::OkStatus();
  });
}

grpc::Status AdminService::CreateStudy(grpc::ServerContext* context,
                                       const v1::CreateStudyRequest* request, v1::Study* reply) {
  return Serve(context, "study.create", [&](const std::string& admin) -> absl::Status {
    CSL_ASSIGN_OR_RETURN(const StudyView view,
                         driver_.CreateStudy(request->yaml(), AdminCaller(admin)));
    CSL_ASSIGN_OR_RETURN(*reply, StudyMessage(view));
    AddPromise(*view.run, *reply);
    return absl::OkStatus();
  });
}

grpc::Status AdminService::ListStudies(grpc::ServerContext* context, const v1::ListStudiesRequest*,
                                       v1::ListStudiesReply* reply) {
  return Serve(context, "study.list", [&](const std::string&) -> absl::Status {
    const std::vector<SiteStatus> sites = sites_.List();
    for (const StudyView& view : driver_.ListStudies()) {
      *reply->add_studies() = ToMessage(view, sites, {});
    }
    return absl::OkStatus();
  });
}

grpc::Status AdminService::GetStudy(grpc::ServerContext* context, const v1::GetStudyRequest* request,
                                    v1::Study* reply) {
  return Serve(context, "study.show", [&](const std::string&) -> absl::Status {
    CSL_ASSIGN_OR_RETURN(const StudyView view, driver_.GetStudy(request->name()));
    CSL_ASSIGN_OR_RETURN(*reply, StudyMessage(view));
    AddPromise(*view.run, *reply);
    return absl::OkStatus();
  });
}

grpc::Status AdminService::ControlStudy(grpc::ServerContext* context,
                                        const v1::ControlStudyRequest* request, v1::Study* reply) {
  return Serve(context, "study.control", [&](const std::string& admin) -> absl::Status {
    CSL_RETURN_IF_ERROR(CheckReason(request->reason()));
    CSL_ASSIGN_OR_RETURN(const StudyView view,
                         driver_.ControlStudy(request->name(), request->action(),
                                              request->reason(), AdminCaller(admin)));
    CSL_ASSIGN_OR_RETURN(*reply, StudyMessage(view));
    return absl::OkStatus();
  });
}

grpc::Status AdminService::WatchStudy(grpc::ServerContext* context,
                                      const v1::GetStudyRequest* request,
                                      grpc::ServerWriter<v1::Study>* writer) {
  return Serve(context, "study.watch", [&](const std::string&) -> absl::Status {
    std::string last;
    while (!context->IsCancelled()) {
      CSL_ASSIGN_OR_RETURN(const StudyView view, driver_.GetStudy(request->name()));
      CSL_ASSIGN_OR_RETURN(const v1::Study now, StudyMessage(view));
      // Another study's change, or a site that is seen again, may leave this one as it is.
      if (std::string bytes = now.SerializeAsString(); bytes != last) {
        if (!writer->Write(now)) return absl::CancelledError("the caller went");
        last = std::move(bytes);
      }
      if (HasEnded(now)) return absl::OkStatus();
      if (driver_.draining()) {
        return absl::UnavailableError("the coordinator is shutting down; watch again later");
      }
      driver_.WaitForChange(UINT64_MAX, kWatchPause);  // nothing but a shutdown cuts it short
      driver_.WaitForChange(view.revision, kWatchWait);
    }
    return absl::CancelledError("the caller went");
  });
}

grpc::Status AdminService::ListRounds(grpc::ServerContext* context,
                                      const v1::ListRoundsRequest* request,
                                      v1::ListRoundsReply* reply) {
  return Serve(context, "round.list", [&](const std::string&) -> absl::Status {
    CSL_RETURN_IF_ERROR(CheckName("study", request->study()));
    CSL_ASSIGN_OR_RETURN(const StudyView view, driver_.GetStudy(request->study()));
    CSL_ASSIGN_OR_RETURN(const std::vector<RoundRecord> rounds, store_.Rounds(request->study()));
    for (const RoundRecord& round : rounds) {
      if (request->round() == 0 || request->round() == round.number) {
        *reply->add_rounds() = ToMessage(round, view);
      }
    }
    return absl::OkStatus();
  });
}

grpc::Status AdminService::ListModels(grpc::ServerContext* context,
                                      const v1::ListModelsRequest* request,
                                      v1::ListModelsReply* reply) {
  return Serve(context, "model.list", [&](const std::string&) -> absl::Status {
    CSL_ASSIGN_OR_RETURN(const std::vector<ModelView> models, models_.List(request->study()));
    for (const ModelView& model : models) {
      v1::Model& out = *reply->add_models();
      out = ToMessage(model);
      // Single cases are for `show`; a list of many versions has to stay within one message.
      for (v1::SiteEvaluation& site : *out.mutable_evaluation()) site.clear_cases();
    }
    return absl::OkStatus();
  });
}

grpc::Status AdminService::GetModel(grpc::ServerContext* context, const v1::GetModelRequest* request,
                                    v1::Model* reply) {
  return Serve(context, "model.show", [&](const std::string&) -> absl::Status {
    CSL_ASSIGN_OR_RETURN(const ModelView model, models_.Get(request->version()));
    *reply = ToMessage(model);
    return absl::OkStatus();
  });
}

grpc::Status AdminService::ExportModel(grpc::ServerContext* context,
                                       const v1::GetModelRequest* request,
                                       grpc::ServerWriter<v1::Chunk>* writer) {
  return Serve(context, "model.export", [&](const std::string&) -> absl::Status {
    CSL_ASSIGN_OR_RETURN(const ModelView model, models_.Get(request->version()));
    CSL_ASSIGN_OR_RETURN(const ModelReader reader, driver_.OpenModel(model.version.sha256));
    return StreamModel(reader, 0, *writer).status();
  });
}

grpc::Status AdminService::SetAlias(grpc::ServerContext* context, const v1::SetAliasRequest* request,
                                    v1::Model* reply) {
  return Serve(context, "alias.move", [&](const std::string& admin) -> absl::Status {
    CSL_ASSIGN_OR_RETURN(const ModelView model,
                         models_.SetAlias({.study = request->study(),
                                           .alias = request->alias(),
                                           .version = request->version(),
                                           .expected_version = request->expected_version()},
                                          admin));
    *reply = ToMessage(model);
    return absl::OkStatus();
  });
}

grpc::Status AdminService::CreateRelease(grpc::ServerContext* context,
                                         const v1::CreateReleaseRequest* request,
                                         v1::Release* reply) {
  return Serve(context, "release.create", [&](const std::string& admin) -> absl::Status {
    CSL_ASSIGN_OR_RETURN(const ReleaseRecord release,
                         models_.CreateRelease(request->version(), admin));
    *reply = ToMessage(release);
    return absl::OkStatus();
  });
}

grpc::Status AdminService::ListReleases(grpc::ServerContext* context,
                                        const v1::ListReleasesRequest* request,
                                        v1::ListReleasesReply* reply) {
  return Serve(context, "release.list", [&](const std::string&) -> absl::Status {
    CSL_ASSIGN_OR_RETURN(const std::vector<ReleaseRecord> releases,
                         models_.Releases(request->name()));
    for (const ReleaseRecord& release : releases) *reply->add_releases() = ToMessage(release);
    return absl::OkStatus();
  });
}

grpc::Status AdminService::RecordPublication(grpc::ServerContext* context,
                                             const v1::RecordPublicationRequest* request,
                                             v1::Release* reply) {
  return Serve(context, "release.publish", [&](const std::string& admin) -> absl::Status {
    CSL_ASSIGN_OR_RETURN(
        const ReleaseRecord release,
        models_.RecordPublication({.release = request->release(),
                                   .target = request->target(),
                                   .manifest_sha256 = request->manifest_sha256()},
                                  admin));
    *reply = ToMessage(release);
    return absl::OkStatus();
  });
}

grpc::Status AdminService::SearchAudit(grpc::ServerContext* context,
                                       const v1::SearchAuditRequest* request,
                                       v1::SearchAuditReply* reply) {
  return Serve(context, "audit.search",
               [&](const std::string&) { return audit_.Search(*request, *reply); });
}

grpc::Status AdminService::GetAuditCheckpoint(grpc::ServerContext* context,
                                              const v1::GetAuditCheckpointRequest*,
                                              v1::GetAuditCheckpointReply* reply) {
  return Serve(context, "audit.checkpoint",
               [&](const std::string&) { return audit_.Checkpoint(*reply); });
}

grpc::Status AdminService::ProveAudit(grpc::ServerContext* context,
                                      const v1::ProveAuditRequest* request,
                                      v1::ProveAuditReply* reply) {
  return Serve(context, "audit.prove",
               [&](const std::string&) { return audit_.Prove(*request, *reply); });
}

grpc::Status AdminService::ExportAudit(grpc::ServerContext* context,
                                       const v1::ExportAuditRequest* request,
                                       grpc::ServerWriter<v1::ExportAuditPiece>* writer) {
  return Serve(context, "audit.export", [&](const std::string& admin) {
    return audit_.Export(admin, *request, [writer](const v1::ExportAuditPiece& piece) {
      return writer->Write(piece);
    });
  });
}

grpc::Status AdminService::EraseAuditName(grpc::ServerContext* context,
                                          const v1::EraseAuditNameRequest* request,
                                          v1::EraseAuditNameReply* reply) {
  return Serve(context, "audit.erase", [&](const std::string& admin) {
    return audit_.Erase(admin, *request, *reply);
  });
}

}  // namespace consilium::coordinator
