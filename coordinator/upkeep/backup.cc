#include "coordinator/upkeep/backup.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/random.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPartial = ".partial-";
constexpr const char* kRecordFile = "backup.json";
constexpr int kFormat = 1;
constexpr uint64_t kHomeFileBytesMax = uint64_t{16} << 20;
constexpr uint64_t kRecordBytesMax = 64 * 1024;
// Not in a backup: held elsewhere in it, or of a moment only.
constexpr const char* kLeftOut[] = {"store", "chunks", "models", "staging", "run", "spool", "ballast"};

// Runs `work`, with std::filesystem's exceptions as a Status.
template <typename Work>
absl::Status Files(const char* what, const Work& work) {
  try {
    return work();
  } catch (const fs::filesystem_error& error) {
    const bool full = error.code() == std::errc::no_space_on_device;
    const std::string message = absl::StrCat(what, ": ", error.code().message());
    return full ? absl::ResourceExhaustedError(message) : absl::UnavailableError(message);
  }
}

absl::Status CopyFile(const std::string& from, const std::string& to, mode_t mode) {
  CSL_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(from, kHomeFileBytesMax));
  return WriteFileAtomic(to, bytes, mode);
}

bool IsLeftOut(const std::string& name) {
  return std::any_of(std::begin(kLeftOut), std::end(kLeftOut),
                     [&](const char* one) { return name == one; });
}

// Configuration, certificates, keys: small files, with the modes that they have.
absl::Status CopyHome(const fs::path& from, const fs::path& to) {
  return Files("copy the home", [&]() -> absl::Status {
    CSL_RETURN_IF_ERROR(MakeDirs(to.string()));
    for (const fs::directory_entry& entry : fs::directory_iterator(from)) {
      const std::string name = entry.path().filename().string();
      if (IsLeftOut(name) || entry.is_symlink()) continue;
      if (entry.is_directory()) {
        CSL_RETURN_IF_ERROR(CopyHome(entry.path(), to / name));
      } else if (entry.is_regular_file()) {
        const auto mode = static_cast<mode_t>(entry.status().permissions()) & 0777;
        CSL_RETURN_IF_ERROR(CopyFile(entry.path().string(), (to / name).string(), mode));
      }
    }
    return absl::OkStatus();
  });
}

// RocksDB's files only grow by new names; plain copies, synced.
absl::Status CopyStore(const fs::path& from, const fs::path& to) {
  return Files("copy the store", [&]() -> absl::Status {
    CSL_RETURN_IF_ERROR(MakeDirs(to.string()));
    for (const fs::directory_entry& entry : fs::directory_iterator(from)) {
      const fs::path target = to / entry.path().filename();
      fs::copy_file(entry.path(), target);
      CSL_ASSIGN_OR_RETURN(File file, File::Open(target.string(), File::Mode::kReadWriteCreate));
      CSL_RETURN_IF_ERROR(file.Sync());
    }
    return SyncDir(to.string());
  });
}

std::map<std::string, uint64_t> ChunksOf(const std::vector<ManifestRecord>& manifests) {
  std::map<std::string, uint64_t> chunks;
  for (const ManifestRecord& manifest : manifests) {
    uint64_t left = static_cast<uint64_t>(manifest.bytes);
    for (const std::string& chunk : manifest.chunks) {
      const uint64_t bytes = std::min<uint64_t>(left, kChunkFileBytes);
      chunks[chunk] = bytes;
      left -= bytes;
    }
  }
  return chunks;
}

// Copies what `to` lacks; every chunk copied has its digest. Counts into `report`.
absl::Status CopyChunks(const std::map<std::string, uint64_t>& chunks, const ChunkStore& from,
                        const ChunkStore& to, BackupReport& report) {
  CSL_RETURN_IF_ERROR(to.Prepare());
  for (const auto& [chunk, bytes] : chunks) {
    ++report.chunks;
    report.bytes += bytes;
    const absl::StatusOr<uint64_t> there = FileBytes(to.ChunkPath(chunk));
    if (there.ok() && *there == bytes) continue;
    absl::StatusOr<std::string> data = ReadFile(from.ChunkPath(chunk), bytes);
    if (!data.ok() || privacy::Sha256Hex(*data) != chunk) {
      return absl::DataLossError(absl::StrCat("chunk ", chunk.substr(0, 12),
                                              " is missing or damaged; run `consilium doctor`"));
    }
    const std::string path = to.ChunkPath(chunk);
    CSL_RETURN_IF_ERROR(MakeDirs(path.substr(0, path.rfind('/'))));
    CSL_RETURN_IF_ERROR(WriteFileAtomic(path, *data, kPrivateFile));
    ++report.chunks_copied;
  }
  return SyncDir(to.folder());
}

