#include "coordinator/round/model_registry.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr size_t kTargetBytesMax = 200;
constexpr size_t kPublicationsMax = 1000;

AuditFacts ByAdmin(absl::string_view action, absl::string_view admin) {
  AuditFacts facts;
  facts.actor = std::string(admin);
  facts.role = "admin";
  facts.action = std::string(action);
  return facts;
}

absl::Status NoSuch(absl::string_view what, absl::string_view name) {
  return absl::NotFoundError(absl::StrCat("no ", what, " ", name));
}

// NOT_FOUND in our words instead of the store's.
template <typename T>
absl::StatusOr<T> Named(absl::StatusOr<T> found, absl::string_view what, absl::string_view name) {
  if (absl::IsNotFound(found.status())) return NoSuch(what, name);
  return found;
}

}  // namespace

absl::StatusOr<VersionRecord> ModelRegistry::Resolve(absl::string_view name) const {
  const size_t at = name.find('@');
  if (at != absl::string_view::npos) {
    CSL_ASSIGN_OR_RETURN(
        const AliasRecord alias,
        Named(store_.Alias(name.substr(0, at), name.substr(at + 1)), "alias", name));
    return Resolve(alias.version);
  }
  const size_t slash = name.find('/');
  int64_t number = 0;
  if (slash == absl::string_view::npos || !absl::SimpleAtoi(name.substr(slash + 1), &number) ||
      number < 0) {
    return absl::InvalidArgumentError(
        "a version is STUDY/NUMBER, such as hippocampus/3, or STUDY@ALIAS");
  }
  return Named(store_.Version(name.substr(0, slash), number), "version", name);
}

absl::StatusOr<ModelView> ModelRegistry::View(VersionRecord version) const {
  ModelView view;
  CSL_ASSIGN_OR_RETURN(const std::vector<AliasRecord> aliases, store_.Aliases(version.study));
  for (const AliasRecord& alias : aliases) {
    if (alias.version == version.version) view.aliases.push_back(alias.alias);
  }
  absl::StatusOr<EvaluationRecord> evaluation =
      store_.Evaluation(version.study, version.number);
  if (evaluation.ok()) {
    for (SiteEvaluationRecord& site : evaluation->sites) {
      if (site.state == ReportState::kReported) view.evaluation.push_back(std::move(site));
    }
  } else if (!absl::IsNotFound(evaluation.status())) {
    return evaluation.status();
  }
  view.version = std::move(version);
  return view;
}

absl::StatusOr<std::vector<ModelView>> ModelRegistry::List(absl::string_view study) const {
  CSL_ASSIGN_OR_RETURN(const std::vector<VersionRecord> versions, store_.Versions(study));
  std::vector<ModelView> views;
  for (const VersionRecord& version : versions) {
    CSL_ASSIGN_OR_RETURN(ModelView view, View(version));
    views.push_back(std::move(view));
  }
  return views;
}

absl::StatusOr<ModelView> ModelRegistry::Get(absl::string_view name) const {
  CSL_ASSIGN_OR_RETURN(VersionRecord version, Resolve(name));
  return View(std::move(version));
}

absl::StatusOr<VersionRecord> ModelRegistry::ResolveWithWeights(absl::string_view name) const {
  CSL_ASSIGN_OR_RETURN(VersionRecord version, Resolve(name));
  if (version.weights_gone_us == 0) return version;
  return absl::FailedPreconditionError(
      absl::StrCat("the weights of ", version.version, " are no longer kept (retention)"));
}

absl::StatusOr<std::string> ModelRegistry::AliasAt(absl::string_view study,
                                                   absl::string_view alias) const {
  const absl::StatusOr<AliasRecord> record = store_.Alias(study, alias);
  if (record.ok()) return record->version;
  if (absl::IsNotFound(record.status())) return std::string();
  return record.status();
}

absl::StatusOr<ModelView> ModelRegistry::Rollback(absl::string_view study, absl::string_view reason,
                                                  absl::string_view admin) {
  CSL_RETURN_IF_ERROR(CheckName("study", study));
  if (reason.empty()) return absl::InvalidArgumentError("reason: say why; it goes to the audit log");
  absl::MutexLock turn(&turn_);
  CSL_ASSIGN_OR_RETURN(const std::string production, AliasAt(study, kProductionAlias));
  CSL_ASSIGN_OR_RETURN(const std::string previous, AliasAt(study, kPreviousAlias));
  if (production.empty() || previous.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "study ", study, production.empty() ? " has nothing in production" : " has no previous",
        " version; set it with `consilium model alias set production VERSION`"));
  }
  CSL_ASSIGN_OR_RETURN(VersionRecord version, ResolveWithWeights(previous));
  AuditFacts facts = ByAdmin("alias.rollback", admin);
  facts.study = std::string(study);
  facts.version = previous;
  facts.reason = std::string(reason);
  facts.before = absl::StrCat(kProductionAlias, "=", production);
  facts.after = absl::StrCat(kProductionAlias, "=", previous);
  Batch batch;
  batch.Put(AliasRecord{std::string(study), kProductionAlias, previous});
  batch.Put(AliasRecord{std::string(study), kPreviousAlias, production});
  batch.Audit(std::move(facts));
  CSL_RETURN_IF_ERROR(store_.Commit(batch, clock_.Now()).status());
  return View(std::move(version));
}

