#include "site_agent/uplink/convert.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "privacy/crypto/hpke.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

constexpr size_t kTaskIdBytesMax = 200;
constexpr size_t kVersionBytesMax = 128;
constexpr int64_t kRoundMax = 1'000'000;
constexpr uint32_t kLeaseSecondsMax = 24 * 3600;
constexpr int64_t kDeadlineSecondsMax = 30 * 24 * 3600;
constexpr size_t kSurvivorBytesMax = (secagg::kSitesMax + 7) / 8;

bool Unmasks(TaskKind kind) { return kind == TaskKind::kConsent || kind == TaskKind::kReveal; }

absl::Status Refuse(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("task: ", field, " ", what));
}

absl::Status CheckText(absl::string_view field, absl::string_view text, size_t bytes_max) {
  if (text.empty() || text.size() > bytes_max) return Refuse(field, "is missing or too long");
  for (const char c : text) {
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c))) return Refuse(field, "is not plain");
  }
  return absl::OkStatus();
}

absl::Status CheckDigest(absl::string_view field, absl::string_view hex) {
  bool good = hex.size() == 2 * privacy::kSha256Bytes;
  for (const char c : hex) good = good && ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
  return good ? absl::OkStatus() : Refuse(field, "must be 64 lower-case hex digits");
}

absl::StatusOr<TaskKind> KindFromMessage(v1::Task::Kind kind) {
  switch (kind) {
    case v1::Task::PREPARE:
      return TaskKind::kPrepare;
    case v1::Task::INITIALISE:
      return TaskKind::kInitialise;
    case v1::Task::TRAIN:
      return TaskKind::kTrain;
    case v1::Task::EVALUATE:
      return TaskKind::kEvaluate;
    case v1::Task::CONSENT:
      return TaskKind::kConsent;
    case v1::Task::REVEAL:
      return TaskKind::kReveal;
    default:
      return Refuse("kind", "is not one that this agent knows: update it");
  }
}

absl::StatusOr<SiteRole> RoleFromText(absl::string_view role) {
  if (role == "trainer") return SiteRole::kTrainer;
  if (role == "evaluator") return SiteRole::kEvaluator;
  return Refuse("role", "must be trainer or evaluator");
}

absl::StatusOr<ModelRef> ModelFromMessage(const v1::ModelRef& message, absl::string_view field) {
  CSL_RETURN_IF_ERROR(
      CheckText(absl::StrCat(field, ".version"), message.version(), kVersionBytesMax));
  CSL_RETURN_IF_ERROR(CheckDigest(absl::StrCat(field, ".sha256"), message.sha256()));
  if (message.bytes() == 0 || message.bytes() > kModelBytesMax) {
    return Refuse(absl::StrCat(field, ".bytes"), "is out of range");
  }
  return ModelRef{message.version(), message.sha256(), message.bytes()};
}

absl::Status ReadModel(const v1::Task& message, SiteTask& task) {
  if (task.kind != TaskKind::kTrain && task.kind != TaskKind::kEvaluate) return absl::OkStatus();
  CSL_ASSIGN_OR_RETURN(task.model, ModelFromMessage(message.model(), "model"));
  if (!message.has_control()) return absl::OkStatus();
  if (task.kind != TaskKind::kTrain) return Refuse("control", "belongs to training only");
  CSL_ASSIGN_OR_RETURN(task.control, ModelFromMessage(message.control(), "control"));
  return absl::OkStatus();
}

// What the terms say is for round/masking_terms.h; here only their size counts.
absl::Status ReadMasking(const v1::Task& message, SiteTask& task) {
  const bool wanted =
      task.kind == TaskKind::kTrain && task.plan.protection.kind == "secure-aggregation";
  if (message.has_masking() != wanted) {
    return Refuse("masking", wanted ? "is missing: this study's updates are never sealed only"
                                    : "does not belong to this task");
  }
  if (!wanted) return absl::OkStatus();
  const v1::MaskingTerms& terms = message.masking();
  CSL_RETURN_IF_ERROR(CheckText("masking.job", terms.job(), secagg::kJobBytesMax));
  CSL_RETURN_IF_ERROR(
      CheckText("masking.quantiser", terms.quantiser(), secagg::kQuantiserBytesMax));
  task.masking = {terms.job(),       terms.bits(),      terms.words(),
                  terms.min_cohort(), terms.quantiser(), terms.weight_unit_milli(),
                  terms.weight_max()};
  return absl::OkStatus();
}

absl::StatusOr<secagg::Consent> ConsentFromMessage(const v1::Consent& message) {
  CSL_RETURN_IF_ERROR(CheckName("task: consent.site", message.site()));
  if (message.survivors().size() > kSurvivorBytesMax) {
    return Refuse("consent.survivors", "is too long");
  }
  if (message.signature().size() != secagg::kSignatureBytes) {
    return Refuse("consent.signature", "must be 64 bytes");
  }
  return secagg::Consent{message.site(), message.survivors(), message.signature()};
}

absl::Status ReadUnmasking(const v1::Task& message, SiteTask& task) {
  if (message.has_unmasking() != Unmasks(task.kind)) {
    return Refuse("unmasking", "is missing, or does not belong to this task");
  }
  if (!Unmasks(task.kind)) return absl::OkStatus();
  const v1::Unmasking& terms = message.unmasking();
  UnmaskingTerms& out = task.unmasking.emplace();
  CSL_RETURN_IF_ERROR(
      CheckText("unmasking.train_task_id", terms.train_task_id(), kTaskIdBytesMax));
  if (terms.survivors().empty() || terms.survivors().size() > kSurvivorBytesMax) {
    return Refuse("unmasking.survivors", "is missing or too long");
  }
  const int consents_max =
      task.kind == TaskKind::kReveal ? static_cast<int>(secagg::kSitesMax) : 0;
  if (terms.consents_size() > consents_max) return Refuse("unmasking.consents", "are too many");
  out.train_task_id = terms.train_task_id();
  out.survivors = terms.survivors();
  for (const v1::Consent& item : terms.consents()) {
    CSL_ASSIGN_OR_RETURN(secagg::Consent consent, ConsentFromMessage(item));
    out.consents.push_back(std::move(consent));
  }
  return absl::OkStatus();
}

