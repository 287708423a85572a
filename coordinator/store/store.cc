#include "coordinator/store/store.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/store/store_rep.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
void Batch::Set(Family family, std::string key, std::optional<std::string> value) {
  CSL_CHECK(operations_.size() < kBatchOperationsMax);
  operations_.push_back({family, std::move(key), std::move(value)});
}
void Batch::Put(const AdminRecord& r) { Set(Family::kAdmins, r.name, Encode(r)); }
void Batch::Put(const SiteRecord& r) { Set(Family::kSites, r.name, Encode(r)); }
void Batch::Put(const InvitationRecord& r) { Set(Family::kInvitations, r.token_sha256, Encode(r)); }
void Batch::Put(const StudyRecord& r) { Set(Family::kStudies, r.name, Encode(r)); }
void Batch::Put(const RoundRecord& r) {
  Set(Family::kRounds, NumberKey(r.study, r.number), Encode(r));
}
void Batch::Put(const EvaluationRecord& r) {
  Set(Family::kEvaluations, NumberKey(r.study, r.number), Encode(r));
}
void Batch::Put(const VersionRecord& r) { versions_.push_back(r); }
void Batch::Update(const VersionRecord& r) {
  Set(Family::kVersions, NumberKey(r.study, r.number), Encode(r));
}
void Batch::Put(const ManifestRecord& r) { Set(Family::kManifests, r.sha256, Encode(r)); }
void Batch::DeleteManifest(absl::string_view model_sha256) {
  Set(Family::kManifests, std::string(model_sha256), std::nullopt);
}
void Batch::Put(const AliasRecord& r) {
  Set(Family::kAliases, Prefix(r.study) + r.alias, Encode(r));
}
void Batch::Put(const ReleaseRecord& r) { Set(Family::kReleases, r.name, Encode(r)); }
void Batch::Put(const UploadRecord& r) { Set(Family::kUploads, r.upload_id, Encode(r)); }
void Batch::DeleteUpload(absl::string_view upload_id) {
  Set(Family::kUploads, std::string(upload_id), std::nullopt);
}
static std::string AgreementKey(absl::string_view study, int64_t round, absl::string_view site) {
  return absl::StrCat(NumberKey(study, round), "/", site);
}
void Batch::Put(const AgreementRecord& r) {
  Set(Family::kAgreements, AgreementKey(r.study, r.round, r.site), Encode(r));
}
void Batch::DeleteAgreement(absl::string_view study, int64_t round, absl::string_view site) {
  Set(Family::kAgreements, AgreementKey(study, round, site), std::nullopt);
}
void Batch::Put(const WitnessRecord& r) { Set(Family::kWitnesses, r.site, Encode(r)); }