// Opens the records that were written, checks every block, the audit log, and every chunk they name.
absl::Status Verify(const std::string& store_folder, const ChunkStore& chunks,
                    BackupReport& report) {
  StoreOptions options;
  options.path = store_folder;
  options.mode = StoreMode::kReadOnly;
  CSL_ASSIGN_OR_RETURN(const auto store, Store::Open(options));
  CSL_RETURN_IF_ERROR(store->VerifyChecksums());
  CSL_RETURN_IF_ERROR(store->VerifyAudit());
  report.audit_size = store->AuditSize();
  CSL_ASSIGN_OR_RETURN(const std::vector<ManifestRecord> manifests, store->Manifests());
  for (const ManifestRecord& manifest : manifests) {
    CSL_RETURN_IF_ERROR(CheckManifest(manifest));
  }
  for (const auto& [chunk, bytes] : ChunksOf(manifests)) {
    CSL_RETURN_IF_ERROR(
        Annotate(chunks.Verify(chunk), absl::StrCat("chunk ", chunk.substr(0, 12), " as written")));
  }
  return absl::OkStatus();
}

absl::Status CheckFolder(const std::string& folder, const std::string& home) {
  const fs::path path = fs::path(folder).lexically_normal();
  if (!path.is_absolute()) return absl::InvalidArgumentError("folder: must be an absolute path");
  std::error_code error;
  const fs::path inside =
      fs::weakly_canonical(path, error).lexically_relative(fs::weakly_canonical(home, error));
  if (error || inside.empty() || !absl::StartsWith(inside.string(), "..")) {
    return absl::InvalidArgumentError("folder: must not be in the coordinator's home");
  }
  return MakeDirs(path.string());
}

std::string RecordJson(const BackupReport& report) {
  return absl::StrCat(nlohmann::json{{"format", kFormat},
                                     {"schema", kSchemaVersion},
                                     {"audit_size", report.audit_size},
                                     {"chunks", report.chunks},
                                     {"bytes", report.bytes}}
                          .dump(),
                      "\n");
}

absl::Status CheckRecord(const std::string& backup) {
  const absl::StatusOr<std::string> text = ReadFile(JoinPath(backup, kRecordFile), kRecordBytesMax);
  if (!text.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(BaseName(backup), " is no backup (it has no ", kRecordFile, ")"));
  }
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("format") || json["format"] != kFormat) {
    return absl::InvalidArgumentError(absl::StrCat(
        kRecordFile, ": of another format; restore with the consilium that made the backup"));
  }
  return absl::OkStatus();
}

// The newest backup in a folder of backups; a backup itself as it is.
std::string NewestIn(const std::string& folder) {
  if (PathExists(JoinPath(folder, kRecordFile))) return folder;
  std::string newest;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    const bool whole = name[0] != '.' && PathExists((entry.path() / kRecordFile).string());
    if (whole) newest = std::max(newest, name);  // names are times
  }
  return newest.empty() ? folder : JoinPath(folder, newest);
}

