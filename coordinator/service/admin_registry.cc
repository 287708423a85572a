// The calls of administrators on the registry: rollback, import, diff, collection.
#include <unistd.h>

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/round/model_diff.h"
#include "coordinator/service/admin_service.h"
#include "coordinator/service/convert.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"
#include "proto/wire/transport.h"

namespace consilium::coordinator {
namespace {

constexpr size_t kReasonBytesMax = 500;
constexpr uint64_t kImportBytesMax = uint64_t{16} << 30;

// All messages but the first are chunks; the file has the bytes and the digest that were announced.
absl::Status Receive(grpc::ServerReader<v1::ImportModelRequest>& reader,
                     v1::ImportModelRequest& message, const std::string& path) {
  const uint64_t bytes = message.bytes();
  const std::string sha256 = message.sha256();
  CSL_ASSIGN_OR_RETURN(File file, File::Open(path, File::Mode::kReadWriteCreate, kPrivateFile));
  privacy::Sha256Stream digest;
  uint64_t offset = 0;
  do {
    const v1::Chunk& chunk = message.chunk();
    if (!chunk.data().empty()) {
      CSL_RETURN_IF_ERROR(wire::CheckChunk(chunk, offset, bytes));
      CSL_RETURN_IF_ERROR(file.WriteAt(offset, chunk.data()));
      digest.Update(chunk.data());
      offset += chunk.data().size();
    }
  } while (reader.Read(&message));
  if (offset != bytes || HexEncode(digest.Finish()) != sha256) {
    return absl::InvalidArgumentError("what arrived is not the announced file; send it again");
  }
  return absl::OkStatus();
}

v1::TensorDiff ToMessage(const TensorDifference& tensor) {
  v1::TensorDiff out;
  out.set_name(tensor.name);
  for (const int64_t size : tensor.shape) out.add_shape(size);
  out.set_l2(tensor.difference.l2);
  out.set_relative_l2(tensor.difference.relative_l2);
  out.set_max_abs(tensor.difference.max_abs);
  out.set_cosine(tensor.difference.cosine);
  return out;
}

std::vector<std::string> LineageDifferences(const v1::Model& a, const v1::Model& b) {
  std::vector<std::string> differences;
  const auto compare = [&](absl::string_view what, absl::string_view x, absl::string_view y) {
    if (x == y) return;
    differences.push_back(absl::StrCat(what, ": ", x.empty() ? "-" : x, " -> ", y.empty() ? "-" : y));
  };
  compare("origin", a.origin(), b.origin());
  compare("round", absl::StrCat(a.round()), absl::StrCat(b.round()));
  compare("parents", absl::StrJoin(a.parents(), ","), absl::StrJoin(b.parents(), ","));
  compare("plan_sha256", a.plan_sha256(), b.plan_sha256());
  compare("sites", absl::StrJoin(a.sites(), ","), absl::StrJoin(b.sites(), ","));
  compare("code_version", a.code_version(), b.code_version());
  return differences;
}

}  // namespace

grpc::Status AdminService::Rollback(grpc::ServerContext* context,
                                    const v1::RollbackRequest* request, v1::Model* reply) {
  return Serve(context, "alias.rollback", [&](const std::string& admin) -> absl::Status {
    if (request->reason().size() > kReasonBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat("reason: at most ", kReasonBytesMax, " bytes"));
    }
    CSL_ASSIGN_OR_RETURN(const ModelView model,
                         models_.Rollback(request->study(), request->reason(), admin));
    *reply = coordinator::ToMessage(model);
    return absl::OkStatus();
  });
}

