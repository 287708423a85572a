#include "coordinator/audit/audit_log.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/log/log.h"
#include "privacy/transparency/policy.h"
#include "privacy/transparency/proof.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

using privacy::Checkpoint;
using privacy::LogField;
using Key = LogField::Key;

constexpr const char* kGroup = "witnesses";
constexpr size_t kWitnessesInPolicyMax = privacy::kNoteSignaturesMax - 1;  // and the log's own
constexpr const char* kOutside = "the checkpoint file outside the store";

absl::Status NotWhatWasSigned(absl::string_view where, uint64_t theirs, uint64_t ours,
                              absl::string_view what) {
  return absl::DataLossError(absl::StrCat(
      "audit log: ", what, ": ", where, " has ", theirs, " entries, the store ", ours,
      ". Nothing is recorded or changed in this state. Stop the coordinator, keep its home as "
      "evidence, and restore a backup with at least ",
      std::max(theirs, ours), " entries"));
}

}  // namespace

std::string LogOrigin(absl::string_view federation) {
  return absl::StrCat("consilium/", federation, "/audit");
}

AuditLog::AuditLog(AuditLogOptions options, privacy::NoteSigner signer, Store& store,
                   const Clock& clock, std::function<bool(const std::string&)> counts)
    : options_(std::move(options)),
      signer_(std::move(signer)),
      store_(store),
      clock_(clock),
      counts_(std::move(counts)) {}

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Open(
    AuditLogOptions options, Store& store, const Clock& clock,
    std::function<bool(const std::string& site)> counts) {
  const bool was_signed = PathExists(options.checkpoint_path) ||
                          store.LoadCheckpoint(CheckpointKind::kNewest).ok();
  if (was_signed && !PathExists(options.key_path)) {
    return absl::DataLossError(absl::StrCat(
        "audit log: its key (", BaseName(options.key_path),
        ") is missing although it signed checkpoints; restore it from the backup of this home"));
  }
  CSL_RETURN_IF_ERROR(MakeDirs(options.evidence_folder));
  CSL_ASSIGN_OR_RETURN(
      privacy::NoteSigner signer,
      privacy::NoteSigner::OpenFile(options.key_path, LogOrigin(options.federation),
                                    privacy::kNoteEd25519));
  auto log = std::unique_ptr<AuditLog>(
      new AuditLog(std::move(options), std::move(signer), store, clock, std::move(counts)));
  CSL_RETURN_IF_ERROR(log->CheckStore());
  CSL_ASSIGN_OR_RETURN(const std::vector<WitnessRecord> witnesses, store.Witnesses());
  absl::MutexLock lock(&log->mutex_);
  for (const WitnessRecord& witness : witnesses) log->witnesses_.emplace(witness.site, witness);
  log->offered_ = log->newest_;
  log->offered_since_ = clock.Monotonic();
  return log;
}

AuditLog::~AuditLog() {
  if (thread_ == nullptr) return;
  store_.SetObserver(nullptr);
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.reset();
}

// The start-up rule: the store against what was signed of it, here and outside.
absl::Status AuditLog::CheckStore() {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(options_.evidence_folder, error)) {
    return absl::DataLossError(absl::StrCat(
        "audit log: ", entry.path().filename().string(),
        " in the folder of evidence shows that the log was rolled back or forked. Keep the file, "
        "restore a newer backup of the home, and move the file away to start again"));
  }
  Signed outside, inside;
  if (PathExists(options_.checkpoint_path)) {
    CSL_ASSIGN_OR_RETURN(const std::string note,
                         ReadFile(options_.checkpoint_path, privacy::kNoteBytesMax));
    CSL_ASSIGN_OR_RETURN(outside, Load(kOutside, note));
    CSL_RETURN_IF_ERROR(Compare(kOutside, outside));
  }
  for (const CheckpointKind kind : {CheckpointKind::kNewest, CheckpointKind::kWitnessed}) {
    const absl::StatusOr<std::string> note = store_.LoadCheckpoint(kind);
    if (absl::IsNotFound(note.status())) continue;
    CSL_RETURN_IF_ERROR(note.status());
    CSL_ASSIGN_OR_RETURN(Signed checkpoint, Load("the store's checkpoint", *note));
    CSL_RETURN_IF_ERROR(Compare("the store's checkpoint", checkpoint));
    if (kind == CheckpointKind::kNewest) inside = checkpoint;
    absl::MutexLock lock(&mutex_);
    (kind == CheckpointKind::kNewest ? newest_ : witnessed_) = std::move(checkpoint);
  }
  if (inside.checkpoint.size > 0 && outside.note.empty()) {
    privacy::Log(privacy::LogLevel::kWarning, "the checkpoint outside the store is missing",
                 {{Key::kCount, inside.checkpoint.size}});
  }
  const uint64_t size = store_.AuditSize();
  return store_.VerifyAudit(size > kCheckedAtStart ? size - kCheckedAtStart : 0);
}

absl::StatusOr<AuditLog::Signed> AuditLog::Load(absl::string_view where,
                                                const std::string& note) const {
  const absl::StatusOr<Checkpoint> checkpoint = privacy::OpenCheckpoint(note, signer_.verifier());
  if (checkpoint.ok()) return Signed{note, *checkpoint};
  return absl::DataLossError(absl::StrCat(
      "audit log: ", where, " is not signed by this log's key (", checkpoint.status().message(),
      "); restore the key and the checkpoint that belong to this home"));
}

