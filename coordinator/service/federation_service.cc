#include "coordinator/service/federation_service.h"

#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "coordinator/service/convert.h"
#include "coordinator/service/model_stream.h"
#include "proto/base/status.h"
#include "proto/wire/transport.h"

namespace consilium::coordinator {
namespace {
constexpr size_t kTaskIdBytesMax = 256;
}  // namespace

grpc::Status FederationService::Serve(
    grpc::ServerContext* context, absl::string_view action,
    const std::function<absl::Status(const std::string& site)>& call) {
  const absl::StatusOr<Peer> peer = PeerOf(*context->auth_context());
  if (!peer.ok()) {
    gate_.Refused("unknown", action, peer.status());
    return wire::ToGrpc(peer.status());
  }
  const std::string& site = peer->identity.name;
  // Registered before it is admitted, so that a revocation in between still ends it.
  const AccessGate::OpenCall open(gate_, site, context);
  absl::Status status = gate_.Authorise(*peer, privacy::Role::kSite);
  if (status.ok()) {
    sites_.Seen(site);
    status = call(site);
    sites_.Seen(site);
  }
  if (!status.ok()) gate_.Refused(site, action, status);
  return wire::ToGrpc(status);
}

grpc::Status FederationService::Hello(grpc::ServerContext* context,
                                      const v1::HelloRequest* request, v1::HelloReply* reply) {
  return Serve(context, "site.hello", [&](const std::string& site) -> absl::Status {
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
    CSL_ASSIGN_OR_RETURN(const Peer peer, PeerOf(*context->auth_context()));
    CSL_RETURN_IF_ERROR(witnesses_.Hello(site, peer.key_sha256, *request, *reply));
    CSL_RETURN_IF_ERROR(sites_.NoteClock(site, request->time_unix_ms()));
    return sites_.SetSoftware(
        site, {request->software_version(),
               {request->capabilities().begin(), request->capabilities().end()}});
  });
}

grpc::Status FederationService::NextTask(grpc::ServerContext* context,
                                         const v1::NextTaskRequest* request,
                                         v1::NextTaskReply* reply) {
  return Serve(context, "task.next", [&](const std::string& site) {
    const std::optional<SiteTask> task =
        driver_.NextTask(site, absl::Seconds(request->wait_seconds()),
                         [context] { return context->IsCancelled(); });
    if (task) *reply->mutable_task() = ToMessage(*task, driver_.sealing_public_key());
    reply->set_checkpoint_size(witnesses_.checkpoint_size());
    return absl::OkStatus();
  });
}

grpc::Status FederationService::ReportCohort(grpc::ServerContext* context,
                                             const v1::CohortReport* request,
                                             v1::Acknowledgement*) {
  return Serve(context, "cohort.report", [&](const std::string& site) {
    return driver_.ReportCohort(FromMessage(*request, site), request->task_id());
  });
}

grpc::Status FederationService::DownloadModel(grpc::ServerContext* context,
                                              const v1::DownloadModelRequest* request,
                                              grpc::ServerWriter<v1::Chunk>* writer) {
  return Serve(context, "model.download", [&](const std::string& site) -> absl::Status {
    CSL_ASSIGN_OR_RETURN(const ModelReader model, driver_.OpenModel(request->sha256()));
    CSL_ASSIGN_OR_RETURN(const uint64_t sent, StreamModel(model, request->offset(), *writer));
    driver_.CountBytes(site, 0, static_cast<int64_t>(sent));
    return absl::OkStatus();
  });
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

grpc::Status FederationService::UploadChunks(grpc::ServerContext* context,
                                             grpc::ServerReader<v1::UploadChunk>* reader,
                                             v1::UploadChunksReply* reply) {
  return Serve(context, "upload.chunks", [&](const std::string& site) -> absl::Status {
    std::shared_ptr<Upload> upload;
    uint64_t stream = 0, offset = 0, received = 0;
    for (v1::UploadChunk message; reader->Read(&message);) {
      if (upload == nullptr) {
        CSL_ASSIGN_OR_RETURN(upload, driver_.FindUpload(site, message.upload_id()));
        stream = upload->Attach();
        offset = upload->have_offset();
      } else if (message.upload_id() != upload->id()) {
        return absl::InvalidArgumentError("one stream carries one upload");
      }
      const v1::Chunk& chunk = message.chunk();
      CSL_RETURN_IF_ERROR(wire::CheckChunk(chunk, offset, upload->announcement().bytes));
      CSL_RETURN_IF_ERROR(upload->Append(stream, chunk.offset(), chunk.data()));
      offset += chunk.data().size();
      received += chunk.data().size();
    }
    if (upload == nullptr) return absl::InvalidArgumentError("the stream had no chunk");
    reply->set_have_offset(upload->have_offset());
    driver_.CountBytes(site, static_cast<int64_t>(received), 0);
    return absl::OkStatus();
  });
}

grpc::Status FederationService::CommitUpload(grpc::ServerContext* context,
                                             const v1::CommitUploadRequest* request,
                                             v1::CommitUploadReply* reply) {
  return Serve(context, "upload.commit", [&](const std::string& site) -> absl::Status {
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

}  // namespace consilium::coordinator
