#include "privacy/transparency/file_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/transparency/tile.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr absl::string_view kKeyFile = "log.key";
constexpr absl::string_view kVkeyFile = "log.vkey";
constexpr absl::string_view kCheckpointFile = "checkpoint";
constexpr absl::string_view kLeavesFile = "leaves";
constexpr absl::string_view kLockFile = "lock";
constexpr uint64_t kLeavesBytesMax = uint64_t{1} << 31;
constexpr uint64_t kBundleBytesMax = kTileWidth * (kEntryBytesMax + 2);

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(absl::StrCat(
      "the log is damaged: ", what,
      ". Nothing is appended to it. Keep the folder as it is for an inquiry, then restore it from a "
      "backup; a backup older than a checkpoint that others hold will be found out by it"));
}

// Held for as long as it lives; waits for another process.
class FolderLock {
 public:
  static absl::StatusOr<FolderLock> Take(const std::string& folder) {
    const std::string path = JoinPath(folder, kLockFile);
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kPrivateFile);
    if (fd < 0) return absl::FailedPreconditionError("the log's lock file cannot be made");
    FolderLock lock(fd);
    int locked;
    while ((locked = ::flock(fd, LOCK_EX)) != 0 && errno == EINTR) {
    }
    if (locked != 0) return absl::UnavailableError("the log's lock cannot be taken");
    return lock;
  }
  FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~FolderLock() {
    if (fd_ >= 0) ::close(fd_);
  }

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_;
};

// One entry off the front of a bundle; false: none that is whole.
bool TakeEntry(absl::string_view& bundle, absl::string_view& entry) {
  if (bundle.size() < 2) return false;
  const size_t length = size_t{static_cast<unsigned char>(bundle[0])} << 8 |
                        static_cast<unsigned char>(bundle[1]);
  if (bundle.size() < 2 + length) return false;
  entry = bundle.substr(2, length);
  bundle.remove_prefix(2 + length);
  return true;
}

absl::Status TruncateTo(const std::string& path, uint64_t bytes) {
  if (!PathExists(path)) return absl::OkStatus();
  CSL_ASSIGN_OR_RETURN(File file, File::Open(path, File::Mode::kReadWriteCreate));
  CSL_ASSIGN_OR_RETURN(const uint64_t have, file.Bytes());
  if (have <= bytes) return absl::OkStatus();
  CSL_RETURN_IF_ERROR(file.Truncate(bytes));
  return file.Sync();
}

absl::Status WriteDurably(const std::string& path, uint64_t offset, absl::string_view bytes) {
  const bool made = !PathExists(path);
  CSL_ASSIGN_OR_RETURN(File file, File::Open(path, File::Mode::kReadWriteCreate));
  CSL_RETURN_IF_ERROR(file.WriteAt(offset, bytes));
  CSL_RETURN_IF_ERROR(file.Sync());
  return made ? SyncDir(path.substr(0, path.rfind('/'))) : absl::OkStatus();
}

}  // namespace

void FileLog::Tree::Append(const Hash& leaf) {
  frontier.Append(leaf, [this](int level, uint64_t index, const Hash& hash) {
    if (levels.size() <= static_cast<size_t>(level)) levels.resize(static_cast<size_t>(level) + 1);
    CSL_CHECK(levels[static_cast<size_t>(level)].size() == index);
    levels[static_cast<size_t>(level)].push_back(hash);
  });
}

void FileLog::Tree::ShrinkTo(uint64_t size) {
  for (size_t level = 0; level < levels.size(); ++level) levels[level].resize(size >> level);
  const absl::StatusOr<Frontier> edge =
      Frontier::FromReader(size, [this](int level, uint64_t index) -> absl::StatusOr<Hash> {
        return levels[static_cast<size_t>(level)][index];
      });
  CSL_CHECK(edge.ok());
  frontier = *edge;
}

std::string FileLog::BundlePath(uint64_t n) const { return JoinPath(folder_, EntriesPath(n, 0)); }

