#include "coordinator/cli/admin_client.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "coordinator/home.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/wire/transport.h"

namespace consilium::coordinator {
namespace {

constexpr uint64_t kPemBytesMax = 64 * 1024;

absl::StatusOr<std::string> ReadCredential(const std::string& folder, const char* name) {
  absl::StatusOr<std::string> text = ReadFile(JoinPath(folder, name), kPemBytesMax);
  if (!text.ok()) return Annotate(text.status(), "credentials");
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<AdminClient>> AdminClient::Connect(
    const std::string& credentials_dir, const std::string& address) {
  CSL_ASSIGN_OR_RETURN(AdminEndpoint endpoint, ReadAdminEndpoint(credentials_dir));
  if (!address.empty()) endpoint.address = address;
  wire::TlsFiles files;
  CSL_ASSIGN_OR_RETURN(files.ca_pem, ReadCredential(credentials_dir, "ca.crt"));
  CSL_ASSIGN_OR_RETURN(files.certificate_pem, ReadCredential(credentials_dir, "client.crt"));
  CSL_ASSIGN_OR_RETURN(files.key_pem, ReadCredential(credentials_dir, "client.key"));
  return std::unique_ptr<AdminClient>(new AdminClient(
      v1::Admin::NewStub(wire::ConnectTls(endpoint.address, files, endpoint.server_name)),
      endpoint.address));
}

void AdminClient::SetDeadline(grpc::ClientContext& context, absl::Duration patience) {
  context.set_deadline(wire::DeadlineIn(patience));
}

absl::Status AdminClient::Explain(const grpc::Status& status) const {
  const absl::Status plain = wire::FromGrpc(status);
  if (absl::IsUnavailable(plain)) {
    return absl::UnavailableError(absl::StrCat("no coordinator answers at ", address_,
                                               "; is consilium-coordinator running there? (",
                                               plain.message(), ")"));
  }
  if (absl::IsDeadlineExceeded(plain)) {
    return absl::DeadlineExceededError(
        absl::StrCat("the coordinator at ", address_, " did not answer in time; try again"));
  }
  if (absl::IsUnimplemented(plain)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the coordinator at ", address_,
                     " does not know this command; use the consilium of its release"));
  }
  return plain.message().empty() ? absl::Status(plain.code(), "the coordinator gave no reason")
                                 : plain;
}

absl::Status AdminClient::Watch(const std::string& study,
                                const std::function<absl::Status(const v1::Study&)>& on_study) {
  grpc::ClientContext context;
  v1::GetStudyRequest request;
  request.set_name(study);
  const std::unique_ptr<grpc::ClientReader<v1::Study>> reader =
      stub_->WatchStudy(&context, request);
  for (v1::Study state; reader->Read(&state);) {
    if (const absl::Status status = on_study(state); !status.ok()) {
      context.TryCancel();
      (void)reader->Finish();  // CANCELLED, by us
      return status;
    }
  }
  const grpc::Status status = reader->Finish();
  return status.ok() ? absl::OkStatus() : Explain(status);
}

absl::Status AdminClient::Receive(const v1::Model& model, const std::string& path,
                                  const std::function<void(uint64_t)>& on_bytes) {
  CSL_ASSIGN_OR_RETURN(File file, File::Open(path, File::Mode::kReadWriteCreate, kPublicFile));
  grpc::ClientContext context;
  v1::GetModelRequest request;
  request.set_version(model.version());
  const std::unique_ptr<grpc::ClientReader<v1::Chunk>> reader =
      stub_->ExportModel(&context, request);
  const auto cancel = absl::MakeCleanup([&context] { context.TryCancel(); });
  privacy::Sha256Stream digest;
  uint64_t offset = 0;
  for (v1::Chunk chunk; reader->Read(&chunk);) {
    CSL_RETURN_IF_ERROR(wire::CheckChunk(chunk, offset, model.bytes()));
    CSL_RETURN_IF_ERROR(file.WriteAt(offset, chunk.data()));
    digest.Update(chunk.data());
    offset += chunk.data().size();
    on_bytes(offset);
  }
  if (const grpc::Status status = reader->Finish(); !status.ok()) return Explain(status);
  if (offset != model.bytes() || HexEncode(digest.Finish()) != model.sha256()) {
    return absl::DataLossError(absl::StrCat("what arrived for ", model.version(),
                                            " does not have its digest; nothing was written"));
  }
  return file.Sync();
}

absl::Status AdminClient::Download(const v1::Model& model, const std::string& path,
                                   const std::function<void(uint64_t)>& on_bytes) {
  if (PathExists(path)) {
    CSL_ASSIGN_OR_RETURN(const std::string present, privacy::Sha256HexOfFile(path));
    if (present == model.sha256()) return absl::OkStatus();
    return absl::AlreadyExistsError(
        absl::StrCat(BaseName(path), " exists and is another file; name a new one"));
  }
  const std::string partial = absl::StrCat(path, ".partial-", ::getpid());
  absl::Status status = Receive(model, partial, on_bytes);
  if (status.ok()) status = RenameDurably(partial, path);
  if (!status.ok()) ::unlink(partial.c_str());
  return status;
}

absl::StatusOr<v1::Model> AdminClient::Import(const std::string& study, const std::string& reason,
                                              const std::string& path,
                                              const std::function<void(uint64_t)>& on_bytes) {
  v1::ImportModelRequest message;
  message.set_study(study);
  message.set_reason(reason);
  CSL_ASSIGN_OR_RETURN(*message.mutable_sha256(), privacy::Sha256HexOfFile(path));
  CSL_ASSIGN_OR_RETURN(const File file, File::Open(path, File::Mode::kRead));
  CSL_ASSIGN_OR_RETURN(const uint64_t bytes, file.Bytes());
  message.set_bytes(bytes);
  grpc::ClientContext context;
  v1::Model model;
  const std::unique_ptr<grpc::ClientWriter<v1::ImportModelRequest>> writer =
      stub_->ImportModel(&context, &model);
  const auto cancel = absl::MakeCleanup([&context] { context.TryCancel(); });
  bool open = writer->Write(message);  // false: the coordinator refused; Finish says why
  std::string piece;
  for (uint64_t at = 0; open && at < bytes; at += piece.size()) {
    piece.resize(std::min<uint64_t>(wire::kChunkBytesMax, bytes - at));
    CSL_RETURN_IF_ERROR(file.ReadAt(at, piece.data(), piece.size()));
    v1::ImportModelRequest next;
    *next.mutable_chunk() = wire::MakeChunk(at, piece);
    open = writer->Write(next);
    on_bytes(at + piece.size());
  }
  writer->WritesDone();
  if (const grpc::Status status = writer->Finish(); !status.ok()) return Explain(status);
  return model;
}

AuditExportStream::AuditExportStream(const AdminClient& client, v1::Admin::Stub& stub,
                                     const v1::ExportAuditRequest& request)
    : client_(client), reader_(stub.ExportAudit(&context_, request)) {}

AuditExportStream::~AuditExportStream() {
  if (ended_) return;
  context_.TryCancel();
  (void)reader_->Finish();  // CANCELLED, by us
}

absl::StatusOr<size_t> AuditExportStream::Read(char* out, size_t size) {
  while (used_ == piece_.data().size()) {
    if (ended_) {
      if (!broken_.ok()) return broken_;
      return 0;
    }
    used_ = 0;
    if (reader_->Read(&piece_)) continue;
    piece_.Clear();
    ended_ = true;
    if (const grpc::Status status = reader_->Finish(); !status.ok()) {
      broken_ = client_.Explain(status);
    }
  }
  const size_t count = std::min(size, piece_.data().size() - used_);
  std::memcpy(out, piece_.data().data() + used_, count);
  used_ += count;
  return count;
}

std::unique_ptr<AuditExportStream> AdminClient::ExportAudit(const v1::ExportAuditRequest& request) {
  return std::make_unique<AuditExportStream>(*this, *stub_, request);
}

absl::StatusOr<v1::Model> GetModel(AdminClient& client, const std::string& version) {
  v1::GetModelRequest request;
  request.set_version(version);
  return client.Call(&v1::Admin::Stub::GetModel, request);
}

}  // namespace consilium::coordinator