Store::Store(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
Store::~Store() = default;

template <typename Record>
absl::StatusOr<Record> Store::Get(Family family, const std::string& key) const {
  std::string value;
  CSL_RETURN_IF_ERROR(FromRocks(
      rep_->db->Get(rocksdb::ReadOptions(), rep_->family(family), key, &value), "read"));
  return Decode<Record>(value);
}

absl::Status Store::Walk(
    Family family, const std::string& from,
    const std::function<absl::StatusOr<bool>(absl::string_view, absl::string_view)>& visit) const {
  std::unique_ptr<rocksdb::Iterator> it(
      rep_->db->NewIterator(rocksdb::ReadOptions(), rep_->family(family)));
  for (it->Seek(from); it->Valid(); it->Next()) {
    const rocksdb::Slice key = it->key(), value = it->value();
    CSL_ASSIGN_OR_RETURN(const bool more, visit({key.data(), key.size()},
                                                {value.data(), value.size()}));
    if (!more) return absl::OkStatus();
  }
  return FromRocks(it->status(), "scan");  // a damaged block ends the loop early
}

template <typename Record>
absl::StatusOr<std::vector<Record>> Store::Scan(Family family, const std::string& prefix) const {
  std::vector<Record> records;
  CSL_RETURN_IF_ERROR(Walk(family, prefix,
                           [&](absl::string_view key,
                               absl::string_view value) -> absl::StatusOr<bool> {
                             if (!absl::StartsWith(key, prefix)) return false;
                             CSL_ASSIGN_OR_RETURN(Record record, Decode<Record>(value));
                             records.push_back(std::move(record));
                             return true;
                           }));
  return records;
}

absl::StatusOr<std::vector<AdminRecord>> Store::Admins() const {
  return Scan<AdminRecord>(Family::kAdmins, "");
}
absl::StatusOr<std::vector<SiteRecord>> Store::Sites() const {
  return Scan<SiteRecord>(Family::kSites, "");
}
absl::StatusOr<std::vector<InvitationRecord>> Store::Invitations() const {
  return Scan<InvitationRecord>(Family::kInvitations, "");
}
absl::StatusOr<std::vector<StudyRecord>> Store::Studies() const {
  return Scan<StudyRecord>(Family::kStudies, "");
}
absl::StatusOr<std::vector<RoundRecord>> Store::Rounds(absl::string_view study) const {
  return Scan<RoundRecord>(Family::kRounds, Prefix(study));
}
absl::StatusOr<std::vector<EvaluationRecord>> Store::Evaluations(absl::string_view study) const {
  return Scan<EvaluationRecord>(Family::kEvaluations, Prefix(study));
}
absl::StatusOr<std::vector<VersionRecord>> Store::Versions(absl::string_view study) const {
  return Scan<VersionRecord>(Family::kVersions, Prefix(study));
}
absl::StatusOr<std::vector<AliasRecord>> Store::Aliases(absl::string_view study) const {
  return Scan<AliasRecord>(Family::kAliases, Prefix(study));
}
absl::StatusOr<std::vector<ReleaseRecord>> Store::Releases() const {
  return Scan<ReleaseRecord>(Family::kReleases, "");
}
absl::StatusOr<std::vector<ManifestRecord>> Store::Manifests() const {
  return Scan<ManifestRecord>(Family::kManifests, "");
}
absl::StatusOr<ManifestRecord> Store::Manifest(absl::string_view model_sha256) const {
  return Get<ManifestRecord>(Family::kManifests, std::string(model_sha256));
}
absl::StatusOr<std::vector<WitnessRecord>> Store::Witnesses() const {
  return Scan<WitnessRecord>(Family::kWitnesses, "");
}
absl::StatusOr<std::vector<AgreementRecord>> Store::Agreements(absl::string_view study,
                                                               int64_t round) const {
  return Scan<AgreementRecord>(Family::kAgreements, AgreementKey(study, round, ""));
}
absl::StatusOr<InvitationRecord> Store::Invitation(absl::string_view token_sha256) const {
  return Get<InvitationRecord>(Family::kInvitations, std::string(token_sha256));
}
absl::StatusOr<RoundRecord> Store::Round(absl::string_view study, int64_t number) const {
  return Get<RoundRecord>(Family::kRounds, NumberKey(study, number));
}
absl::StatusOr<EvaluationRecord> Store::Evaluation(absl::string_view study, int64_t number) const {
  return Get<EvaluationRecord>(Family::kEvaluations, NumberKey(study, number));
}
absl::StatusOr<VersionRecord> Store::Version(absl::string_view study, int64_t number) const {
  return Get<VersionRecord>(Family::kVersions, NumberKey(study, number));
}
absl::StatusOr<VersionRecord> Store::VersionOfDigest(absl::string_view sha256) const {
  std::string key;
  CSL_RETURN_IF_ERROR(FromRocks(rep_->db->Get(rocksdb::ReadOptions(),
                                              rep_->family(Family::kDigests),
                                              rocksdb::Slice(sha256.data(), sha256.size()), &key),
                                "read"));
  return Get<VersionRecord>(Family::kVersions, key);
}
absl::StatusOr<AliasRecord> Store::Alias(absl::string_view study, absl::string_view alias) const {
  return Get<AliasRecord>(Family::kAliases, absl::StrCat(Prefix(study), alias));
}
absl::StatusOr<ReleaseRecord> Store::Release(absl::string_view name) const {
  return Get<ReleaseRecord>(Family::kReleases, std::string(name));
}
absl::StatusOr<UploadRecord> Store::Upload(absl::string_view upload_id) const {
  return Get<UploadRecord>(Family::kUploads, std::string(upload_id));
}

}  // namespace consilium::coordinator