absl::StatusOr<std::unique_ptr<FileLog>> FileLog::Open(const std::string& folder,
                                                       absl::string_view origin) {
  CSL_RETURN_IF_ERROR(MakeDirs(folder));
  CSL_ASSIGN_OR_RETURN(const FolderLock lock, FolderLock::Take(folder));
  CSL_ASSIGN_OR_RETURN(NoteSigner signer, NoteSigner::OpenFile(JoinPath(folder, kKeyFile), origin,
                                                               kNoteEd25519));
  VerifierKey key = signer.verifier();
  std::unique_ptr<FileLog> log(
      new FileLog(folder, std::move(key), std::make_unique<NoteSigner>(std::move(signer))));
  absl::MutexLock hold(&log->mutex_);
  const bool starts = !PathExists(JoinPath(folder, kCheckpointFile)) &&
                      !PathExists(JoinPath(folder, kLeavesFile)) &&
                      !PathExists(JoinPath(folder, "tile"));
  if (starts) CSL_RETURN_IF_ERROR(log->Start());
  CSL_RETURN_IF_ERROR(log->Load());
  CSL_RETURN_IF_ERROR(log->CutFiles());
  return log;
}

absl::StatusOr<std::unique_ptr<FileLog>> FileLog::OpenToRead(const std::string& folder) {
  if (!PathExists(JoinPath(folder, kVkeyFile))) {
    return absl::NotFoundError("there is no log yet: the agent makes it at its first event");
  }
  CSL_ASSIGN_OR_RETURN(const std::string vkey,
                       ReadFile(JoinPath(folder, kVkeyFile), kVerifierKeyBytesMax));
  const absl::StatusOr<VerifierKey> key =
      VerifierKey::Parse(absl::string_view(vkey).substr(0, vkey.find('\n')));
  if (!key.ok()) return Damaged("log.vkey is not its key");
  std::unique_ptr<FileLog> log(new FileLog(folder, *key, nullptr));
  absl::MutexLock hold(&log->mutex_);
  CSL_RETURN_IF_ERROR(log->Load());
  return log;
}

// The empty checkpoint comes first, so that one that is missing later is never taken for a new log.
absl::Status FileLog::Start() {
  CSL_RETURN_IF_ERROR(
      WriteFileAtomic(JoinPath(folder_, kVkeyFile), absl::StrCat(key_.ToString(), "\n")));
  return SignAndWrite();
}

absl::Status FileLog::SignAndWrite() {
  const std::string note = SignCheckpoint({.origin = key_.name,
                                           .size = tree_.frontier.size(),
                                           .root = tree_.frontier.Root()},
                                          *signer_);
  CSL_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder_, kCheckpointFile), note));
  checkpoint_ = note;
  return absl::OkStatus();
}

absl::Status FileLog::Load() {
  const std::string checkpoint_path = JoinPath(folder_, kCheckpointFile);
  if (!PathExists(checkpoint_path)) return Damaged("its checkpoint is missing");
  CSL_ASSIGN_OR_RETURN(checkpoint_, ReadFile(checkpoint_path, kNoteBytesMax));
  const absl::StatusOr<Checkpoint> checkpoint = OpenCheckpoint(checkpoint_, key_);
  if (!checkpoint.ok()) {
    if (absl::IsNotFound(checkpoint.status())) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the log's checkpoint is not signed by ", key_.name,
          ": the folder holds the log of another name or key; move it away to begin a new one"));
    }
    return Damaged(absl::StrCat("its checkpoint does not hold (", checkpoint.status().message(),
                                ")"));
  }
  std::string leaves;
  if (const std::string path = JoinPath(folder_, kLeavesFile); PathExists(path)) {
    CSL_ASSIGN_OR_RETURN(leaves, ReadFile(path, kLeavesBytesMax));
  }
  tree_ = Tree();
  bundle_bytes_ = 0;
  notes_.clear();
  CSL_RETURN_IF_ERROR(LoadEntries(checkpoint->size, leaves));
  absl::StatusOr<Hash> root = RootOf(
      checkpoint->size, [this](int level, uint64_t index) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        return NodeLocked(level, index);
      });
  CSL_RETURN_IF_ERROR(root.status());
  if (*root != checkpoint->root) {
    return Damaged(absl::StrCat("the ", checkpoint->size, " entries do not have the signed root; an "
                                "entry and its leaf hash were both changed, and which one cannot be "
                                "told from 0 on"));
  }
  if (signer_ != nullptr && tree_.frontier.size() > checkpoint->size) return SignAndWrite();
  return absl::OkStatus();
}

