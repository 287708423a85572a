#include "coordinator/service/federation_service.h"

#include <algorithm>
#include <thread>

#include "absl/strings/str_cat.h"
#include "coordinator/home.h"
#include "coordinator/service/convert.h"
#include "coordinator/service/download_stream.h"
#include "coordinator/service/held_question.h"
#include "coordinator/service/site_call.h"
#include "coordinator/service/upload_stream.h"
#include "proto/base/status.h"
#include "proto/wire/transport.h"

namespace consilium::coordinator {
namespace {
constexpr size_t kTaskIdBytesMax = 256;
constexpr size_t kCsrBytesMax = 64 * 1024;
}  // namespace

int TransferThreads() {
  return std::max(2, static_cast<int>(std::thread::hardware_concurrency()));
}

grpc::Status FederationService::Serve(
    grpc::ServerContext* context, absl::string_view action,
    const std::function<absl::Status(const std::string& site)>& call) {
  SiteCall site_call(gate_, sites_, context, action);
  if (!site_call.admitted().ok()) return site_call.End(site_call.admitted());
  return site_call.End(call(site_call.site()));
}

grpc::Status FederationService::Hello(grpc::ServerContext* context,
                                      const v1::HelloRequest* request, v1::HelloReply* reply) {
  return Serve(context, kHelloAction, [&](const std::string& site) -> absl::Status {
    reply->set_protocol_version(kProtocolVersion);
    reply->set_federation(federation_);
    reply->set_site(site);
    reply->set_lease_seconds(static_cast<uint32_t>(absl::ToInt64Seconds(driver_.ShortestLease())));
    if (const uint32_t theirs = request->protocol_version();
        theirs < kProtocolVersionMin || theirs > kProtocolVersion) {
      return absl::FailedPreconditionError(absl::StrCat(
          "this coordinator speaks the protocol's versions ", kProtocolVersionMin, " to ",
          kProtocolVersion, ", the site ", theirs, "; upgrade the ",
          theirs > kProtocolVersion ? "coordinator" : "agent"));
    }
    // An agent of before says it here alone.
    CSL_RETURN_IF_ERROR(sites_.AdmitProcess(site, request->incarnation(),
                                            SiteRegistry::ProcessCall::kHello));
    CSL_ASSIGN_OR_RETURN(const std::string key, sites_.EnrolmentKey(site));
    CSL_RETURN_IF_ERROR(witnesses_.Hello(site, key, *request, *reply));
    CSL_RETURN_IF_ERROR(sites_.NoteClock(site, request->time_unix_ms()));
    return sites_.SetSoftware(
        site, {request->software_version(),
               {request->capabilities().begin(), request->capabilities().end()}});
  });
}

grpc::ServerUnaryReactor* FederationService::NextTask(grpc::CallbackServerContext* context,
                                                      const v1::NextTaskRequest* request,
                                                      v1::NextTaskReply* reply) {
  return HoldQuestion(driver_, sites_, gate_, context, *request, reply,
                      [this] { return witnesses_.checkpoint_size(); });
}

grpc::Status FederationService::ReportCohort(grpc::ServerContext* context,
                                             const v1::CohortReport* request,
                                             v1::Acknowledgement*) {
  return Serve(context, "cohort.report", [&](const std::string& site) {
    return driver_.ReportCohort(FromMessage(*request, site), request->task_id());
  });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* FederationService::DownloadModel(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return SendModel({driver_, sites_, gate_, transfers_}, context, *request);
}

grpc::Status FederationService::BeginUpload(grpc::ServerContext* context,
                                            const v1::BeginUploadRequest* request,
                                            v1::BeginUploadReply* reply) {
  return Serve(context, "upload.begin", [&](const std::string& site) -> absl::Status {
    if (request->task_id().size() > kTaskIdBytesMax) {
      return absl::InvalidArgumentError("task_id: too long");
    }
    CSL_ASSIGN_OR_RETURN(const FederationDriver::UploadPosition position,
                         driver_.BeginUpload(FromMessage(*request, site)));
    reply->set_upload_id(position.upload_id);
    reply->set_have_offset(position.have_offset);
    return absl::OkStatus();
  });
}

grpc::ServerReadReactor<grpc::ByteBuffer>* FederationService::UploadChunks(
    grpc::CallbackServerContext* context, grpc::ByteBuffer* reply) {
  return ReceiveUpload({driver_, sites_, gate_, transfers_}, context, reply);
}

grpc::Status FederationService::CommitUpload(grpc::ServerContext* context,
                                             const v1::CommitUploadRequest* request,
                                             v1::CommitUploadReply* reply) {
  return Serve(context, "upload.commit", [&](const std::string& site) -> absl::Status {
    driver_.SignOfProgress(site);
    CSL_ASSIGN_OR_RETURN(const FederationDriver::UploadAnswer answer,
                         driver_.CommitUpload(site, request->upload_id()));
    reply->set_accepted(answer.accepted);
    reply->set_reason(answer.reason);
    return absl::OkStatus();
  });
}

grpc::Status FederationService::ReportProgress(grpc::ServerContext* context,
                                               const v1::ProgressReport* request,
                                               v1::ProgressReply* reply) {
  return Serve(context, "progress.report", [&](const std::string& site) -> absl::Status {
    CSL_RETURN_IF_ERROR(sites_.NoteClock(site, request->time_unix_ms()));
    const absl::Status status = driver_.ReportProgress(site, FromMessage(*request));
    if (!absl::IsFailedPrecondition(status)) return status;
    reply->set_abandon(true);
    return absl::OkStatus();
  });
}

grpc::Status FederationService::DeclineTask(grpc::ServerContext* context,
                                            const v1::DeclineTaskRequest* request,
                                            v1::Acknowledgement*) {
  return Serve(context, "task.decline", [&](const std::string& site) -> absl::Status {
    if (request->task_id().size() > kTaskIdBytesMax) {
      return absl::InvalidArgumentError("task_id: too long");
    }
    return driver_.Decline(site, request->task_id(), request->reason());
  });
}

grpc::Status FederationService::AgreeKeys(grpc::ServerContext* context,
                                          const v1::AgreeKeysRequest* request,
                                          v1::AgreeKeysReply* reply) {
  return Serve(context, "keys.agree", [&](const std::string& site) {
    return masking_.AgreeKeys(site, *request, *reply);
  });
}

grpc::Status FederationService::SubmitConsent(grpc::ServerContext* context,
                                              const v1::ConsentReport* request,
                                              v1::Acknowledgement*) {
  return Serve(context, "consent.submit", [&](const std::string& site) {
    return masking_.SubmitConsent(site, *request);
  });
}

grpc::Status FederationService::SubmitReveal(grpc::ServerContext* context,
                                             const v1::RevealReport* request,
                                             v1::Acknowledgement*) {
  return Serve(context, "reveal.submit", [&](const std::string& site) {
    return masking_.SubmitReveal(site, *request);
  });
}

grpc::Status FederationService::ReportEvaluation(grpc::ServerContext* context,
                                                 const v1::EvaluationReport* request,
                                                 v1::Acknowledgement*) {
  return Serve(context, "evaluation.report", [&](const std::string& site) {
    return driver_.ReportEvaluation(site, request->task_id(), FromMessage(*request));
  });
}

grpc::Status FederationService::GetCheckpoint(grpc::ServerContext* context,
                                              const v1::GetCheckpointRequest* request,
                                              v1::GetCheckpointReply* reply) {
  return Serve(context, "checkpoint.get", [&](const std::string&) {
    return witnesses_.GetCheckpoint(*request, *reply);
  });
}

grpc::Status FederationService::SubmitCosignature(grpc::ServerContext* context,
                                                  const v1::SubmitCosignatureRequest* request,
                                                  v1::Acknowledgement*) {
  return Serve(context, "checkpoint.cosign", [&](const std::string& site) {
    return witnesses_.SubmitCosignature(site, *request);
  });
}

grpc::Status FederationService::RenewCertificate(grpc::ServerContext* context,
                                                 const v1::RenewCertificateRequest* request,
                                                 v1::RenewCertificateReply* reply) {
  return Serve(context, "site.renew", [&](const std::string& site) -> absl::Status {
    if (request->csr_pem().size() > kCsrBytesMax) {
      return absl::InvalidArgumentError("the certificate request is too long");
    }
    CSL_ASSIGN_OR_RETURN(const Peer peer, PeerOf(*context->auth_context()));
    CSL_ASSIGN_OR_RETURN(const privacy::KeyAndCertificate ca, ReadCa(ca_folder_));
    CSL_ASSIGN_OR_RETURN(*reply->mutable_certificate_pem(),
                         sites_.Renew(site, peer.key_sha256, request->csr_pem(), ca));
    return absl::OkStatus();
  });
}

}  // namespace consilium::coordinator