absl::Status FillRestored(const std::string& backup, const std::string& home,
                          BackupReport& report) {
  CSL_RETURN_IF_ERROR(CopyHome(JoinPath(backup, "home"), home));
  CSL_RETURN_IF_ERROR(MakeDirs(JoinPath(home, "staging")));
  const std::string store = JoinPath(home, "store");
  CSL_RETURN_IF_ERROR(CopyStore(JoinPath(backup, "store"), store));
  std::vector<ManifestRecord> manifests;
  {
    StoreOptions options;
    options.path = store;
    options.mode = StoreMode::kReadOnly;
    CSL_ASSIGN_OR_RETURN(const auto opened, Store::Open(options));
    CSL_ASSIGN_OR_RETURN(manifests, opened->Manifests());
  }
  const ChunkStore from(JoinPath(fs::path(backup).parent_path().string(), "chunks"));
  const ChunkStore to(JoinPath(home, "chunks"));
  CSL_RETURN_IF_ERROR(CopyChunks(ChunksOf(manifests), from, to, report));
  return Verify(store, to, report);
}

}  // namespace

absl::StatusOr<BackupReport> CreateBackup(const BackupSource& source, const std::string& folder,
                                          const std::string& by, const Clock& clock) {
  CSL_RETURN_IF_ERROR(CheckFolder(folder, source.home));
  absl::MutexLock no_collection(&source.registry.sweep());
  BackupReport report;
  report.name = absl::FormatTime("%Y%m%dT%H%M%E3SZ", clock.Now(), absl::UTCTimeZone());
  const std::string partial =
      JoinPath(folder, absl::StrCat(kPartial, HexEncode(privacy::RandomBytes(6))));
  const auto remove = absl::MakeCleanup([&partial] {
    std::error_code ignored;  // gone after the rename; otherwise its name says what it is
    fs::remove_all(partial, ignored);
  });
  CSL_RETURN_IF_ERROR(MakeDirs(partial));
  // Files before records: a checkpoint of the log kept in the home is then never ahead of the log.
  CSL_RETURN_IF_ERROR(CopyHome(source.home, JoinPath(partial, "home")));
  CSL_RETURN_IF_ERROR(source.store.CreateCheckpoint(JoinPath(partial, "store")));
  // Manifests of after the checkpoint do no harm; none goes while collections wait.
  CSL_ASSIGN_OR_RETURN(const std::vector<ManifestRecord> manifests, source.store.Manifests());
  const ChunkStore pool(JoinPath(folder, "chunks"));
  CSL_RETURN_IF_ERROR(CopyChunks(ChunksOf(manifests), source.models.chunks(), pool, report));
  CSL_RETURN_IF_ERROR(Annotate(Verify(JoinPath(partial, "store"), pool, report), "backup"));
  CSL_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(partial, kRecordFile), RecordJson(report)));
  CSL_RETURN_IF_ERROR(RenameDurably(partial, JoinPath(folder, report.name)));
  AuditFacts facts;
  facts.actor = by;
  facts.role = "admin";
  facts.action = "backup.create";
  facts.after = report.name;
  facts.count = static_cast<int64_t>(report.audit_size);
  Batch batch;
  batch.Audit(std::move(facts));
  CSL_RETURN_IF_ERROR(source.store.Commit(batch, clock.Now()).status());
  return report;
}

absl::StatusOr<BackupReport> RestoreBackup(const std::string& backup, const std::string& home) {
  const std::string from = NewestIn(fs::absolute(backup).lexically_normal().string());
  CSL_RETURN_IF_ERROR(CheckRecord(from));
  fs::path target = fs::absolute(home).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();
  std::error_code error;
  const bool exists = fs::exists(target, error);
  if (error || (exists && (!fs::is_directory(target) || !fs::is_empty(target)))) {
    return absl::FailedPreconditionError(
        absl::StrCat(BaseName(target.string()), " is not an empty folder; name a new one"));
  }
  CSL_RETURN_IF_ERROR(MakeDirs(target.parent_path().string()));
  const std::string partial =
      absl::StrCat(target.string(), ".restore-", HexEncode(privacy::RandomBytes(6)));
  const auto remove = absl::MakeCleanup([&partial] {
    std::error_code ignored;
    fs::remove_all(partial, ignored);
  });
  BackupReport report;
  report.name = BaseName(from);
  CSL_RETURN_IF_ERROR(MakeDirs(partial));
  CSL_RETURN_IF_ERROR(FillRestored(from, partial, report));
  if (exists) ::rmdir(target.c_str());
  CSL_RETURN_IF_ERROR(RenameDurably(partial, target.string()));
  return report;
}

}  // namespace consilium::coordinator