// Entries under the checkpoint have to be there. Of those after it, which nobody was told of, the
// whole ones stay and the first torn one ends the log.
absl::Status FileLog::LoadEntries(uint64_t acknowledged, absl::string_view leaves) {
  std::string bundle;
  absl::string_view rest;
  for (uint64_t index = 0;; ++index) {
    if (index == acknowledged && signer_ == nullptr) return absl::OkStatus();
    if (index % kTileWidth == 0) {
      bundle.clear();
      bundle_bytes_ = 0;
      if (const std::string path = BundlePath(index / kTileWidth); PathExists(path)) {
        CSL_ASSIGN_OR_RETURN(bundle, ReadFile(path, kBundleBytesMax));
      }
      rest = bundle;
    }
    absl::string_view entry;
    const bool whole = TakeEntry(rest, entry);
    const absl::string_view stored =
        leaves.substr(std::min<uint64_t>(index * kHashBytes, leaves.size()), kHashBytes);
    const Hash leaf = LeafHash(entry);
    const bool fits = whole && stored == HashBytes(leaf);
    if (fits) {
      tree_.Append(leaf);
      bundle_bytes_ = (index + 1) % kTileWidth == 0 ? 0 : bundle.size() - rest.size();
      continue;
    }
    if (index < acknowledged) {
      const absl::string_view what = !whole                        ? "is missing or cut off"
                                     : stored.size() != kHashBytes ? "has no leaf hash any more"
                                                                   : "was altered";
      return Damaged(absl::StrCat("entry ", index, " ", what));
    }
    if (whole || !rest.empty() || !stored.empty()) {
      notes_.push_back(absl::StrCat(
          "cut off what an interrupted append left after entry ", index, " (not acknowledged)"));
    }
    return absl::OkStatus();
  }
}

absl::Status FileLog::CutFiles() {
  const uint64_t size = tree_.frontier.size();
  CSL_RETURN_IF_ERROR(TruncateTo(JoinPath(folder_, kLeavesFile), size * kHashBytes));
  CSL_RETURN_IF_ERROR(TruncateTo(BundlePath(size / kTileWidth), bundle_bytes_));
  for (uint64_t n = size / kTileWidth + 1; PathExists(BundlePath(n)); ++n) {
    CSL_RETURN_IF_ERROR(TruncateTo(BundlePath(n), 0));
  }
  return absl::OkStatus();
}

absl::Status FileLog::WriteBundles(const std::vector<std::string>& entries) {
  uint64_t index = tree_.frontier.size();
  uint64_t offset = bundle_bytes_;
  for (size_t next = 0; next < entries.size();) {
    const uint64_t n = index / kTileWidth;
    std::string bytes;
    for (; next < entries.size() && index / kTileWidth == n; ++next, ++index) {
      CSL_RETURN_IF_ERROR(AppendToBundle(entries[next], bytes));
    }
    const std::string path = BundlePath(n);
    if (offset == 0) CSL_RETURN_IF_ERROR(MakeDirs(path.substr(0, path.rfind('/'))));
    CSL_RETURN_IF_ERROR(WriteDurably(path, offset, bytes));
    offset = index % kTileWidth == 0 ? 0 : offset + bytes.size();
  }
  return absl::OkStatus();
}

