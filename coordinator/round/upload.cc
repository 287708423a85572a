#include "coordinator/round/upload.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr uint64_t kHashPieceBytes = 1 << 20;

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

void Upload::CutStream() {
  if (cut_) std::exchange(cut_, {})();
}

uint64_t Upload::Attach(std::function<void()> cut) {
  absl::MutexLock lock(&mutex_);
  CutStream();
  cut_ = std::move(cut);
  seen_have_ = UINT64_MAX;
  stalled_ = false;
  return ++stream_;
}

void Upload::Detach(uint64_t stream) {
  absl::MutexLock lock(&mutex_);
  if (stream == stream_) cut_ = {};
}

bool Upload::CutIfStalled(absl::Duration now, absl::Duration idle) {
  absl::MutexLock lock(&mutex_);
  if (have_ != seen_have_) {
    seen_have_ = have_;
    seen_at_ = now;
  }
  stalled_ = !claimed_ && now - seen_at_ >= idle;
  if (stalled_) CutStream();
  return stalled_;
}

bool Upload::stalled() const {
  absl::MutexLock lock(&mutex_);
  return stalled_;
}

bool Upload::claimed() const {
  absl::MutexLock lock(&mutex_);
  return claimed_;
}

absl::Status Upload::HashUpTo(uint64_t end) {
  std::string piece;
  while (hashed_ < end) {
    piece.resize(std::min<uint64_t>(kHashPieceBytes, end - hashed_));
    CSL_RETURN_IF_ERROR(file_.ReadAt(hashed_, piece.data(), piece.size()));
    hash_.Update(piece);
    hashed_ += piece.size();
  }
  return absl::OkStatus();
}

absl::Status Upload::Append(uint64_t stream, uint64_t offset,
                            absl::Span<const absl::string_view> pieces) {
  uint64_t size = 0;
  for (const absl::string_view piece : pieces) size += piece.size();
  absl::MutexLock lock(&mutex_);
  if (stream != stream_) return absl::AbortedError("another stream took this upload over");
  if (claimed_) return absl::FailedPreconditionError("the upload is complete and being checked");
  if (discarded_) return Replaced();
  if (offset != have_ || size > announcement_.bytes - have_) {
    return absl::OutOfRangeError(absl::StrCat("the upload goes on at ", have_));
  }
  CSL_RETURN_IF_ERROR(HashUpTo(have_));  // what a restart left; nothing to do otherwise
  CSL_RETURN_IF_ERROR(file_.WriteAt(offset, pieces));
  for (const absl::string_view piece : pieces) hash_.Update(piece);
  have_ += size;
  hashed_ = have_;
  stalled_ = false;
  return absl::OkStatus();
}

absl::StatusOr<std::string> Upload::Digest() {
  absl::MutexLock lock(&mutex_);
  CSL_RETURN_IF_ERROR(HashUpTo(have_));
  if (digest_.empty()) digest_ = HexEncode(hash_.Finish());
  return digest_;
}

absl::Status Upload::Claim() {
  absl::MutexLock lock(&mutex_);
  if (claimed_) return absl::UnavailableError("the upload is being checked; ask again");
  if (discarded_) return Replaced();
  if (have_ != announcement_.bytes) {
    return absl::FailedPreconditionError(
        absl::StrCat("the upload has ", have_, " of ", announcement_.bytes, " bytes"));
  }
  claimed_ = true;
  return absl::OkStatus();
}

absl::Status Upload::Discard() {
  absl::MutexLock lock(&mutex_);
  if (claimed_) return absl::UnavailableError("another upload of this task is being checked");
  discarded_ = true;
  CutStream();
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
  hashed_ = 0;
  hash_ = privacy::Sha256Stream();
  digest_.clear();
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