absl::StatusOr<ModelView> ModelRegistry::SetAlias(const AliasMove& move, absl::string_view admin) {
  CSL_RETURN_IF_ERROR(CheckName("alias", move.alias));
  if (move.alias == kLatestAlias) {
    return absl::InvalidArgumentError("latest follows the rounds; choose another alias");
  }
  if (move.alias == kPreviousAlias) {
    return absl::InvalidArgumentError("previous follows production; choose another alias");
  }
  absl::MutexLock turn(&turn_);
  CSL_ASSIGN_OR_RETURN(VersionRecord version, ResolveWithWeights(move.version));
  if (version.study != move.study) {
    return absl::InvalidArgumentError("the alias and the version are of different studies");
  }
  CSL_ASSIGN_OR_RETURN(const std::string now_at, AliasAt(move.study, move.alias));
  if (move.expected_version != "*" && move.expected_version != now_at) {
    return absl::AbortedError(absl::StrCat(
        "alias ", move.alias, now_at.empty() ? " does not exist" : absl::StrCat(" is at ", now_at),
        ", not at ", move.expected_version.empty() ? "nothing" : move.expected_version));
  }
  AuditFacts facts = ByAdmin("alias.move", admin);
  facts.study = move.study;
  facts.version = version.version;
  facts.before = absl::StrCat(move.alias, "=", now_at);
  facts.after = absl::StrCat(move.alias, "=", version.version);
  Batch batch;
  batch.Put(AliasRecord{move.study, move.alias, version.version});
  if (move.alias == kProductionAlias && !now_at.empty() && now_at != version.version) {
    batch.Put(AliasRecord{move.study, kPreviousAlias, now_at});
    absl::StrAppend(&facts.after, " ", kPreviousAlias, "=", now_at);
  }
  batch.Audit(std::move(facts));
  CSL_RETURN_IF_ERROR(store_.Commit(batch, clock_.Now()).status());
  return View(std::move(version));
}

absl::StatusOr<ReleaseRecord> ModelRegistry::CreateRelease(absl::string_view name,
                                                           absl::string_view admin) {
  absl::MutexLock turn(&turn_);
  CSL_ASSIGN_OR_RETURN(const VersionRecord version, ResolveWithWeights(name));
  ReleaseRecord release;
  release.name = absl::StrCat(version.study, "-", version.number);
  if (store_.Release(release.name).ok()) {
    return absl::AlreadyExistsError(absl::StrCat("release ", release.name, " is there already"));
  }
  release.version = version.version;
  release.model_sha256 = version.sha256;
  release.created_us = absl::ToUnixMicros(clock_.Now());
  release.created_by = std::string(admin);
  AuditFacts facts = ByAdmin("release.create", admin);
  facts.study = version.study;
  facts.version = version.version;
  facts.after = release.name;
  facts.digest = version.sha256;
  Batch batch;
  batch.Put(release);
  batch.Audit(std::move(facts));
  CSL_RETURN_IF_ERROR(store_.Commit(batch, clock_.Now()).status());
  return release;
}

absl::StatusOr<std::vector<ReleaseRecord>> ModelRegistry::Releases(absl::string_view name) const {
  if (name.empty()) return store_.Releases();
  CSL_ASSIGN_OR_RETURN(ReleaseRecord release, Named(store_.Release(name), "release", name));
  return std::vector<ReleaseRecord>{std::move(release)};
}

absl::StatusOr<ReleaseRecord> ModelRegistry::RecordPublication(const Publication& publication,
                                                               absl::string_view admin) {
  const bool plain = std::all_of(
      publication.target.begin(), publication.target.end(),
      [](char c) { return absl::ascii_isprint(static_cast<unsigned char>(c)); });
  if (publication.target.empty() || publication.target.size() > kTargetBytesMax || !plain) {
    return absl::InvalidArgumentError("target: must be a short plain text");
  }
  if (publication.manifest_sha256.size() != 2 * privacy::kSha256Bytes ||
      publication.manifest_sha256.find_first_not_of("0123456789abcdef") != std::string::npos) {
    return absl::InvalidArgumentError("manifest_sha256: must be 64 lower-case hex digits");
  }
  absl::MutexLock turn(&turn_);
  CSL_ASSIGN_OR_RETURN(ReleaseRecord release, Named(store_.Release(publication.release), "release",
                                                    publication.release));
  if (release.publications.size() >= kPublicationsMax) {
    return absl::ResourceExhaustedError("the release was published too often to record more");
  }
  release.publications.push_back(
      {publication.target, publication.manifest_sha256, absl::ToUnixMicros(clock_.Now())});
  AuditFacts facts = ByAdmin("release.publish", admin);
  facts.version = release.version;
  facts.before = release.name;
  facts.after = publication.target;
  facts.digest = publication.manifest_sha256;
  Batch batch;
  batch.Put(release);
  batch.Audit(std::move(facts));
  CSL_RETURN_IF_ERROR(store_.Commit(batch, clock_.Now()).status());
  return release;
}

}  // namespace consilium::coordinator
