// The witnesses' side of the audit log: what they are offered, what they answer, what they saw.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/audit/audit_log.h"
#include "privacy/crypto/sha256.h"
#include "privacy/log/log.h"
#include "privacy/transparency/policy.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

using privacy::Checkpoint;
using privacy::LogField;
using privacy::VerifierKey;
using Key = LogField::Key;

}  // namespace

uint64_t AuditLog::offered_size() const {
  absl::MutexLock lock(&mutex_);
  return offered_.checkpoint.size;
}

absl::StatusOr<AuditLog::Offer> AuditLog::OfferSince(uint64_t old_size) const {
  Signed offered;
  {
    absl::MutexLock lock(&mutex_);
    const Signed& chosen = offered_.checkpoint.size >= old_size ? offered_ : newest_;
    offered.checkpoint = chosen.checkpoint;
  }
  if (offered.checkpoint.size < old_size || offered.checkpoint.size == 0) {
    return absl::OutOfRangeError(absl::StrCat("the audit log has ", offered.checkpoint.size,
                                              " signed entries, not ", old_size));
  }
  Offer offer;
  offer.note = privacy::SignCheckpoint(offered.checkpoint, signer_);
  CSL_ASSIGN_OR_RETURN(offer.consistency,
                       store_.ConsistencyProof(old_size, offered.checkpoint.size));
  return offer;
}

absl::Status AuditLog::AddCosignature(Signed& to, const privacy::NoteSignature& signature) const {
  CSL_ASSIGN_OR_RETURN(privacy::SignedNote note, privacy::SignedNote::Parse(to.note));
  auto& all = note.signatures;
  all.erase(std::remove_if(all.begin(), all.end(),
                           [&](const privacy::NoteSignature& old) {
                             return old.name == signature.name && old.key_id == signature.key_id;
                           }),
            all.end());
  all.push_back(signature);
  to.note = note.ToString();
  return absl::OkStatus();
}

absl::Status AuditLog::AcceptCosignature(const std::string& site, const Checkpoint& checkpoint,
                                         absl::string_view line) {
  WitnessRecord record;
  {
    absl::MutexLock lock(&mutex_);
    const auto it = witnesses_.find(site);
    if (it == witnesses_.end()) {
      return absl::FailedPreconditionError(
          "this site has no witness key here; say it in Hello first");
    }
    if (checkpoint.size > newest_.checkpoint.size) {
      return absl::OutOfRangeError("no checkpoint of this size was signed");
    }
    record = it->second;
  }
  Checkpoint ours = {signer_.name(), checkpoint.size, {}};
  CSL_ASSIGN_OR_RETURN(ours.root, store_.RootAt(checkpoint.size));
  if (ours.root != checkpoint.root) {
    return absl::InvalidArgumentError("root: not that of this log at this size");
  }
  CSL_ASSIGN_OR_RETURN(const VerifierKey key, VerifierKey::Parse(record.vkey));
  CSL_ASSIGN_OR_RETURN(const privacy::NoteSignature signature,
                       privacy::NoteSignature::ParseLine(line));
  const absl::Status verified =
      privacy::VerifyCosignature(privacy::EncodeCheckpoint(ours), signature, key).status();
  if (!verified.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("cosignature: ", verified.message()));
  }
  CSL_ASSIGN_OR_RETURN(const privacy::Policy policy, privacy::Policy::Parse(PolicyText()));
  const bool counts = std::any_of(
      policy.witnesses.begin(), policy.witnesses.end(),
      [&](const privacy::Policy::Witness& witness) { return witness.key == key; });

  absl::MutexLock turn(&turn_);
  Signed cosigned;
  {
    absl::MutexLock lock(&mutex_);
    uint64_t& seen = cosigned_[site];
    seen = std::max(seen, ours.size);
    if (!counts) return absl::OkStatus();
    if (ours.size != offered_.checkpoint.size && ours.size != witnessed_.checkpoint.size) {
      return absl::OkStatus();  // of a checkpoint that is not offered any more
    }
    Signed& to = ours.size == offered_.checkpoint.size ? offered_ : witnessed_;
    CSL_RETURN_IF_ERROR(AddCosignature(to, signature));
    cosigned = to;
  }
  if (!privacy::CheckPolicy(cosigned.note, policy).ok()) return absl::OkStatus();  // not enough yet
  CSL_RETURN_IF_ERROR(store_.SaveCheckpoint(CheckpointKind::kWitnessed, cosigned.note));
  absl::MutexLock lock(&mutex_);
  witnessed_ = std::move(cosigned);
  return absl::OkStatus();
}

