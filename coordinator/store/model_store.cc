#include "coordinator/store/model_store.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "privacy/log/log.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

namespace fs = std::filesystem;
using Key = privacy::LogField::Key;

constexpr absl::string_view kOldSuffix = ".safetensors";
constexpr size_t kPieceBytes = size_t{1} << 20;

absl::Status Copy(const std::string& path, ChunkWriter& writer) {
  CSL_ASSIGN_OR_RETURN(const File file, File::Open(path, File::Mode::kRead));
  CSL_ASSIGN_OR_RETURN(const uint64_t bytes, file.Bytes());
  std::string piece;
  for (uint64_t at = 0; at < bytes; at += piece.size()) {
    piece.resize(std::min<uint64_t>(kPieceBytes, bytes - at));
    CSL_RETURN_IF_ERROR(file.ReadAt(at, piece.data(), piece.size()));
    CSL_RETURN_IF_ERROR(writer.Append(piece));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelReader> ModelStore::Open(absl::string_view sha256) {
  if (!IsSha256Hex(sha256)) {
    return absl::InvalidArgumentError("a model's digest has 64 lower-case hex digits");
  }
  const absl::StatusOr<ManifestRecord> manifest = store_.Manifest(sha256);
  if (manifest.ok()) return chunks_.Open(*manifest);
  if (!absl::IsNotFound(manifest.status())) return manifest.status();
  const absl::StatusOr<VersionRecord> version = store_.VersionOfDigest(sha256);
  if (absl::IsNotFound(version.status())) {
    return absl::NotFoundError("no model with this digest is registered");
  }
  CSL_RETURN_IF_ERROR(version.status());
  if (version->weights_gone_us != 0) {
    return absl::NotFoundError(
        absl::StrCat("the weights of ", version->version, " are no longer kept (retention)"));
  }
  return absl::DataLossError(absl::StrCat("the manifest of ", version->version,
                                          " is missing; run `consilium doctor`"));
}

absl::Status ModelStore::TakeIn(const std::string& path, absl::string_view sha256,
                                absl::Time now) {
  ChunkWriter writer = chunks_.NewWriter();
  CSL_RETURN_IF_ERROR(Copy(path, writer));
  CSL_ASSIGN_OR_RETURN(const ManifestRecord manifest, writer.Finish());
  if (manifest.sha256 != sha256) return absl::DataLossError("the file does not have its digest");
  CSL_ASSIGN_OR_RETURN(const VersionRecord version, store_.VersionOfDigest(sha256));
  AuditFacts facts;
  facts.actor = facts.role = "coordinator";
  facts.action = "model.migrate";
  facts.study = version.study;
  facts.version = version.version;
  facts.digest = manifest.sha256;
  Batch batch;
  batch.Put(manifest);
  batch.Audit(std::move(facts));
  return store_.Commit(batch, now).status();
}

absl::Status ModelStore::Prepare(const std::string& old_folder, absl::Time now) {
  CSL_RETURN_IF_ERROR(chunks_.Prepare());
  if (!PathExists(old_folder)) return absl::OkStatus();
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(old_folder, error)) {
    const std::string path = entry.path().string();
    const std::string file = entry.path().filename().string();
    const absl::string_view name = absl::StripSuffix(file, kOldSuffix);
    absl::Status taken;
    // What is no model, or of no version, was left by a crash; what has a manifest is taken in.
    if (name != file && IsSha256Hex(name) && store_.VersionOfDigest(name).ok() &&
        absl::IsNotFound(store_.Manifest(name).status())) {
      taken = TakeIn(path, name, now);
    }
    if (absl::IsDataLoss(taken) || absl::IsInvalidArgument(taken)) {
      privacy::Log(privacy::LogLevel::kError, "a model file is damaged and stays where it is",
                   {{Key::kDigest, name}, {Key::kReason, taken.message()}});
      continue;
    }
    CSL_RETURN_IF_ERROR(taken);
    std::error_code ignored;  // what cannot be removed now is tried at the next start
    fs::remove(entry.path(), ignored);
  }
  if (error) return absl::UnavailableError("the folder of models cannot be read");
  std::error_code not_empty;
  fs::remove(old_folder, not_empty);
  return absl::OkStatus();
}

}  // namespace consilium::coordinator