absl::Status ReadRound(const v1::Task& message, SiteTask& task) {
  const bool counts = task.kind == TaskKind::kTrain || Unmasks(task.kind);
  if (message.round() < (counts ? 1 : 0) || message.round() > kRoundMax) {
    return Refuse("round", "is out of range");
  }
  task.round = message.round();
  if (message.deadline_seconds() < 0 || message.deadline_seconds() > kDeadlineSecondsMax) {
    return Refuse("deadline_seconds", "is out of range");
  }
  if (message.deadline_seconds() > 0) task.deadline = absl::Seconds(message.deadline_seconds());
  if (message.lease_seconds() > kLeaseSecondsMax) {
    return Refuse("lease_seconds", "is out of range");
  }
  if (message.lease_seconds() > 0) task.lease = absl::Seconds(message.lease_seconds());
  const bool seals = task.kind == TaskKind::kTrain || task.kind == TaskKind::kInitialise;
  if (seals && message.sealing_public_key().size() != privacy::kHpkeKeyBytes) {
    return Refuse("sealing_public_key", "must be 32 bytes");
  }
  task.sealing_public_key = message.sealing_public_key();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SiteTask> TaskFromMessage(const v1::Task& message) {
  SiteTask task;
  CSL_RETURN_IF_ERROR(CheckText("task_id", message.task_id(), kTaskIdBytesMax));
  task.task_id = message.task_id();
  CSL_ASSIGN_OR_RETURN(task.kind, KindFromMessage(message.kind()));
  CSL_RETURN_IF_ERROR(CheckName("task: study", message.study()));
  task.study = message.study();
  CSL_ASSIGN_OR_RETURN(task.role, RoleFromText(message.role()));
  if (message.plan_json().size() > wire::kPlanBytesMax) return Refuse("plan_json", "is too long");
  if (privacy::Sha256Hex(message.plan_json()) != message.plan_sha256()) {
    return Refuse("plan_json", "does not have the digest plan_sha256");
  }
  CSL_ASSIGN_OR_RETURN(task.plan, wire::PlanFromJson(message.plan_json()));
  task.plan_json = message.plan_json();
  CSL_RETURN_IF_ERROR(ReadModel(message, task));
  CSL_RETURN_IF_ERROR(ReadRound(message, task));
  CSL_RETURN_IF_ERROR(ReadMasking(message, task));
  CSL_RETURN_IF_ERROR(ReadUnmasking(message, task));
  return task;
}

v1::CohortReport ToMessage(const std::string& task_id, const CohortSummary& cohort) {
  v1::CohortReport message;
  message.set_task_id(task_id);
  message.set_cases(cohort.cases);
  message.set_labelled_cases(cohort.labelled_cases);
  message.set_held_out_cases(cohort.held_out_cases);
  for (const double value : cohort.median_spacing_xyz_mm) {
    message.add_median_spacing_xyz_mm(value);
  }
  for (const double value : cohort.median_size_xyz) message.add_median_size_xyz(value);
  for (const auto& [reason, count] : cohort.rejected_by_reason) {
    (*message.mutable_rejected_by_reason())[reason] = count;
  }
  return message;
}

v1::BeginUploadRequest ToMessage(const TaskKey& task, const UpdateOffer& offer) {
  v1::BeginUploadRequest message;
  message.set_task_id(task.task_id);
  message.set_study(task.study);
  message.set_round(task.round);
  message.set_base_model_sha256(offer.base_model_sha256);
  message.set_layout_sha256(offer.layout_sha256);
  message.set_bytes(offer.bytes);
  message.set_sha256(offer.sha256);
  message.set_labelled_cases(offer.labelled_cases);
  message.set_unlabelled_cases(offer.unlabelled_cases);
  if (offer.summary == TrainingSummary()) return message;
  v1::TrainingSummary& summary = *message.mutable_summary();
  summary.set_steps(offer.summary.steps);
  summary.set_seconds(offer.summary.seconds);
  summary.set_mean_loss(offer.summary.mean_loss);
  summary.set_mean_supervised_loss(offer.summary.mean_supervised_loss);
  summary.set_mean_consistency_loss(offer.summary.mean_consistency_loss);
  summary.set_teacher_certainty(offer.summary.teacher_certainty);
  summary.set_pseudo_foreground_fraction(offer.summary.pseudo_foreground_fraction);
  return message;
}

v1::EvaluationReport ToMessage(const std::string& task_id, const EvaluationResult& result) {
  v1::EvaluationReport message;
  message.set_task_id(task_id);
  for (const CaseResult& item : result.cases) {
    v1::CaseDice& out = *message.add_cases();
    out.set_case_pseudonym(item.case_pseudonym);
    for (const double value : item.dice) out.add_dice(value);
  }
  return message;
}

v1::ProgressReport ToMessage(const TaskProgress& progress) {
  v1::ProgressReport message;
  message.set_task_id(progress.task_id);
  message.set_phase(TaskPhaseName(progress.phase));
  message.set_done(progress.done);
  message.set_total(progress.total);
  message.set_loss(progress.loss);
  message.set_advances(progress.advances);
  return message;
}

}  // namespace consilium::agent