absl::Status AuditLog::Compare(absl::string_view where, const Signed& theirs) const {
  const uint64_t size = store_.AuditSize();
  if (theirs.checkpoint.size > size) {
    return NotWhatWasSigned(where, theirs.checkpoint.size, size,
                            absl::StrCat("entries from ", size,
                                         " on were signed and are gone; the store was rolled back "
                                         "or cut off"));
  }
  CSL_ASSIGN_OR_RETURN(const privacy::Hash root, store_.RootAt(theirs.checkpoint.size));
  if (root == theirs.checkpoint.root) return absl::OkStatus();
  // The whole log is read only now: it may say which entry it is.
  const absl::Status first_bad = store_.VerifyAudit();
  return NotWhatWasSigned(
      where, theirs.checkpoint.size, size,
      absl::StrCat("the entries below ", theirs.checkpoint.size, " are not those that were signed",
                   first_bad.ok() ? "" : absl::StrCat(" (", first_bad.message(), ")")));
}

void AuditLog::Start() {
  CSL_CHECK(thread_ == nullptr);
  store_.SetObserver([this](const CommitNotice& notice) { OnCommit(notice); });
  thread_ = std::make_unique<ThreadPool>(1);
  thread_->Schedule([this] { SignUntilStopped(); });
}

void AuditLog::OnCommit(const CommitNotice& notice) {
  absl::MutexLock lock(&mutex_);
  round_committed_ |= notice.round_committed;
  due_ |= notice.round_committed ||
          notice.size >= newest_.checkpoint.size + options_.sign_entries;
}

void AuditLog::SignUntilStopped() {
  for (bool failed = false;;) {
    {
      absl::MutexLock lock(&mutex_);
      const auto wanted = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return due_ || stopping_; };
      mutex_.AwaitWithTimeout(absl::Condition(&wanted), options_.sign_every);
      if (stopping_) return;
      due_ = false;
    }
    const absl::Status status = Sign();
    // Once, not each second.
    if (!status.ok() && !failed) {
      privacy::Log(privacy::LogLevel::kError, "the audit log could not be signed",
                   {{Key::kReason, status.message()}});
    }
    failed = !status.ok();
  }
}

absl::Status AuditLog::Sign() {
  absl::MutexLock turn(&turn_);
  if (absl::IsDataLoss(Health())) return absl::OkStatus();  // frozen: nothing to vouch for
  Signed next;
  next.checkpoint.origin = signer_.name();
  next.checkpoint.size = store_.AuditSize();
  bool fresh = false;
  {
    absl::MutexLock lock(&mutex_);
    fresh = next.checkpoint.size > newest_.checkpoint.size;
  }
  if (fresh) {
    CSL_ASSIGN_OR_RETURN(next.checkpoint.root, store_.RootAt(next.checkpoint.size));
    next.note = privacy::SignCheckpoint(next.checkpoint, signer_);
    CSL_RETURN_IF_ERROR(store_.SaveCheckpoint(CheckpointKind::kNewest, next.note));
    CSL_RETURN_IF_ERROR(WriteFileAtomic(options_.checkpoint_path, next.note));
  }
  absl::MutexLock lock(&mutex_);
  if (fresh) newest_ = std::move(next);
  const bool stale = clock_.Monotonic() - offered_since_ >= kOfferedFor;
  const bool newer = newest_.checkpoint.size > offered_.checkpoint.size;
  if (newer && (round_committed_ || stale || offered_.checkpoint.size == 0)) {
    offered_ = newest_;
    offered_since_ = clock_.Monotonic();
    round_committed_ = false;
  }
  return absl::OkStatus();
}

absl::StatusOr<AuditLog::Head> AuditLog::ReviewHead() {
  CSL_RETURN_IF_ERROR(Sign());
  absl::MutexLock lock(&mutex_);
  const bool any = std::any_of(witnesses_.begin(), witnesses_.end(),
                               [this](const auto& witness) { return counts_(witness.first); });
  const Signed& head = any && witnessed_.checkpoint.size > 0 ? witnessed_ : newest_;
  return Head{head.note, head.checkpoint.size};
}

absl::StatusOr<AuditLog::Head> AuditLog::HeadOver(uint64_t size) {
  CSL_ASSIGN_OR_RETURN(const Head head, ReviewHead());
  if (head.size >= size) return head;
  absl::MutexLock lock(&mutex_);
  if (newest_.checkpoint.size >= size) return Head{newest_.note, newest_.checkpoint.size};
  return absl::OutOfRangeError(
      absl::StrCat("the audit log has ", newest_.checkpoint.size, " signed entries, not ", size));
}

absl::StatusOr<std::string> AuditLog::Prove(const AuditLine& entry) {
  CSL_ASSIGN_OR_RETURN(const Head head, HeadOver(entry.index + 1));
  privacy::LogProof proof;
  proof.extra = entry.json;
  proof.index = entry.index;
  proof.checkpoint = head.note;
  CSL_ASSIGN_OR_RETURN(proof.hashes, store_.InclusionProof(entry.index, head.size));
  return privacy::EncodeLogProof(proof);
}

std::string AuditLog::PolicyText() const {
  privacy::Policy policy;
  policy.logs.push_back({signer_.verifier(), ""});
  privacy::Policy::Group group;
  group.name = kGroup;
  absl::MutexLock lock(&mutex_);
  for (const auto& [site, record] : witnesses_) {
    if (!counts_(site) || policy.witnesses.size() == kWitnessesInPolicyMax) continue;
    const absl::StatusOr<privacy::VerifierKey> key = privacy::VerifierKey::Parse(record.vkey);
    if (!key.ok()) continue;  // checked when it was enrolled
    policy.witnesses.push_back({site, *key, ""});
    group.members.push_back(site);
  }
  if (!group.members.empty()) {
    group.threshold = std::max<size_t>(group.members.size() - 1, 1);
    policy.groups.push_back(std::move(group));
    policy.quorum = kGroup;
  }
  return policy.ToString();
}

}  // namespace consilium::coordinator
