// A connection to a coordinator as an administrator.
//
// Thread-compatible. Every call has a deadline, but for the streams: Watch lasts as long as the
// study, a download or an export as long as bytes keep coming.
// Errors: what the coordinator answered (its message, cut and cleaned); UNAVAILABLE says which
// address did not answer.
#ifndef CONSILIUM_COORDINATOR_CLI_ADMIN_CLIENT_H_
#define CONSILIUM_COORDINATOR_CLI_ADMIN_CLIENT_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "consilium/v1/admin.grpc.pb.h"

namespace consilium::coordinator {

inline constexpr absl::Duration kCallPatience = absl::Seconds(60);
class AdminClient;

// The bytes of an export of the audit log as they come. The client must outlive it.
class AuditExportStream {
 public:
  AuditExportStream(const AdminClient& client, v1::Admin::Stub& stub,
                    const v1::ExportAuditRequest& request);
  ~AuditExportStream();  // ends the call
  // Fills `out` with up to `size` bytes; 0: the end, and the coordinator said that it was whole.
  absl::StatusOr<size_t> Read(char* out, size_t size);

 private:
  const AdminClient& client_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::ExportAuditPiece>> reader_;
  v1::ExportAuditPiece piece_;
  size_t used_ = 0;
  bool ended_ = false;
  absl::Status broken_;  // the call's error, for this read and each later one
};

class AdminClient {
 public:
  // Reads the credentials; `address` (host:port) replaces the one of endpoint.json unless empty. Who
  // answers there must have a certificate of the credentials' CA for endpoint.json's server_name, so
  // that another address reaches the same coordinator or none; our own is shown to nobody else.
  // NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT: the credentials do not read.
  static absl::StatusOr<std::unique_ptr<AdminClient>> Connect(const std::string& credentials_dir,
                                                              const std::string& address);

  // client.Call(&v1::Admin::Stub::ListSites, request); `patience` for what takes long.
  template <typename Request, typename Reply>
  absl::StatusOr<Reply> Call(grpc::Status (v1::Admin::Stub::*method)(grpc::ClientContext*,
                                                                     const Request&, Reply*),
                             const Request& request, absl::Duration patience = kCallPatience) {
    grpc::ClientContext context;
    SetDeadline(context, patience);
    Reply reply;
    const grpc::Status status = (stub_.get()->*method)(&context, request, &reply);
    if (!status.ok()) return Explain(status);
    return reply;
  }

  // Hands over each state of the study until it ends or `on_study` returns an error, which comes
  // back.
  absl::Status Watch(const std::string& study,
                     const std::function<absl::Status(const v1::Study&)>& on_study);

  // Writes the model's file to `path`, which appears only when it is whole and has its digest.
  // ALREADY_EXISTS: `path` is there with other content (the same content is OK).
  // DATA_LOSS: what came does not have the digest. RESOURCE_EXHAUSTED: the disk is full.
  absl::Status Download(const v1::Model& model, const std::string& path,
                        const std::function<void(uint64_t)>& on_bytes);

  // Sends a safetensors file to become the next version of `study`.
  absl::StatusOr<v1::Model> Import(const std::string& study, const std::string& reason,
                                   const std::string& path,
                                   const std::function<void(uint64_t)>& on_bytes);
  std::unique_ptr<AuditExportStream> ExportAudit(const v1::ExportAuditRequest& request);

 private:
  friend class AuditExportStream;
  AdminClient(std::unique_ptr<v1::Admin::Stub> stub, std::string address)
      : stub_(std::move(stub)), address_(std::move(address)) {}
  static void SetDeadline(grpc::ClientContext& context, absl::Duration patience);
  absl::Status Explain(const grpc::Status& status) const;
  absl::Status Receive(const v1::Model& model, const std::string& path,
                       const std::function<void(uint64_t)>& on_bytes);

  std::unique_ptr<v1::Admin::Stub> stub_;
  std::string address_;
};

// The one model that `version` (STUDY/NUMBER or STUDY@ALIAS) names.
absl::StatusOr<v1::Model> GetModel(AdminClient& client, const std::string& version);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_CLI_ADMIN_CLIENT_H_
