#include "coordinator/service/convert.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/round/study_promise.h"

namespace consilium::coordinator {
namespace {

constexpr int64_t kMicrosPerSecond = 1'000'000;
constexpr size_t kAuditCountDefault = 100;
constexpr int64_t kSecondsMax = int64_t{1} << 40;  // keeps foreign times from overflowing

int64_t Seconds(int64_t us) { return us / kMicrosPerSecond; }

v1::Task::Kind KindOf(TaskKind kind) {
  switch (kind) {
    case TaskKind::kPrepare:
      return v1::Task::PREPARE;
    case TaskKind::kInitialise:
      return v1::Task::INITIALISE;
    case TaskKind::kTrain:
      return v1::Task::TRAIN;
    case TaskKind::kEvaluate:
      return v1::Task::EVALUATE;
    case TaskKind::kConsent:
      return v1::Task::CONSENT;
    case TaskKind::kReveal:
      return v1::Task::REVEAL;
  }
  return v1::Task::KIND_UNSPECIFIED;
}

// What an administrator sees a site do in a study, in one word.
std::string PhaseOf(const StudyView& view, const SiteStatus& site, const SiteProgress* progress) {
  const StudyRun& run = *view.run;
  const std::string& name = site.record.name;
  if (!site.connected) return "gone";
  const StudyState state = run.record().state;
  if (state != StudyState::kPreparing && state != StudyState::kRunning) return "idle";
  const CohortRecord* cohort = run.Cohort(name);
  if (cohort == nullptr) {
    return progress != nullptr && progress->phase == "prepare" ? "preparing" : "waiting";
  }
  const std::string doing = progress == nullptr ? "" : progress->phase;
  const Stage stage = run.record().stage;
  if (run.round() && (stage == Stage::kRound || stage == Stage::kInitialising)) {
    const ContributionRecord* own = run.round()->Find(name);
    if (own != nullptr && own->outcome == Outcome::kAccepted) return "submitted";
    if (own != nullptr && own->outcome == Outcome::kAwaited) {
      if (run.IsSilent(name, view.now)) return "silent";
      if (run.IsStalled(name, view.now)) return "stalled";
      if (progress == nullptr || progress->task_id != own->task_id) return "ready";
      return doing == "upload" ? "uploading" : "training";
    }
    return "idle";
  }
  if (stage == Stage::kEvaluating) {
    for (const SiteEvaluationRecord& entry : run.evaluation()->sites) {
      if (entry.site == name && entry.state == ReportState::kAwaited) return "evaluating";
    }
    return "idle";
  }
  return "ready";
}

void AddSite(const StudyView& view, const SiteStatus& site, v1::Study& study) {
  const StudyRun& run = *view.run;
  v1::StudySite& out = *study.add_sites();
  out.set_name(site.record.name);
  out.set_role(run.spec().IsEvaluator(site.record.name) ? "evaluator" : "trainer");
  const auto it = view.progress.find(site.record.name);
  const SiteProgress* progress = it == view.progress.end() ? nullptr : &it->second;
  out.set_phase(PhaseOf(view, site, progress));
  if (progress != nullptr) {
    out.set_done(progress->done);
    out.set_total(progress->total);
    out.set_loss(progress->loss);
    out.set_bytes_up(progress->bytes_up);
    out.set_bytes_down(progress->bytes_down);
    if (progress->advances > 0) {
      out.set_counters(CountersText(*progress));
      out.set_advanced_unix(absl::ToUnixSeconds(progress->advanced));
    }
  }
  if (const CohortRecord* cohort = run.Cohort(site.record.name); cohort != nullptr) {
    out.set_cases(cohort->cases);
    out.set_labelled_cases(cohort->labelled_cases);
    out.set_held_out_cases(cohort->held_out_cases);
    for (const auto& [reason, count] : cohort->rejected_by_reason) {
      (*out.mutable_rejected_by_reason())[reason] = count;
    }
  }
}

void Fill(const SiteEvaluationRecord& record, v1::SiteEvaluation& out) {
  out.set_site(record.site);
  out.set_role(record.role);
  for (const double dice : record.mean_dice) out.add_mean_dice(dice);
  for (const CaseDiceRecord& one : record.cases) {
    v1::CaseDice& to = *out.add_cases();
    to.set_case_pseudonym(one.case_pseudonym);
    for (const double dice : one.dice) to.add_dice(dice);
  }
}

// A round's outcome in the words of the contract; what is still open has none of its own.
std::string OutcomeName(Outcome outcome, RoundPhase phase) {
  if (outcome != Outcome::kAccepted) return std::string(Name(outcome));
  return phase == RoundPhase::kFailed ? "dropped" : std::string(Name(Outcome::kFolded));
}

SummaryRecord FromMessage(const v1::TrainingSummary& summary) {
  return {.steps = summary.steps(),
          .seconds = summary.seconds(),
          .mean_loss = summary.mean_loss(),
          .mean_supervised_loss = summary.mean_supervised_loss(),
          .mean_consistency_loss = summary.mean_consistency_loss(),
          .teacher_certainty = summary.teacher_certainty(),
          .pseudo_foreground_fraction = summary.pseudo_foreground_fraction()};
}

void Fill(const SummaryRecord& summary, v1::TrainingSummary& out) {
  out.set_steps(summary.steps);
  out.set_seconds(summary.seconds);
  out.set_mean_loss(summary.mean_loss);
  out.set_mean_supervised_loss(summary.mean_supervised_loss);
  out.set_mean_consistency_loss(summary.mean_consistency_loss);
  out.set_teacher_certainty(summary.teacher_certainty);
  out.set_pseudo_foreground_fraction(summary.pseudo_foreground_fraction);
}

}  // namespace

v1::Task ToMessage(const SiteTask& task, absl::string_view sealing_public_key) {
  v1::Task out;
  out.set_task_id(task.task_id);
  out.set_kind(KindOf(task.kind));
  out.set_study(task.study);
  out.set_round(task.round);
  out.set_plan_json(task.plan_json);
  out.set_plan_sha256(task.plan_sha256);
  if (!task.model_sha256.empty()) {
    out.mutable_model()->set_version(task.model_version);
    out.mutable_model()->set_sha256(task.model_sha256);
    out.mutable_model()->set_bytes(static_cast<uint64_t>(task.model_bytes));
  }
  if (task.kind == TaskKind::kInitialise || task.kind == TaskKind::kTrain) {
    out.set_sealing_public_key(sealing_public_key.data(), sealing_public_key.size());
  }
  if (task.deadline > absl::ZeroDuration()) {
    out.set_deadline_seconds(std::max<int64_t>(1, absl::ToInt64Seconds(task.deadline)));
  }
  if (task.masking) {
    v1::MaskingTerms& terms = *out.mutable_masking();
    terms.set_job(task.masking->masking.job);
    terms.set_bits(static_cast<uint32_t>(task.masking->masking.bits));
    terms.set_words(static_cast<uint64_t>(task.masking->masking.words));
    terms.set_min_cohort(static_cast<uint32_t>(task.masking->masking.min_cohort));
    terms.set_quantiser(task.masking->masking.quantiser);
    terms.set_weight_unit_milli(task.masking->masking.weight_unit_milli);
    terms.set_weight_max(task.masking->weight_max);
  }
  if (task.unmasking) {
    v1::Unmasking& unmasking = *out.mutable_unmasking();
    unmasking.set_train_task_id(task.unmasking->train_task_id);
    unmasking.set_survivors(task.unmasking->survivors);
    for (const secagg::Consent& consent : task.unmasking->consents) {
      v1::Consent& message = *unmasking.add_consents();
      message.set_site(consent.site);
      message.set_survivors(consent.survivors);
      message.set_signature(consent.signature);
    }
  }
  if (!task.control_sha256.empty()) {
    out.mutable_control()->set_version(task.model_version);  // that it was made with
    out.mutable_control()->set_sha256(task.control_sha256);
    out.mutable_control()->set_bytes(static_cast<uint64_t>(task.control_bytes));
  }
  out.set_role(task.evaluator ? "evaluator" : "trainer");
  out.set_lease_seconds(static_cast<uint32_t>(absl::ToInt64Seconds(task.lease)));
  return out;
}

v1::Site ToMessage(const SiteStatus& status, const std::optional<Liveness::Work>& work) {
  v1::Site out;
  out.set_name(status.record.name);
  out.set_state(std::string(Name(status.record.state)));
  out.set_key_sha256(status.record.key_sha256);
  out.set_enrolled_unix(Seconds(status.record.enrolled_us));
  out.set_last_seen_unix(absl::ToUnixSeconds(status.last_seen));
  out.set_software_version(status.record.software_version);
  out.set_connected(status.connected);
  for (const std::string& capability : status.record.capabilities) {
    out.add_capabilities(capability);
  }
  out.set_certificate_not_after_unix(Seconds(status.record.certificate_ends_us));
  out.set_clock_skew_ms(absl::ToInt64Milliseconds(status.clock_skew));
  if (status.second_process != absl::InfinitePast()) {
    out.set_second_process_unix(absl::ToUnixSeconds(status.second_process));
  }
  if (work) {
    out.set_working_on(absl::StrCat(work->study, ": ", CountersText(work->progress)));
    out.set_advanced_unix(absl::ToUnixSeconds(work->progress.advanced));
  }
  return out;
}

v1::Study ToMessage(const StudyView& view, const std::vector<SiteStatus>& sites,
                    const std::vector<EvaluationRecord>& evaluations) {
  const StudyRun& run = *view.run;
  const StudyRecord& record = run.record();
  v1::Study out;
  out.set_name(record.name);
  out.set_state(std::string(Name(record.state)));
  // What it waits for is newer than why it was resumed.
  out.set_reason(run.waiting().empty() ? record.reason : run.waiting());
  out.set_yaml(record.yaml);
  out.set_plan_json(record.plan_json);
  out.set_plan_sha256(record.plan_sha256);
  out.set_round(record.round);
  out.set_rounds(run.spec().rounds);
  const bool in_round = record.stage == Stage::kRound && run.round();
  out.set_round_phase(std::string(in_round ? Name(run.round()->phase()) : Name(record.stage)));
  out.set_latest_version(record.latest_version);
  for (const SiteStatus& site : sites) {
    const bool takes_part = site.record.state == SiteState::kApproved ||
                            run.Cohort(site.record.name) != nullptr;
    if (takes_part) AddSite(view, site, out);
  }
  for (const EvaluationRecord& evaluation : evaluations) {
    v1::Evaluation& to = *out.add_evaluations();
    to.set_version(evaluation.version);
    for (const SiteEvaluationRecord& site : evaluation.sites) {
      if (site.state != ReportState::kReported) continue;
      Fill(site, *to.add_sites());
      // Single cases of the last one only, so that a long study stays within one message.
      const bool is_last = &evaluation == &evaluations.back();
      if (!is_last) to.mutable_sites()->rbegin()->clear_cases();
    }
  }
  for (const wire::PlanLabel& label : run.spec().labels) out.add_label_names(label.name);
  return out;
}

static void Fill(const MaskingRecord& masking, v1::MaskedRound& out) {
  for (const RosterRecord& roster : masking.rosters) {
    v1::MaskedGroup& group = *out.add_groups();
    group.set_phase(std::string(Name(roster.phase)));
    for (const std::string& site : roster.sites) group.add_sites(site);
    group.set_threshold(roster.threshold);
    for (const std::string& site : roster.survivors) group.add_survivors(site);
    group.set_failed(roster.failed);
  }
  const auto sites = masking.sums.find("sites");
  if (sites == masking.sums.end() || sites->second <= 0) return;
  for (const auto& [name, sum] : masking.sums) {
    if (name == "weight") {
      out.set_weight(sum * static_cast<double>(masking.weight_unit_milli) / 1000);
    } else if (name != "sites") {
      (*out.mutable_means())[name] = sum / sites->second;
    }
  }
}

v1::Round ToMessage(const RoundRecord& round, const StudyView& view) {
  v1::Round out;
  out.set_study(round.study);
  out.set_number(round.number);
  out.set_phase(std::string(Name(round.phase)));
  out.set_started_unix(Seconds(round.started_us));
  out.set_ended_unix(Seconds(round.ended_us));
  out.set_base_version(round.base_version);
  out.set_new_version(round.new_version);
  for (const ContributionRecord& contribution : round.contributions) {
    v1::Contribution& to = *out.add_contributions();
    to.set_site(contribution.site);
    to.set_outcome(OutcomeName(contribution.outcome, round.phase));
    to.set_reason(contribution.reason);
    to.set_labelled_cases(contribution.labelled_cases);
    to.set_unlabelled_cases(contribution.unlabelled_cases);
    to.set_weight(static_cast<double>(contribution.weight_milli) / 1000);
    to.set_bytes(static_cast<uint64_t>(contribution.bytes));
    Fill(contribution.summary, *to.mutable_summary());
    to.set_staleness(contribution.staleness);
    const auto doing = view.progress.find(contribution.site);
    if (contribution.outcome == Outcome::kAwaited && doing != view.progress.end() &&
        doing->second.task_id == contribution.task_id && doing->second.advances > 0) {
      to.set_progress(CountersText(doing->second));
    }
  }
  out.set_reason(round.reason);
  for (const std::string& site : round.required) out.add_required_sites(site);
  if (!round.masking.rosters.empty()) Fill(round.masking, *out.mutable_masked());
  return out;
}

v1::Model ToMessage(const ModelView& view) {
  v1::Model out;
  const VersionRecord& version = view.version;
  out.set_version(version.version);
  out.set_sha256(version.sha256);
  out.set_origin(version.origin);
  out.set_code_version(version.code_version);
  for (const std::string& parent : version.parents) out.add_parents(parent);
  for (const std::string& site : version.sites) out.add_sites(site);
  out.set_weights_gone_unix(Seconds(version.weights_gone_us));
  out.set_bytes(static_cast<uint64_t>(version.bytes));
  out.set_parameters(version.parameters);
  out.set_created_unix(Seconds(version.created_us));
  out.set_round(version.round);
  out.set_parent(version.parent);
  out.set_plan_sha256(version.plan_sha256);
  for (const std::string& alias : view.aliases) out.add_aliases(alias);
  out.set_audit_index(static_cast<uint64_t>(version.audit_index));
  for (const SiteEvaluationRecord& site : view.evaluation) Fill(site, *out.add_evaluation());
  return out;
}

void AddPromise(const StudyRun& run, v1::Study& out) {
  const absl::StatusOr<wire::Plan> fixed = wire::PlanFromJson(run.record().plan_json);
  const StudyPromise promise = PromiseOf(run.spec(), fixed.ok() ? &*fixed : nullptr);
  for (const std::string& line : promise.promises) out.add_promises(line);
  for (const std::string& line : promise.warnings) out.add_warnings(line);
}

v1::Release ToMessage(const ReleaseRecord& release) {
  v1::Release out;
  out.set_name(release.name);
  out.set_version(release.version);
  out.set_model_sha256(release.model_sha256);
  out.set_created_unix(Seconds(release.created_us));
  out.set_created_by(release.created_by);
  for (const PublicationRecord& publication : release.publications) {
    v1::Publication& to = *out.add_publications();
    to.set_target(publication.target);
    to.set_manifest_sha256(publication.manifest_sha256);
    to.set_time_unix(Seconds(publication.time_us));
  }
  return out;
}

CohortRecord FromMessage(const v1::CohortReport& report, absl::string_view site) {
  CohortRecord out;
  out.site = std::string(site);
  out.cases = report.cases();
  out.labelled_cases = report.labelled_cases();
  out.held_out_cases = report.held_out_cases();
  out.median_spacing_xyz_mm.assign(report.median_spacing_xyz_mm().begin(),
                                   report.median_spacing_xyz_mm().end());
  out.median_size_xyz.assign(report.median_size_xyz().begin(), report.median_size_xyz().end());
  for (const auto& [reason, count] : report.rejected_by_reason()) {
    out.rejected_by_reason.emplace(reason, count);
  }
  return out;
}

Announcement FromMessage(const v1::BeginUploadRequest& request, absl::string_view site) {
  return {.site = std::string(site),
          .task_id = request.task_id(),
          .study = request.study(),
          .round = request.round(),
          .base_model_sha256 = request.base_model_sha256(),
          .layout_sha256 = request.layout_sha256(),
          .bytes = request.bytes(),
          .sha256 = request.sha256(),
          .labelled_cases = request.labelled_cases(),
          .unlabelled_cases = request.unlabelled_cases(),
          .summary = FromMessage(request.summary())};
}

SiteProgress FromMessage(const v1::ProgressReport& report) {
  SiteProgress out;
  out.phase = report.phase();
  out.task_id = report.task_id();
  out.done = report.done();
  out.total = report.total();
  out.loss = std::isfinite(report.loss()) ? report.loss() : 0;
  out.advances = report.advances();
  return out;
}

std::vector<CaseDiceRecord> FromMessage(const v1::EvaluationReport& report) {
  std::vector<CaseDiceRecord> cases;
  for (const v1::CaseDice& one : report.cases()) {
    cases.push_back({one.case_pseudonym(), {one.dice().begin(), one.dice().end()}});
  }
  return cases;
}

AuditQuery FromMessage(const v1::SearchAuditRequest& request) {
  const auto to_us = [](int64_t seconds) {
    return std::clamp<int64_t>(seconds, 0, kSecondsMax) * kMicrosPerSecond;
  };
  AuditQuery query;
  query.since_us = to_us(request.since_unix());
  if (request.until_unix() != 0) query.until_us = to_us(request.until_unix());
  query.actor = request.actor();
  query.action = request.action();
  query.study = request.study();
  if (request.round() != 0) query.round = request.round();
  query.version = request.version();
  query.from_index = request.from_index();
  query.count_max = request.count_max() == 0 ? kAuditCountDefault : request.count_max();
  return query;
}

}  // namespace consilium::coordinator
