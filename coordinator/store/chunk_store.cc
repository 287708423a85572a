#include "coordinator/store/chunk_store.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "coordinator/store/chunk_files.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

namespace fs = std::filesystem;

}  // namespace

bool IsSha256Hex(absl::string_view text) {
  return text.size() == 2 * privacy::kSha256Bytes &&
         text.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

absl::Status CheckManifest(const ManifestRecord& manifest) {
  const auto refuse = [&](absl::string_view what) {
    return absl::DataLossError(absl::StrCat(
        "the manifest of model ", manifest.sha256.substr(0, kDigestPrefix), " ", what));
  };
  if (!IsSha256Hex(manifest.sha256)) return refuse("has no digest");
  if (manifest.bytes <= 0) return refuse("has no bytes");
  const uint64_t wanted =
      (static_cast<uint64_t>(manifest.bytes) + kChunkFileBytes - 1) / kChunkFileBytes;
  if (manifest.chunks.size() != wanted) return refuse("does not have the chunks for its bytes");
  if (!std::all_of(manifest.chunks.begin(), manifest.chunks.end(),
                   [](const std::string& chunk) { return IsSha256Hex(chunk); })) {
    return refuse("names a chunk that is no digest");
  }
  return absl::OkStatus();
}

absl::Status ChunkStore::Prepare() const {
  const std::string incoming = JoinPath(folder_, kIncomingFolder);
  std::error_code error;
  fs::remove_all(incoming, error);
  if (error) return absl::UnavailableError("what a killed writer left cannot be removed");
  CSL_RETURN_IF_ERROR(MakeDirs(incoming));
  return SyncDir(folder_);
}

std::string ChunkStore::ChunkPath(absl::string_view sha256) const {
  return absl::StrCat(folder_, "/", sha256.substr(0, 2), "/", sha256.substr(2, 2), "/", sha256);
}

absl::StatusOr<ModelReader> ChunkStore::Open(const ManifestRecord& manifest) {
  CSL_RETURN_IF_ERROR(CheckManifest(manifest));
  absl::MutexLock lock(&mutex_);
  if (condemned_.contains(manifest.sha256)) {
    return absl::NotFoundError("the weights of this model are no longer kept");
  }
  ++pins_[manifest.sha256];
  return ModelReader(this, manifest);
}

void ChunkStore::Unpin(const std::string& model_sha256) {
  absl::MutexLock lock(&mutex_);
  const auto it = pins_.find(model_sha256);
  if (--it->second == 0) pins_.erase(it);
}

bool ChunkStore::Condemn(absl::string_view model_sha256) {
  absl::MutexLock lock(&mutex_);
  if (pins_.contains(model_sha256)) return false;
  condemned_.emplace(model_sha256);
  return true;
}

void ChunkStore::Pardon(absl::string_view model_sha256) {
  absl::MutexLock lock(&mutex_);
  condemned_.erase(std::string(model_sha256));
}

void ChunkStore::Hold(const std::string& sha256) {
  absl::MutexLock lock(&mutex_);
  ++holds_[sha256];
}

void ChunkStore::LetGo(const std::vector<std::string>& sha256) {
  absl::MutexLock lock(&mutex_);
  for (const std::string& chunk : sha256) {
    const auto it = holds_.find(chunk);
    if (--it->second == 0) holds_.erase(it);
    let_go_.insert(chunk);
  }
}

absl::Status ChunkStore::Verify(absl::string_view sha256) const {
  const absl::StatusOr<std::string> digest = privacy::Sha256HexOfFile(ChunkPath(sha256));
  if (absl::IsNotFound(digest.status())) return absl::DataLossError("is missing");
  if (!digest.ok()) return absl::DataLossError("does not read");
  return *digest == sha256 ? absl::OkStatus() : absl::DataLossError("is damaged");
}

absl::StatusOr<std::vector<ChunkStore::ChunkFile>> ChunkStore::List(
    std::vector<std::string>* strangers) const {
  std::vector<ChunkFile> files;
  std::error_code error;
  fs::recursive_directory_iterator it(folder_, error), end;
  for (; !error && it != end; it.increment(error)) {
    const std::string path = it->path().string();
    if (it->is_directory(error)) {
      if (it->path().filename() == kIncomingFolder) it.disable_recursion_pending();
      continue;
    }
    const std::string name = it->path().filename().string();
    struct stat info;
    if (::lstat(path.c_str(), &info) != 0) continue;  // removed meanwhile
    if (!S_ISREG(info.st_mode) || !IsSha256Hex(name) || ChunkPath(name) != path) {
      if (strangers != nullptr) strangers->push_back(path.substr(folder_.size() + 1));
      continue;
    }
    files.push_back({name, static_cast<uint64_t>(info.st_size),
                     absl::TimeFromTimespec(info.st_mtim)});
  }
  if (error) return absl::UnavailableError("the folder of chunks cannot be read");
  std::sort(files.begin(), files.end(),
            [](const ChunkFile& a, const ChunkFile& b) { return a.sha256 < b.sha256; });
  return files;
}

void ChunkStore::BeginSweep() {
  absl::MutexLock lock(&mutex_);
  let_go_.clear();
}

absl::StatusOr<bool> ChunkStore::Remove(absl::string_view sha256, absl::Time before) {
  const std::string path = ChunkPath(sha256);
  // Under the lock: a writer that wants this chunk holds it first, then looks whether it is there.
  absl::MutexLock lock(&mutex_);
  if (holds_.contains(sha256) || let_go_.contains(sha256)) return false;
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? absl::StatusOr<bool>(false) : ChunkFileError("stat", path);
  }
  if (absl::TimeFromTimespec(info.st_mtim) >= before) return false;
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return ChunkFileError("remove", path);
  seen_.erase(std::string(sha256));
  return true;
}

}  // namespace consilium::coordinator
