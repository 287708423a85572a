// An append-only signed log in plain files: what a site keeps of what happens inside the hospital,
// in the same formats as the coordinator's audit log.
//
//   log.key, log.vkey       its private key (0600), its public one
//   checkpoint              the newest signed checkpoint: everything under it was acknowledged
//   leaves                  32 bytes a leaf hash: names the bad entry if one is altered
//   tile/entries/<N>        the entries, 256 a file, each behind its length (C2SP tlog-tiles; the last
//                           file grows in place)
//   lock                    held while something is appended
//
// An append is durable in all of these, in that order, before it returns. What a crash left of one
// that had not returned is cut off at the next opening, and said in notes(). All else that does not
// fit is DATA_LOSS with the first bad index; nothing is then appended.
//
// Memory: 64 bytes an entry. Thread-safe. Several processes may have the folder open: each looks,
// under the lock, whether another has appended.
#ifndef CONSILIUM_PRIVACY_TRANSPARENCY_FILE_LOG_H_
#define CONSILIUM_PRIVACY_TRANSPARENCY_FILE_LOG_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "privacy/transparency/checkpoint.h"
#include "privacy/transparency/merkle.h"
#include "privacy/transparency/note.h"

namespace consilium::privacy {

class FileLog {
 public:
  // Gives the bytes of the entry that is to have this index (an entry names its own).
  using EntryMaker = absl::FunctionRef<absl::StatusOr<std::string>(uint64_t index)>;
  static constexpr size_t kGroupEntriesMax = 4096;

  // Opens or makes the log whose key and origin have this name. DATA_LOSS: it is damaged; the
  // message names the first bad index and the remedy. FAILED_PRECONDITION: the log there has another
  // name. Otherwise the errors of NoteSigner::OpenFile and of files.
  static absl::StatusOr<std::unique_ptr<FileLog>> Open(const std::string& folder,
                                                       absl::string_view origin);
  // Looks only: changes nothing, leaves out what is not under the checkpoint, appends nothing.
  // NOT_FOUND: no log there.
  static absl::StatusOr<std::unique_ptr<FileLog>> OpenToRead(const std::string& folder);

  // All of them or none; the index of the first. INVALID_ARGUMENT: none, more than kGroupEntriesMax
  // or an entry longer than kEntryBytesMax; an error of `make`. FAILED_PRECONDITION: opened to read.
  // DATA_LOSS: what another process left is damaged. Other errors: not written; the log is as it was.
  absl::StatusOr<uint64_t> Append(size_t count, EntryMaker make);

  uint64_t size() const;
  std::string checkpoint() const;  // the signed note
  const VerifierKey& key() const { return key_; }
  // What was cut off at opening, in words.
  std::vector<std::string> notes() const;

  // OUT_OF_RANGE: no such entry. DATA_LOSS: its bytes are not those of its leaf.
  absl::StatusOr<std::string> Entry(uint64_t index) const;
  // The root of the complete subtree [index << level, (index + 1) << level). OUT_OF_RANGE: not there.
  absl::StatusOr<Hash> Node(int level, uint64_t index) const;
  absl::StatusOr<std::vector<Hash>> ProveInclusion(uint64_t index, uint64_t size) const;
  absl::StatusOr<std::vector<Hash>> ProveConsistency(uint64_t old_size, uint64_t new_size) const;

 private:
  // The tree in memory, copied to try a group.
  struct Tree {
    Frontier frontier;
    std::vector<std::vector<Hash>> levels;
    void Append(const Hash& leaf);
    void ShrinkTo(uint64_t size);
  };
  FileLog(std::string folder, VerifierKey key, std::unique_ptr<NoteSigner> signer)
      : folder_(std::move(folder)), key_(std::move(key)), signer_(std::move(signer)) {}

  absl::Status Load() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status LoadEntries(uint64_t acknowledged, absl::string_view leaves)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Start() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes the files end where the log does.
  absl::Status CutFiles() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Write(const std::vector<std::string>& entries) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status WriteBundles(const std::vector<std::string>& entries)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status SignAndWrite() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Hash> NodeLocked(int level, uint64_t index) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  std::string BundlePath(uint64_t n) const;

  const std::string folder_;
  const VerifierKey key_;
  const std::unique_ptr<NoteSigner> signer_;  // null: opened to read

  mutable absl::Mutex mutex_;
  Tree tree_ ABSL_GUARDED_BY(mutex_);
  uint64_t bundle_bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // of the last bundle, if it is not full
  std::string checkpoint_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> notes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_TRANSPARENCY_FILE_LOG_H_
