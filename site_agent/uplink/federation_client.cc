#include "site_agent/uplink/federation_client.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/random.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/agent_options.h"
#include "site_agent/uplink/convert.h"

namespace consilium::agent {
namespace {

constexpr uint32_t kProtocolVersion = 1;
constexpr const char* kCapabilities[] = {"sealed", "unet", "mean_teacher"};
constexpr size_t kIncarnationBytes = 16;
constexpr absl::Duration kAskWaitMax = absl::Seconds(60);  // of the protocol
constexpr int kUploadStreamsMax = 4;  // within one Upload, when the server took less than was sent
constexpr size_t kUploadIdBytesMax = 256;
constexpr size_t kReasonBytesMax = 500;

}  // namespace

// One running call: its context, known to Cancel() for as long as it lives.
class FederationClient::Call {
 public:
  Call(FederationClient& client, absl::Duration timeout) : client_(client) {
    context_.set_deadline(wire::DeadlineIn(timeout));
    absl::MutexLock lock(&client_.mutex_);
    client_.running_.insert(&context_);
    if (client_.cancelled_) context_.TryCancel();
  }
  ~Call() {
    absl::MutexLock lock(&client_.mutex_);
    client_.running_.erase(&context_);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  grpc::ClientContext* context() { return &context_; }

 private:
  FederationClient& client_;
  grpc::ClientContext context_;
};

FederationClient::FederationClient(Options options)
    : options_(std::move(options)),
      incarnation_(HexEncode(privacy::RandomBytes(kIncarnationBytes))),
      stub_(v1::Federation::NewStub(wire::ConnectTls(options_.address, options_.tls,
                                                     AddressHost(options_.address)))) {}

void FederationClient::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  for (grpc::ClientContext* context : running_) context->TryCancel();
}

absl::Status FederationClient::Hello() {
  v1::HelloRequest request;
  request.set_protocol_version(kProtocolVersion);
  request.set_software_version(options_.software_version);
  for (const char* capability : kCapabilities) request.add_capabilities(capability);
  request.set_time_unix_ms(absl::ToUnixMillis(Clock::System().Now()));
  request.set_incarnation(incarnation_);
  v1::HelloReply reply;
  Call call(*this, options_.call_timeout);
  CSL_RETURN_IF_ERROR(wire::FromGrpc(stub_->Hello(call.context(), request, &reply)));
  if (reply.protocol_version() != kProtocolVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("the coordinator speaks protocol version ", reply.protocol_version(),
                     ", this agent ", kProtocolVersion, "; upgrade the ",
                     reply.protocol_version() > kProtocolVersion ? "agent" : "coordinator"));
  }
  if (reply.site() != options_.site || reply.federation() != options_.federation) {
    return absl::FailedPreconditionError("the coordinator takes this site for another");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<SiteTask>> FederationClient::NextTask(
    absl::Duration wait, const std::vector<std::string>& spooled_task_ids) {
  wait = std::clamp(wait, absl::ZeroDuration(), kAskWaitMax);
  v1::NextTaskRequest request;
  request.set_wait_seconds(static_cast<uint32_t>(absl::ToInt64Seconds(wait)));
  for (const std::string& id : spooled_task_ids) request.add_spooled_task_ids(id);
  v1::NextTaskReply reply;
  Call call(*this, wait + options_.call_timeout);
  CSL_RETURN_IF_ERROR(wire::FromGrpc(stub_->NextTask(call.context(), request, &reply)));
  if (!reply.has_task()) return std::nullopt;
  CSL_ASSIGN_OR_RETURN(SiteTask task, TaskFromMessage(reply.task()));
  return task;
}

absl::Status FederationClient::ReportCohort(const std::string& task_id,
                                            const CohortSummary& cohort) {
  Call call(*this, options_.call_timeout);
  v1::Acknowledgement reply;
  return wire::FromGrpc(
      stub_->ReportCohort(call.context(), ToMessage(task_id, cohort), &reply));
}

absl::Status FederationClient::ReportProgress(const TaskProgress& progress) {
  v1::ProgressReport request = ToMessage(progress);
  request.set_time_unix_ms(absl::ToUnixMillis(Clock::System().Now()));
  Call call(*this, options_.call_timeout);
  v1::ProgressReply reply;
  CSL_RETURN_IF_ERROR(wire::FromGrpc(stub_->ReportProgress(call.context(), request, &reply)));
  if (reply.abandon()) return absl::FailedPreconditionError("the result is no longer awaited");
  return absl::OkStatus();
}

absl::Status FederationClient::Decline(const std::string& task_id, const std::string& reason) {
  v1::DeclineTaskRequest request;
  request.set_task_id(task_id);
  request.set_reason(reason);
  Call call(*this, options_.call_timeout);
  v1::Acknowledgement reply;
  return wire::FromGrpc(stub_->DeclineTask(call.context(), request, &reply));
}

absl::Status FederationClient::ReportEvaluation(const std::string& task_id,
                                                const EvaluationResult& result) {
  Call call(*this, options_.call_timeout);
  v1::Acknowledgement reply;
  return wire::FromGrpc(
      stub_->ReportEvaluation(call.context(), ToMessage(task_id, result), &reply));
}

absl::Status FederationClient::DownloadModel(const ModelRef& model, const std::string& path,
                                             const ByteProgress& progress) {
  const std::string partial = absl::StrCat(path, ".partial");
  CSL_RETURN_IF_ERROR(DownloadRest(model, partial, progress));
  CSL_ASSIGN_OR_RETURN(const std::string digest, privacy::Sha256HexOfFile(partial));
  if (digest != model.sha256) {
    std::remove(partial.c_str());
    return absl::DataLossError("the downloaded model does not have its digest");
  }
  return RenameDurably(partial, path);
}

absl::Status FederationClient::DownloadRest(const ModelRef& model, const std::string& partial,
                                            const ByteProgress& progress) {
  CSL_ASSIGN_OR_RETURN(File file, File::Open(partial, File::Mode::kReadWriteCreate));
  CSL_ASSIGN_OR_RETURN(uint64_t have, file.Bytes());
  if (have > model.bytes) {
    have = 0;
    CSL_RETURN_IF_ERROR(file.Truncate(0));
  }
  if (have < model.bytes) {
    v1::DownloadModelRequest request;
    request.set_sha256(model.sha256);
    request.set_offset(have);
    Call call(*this, options_.stream_timeout);
    const auto reader = stub_->DownloadModel(call.context(), request);
    absl::Status local;
    for (v1::Chunk chunk; have < model.bytes && reader->Read(&chunk);) {
      local = wire::CheckChunk(chunk, have, model.bytes);
      if (local.ok()) local = file.WriteAt(have, chunk.data());
      if (!local.ok()) break;
      have += chunk.data().size();
      if (progress) progress(have, model.bytes);
    }
    if (!local.ok() || have == model.bytes) call.context()->TryCancel();
    const absl::Status ended = wire::FromGrpc(reader->Finish());
    CSL_RETURN_IF_ERROR(local);
    if (have < model.bytes) {
      CSL_RETURN_IF_ERROR(ended);
      return absl::UnavailableError("the download ended early");
    }
  }
  return file.Sync();
}

absl::StatusOr<UploadOutcome> FederationClient::Upload(const TaskKey& task,
                                                       const UpdateOffer& offer,
                                                       const std::string& path,
                                                       const ByteProgress& progress) {
  const v1::BeginUploadRequest request = ToMessage(task, offer);
  for (int stream = 0; stream < kUploadStreamsMax; ++stream) {
    CSL_ASSIGN_OR_RETURN(const v1::BeginUploadReply upload, BeginUpload(request));
    if (upload.have_offset() > offer.bytes || upload.upload_id().size() > kUploadIdBytesMax) {
      return absl::InternalError("the coordinator's answer to an upload makes no sense");
    }
    uint64_t have = upload.have_offset();
    if (have < offer.bytes) {
      CSL_ASSIGN_OR_RETURN(have, SendChunks(upload, path, offer.bytes, progress));
    }
    if (have == offer.bytes) return CommitUpload(upload.upload_id());
  }
  return absl::UnavailableError("the coordinator does not take the whole update");
}

absl::StatusOr<v1::BeginUploadReply> FederationClient::BeginUpload(
    const v1::BeginUploadRequest& request) {
  Call call(*this, options_.call_timeout);
  v1::BeginUploadReply reply;
  CSL_RETURN_IF_ERROR(wire::FromGrpc(stub_->BeginUpload(call.context(), request, &reply)));
  return reply;
}

absl::StatusOr<uint64_t> FederationClient::SendChunks(const v1::BeginUploadReply& upload,
                                                      const std::string& path, uint64_t bytes,
                                                      const ByteProgress& progress) {
  CSL_ASSIGN_OR_RETURN(const File file, File::Open(path, File::Mode::kRead));
  Call call(*this, options_.stream_timeout);
  v1::UploadChunksReply reply;
  const auto writer = stub_->UploadChunks(call.context(), &reply);
  absl::Status local;
  std::string buffer;
  for (uint64_t at = upload.have_offset(); at < bytes;) {
    buffer.resize(std::min<uint64_t>(wire::kChunkBytesMax, bytes - at));
    local = file.ReadAt(at, buffer.data(), buffer.size());
    if (!local.ok()) {
      call.context()->TryCancel();
      break;
    }
    v1::UploadChunk chunk;
    chunk.set_upload_id(upload.upload_id());
    *chunk.mutable_chunk() = wire::MakeChunk(at, buffer);
    if (!writer->Write(chunk)) break;  // Finish says why
    at += buffer.size();
    if (progress) progress(at, bytes);
  }
  writer->WritesDone();
  const absl::Status ended = wire::FromGrpc(writer->Finish());
  CSL_RETURN_IF_ERROR(local);
  CSL_RETURN_IF_ERROR(ended);
  return reply.have_offset();
}

absl::StatusOr<UploadOutcome> FederationClient::CommitUpload(const std::string& upload_id) {
  Call call(*this, options_.stream_timeout);  // the coordinator reads the whole file
  v1::CommitUploadRequest request;
  request.set_upload_id(upload_id);
  v1::CommitUploadReply reply;
  CSL_RETURN_IF_ERROR(wire::FromGrpc(stub_->CommitUpload(call.context(), request, &reply)));
  return UploadOutcome{reply.accepted(), reply.reason().substr(0, kReasonBytesMax)};
}

}  // namespace consilium::agent
