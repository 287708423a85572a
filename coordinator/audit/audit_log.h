// The signed head of the audit log, and what protects it against whoever holds the store.
//
// The store keeps entries and tree. This signs checkpoints of it (C2SP tlog-checkpoint), keeps the
// newest one outside the store too, offers checkpoints to the sites, which are the witnesses, and
// keeps their cosignatures. A store that was rolled back, cut or altered disagrees with one of the
// three; then the log is frozen: nothing is recorded, so nothing is changed, and the message says
// what to restore.
//
// Order: Open before anything is committed, Start, then any call. Thread-safe.
// Signing: within `sign_every` of a new entry, each `sign_entries` entries, and at once when a round
// was committed.
// Offering: witnesses are all shown one checkpoint until a round is committed or kOfferedFor has
// passed, so that their cosignatures meet on it.
// Files: AUDIT.key (Ed25519, made on first use); the checkpoint outside; evidence/, two checkpoints
// that cannot both be true: while one lies there, Open refuses.
// Errors of Open: DATA_LOSS: the log is not what was signed.
#ifndef CONSILIUM_COORDINATOR_AUDIT_AUDIT_LOG_H_
#define CONSILIUM_COORDINATOR_AUDIT_AUDIT_LOG_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "coordinator/store/store.h"
#include "privacy/transparency/checkpoint.h"
#include "privacy/transparency/merkle.h"
#include "privacy/transparency/note.h"
#include "proto/base/clock.h"
#include "proto/base/thread_pool.h"

namespace consilium::coordinator {

inline constexpr absl::Duration kOfferedFor = absl::Seconds(60);
// Checked against the tree at each start, from the end of the log.
inline constexpr uint64_t kCheckedAtStart = uint64_t{1} << 14;

struct AuditLogOptions {
  std::string federation;
  std::string key_path;         // HOME/audit.key
  std::string checkpoint_path;  // best on another disk than the store
  std::string evidence_folder;
  absl::Duration sign_every = absl::Seconds(1);
  uint64_t sign_entries = 256;
};

// Name of the log and of its key.
std::string LogOrigin(absl::string_view federation);

class AuditLog {
 public:
  // `counts` says whether a site's cosignature counts (it is approved). All must outlive it.
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(
      AuditLogOptions options, Store& store, const Clock& clock,
      std::function<bool(const std::string& site)> counts);
  ~AuditLog();
  // Signs from now on by itself.
  void Start();

  // A checkpoint of all there is. Nothing new: nothing is done.
  absl::Status Sign();
  std::string vkey() const { return signer_.verifier().ToString(); }
  const std::string& origin() const { return signer_.name(); }
  // OK, or why nothing is recorded.
  absl::Status Health() const { return store_.Writable(); }

  // For witnesses. The size of the checkpoint to cosign now; 0: none yet.
  uint64_t offered_size() const;
  struct Offer {
    std::string note;  // with the log's signature only
    std::vector<privacy::Hash> consistency;
  };
  // OUT_OF_RANGE: no checkpoint is as large as `old_size`.
  absl::StatusOr<Offer> OfferSince(uint64_t old_size) const;
  // Idempotent. FAILED_PRECONDITION: the site is not a witness. INVALID_ARGUMENT: not a cosignature
  // of a checkpoint of this log by the site's key.
  absl::Status AcceptCosignature(const std::string& site, const privacy::Checkpoint& checkpoint,
                                 absl::string_view line);
  // What a site says about itself as a witness; empty: nothing. A new key is enrolled (an entry).
  // PERMISSION_DENIED: the key is another one than before although the certificate (`key_sha256`)
  // is not. DATA_LOSS: its checkpoint is signed by this log and does not fit it: the log is frozen.
  absl::Status OnHello(const std::string& site, absl::string_view key_sha256,
                       absl::string_view witness_vkey, absl::string_view witnessed);

  // For reviewers: the newest checkpoint with enough cosignatures; without witnesses or before the
  // first of these, the newest.
  struct Head {
    std::string note;
    uint64_t size = 0;
  };
  absl::StatusOr<Head> ReviewHead();
  // The newest checkpoint over at least `size` entries, cosigned if there is such a one.
  absl::StatusOr<Head> HeadOver(uint64_t size);
  // C2SP tlog-policy: this log, its witnesses, all but one of them (at least one).
  std::string PolicyText() const;
  // C2SP tlog-proof of an entry, with the entry in its `extra`. OUT_OF_RANGE: no such entry.
  absl::StatusOr<std::string> Prove(const AuditLine& entry);

  struct WitnessStatus {
    std::string site;
    uint64_t size = 0;  // of the newest checkpoint that it cosigned since the start
  };
  std::vector<WitnessStatus> Witnesses() const;

 private:
  struct Signed {
    std::string note;
    privacy::Checkpoint checkpoint;
  };
  AuditLog(AuditLogOptions options, privacy::NoteSigner signer, Store& store, const Clock& clock,
           std::function<bool(const std::string&)> counts);
  absl::Status CheckStore();
  absl::StatusOr<Signed> Load(absl::string_view where, const std::string& note) const;
  absl::Status Compare(absl::string_view where, const Signed& theirs) const;
  absl::Status Enrol(const std::string& site, absl::string_view key_sha256,
                     const privacy::VerifierKey& key);
  absl::Status Freeze(const std::string& site, const Signed& theirs, const absl::Status& why);
  absl::Status AddCosignature(Signed& to, const privacy::NoteSignature& signature) const;
  void OnCommit(const CommitNotice& notice);
  void SignUntilStopped();

  const AuditLogOptions options_;
  const privacy::NoteSigner signer_;
  Store& store_;
  const Clock& clock_;
  const std::function<bool(const std::string&)> counts_;

  absl::Mutex turn_;  // one signature or cosignature is written at a time
  mutable absl::Mutex mutex_;
  Signed newest_ ABSL_GUARDED_BY(mutex_);
  Signed offered_ ABSL_GUARDED_BY(mutex_);  // collects cosignatures
  absl::Duration offered_since_ ABSL_GUARDED_BY(mutex_);
  Signed witnessed_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, WitnessRecord> witnesses_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, uint64_t> cosigned_ ABSL_GUARDED_BY(mutex_);
  bool due_ ABSL_GUARDED_BY(mutex_) = false;
  bool round_committed_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<ThreadPool> thread_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_AUDIT_AUDIT_LOG_H_