absl::Status FileLog::Write(const std::vector<std::string>& entries) {
  CSL_RETURN_IF_ERROR(CutFiles());  // what an append that failed has left
  CSL_RETURN_IF_ERROR(WriteBundles(entries));
  const uint64_t old_size = tree_.frontier.size();
  const uint64_t old_bundle_bytes = bundle_bytes_;
  std::string leaves;
  for (const std::string& entry : entries) {
    const Hash leaf = LeafHash(entry);
    absl::StrAppend(&leaves, HashBytes(leaf));
    bundle_bytes_ += 2 + entry.size();
    tree_.Append(leaf);
    if (tree_.frontier.size() % kTileWidth == 0) bundle_bytes_ = 0;
  }
  absl::Status status =
      WriteDurably(JoinPath(folder_, kLeavesFile), old_size * kHashBytes, leaves);
  if (status.ok()) status = SignAndWrite();
  if (!status.ok()) {
    tree_.ShrinkTo(old_size);
    bundle_bytes_ = old_bundle_bytes;
  }
  return status;
}

absl::StatusOr<uint64_t> FileLog::Append(size_t count, EntryMaker make) {
  if (signer_ == nullptr) return absl::FailedPreconditionError("the log was opened to read");
  if (count == 0 || count > kGroupEntriesMax) {
    return absl::InvalidArgumentError(absl::StrCat("log: ", count, " entries at once"));
  }
  absl::MutexLock hold(&mutex_);
  CSL_ASSIGN_OR_RETURN(const FolderLock lock, FolderLock::Take(folder_));
  const absl::StatusOr<std::string> on_disk =
      ReadFile(JoinPath(folder_, kCheckpointFile), kNoteBytesMax);
  if (!on_disk.ok() || *on_disk != checkpoint_) CSL_RETURN_IF_ERROR(Load());
  const uint64_t first = tree_.frontier.size();
  std::vector<std::string> entries;
  for (size_t i = 0; i < count; ++i) {
    CSL_ASSIGN_OR_RETURN(std::string entry, make(first + i));
    if (entry.size() > kEntryBytesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("log entry: ", entry.size(), " bytes; at most ", kEntryBytesMax));
    }
    entries.push_back(std::move(entry));
  }
  CSL_RETURN_IF_ERROR(Write(entries));
  return first;
}

uint64_t FileLog::size() const {
  absl::MutexLock hold(&mutex_);
  return tree_.frontier.size();
}

std::string FileLog::checkpoint() const {
  absl::MutexLock hold(&mutex_);
  return checkpoint_;
}

std::vector<std::string> FileLog::notes() const {
  absl::MutexLock hold(&mutex_);
  return notes_;
}

absl::StatusOr<std::string> FileLog::Entry(uint64_t index) const {
  CSL_ASSIGN_OR_RETURN(const Hash leaf, Node(0, index));
  CSL_ASSIGN_OR_RETURN(const std::string bundle,
                       ReadFile(BundlePath(index / kTileWidth), kBundleBytesMax));
  absl::string_view rest = bundle, entry;
  for (uint64_t i = 0; i <= index % kTileWidth; ++i) {
    if (!TakeEntry(rest, entry)) return Damaged(absl::StrCat("entry ", index, " is missing"));
  }
  if (LeafHash(entry) != leaf) return Damaged(absl::StrCat("entry ", index, " was altered"));
  return std::string(entry);
}

absl::StatusOr<Hash> FileLog::NodeLocked(int level, uint64_t index) const {
  if (level < 0 || static_cast<size_t>(level) >= tree_.levels.size() ||
      index >= tree_.levels[static_cast<size_t>(level)].size()) {
    return absl::OutOfRangeError(absl::StrCat("the log has no node ", index, " at level ", level));
  }
  return tree_.levels[static_cast<size_t>(level)][index];
}

absl::StatusOr<Hash> FileLog::Node(int level, uint64_t index) const {
  absl::MutexLock hold(&mutex_);
  return NodeLocked(level, index);
}

absl::StatusOr<std::vector<Hash>> FileLog::ProveInclusion(uint64_t index, uint64_t size) const {
  return InclusionProof(index, size,
                        [this](int level, uint64_t node) { return Node(level, node); });
}

absl::StatusOr<std::vector<Hash>> FileLog::ProveConsistency(uint64_t old_size,
                                                            uint64_t new_size) const {
  return ConsistencyProof(old_size, new_size,
                          [this](int level, uint64_t node) { return Node(level, node); });
}

}  // namespace consilium::privacy