absl::Status AdminService::Import(grpc::ServerReader<v1::ImportModelRequest>& reader,
                                  const std::string& admin, v1::Model& reply) {
  v1::ImportModelRequest message;
  if (!reader.Read(&message)) return absl::InvalidArgumentError("the stream had no message");
  FederationDriver::Import import = {.study = message.study(),
                                     .reason = message.reason(),
                                     .path = "",
                                     .sha256 = message.sha256()};
  CSL_RETURN_IF_ERROR(CheckName("study", import.study));
  if (import.reason.size() > kReasonBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("reason: at most ", kReasonBytesMax, " bytes"));
  }
  if (!IsSha256Hex(import.sha256)) {
    return absl::InvalidArgumentError("sha256: must be 64 lower-case hex digits");
  }
  if (message.bytes() == 0 || message.bytes() > kImportBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("bytes: 1 to ", kImportBytesMax));
  }
  CSL_RETURN_IF_ERROR(driver_.CheckImport(import.study));  // before gigabytes are sent in vain
  CSL_ASSIGN_OR_RETURN(import.path, driver_.ImportPath());
  const auto remove = absl::MakeCleanup([&import] { ::unlink(import.path.c_str()); });
  CSL_RETURN_IF_ERROR(Receive(reader, message, import.path));
  CSL_ASSIGN_OR_RETURN(const VersionRecord version,
                       driver_.ImportModel(import, {admin, "admin"}));
  CSL_ASSIGN_OR_RETURN(const ModelView view, models_.Get(version.version));
  reply = coordinator::ToMessage(view);
  return absl::OkStatus();
}

grpc::Status AdminService::ImportModel(grpc::ServerContext* context,
                                       grpc::ServerReader<v1::ImportModelRequest>* reader,
                                       v1::Model* reply) {
  return Serve(context, "model.import", [&](const std::string& admin) {
    return Import(*reader, admin, *reply);
  });
}

grpc::Status AdminService::DiffModels(grpc::ServerContext* context,
                                      const v1::DiffModelsRequest* request,
                                      v1::DiffModelsReply* reply) {
  return Serve(context, "model.diff", [&](const std::string&) -> absl::Status {
    CSL_ASSIGN_OR_RETURN(const ModelView a, models_.Get(request->a()));
    CSL_ASSIGN_OR_RETURN(const ModelView b, models_.Get(request->b()));
    CSL_ASSIGN_OR_RETURN(const ModelReader reader_a, driver_.OpenModel(a.version.sha256));
    CSL_ASSIGN_OR_RETURN(const ModelReader reader_b, driver_.OpenModel(b.version.sha256));
    CSL_ASSIGN_OR_RETURN(const ModelDifference difference,
                         coordinator::DiffModels(reader_a, reader_b));
    *reply->mutable_a() = coordinator::ToMessage(a);
    *reply->mutable_b() = coordinator::ToMessage(b);
    for (v1::Model* model : {reply->mutable_a(), reply->mutable_b()}) model->clear_evaluation();
    for (const TensorDifference& tensor : difference.tensors) {
      *reply->add_tensors() = ToMessage(tensor);
    }
    reply->set_l2(difference.whole.l2);
    reply->set_relative_l2(difference.whole.relative_l2);
    reply->set_max_abs(difference.whole.max_abs);
    for (std::string& line : LineageDifferences(reply->a(), reply->b())) {
      reply->add_lineage_differences(std::move(line));
    }
    return absl::OkStatus();
  });
}

grpc::Status AdminService::CollectGarbage(grpc::ServerContext* context,
                                          const v1::CollectGarbageRequest* request,
                                          v1::CollectGarbageReply* reply) {
  return Serve(context, "garbage.sweep", [&](const std::string& admin) -> absl::Status {
    CSL_ASSIGN_OR_RETURN(
        const Garbage garbage,
        models_.CollectGarbage(request->dry_run() ? GarbageMode::kDryRun : GarbageMode::kRemove,
                               admin));
    for (const std::string& version : garbage.versions) reply->add_versions(version);
    reply->set_chunks(garbage.chunks);
    reply->set_bytes(garbage.bytes);
    return absl::OkStatus();
  });
}

}  // namespace consilium::coordinator
