// A sealed update on its way in: announced bytes that arrive in order, survive a break, and are
// checked as a whole before anybody counts them.
//
// Order: Open, Attach by each stream, Append, Detach; when have_offset() is all of it, Claim, Digest,
// then read the file, then Release if it was not settled. Thread-safe. Memory: none of the content.
// The digest is computed as bytes arrive; only what was there before a restart is read again, once.
// Durability: the bytes are not synced, here or when the update is accepted: its site has them until
// the round has ended. Those there after a restart are taken up again; what a power cut tore is found
// by the digest, or when the accepted update is folded, and asked for again.
#ifndef CONSILIUM_COORDINATOR_ROUND_UPLOAD_H_
#define CONSILIUM_COORDINATOR_ROUND_UPLOAD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "coordinator/store/records.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"

namespace consilium::coordinator {

// What a site says of its update before it sends it. Nothing of it is believed without a check.
struct Announcement {
  std::string site;
  std::string task_id;
  std::string study;
  int64_t round = 0;
  std::string base_model_sha256;
  std::string layout_sha256;
  uint64_t bytes = 0;
  std::string sha256;
  int64_t labelled_cases = 0;
  int64_t unlabelled_cases = 0;
  SummaryRecord summary;
};

// The same task and digest: the same id, also after a restart.
std::string UploadId(const Announcement& announcement);

class Upload {
 public:
  // Opens or creates the file at `path`.
  static absl::StatusOr<std::shared_ptr<Upload>> Open(Announcement announcement, std::string path);

  const Announcement& announcement() const { return announcement_; }
  const std::string& id() const { return id_; }
  const std::string& path() const { return path_; }
  uint64_t have_offset() const;

  // A stream begins; an older one of the same upload loses its right to append and is cut. `cut` ends
  // the stream's call; it is called at most once, and not after Detach. It must not block.
  uint64_t Attach(std::function<void()> cut = {});
  void Detach(uint64_t stream);
  // ABORTED: another stream took over. FAILED_PRECONDITION: is being checked.
  // OUT_OF_RANGE: does not start at have_offset, or goes beyond the announced size.
  absl::Status Append(uint64_t stream, uint64_t offset, absl::Span<const absl::string_view> pieces);
  absl::Status Append(uint64_t stream, uint64_t offset, absl::string_view data) {
    return Append(stream, offset, absl::MakeConstSpan(&data, 1));
  }

  // True when no byte arrived since this was asked `idle` or longer ago; a stream that hangs is cut.
  // `now` is on the monotonic clock.
  bool CutIfStalled(absl::Duration now, absl::Duration idle);
  // As CutIfStalled found last.
  bool stalled() const;
  // It is being checked.
  bool claimed() const;

  // Takes the complete file for the check. FAILED_PRECONDITION: not all
  // there. UNAVAILABLE: someone else is at it.
  absl::Status Claim();
  // SHA-256 of a claimed upload's bytes, lower-case hex.
  absl::StatusOr<std::string> Digest();
  // Gives it back. `damaged`: the content is not what was announced; it starts again from 0.
  enum class Content { kKept, kDamaged };
  void Release(Content content);
  // Another upload takes its place: removes the file and takes no more of it. UNAVAILABLE: is being
  // checked, and may be accepted yet.
  absl::Status Discard();
  // How often it was given back damaged.
  int damaged_count() const;

 private:
  Upload(Announcement announcement, std::string path, File file, uint64_t have);
  absl::Status HashUpTo(uint64_t end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CutStream() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Announcement announcement_;
  const std::string id_;
  const std::string path_;
  mutable absl::Mutex mutex_;  // held across a chunk's write: it orders the writers of this one file
  File file_ ABSL_GUARDED_BY(mutex_);
  uint64_t have_ ABSL_GUARDED_BY(mutex_);
  uint64_t hashed_ ABSL_GUARDED_BY(mutex_) = 0;  // bytes in hash_, from the start
  privacy::Sha256Stream hash_ ABSL_GUARDED_BY(mutex_);
  std::string digest_ ABSL_GUARDED_BY(mutex_);  // once it was asked for
  uint64_t stream_ ABSL_GUARDED_BY(mutex_) = 0;
  std::function<void()> cut_ ABSL_GUARDED_BY(mutex_);
  uint64_t seen_have_ ABSL_GUARDED_BY(mutex_) = UINT64_MAX;  // when CutIfStalled looked
  absl::Duration seen_at_ ABSL_GUARDED_BY(mutex_);
  bool stalled_ ABSL_GUARDED_BY(mutex_) = false;
  int damaged_ ABSL_GUARDED_BY(mutex_) = 0;
  bool claimed_ ABSL_GUARDED_BY(mutex_) = false;
  bool discarded_ ABSL_GUARDED_BY(mutex_) = false;
};

// Where uploads lie: FOLDER/<study>/<round>/<upload id>. Thread-compatible, stateless.
class Staging {
 public:
  explicit Staging(std::string folder) : folder_(std::move(folder)) {}
  absl::Status MakeRoom(absl::string_view study, int64_t round) const;
  std::string Path(absl::string_view study, int64_t round, absl::string_view upload_id) const;
  // Everything of a round that is over. Failure to remove does no harm: Sweep comes at the start.
  void Drop(absl::string_view study, int64_t round) const;
  // One upload, and its round's folder if nothing else lies there.
  void DropUpload(absl::string_view study, int64_t round, absl::string_view upload_id) const;
  // Keeps only these rounds of the study.
  void Sweep(absl::string_view study, const std::set<int64_t>& keep_rounds) const;

 private:
  const std::string folder_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_UPLOAD_H_