absl::Status AuditLog::Enrol(const std::string& site, absl::string_view key_sha256,
                             const VerifierKey& key) {
  absl::MutexLock turn(&turn_);
  WitnessRecord record = {site, key.ToString(), std::string(key_sha256),
                          absl::ToUnixMicros(clock_.Now())};
  AuditFacts facts;
  facts.actor = facts.site = site;
  facts.role = "site";
  facts.action = "witness.enrol";
  facts.after = record.vkey;
  facts.digest = privacy::Sha256Hex(key.key);
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [other, known] : witnesses_) {
      const absl::StatusOr<VerifierKey> theirs = VerifierKey::Parse(known.vkey);
      if (other != site && theirs.ok() && (theirs->key == key.key || theirs->name == key.name)) {
        return absl::PermissionDeniedError(
            "witness_vkey: another site has this key or this name; make a key of your own");
      }
    }
    const auto it = witnesses_.find(site);
    if (it != witnesses_.end()) {
      if (it->second.vkey == record.vkey) return absl::OkStatus();
      if (it->second.key_sha256 == key_sha256) {
        return absl::PermissionDeniedError(
            "witness_vkey: the site's witness key changed although its certificate did not; "
            "restore the witness key, or enrol the site again with a new invitation");
      }
      facts.before = it->second.vkey;
    }
  }
  Batch batch;
  batch.Put(record);
  batch.Audit(std::move(facts));
  CSL_RETURN_IF_ERROR(store_.Commit(batch, clock_.Now()).status());
  absl::MutexLock lock(&mutex_);
  witnesses_.insert_or_assign(site, std::move(record));
  return absl::OkStatus();
}

absl::Status AuditLog::OnHello(const std::string& site, absl::string_view key_sha256,
                               absl::string_view witness_vkey, absl::string_view witnessed) {
  if (!witnessed.empty()) {
    const absl::StatusOr<Checkpoint> checkpoint =
        privacy::OpenCheckpoint(witnessed, signer_.verifier());
    // Only what this log signed says anything about it: nobody else can stop it.
    if (!checkpoint.ok()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "witnessed_checkpoint: not signed by this coordinator's log (",
          checkpoint.status().message(), "); is this the coordinator that the site enrolled with?"));
    }
    const Signed theirs = {std::string(witnessed), *checkpoint};
    const absl::Status fits = Compare(absl::StrCat("the witness at ", site), theirs);
    if (absl::IsDataLoss(fits)) return Freeze(site, theirs, fits);
    CSL_RETURN_IF_ERROR(fits);
    absl::MutexLock lock(&mutex_);
    uint64_t& seen = cosigned_[site];
    seen = std::max(seen, checkpoint->size);
  }
  if (witness_vkey.empty()) return absl::OkStatus();
  const absl::StatusOr<VerifierKey> key = VerifierKey::Parse(witness_vkey);
  if (!key.ok()) return Annotate(key.status(), "witness_vkey");
  if (key->algorithm != privacy::kCosignatureEd25519) {
    return absl::InvalidArgumentError("witness_vkey: must be of type 0x04, an Ed25519 cosigner");
  }
  return Enrol(site, key_sha256, *key);
}

absl::Status AuditLog::Freeze(const std::string& site, const Signed& theirs,
                              const absl::Status& why) {
  store_.Freeze(why);
  Signed ours;
  {
    absl::MutexLock lock(&mutex_);
    ours = newest_;
  }
  const std::string path = JoinPath(
      options_.evidence_folder,
      absl::StrCat(site, "-", theirs.checkpoint.size, "-", ours.checkpoint.size, ".txt"));
  const absl::Status kept = WriteFileAtomic(
      path, absl::StrCat("Checkpoint of the witness at ", site, ":\n\n", theirs.note,
                         "\nNewest checkpoint of this store:\n\n", ours.note, "\n",
                         why.message(), "\n"));
  privacy::Log(privacy::LogLevel::kError, "the audit log is frozen",
               {{Key::kSite, site},
                {Key::kCount, ours.checkpoint.size},
                {Key::kTotal, theirs.checkpoint.size},
                {Key::kReason, kept.ok() ? why.message() : kept.message()}});
  return why;
}

std::vector<AuditLog::WitnessStatus> AuditLog::Witnesses() const {
  absl::MutexLock lock(&mutex_);
  std::vector<WitnessStatus> list;
  for (const auto& [site, record] : witnesses_) {
    const auto it = cosigned_.find(site);
    list.push_back({site, it == cosigned_.end() ? 0 : it->second});
  }
  return list;
}

}  // namespace consilium::coordinator
