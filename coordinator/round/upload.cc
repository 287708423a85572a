#include "coordinator/round/upload.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr int kFoldersMade = 3;  // the round's, the study's, and the one they lie in

absl::Status Replaced() {
  return absl::FailedPreconditionError("another upload took its place; begin it again");
}

}  // namespace

std::string UploadId(const Announcement& announcement) {
  return privacy::Sha256Hex(absl::StrCat(announcement.task_id, "\n", announcement.sha256));
}

Upload::Upload(Announcement announcement, std::string path, File file, uint64_t have)
    : announcement_(std::move(announcement)),
      id_(UploadId(announcement_)),
      path_(std::move(path)),
      file_(std::move(file)),
      have_(have) {}

absl::StatusOr<std::shared_ptr<Upload>> Upload::Open(Announcement announcement, std::string path) {
  CSL_ASSIGN_OR_RETURN(File file, File::Open(path, File::Mode::kReadWriteCreate));
  CSL_ASSIGN_OR_RETURN(uint64_t have, file.Bytes());
  if (have > announcement.bytes) {
    CSL_RETURN_IF_ERROR(file.Truncate(0));
    have = 0;
  }
  return std::shared_ptr<Upload>(
      new Upload(std::move(announcement), std::move(path), std::move(file), have));
}

uint64_t Upload::have_offset() const {
  absl::MutexLock lock(&mutex_);
  return have_;
}

int Upload::damaged_count() const {
  absl::MutexLock lock(&mutex_);
  return damaged_;
}

uint64_t Upload::Attach() {
  absl::MutexLock lock(&mutex_);
  return ++stream_;
}

absl::Status Upload::Append(uint64_t stream, uint64_t offset, absl::string_view data) {
  absl::MutexLock lock(&mutex_);
  if (stream != stream_) return absl::AbortedError("another stream took this upload over");
  if (claimed_) return absl::FailedPreconditionError("the upload is complete and being checked");
  if (discarded_) return Replaced();
  if (offset != have_ || data.size() > announcement_.bytes - have_) {
    return absl::OutOfRangeError(absl::StrCat("the upload goes on at ", have_));
  }
  CSL_RETURN_IF_ERROR(file_.WriteAt(offset, data));
  have_ += data.size();
  return absl::OkStatus();
}

absl::Status Upload::Claim() {
  absl::MutexLock lock(&mutex_);
  if (claimed_) return absl::UnavailableError("the upload is being checked; ask again");
  if (discarded_) return Replaced();
  if (have_ != announcement_.bytes) {
    return absl::FailedPreconditionError(
        absl::StrCat("the upload has ", have_, " of ", announcement_.bytes, " bytes"));
  }
  CSL_RETURN_IF_ERROR(file_.Sync());
  // The file's name and those of the round's and the study's folders may be new as well.
  std::filesystem::path folder = std::filesystem::path(path_).parent_path();
  for (int level = 0; level < kFoldersMade; ++level, folder = folder.parent_path()) {
    CSL_RETURN_IF_ERROR(SyncDir(folder.string()));
  }
  claimed_ = true;
  return absl::OkStatus();
}

absl::Status Upload::Discard() {
  absl::MutexLock lock(&mutex_);
  if (claimed_) return absl::UnavailableError("another upload of this task is being checked");
  discarded_ = true;
  // If the removal fails, the file goes with its round.
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
  return absl::OkStatus();
}

void Upload::Release(Content content) {
  absl::MutexLock lock(&mutex_);
  claimed_ = false;
  if (content == Content::kKept) return;
  ++damaged_;
  // If the truncation fails, the bytes are simply written over.
  file_.Truncate(0).IgnoreError();
  have_ = 0;
}

std::string Staging::Path(absl::string_view study, int64_t round,
                          absl::string_view upload_id) const {
  return JoinPath(JoinPath(JoinPath(folder_, study), absl::StrCat(round)), upload_id);
}

absl::Status Staging::MakeRoom(absl::string_view study, int64_t round) const {
  return MakeDirs(JoinPath(JoinPath(folder_, study), absl::StrCat(round)));
}

void Staging::Drop(absl::string_view study, int64_t round) const {
  std::error_code ignored;
  std::filesystem::remove_all(JoinPath(JoinPath(folder_, study), absl::StrCat(round)), ignored);
}

void Staging::DropUpload(absl::string_view study, int64_t round,
                         absl::string_view upload_id) const {
  std::error_code ignored;
  const std::filesystem::path path = Path(study, round, upload_id);
  std::filesystem::remove(path, ignored);
  std::filesystem::remove(path.parent_path(), ignored);  // only if it is empty
}

void Staging::Sweep(absl::string_view study, const std::set<int64_t>& keep_rounds) const {
  std::set<std::string> keep;
  for (const int64_t round : keep_rounds) keep.insert(absl::StrCat(round));
  std::error_code ignored;
  for (const auto& entry :
       std::filesystem::directory_iterator(JoinPath(folder_, study), ignored)) {
    if (keep.contains(entry.path().filename().string())) continue;
    std::error_code also_ignored;
    std::filesystem::remove_all(entry.path(), also_ignored);
  }
}

}  // namespace consilium::coordinator
