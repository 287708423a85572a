#include "site_agent/uplink/federation_client.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/random.h"
#include "proto/base/bytes.h"
#include "proto/base/clock.h"
#include "proto/base/heap.h"
#include "proto/base/status.h"
#include "proto/wire/chunk_frame.h"
#include "site_agent/agent_options.h"
#include "site_agent/uplink/bulk_stream.h"
#include "site_agent/uplink/convert.h"

namespace consilium::agent {
namespace {

constexpr uint32_t kProtocolVersion = 1;
constexpr const char* kCapabilities[] = {
    "sealed",  "unet",    "mean_teacher", "secure-aggregation", "dp-sgd",
    "dp-site", "fedprox", "scaffold",     "local-layers",       "personal-model",
    "channels"};
constexpr const char* kWitnessCapability = "witness";
constexpr size_t kIncarnationBytes = 16;
constexpr absl::Duration kAskWaitMax = absl::Seconds(60);  // of the protocol
constexpr int kUploadStreamsMax = 4;  // within one Upload, when the server took less than was sent
constexpr size_t kReasonBytesMax = 500;
constexpr size_t kHashPieceBytes = 1 << 20;
constexpr const char* kUploadMethod = "/consilium.v1.Federation/UploadChunks";
constexpr const char* kDownloadMethod = "/consilium.v1.Federation/DownloadModel";

grpc::ByteBuffer BufferOf(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

// The UploadChunk at `at`: one read into the memory that is sent.
absl::StatusOr<grpc::ByteBuffer> UploadMessage(const File& file, const std::string& upload_id,
                                               uint64_t at, uint64_t bytes) {
  grpc::Slice payload(std::min<uint64_t>(wire::kTransferPieceBytes, bytes - at));
  char* const data = const_cast<char*>(reinterpret_cast<const char*>(payload.begin()));
  CSL_RETURN_IF_ERROR(file.ReadAt(at, data, payload.size()));
  const uint32_t crc = Crc32c({data, payload.size()});
  const grpc::Slice slices[] = {
      grpc::Slice(wire::UploadChunkHeader(upload_id, at, crc, payload.size())), payload};
  return grpc::ByteBuffer(slices, 2);
}

absl::Status TakeChunk(const grpc::ByteBuffer& message, uint64_t bytes, File& file, uint64_t& have,
                       privacy::Sha256Stream& hash) {
  std::vector<grpc::Slice> slices;
  if (!message.Dump(&slices).ok()) return absl::InternalError("a message is unreadable");
  std::vector<absl::string_view> pieces;
  for (const grpc::Slice& slice : slices) {
    pieces.emplace_back(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  CSL_ASSIGN_OR_RETURN(const wire::ChunkFrame frame, wire::ParseChunk(pieces));
  CSL_RETURN_IF_ERROR(wire::CheckFrame(frame, have, bytes));
  CSL_RETURN_IF_ERROR(file.WriteAt(have, frame.data));
  for (const absl::string_view piece : frame.data) hash.Update(piece);
  have += frame.bytes;
  return absl::OkStatus();
}

// Puts what an earlier try left into `hash`, and says how much it is.
absl::StatusOr<uint64_t> TakeUpPartial(File& file, uint64_t bytes, privacy::Sha256Stream& hash) {
  CSL_ASSIGN_OR_RETURN(const uint64_t have, file.Bytes());
  if (have > bytes) {
    CSL_RETURN_IF_ERROR(file.Truncate(0));
    return uint64_t{0};
  }
  std::string piece;
  for (uint64_t at = 0; at < have; at += piece.size()) {
    piece.resize(std::min<uint64_t>(kHashPieceBytes, have - at));
    CSL_RETURN_IF_ERROR(file.ReadAt(at, piece.data(), piece.size()));
    hash.Update(piece);
  }
  return have;
}

}  // namespace

// One running call: its context, known to Cancel() for as long as it lives.
class FederationClient::Call {
 public:
  Call(FederationClient& client, absl::Duration timeout) : client_(client) {
    context_.set_deadline(wire::DeadlineIn(timeout));
    context_.AddMetadata(wire::kIncarnationMetadata, client_.incarnation_);
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
      incarnation_(HexEncode(privacy::RandomBytes(kIncarnationBytes))) {
  UseIdentity(options_.tls);
}

void FederationClient::UseIdentity(wire::TlsFiles tls) {
  const auto channel = wire::ConnectTls(options_.address, tls, AddressHost(options_.address));
  std::shared_ptr<v1::Federation::Stub> stub = v1::Federation::NewStub(channel);
  absl::MutexLock lock(&mutex_);
  tls_ = std::move(tls);
  stub_.swap(stub);  // the old one, if it is the last copy, goes after the lock
}

std::shared_ptr<v1::Federation::Stub> FederationClient::Stub() const {
  absl::MutexLock lock(&mutex_);
  return stub_;
}

std::shared_ptr<grpc::Channel> FederationClient::Connect(wire::Connection connection) const {
  wire::TlsFiles tls;
  {
    absl::MutexLock lock(&mutex_);
    tls = tls_;
  }
  return wire::ConnectTls(options_.address, tls, AddressHost(options_.address), connection);
}

absl::StatusOr<std::string> FederationClient::RenewCertificate(const std::string& csr_pem) {
  v1::RenewCertificateRequest request;
  request.set_csr_pem(csr_pem);
  v1::RenewCertificateReply reply;
  Call call(*this, options_.call_timeout);
  CSL_RETURN_IF_ERROR(wire::FromGrpc(Stub()->RenewCertificate(call.context(), request, &reply)));
  return std::move(*reply.mutable_certificate_pem());
}

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
  if (options_.witness != nullptr) {
    request.add_capabilities(kWitnessCapability);
    options_.witness->Introduce(request);
  }
  v1::HelloReply reply;
  Call call(*this, options_.call_timeout);
  CSL_RETURN_IF_ERROR(wire::FromGrpc(Stub()->Hello(call.context(), request, &reply)));
  if (reply.protocol_version() != kProtocolVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("the coordinator speaks protocol version ", reply.protocol_version(),
                     ", this agent ", kProtocolVersion, "; upgrade the ",
                     reply.protocol_version() > kProtocolVersion ? "agent" : "coordinator"));
  }
  if (reply.site() != options_.site || reply.federation() != options_.federation) {
    return absl::FailedPreconditionError("the coordinator takes this site for another");
  }
  return options_.witness == nullptr ? absl::OkStatus() : options_.witness->OnHello(reply);
}

// Before the task is begun: a site does no work for a coordinator whose log does not hold.
absl::Status FederationClient::LookAtLog(uint64_t checkpoint_size) {
  if (options_.witness == nullptr) return absl::OkStatus();
  WitnessClient::Calls calls;
  calls.get =
      [this](const v1::GetCheckpointRequest& request) -> absl::StatusOr<v1::GetCheckpointReply> {
    v1::GetCheckpointReply reply;
    Call call(*this, options_.call_timeout);
    CSL_RETURN_IF_ERROR(wire::FromGrpc(Stub()->GetCheckpoint(call.context(), request, &reply)));
    return reply;
  };
  calls.submit = [this](const v1::SubmitCosignatureRequest& request) {
    v1::Acknowledgement reply;
    Call call(*this, options_.call_timeout);
    return wire::FromGrpc(Stub()->SubmitCosignature(call.context(), request, &reply));
  };
  return options_.witness->OnNextTask(checkpoint_size, calls);
}

absl::Status FederationClient::Record(const SiteEvent& event) const {
  return options_.record ? options_.record(event) : absl::OkStatus();
}

absl::StatusOr<NextAnswer> FederationClient::NextTask(
    absl::Duration wait, const std::vector<std::string>& spooled_task_ids) {
  wait = std::clamp(wait, absl::ZeroDuration(), kAskWaitMax);
  v1::NextTaskRequest request;
  request.set_wait_seconds(static_cast<uint32_t>(absl::ToInt64Seconds(wait)));
  for (const std::string& id : spooled_task_ids) request.add_spooled_task_ids(id);
  v1::NextTaskReply reply;
  Call call(*this, wait + options_.call_timeout);
  CSL_RETURN_IF_ERROR(wire::FromGrpc(Stub()->NextTask(call.context(), request, &reply)));
  CSL_RETURN_IF_ERROR(LookAtLog(reply.checkpoint_size()));
  NextAnswer answer;
  answer.ended_task_ids = {reply.ended_task_ids().begin(), reply.ended_task_ids().end()};
  if (!reply.has_task()) return answer;
  CSL_ASSIGN_OR_RETURN(answer.task, TaskFromMessage(reply.task()));
  return answer;
}

absl::Status FederationClient::ReportCohort(const std::string& task_id,
                                            const CohortSummary& cohort) {
  Call call(*this, options_.call_timeout);
  v1::Acknowledgement reply;
  return wire::FromGrpc(Stub()->ReportCohort(call.context(), ToMessage(task_id, cohort), &reply));
}

absl::Status FederationClient::ReportProgress(const TaskProgress& progress) {
  v1::ProgressReport request = ToMessage(progress);
  request.set_time_unix_ms(absl::ToUnixMillis(Clock::System().Now()));
  Call call(*this, options_.call_timeout);
  v1::ProgressReply reply;
  CSL_RETURN_IF_ERROR(wire::FromGrpc(Stub()->ReportProgress(call.context(), request, &reply)));
  if (reply.abandon()) return absl::FailedPreconditionError("the result is no longer awaited");
  return absl::OkStatus();
}

absl::Status FederationClient::Decline(const std::string& task_id, const std::string& reason) {
  v1::DeclineTaskRequest request;
  request.set_task_id(task_id);
  request.set_reason(reason);
  Call call(*this, options_.call_timeout);
  v1::Acknowledgement reply;
  CSL_RETURN_IF_ERROR(wire::FromGrpc(Stub()->DeclineTask(call.context(), request, &reply)));
  return Record({.action = "task.decline", .reason = reason, .request = task_id});
}

absl::Status FederationClient::ReportEvaluation(const std::string& task_id,
                                                const EvaluationResult& result) {
  Call call(*this, options_.call_timeout);
  v1::Acknowledgement reply;
  return wire::FromGrpc(
      Stub()->ReportEvaluation(call.context(), ToMessage(task_id, result), &reply));
}

absl::StatusOr<AgreementReply> FederationClient::AgreeKeys(const std::string& task_id,
                                                           const SiteKeys& keys,
                                                           const SiteShares* shares) {
  Call call(*this, options_.call_timeout);
  v1::AgreeKeysReply reply;
  CSL_RETURN_IF_ERROR(wire::FromGrpc(
      Stub()->AgreeKeys(call.context(), ToMessage(task_id, keys, shares), &reply)));
  return AgreementFromMessage(reply);
}

absl::Status FederationClient::SubmitConsent(const std::string& task_id,
                                             const ConsentResult& result) {
  Call call(*this, options_.call_timeout);
  v1::Acknowledgement reply;
  return wire::FromGrpc(Stub()->SubmitConsent(call.context(), ToMessage(task_id, result), &reply));
}

absl::Status FederationClient::SubmitReveal(const std::string& task_id,
                                            const RevealResult& result) {
  Call call(*this, options_.call_timeout);
  v1::Acknowledgement reply;
  return wire::FromGrpc(Stub()->SubmitReveal(call.context(), ToMessage(task_id, result), &reply));
}

absl::Status FederationClient::DownloadModel(const ModelRef& model, const std::string& path,
                                             const ByteProgress& progress) {
  const std::string partial = absl::StrCat(path, ".partial");
  {
    CSL_ASSIGN_OR_RETURN(File file, File::Open(partial, File::Mode::kReadWriteCreate));
    privacy::Sha256Stream hash;
    CSL_ASSIGN_OR_RETURN(uint64_t have, TakeUpPartial(file, model.bytes, hash));
    CSL_RETURN_IF_ERROR(DownloadRest(model, file, have, hash, progress));
    if (HexEncode(hash.Finish()) != model.sha256) {
      std::remove(partial.c_str());
      return absl::DataLossError("the downloaded model does not have its digest");
    }
  }
  // Not synced: what a power cut takes is found by the digest, and the coordinator has it.
  if (std::rename(partial.c_str(), path.c_str()) != 0) {
    return absl::UnavailableError("the downloaded model cannot be put in its place");
  }
  ReturnFreeHeap();  // messages that came faster than the disk took them
  return Record({.action = "model.receive", .version = model.version, .model = model.sha256});
}

absl::Status FederationClient::DownloadRest(const ModelRef& model, File& file, uint64_t& have,
                                            privacy::Sha256Stream& hash,
                                            const ByteProgress& progress) {
  if (have == model.bytes) return absl::OkStatus();
  v1::DownloadModelRequest request;
  request.set_sha256(model.sha256);
  request.set_offset(have);
  Call call(*this, absl::InfiniteDuration());
  const auto channel = Connect(wire::Connection::kOwn);
  BulkStream stream(channel, call.context(), kDownloadMethod, options_.transfer_idle);
  bool open = stream.Start();
  if (open) {
    stream.BeginWrite(BufferOf(request.SerializeAsString()));
    open = stream.EndWrite() && stream.WritesDone();
  }
  absl::Status local;
  for (grpc::ByteBuffer message; open && have < model.bytes && stream.Read(&message);) {
    local = TakeChunk(message, model.bytes, file, have, hash);
    if (!local.ok()) break;
    if (progress) progress(have, model.bytes);
  }
  if (!local.ok() || have == model.bytes) call.context()->TryCancel();
  const absl::Status ended = stream.Finish();
  CSL_RETURN_IF_ERROR(local);
  if (have == model.bytes) return absl::OkStatus();
  CSL_RETURN_IF_ERROR(ended);
  return absl::UnavailableError("the download ended early");
}

absl::StatusOr<UploadOutcome> FederationClient::Upload(const TaskKey& task,
                                                       const UpdateOffer& offer,
                                                       const std::string& path,
                                                       const ByteProgress& progress) {
  const v1::BeginUploadRequest request = ToMessage(task, offer);
  for (int stream = 0; stream < kUploadStreamsMax; ++stream) {
    // Connects while the coordinator is asked where to go on: on a long line each costs its way.
    const auto channel = Connect(wire::Connection::kOwn);
    channel->GetState(/*try_to_connect=*/true);
    CSL_ASSIGN_OR_RETURN(const v1::BeginUploadReply upload, BeginUpload(request));
    if (upload.have_offset() > offer.bytes || upload.upload_id().size() > wire::kUploadIdBytesMax) {
      return absl::InternalError("the coordinator's answer to an upload makes no sense");
    }
    uint64_t have = upload.have_offset();
    if (have < offer.bytes) {
      CSL_ASSIGN_OR_RETURN(have, SendChunks(channel, upload, path, offer.bytes, progress));
    }
    if (have != offer.bytes) continue;
    CSL_ASSIGN_OR_RETURN(UploadOutcome outcome, CommitUpload(upload.upload_id()));
    CSL_RETURN_IF_ERROR(Record({.action = "update.deliver",
                                .outcome = outcome.accepted ? "ok" : "refused",
                                .reason = outcome.reason,
                                .study = task.study,
                                .round = task.round,
                                .digest = offer.sha256,
                                .model = offer.base_model_sha256,
                                .request = task.task_id}));
    return outcome;
  }
  return absl::UnavailableError("the coordinator does not take the whole update");
}

absl::StatusOr<v1::BeginUploadReply> FederationClient::BeginUpload(
    const v1::BeginUploadRequest& request) {
  Call call(*this, options_.call_timeout);
  v1::BeginUploadReply reply;
  CSL_RETURN_IF_ERROR(wire::FromGrpc(Stub()->BeginUpload(call.context(), request, &reply)));
  return reply;
}

absl::StatusOr<uint64_t> FederationClient::SendChunks(const std::shared_ptr<grpc::Channel>& channel,
                                                      const v1::BeginUploadReply& upload,
                                                      const std::string& path, uint64_t bytes,
                                                      const ByteProgress& progress) {
  CSL_ASSIGN_OR_RETURN(const File file, File::Open(path, File::Mode::kRead));
  Call call(*this, absl::InfiniteDuration());
  BulkStream stream(channel, call.context(), kUploadMethod, options_.transfer_idle);
  bool open = stream.Start();
  absl::Status local;
  uint64_t at = upload.have_offset();
  // While a message is on its way the next one is read.
  absl::StatusOr<grpc::ByteBuffer> message = UploadMessage(file, upload.upload_id(), at, bytes);
  while (open && at < bytes) {
    local = message.status();
    if (!local.ok()) break;
    stream.BeginWrite(*message);
    at += std::min<uint64_t>(wire::kTransferPieceBytes, bytes - at);
    if (at < bytes) message = UploadMessage(file, upload.upload_id(), at, bytes);
    open = stream.EndWrite();
    if (open && progress) progress(at, bytes);
  }
  grpc::ByteBuffer answer;
  if (!local.ok()) call.context()->TryCancel();
  const bool answered = local.ok() && open && stream.WritesDone() && stream.Read(&answer);
  const absl::Status ended = stream.Finish();
  CSL_RETURN_IF_ERROR(local);
  CSL_RETURN_IF_ERROR(ended);
  v1::UploadChunksReply reply;
  grpc::Slice slice;
  if (!answered || !answer.DumpToSingleSlice(&slice).ok() ||
      !reply.ParseFromArray(slice.begin(), static_cast<int>(slice.size()))) {
    return absl::InternalError("the coordinator's answer to an upload makes no sense");
  }
  return reply.have_offset();
}

absl::StatusOr<UploadOutcome> FederationClient::CommitUpload(const std::string& upload_id) {
  Call call(*this, wire::kCommitTimeout);
  v1::CommitUploadRequest request;
  request.set_upload_id(upload_id);
  v1::CommitUploadReply reply;
  CSL_RETURN_IF_ERROR(wire::FromGrpc(Stub()->CommitUpload(call.context(), request, &reply)));
  return UploadOutcome{reply.accepted(), reply.reason().substr(0, kReasonBytesMax)};
}

}  // namespace consilium::agent
