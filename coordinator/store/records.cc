#include "coordinator/store/records.h"

#include <cmath>
#include <limits>
#include <span>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace consilium::coordinator {
namespace {

using Json = nlohmann::json;

template <typename E>
struct Named {
  E value;
  const char* name;
};

constexpr Named<SiteState> kSiteStates[] = {{SiteState::kInvited, "invited"},
                                            {SiteState::kPending, "pending"},
                                            {SiteState::kApproved, "approved"},
                                            {SiteState::kSuspended, "suspended"},
                                            {SiteState::kRevoked, "revoked"}};
constexpr Named<StudyState> kStudyStates[] = {
    {StudyState::kDraft, "draft"},       {StudyState::kPreparing, "preparing"},
    {StudyState::kRunning, "running"},   {StudyState::kPaused, "paused"},
    {StudyState::kFinished, "finished"}, {StudyState::kStopped, "stopped"},
    {StudyState::kFailed, "failed"}};
constexpr Named<Stage> kStages[] = {
    {Stage::kIdle, "idle"},
    {Stage::kPreparing, "preparing"},
    {Stage::kInitialising, "initialising"},
    {Stage::kBetweenRounds, "between-rounds"},
    {Stage::kRound, "round"},
    {Stage::kEvaluating, "evaluating"}};
constexpr Named<RoundPhase> kPhases[] = {{RoundPhase::kCollecting, "collecting"},
                                         {RoundPhase::kUnmasking, "unmasking"},
                                         {RoundPhase::kAggregating, "aggregating"},
                                         {RoundPhase::kCommitted, "committed"},
                                         {RoundPhase::kFailed, "failed"}};
constexpr Named<MaskingPhase> kMaskingPhases[] = {
    {MaskingPhase::kKeys, "keys"},       {MaskingPhase::kShares, "shares"},
    {MaskingPhase::kMasked, "masked"},   {MaskingPhase::kConsent, "consent"},
    {MaskingPhase::kReveal, "reveal"}};
constexpr Named<Outcome> kOutcomes[] = {
    {Outcome::kAwaited, "awaited"}, {Outcome::kAccepted, "accepted"},
    {Outcome::kFolded, "folded"},   {Outcome::kRefused, "refused"},
    {Outcome::kMissing, "missing"}, {Outcome::kSkipped, "skipped"},
    {Outcome::kDeclined, "declined"}};
constexpr Named<ReportState> kReportStates[] = {{ReportState::kAwaited, "awaited"},
                                                {ReportState::kReported, "reported"},
                                                {ReportState::kMissing, "missing"}};

std::span<const Named<SiteState>> Table(SiteState) { return kSiteStates; }
std::span<const Named<StudyState>> Table(StudyState) { return kStudyStates; }
std::span<const Named<Stage>> Table(Stage) { return kStages; }
std::span<const Named<RoundPhase>> Table(RoundPhase) { return kPhases; }
std::span<const Named<MaskingPhase>> Table(MaskingPhase) { return kMaskingPhases; }
std::span<const Named<Outcome>> Table(Outcome) { return kOutcomes; }
std::span<const Named<ReportState>> Table(ReportState) { return kReportStates; }

template <typename E>
absl::string_view NameOf(E value) {
  for (const auto& entry : Table(value)) {
    if (entry.value == value) return entry.name;
  }
  return "?";
}

}  // namespace

absl::string_view Name(SiteState state) { return NameOf(state); }
absl::string_view Name(StudyState state) { return NameOf(state); }
absl::string_view Name(Stage stage) { return NameOf(stage); }
absl::string_view Name(RoundPhase phase) { return NameOf(phase); }
absl::string_view Name(MaskingPhase phase) { return NameOf(phase); }
absl::string_view Name(Outcome outcome) { return NameOf(outcome); }
absl::string_view Name(ReportState state) { return NameOf(state); }

absl::StatusOr<SiteState> SiteStateFromName(absl::string_view name) {
  for (const auto& entry : kSiteStates) {
    if (name == entry.name) return entry.value;
  }
  return absl::InvalidArgumentError(
      "a site's state is one of invited, pending, approved, suspended, revoked");
}

// nlohmann finds these by argument-dependent lookup. A missing key or wrong type throws; Decode
// turns that into a Status. An unknown name leaves the default, which the comparison in Decode sees.
#define CSL_ENUM_JSON(E)                                                  \
  static void to_json(Json& json, E value) { json = std::string(NameOf(value)); } \
  static void from_json(const Json& json, E& value) {                     \
    const std::string name = json.get<std::string>();                     \
    for (const auto& entry : Table(value)) {                              \
      if (name == entry.name) value = entry.value;                        \
    }                                                                     \
  }
CSL_ENUM_JSON(SiteState)
CSL_ENUM_JSON(StudyState)
CSL_ENUM_JSON(Stage)
CSL_ENUM_JSON(RoundPhase)
CSL_ENUM_JSON(MaskingPhase)
CSL_ENUM_JSON(Outcome)
CSL_ENUM_JSON(ReportState)
#undef CSL_ENUM_JSON

// JSON has neither NaN nor infinity: a number that does not exist is null, both ways, so that
// whatever was written also reads.
static Json NumbersToJson(const std::vector<double>& numbers) {
  Json json = Json::array();
  for (const double value : numbers) {
    json.push_back(std::isfinite(value) ? Json(value) : Json(nullptr));
  }
  return json;
}

static std::vector<double> NumbersFromJson(const Json& json) {
  std::vector<double> numbers;
  for (const Json& value : json) {
    numbers.push_back(value.is_null() ? std::numeric_limits<double>::quiet_NaN()
                                      : value.get<double>());
  }
  return numbers;
}

static void to_json(Json& json, const CohortRecord& r) {
  json = {{"site", r.site},
          {"cases", r.cases},
          {"labelled_cases", r.labelled_cases},
          {"held_out_cases", r.held_out_cases},
          {"median_spacing_xyz_mm", NumbersToJson(r.median_spacing_xyz_mm)},
          {"median_size_xyz", NumbersToJson(r.median_size_xyz)},
          {"rejected_by_reason", r.rejected_by_reason}};
}
static void from_json(const Json& json, CohortRecord& r) {
  r.site = json.at("site").get<std::string>();
  r.cases = json.at("cases").get<int64_t>();
  r.labelled_cases = json.at("labelled_cases").get<int64_t>();
  r.held_out_cases = json.at("held_out_cases").get<int64_t>();
  r.median_spacing_xyz_mm = NumbersFromJson(json.at("median_spacing_xyz_mm"));
  r.median_size_xyz = NumbersFromJson(json.at("median_size_xyz"));
  r.rejected_by_reason = json.at("rejected_by_reason").get<std::map<std::string, int64_t>>();
}

static void to_json(Json& json, const CaseDiceRecord& r) {
  json = {{"case_pseudonym", r.case_pseudonym}, {"dice", NumbersToJson(r.dice)}};
}
static void from_json(const Json& json, CaseDiceRecord& r) {
  r.case_pseudonym = json.at("case_pseudonym").get<std::string>();
  r.dice = NumbersFromJson(json.at("dice"));
}
static void to_json(Json& json, const SiteEvaluationRecord& r) {
  json = {{"site", r.site},           {"role", r.role},
          {"task_id", r.task_id},     {"state", r.state},
          {"cases_max", r.cases_max}, {"mean_dice", NumbersToJson(r.mean_dice)},
          {"cases", r.cases}};
  if (!r.reason.empty()) json["reason"] = r.reason;  // older records have none
}
static void from_json(const Json& json, SiteEvaluationRecord& r) {
  r.site = json.at("site").get<std::string>();
  r.role = json.at("role").get<std::string>();
  r.task_id = json.at("task_id").get<std::string>();
  r.state = json.at("state").get<ReportState>();
  r.cases_max = json.at("cases_max").get<int64_t>();
  r.mean_dice = NumbersFromJson(json.at("mean_dice"));
  r.cases = json.at("cases").get<std::vector<CaseDiceRecord>>();
  r.reason = json.value("reason", "");
}

// What is not known is not written, so that versions of before lineage was recorded still read.
static void to_json(Json& json, const VersionRecord& r) {
  json = {{"version", r.version},       {"study", r.study},
          {"number", r.number},         {"sha256", r.sha256},
          {"bytes", r.bytes},           {"parameters", r.parameters},
          {"created_us", r.created_us}, {"round", r.round},
          {"parent", r.parent},         {"plan_sha256", r.plan_sha256},
          {"audit_index", r.audit_index}};
  if (!r.origin.empty()) json["origin"] = r.origin;
  if (!r.code_version.empty()) json["code_version"] = r.code_version;
  if (!r.parents.empty()) json["parents"] = r.parents;
  if (!r.sites.empty()) json["sites"] = r.sites;
  if (r.weights_gone_us != 0) json["weights_gone_us"] = r.weights_gone_us;
}
static void from_json(const Json& json, VersionRecord& r) {
  r.version = json.at("version").get<std::string>();
  r.study = json.at("study").get<std::string>();
  r.number = json.at("number").get<int64_t>();
  r.sha256 = json.at("sha256").get<std::string>();
  r.bytes = json.at("bytes").get<int64_t>();
  r.parameters = json.at("parameters").get<int64_t>();
  r.created_us = json.at("created_us").get<int64_t>();
  r.round = json.at("round").get<int64_t>();
  r.parent = json.at("parent").get<std::string>();
  r.plan_sha256 = json.at("plan_sha256").get<std::string>();
  r.audit_index = json.at("audit_index").get<int64_t>();
  r.origin = json.value("origin", "");
  r.code_version = json.value("code_version", "");
  r.parents = json.value("parents", std::vector<std::string>());
  r.sites = json.value("sites", std::vector<std::string>());
  r.weights_gone_us = json.value("weights_gone_us", int64_t{0});
}

#define CSL_JSON(Type, ...)                                                                     \
  static void to_json(Json& nlohmann_json_j, const Type& nlohmann_json_t) {                     \
    NLOHMANN_JSON_EXPAND(NLOHMANN_JSON_PASTE(NLOHMANN_JSON_TO, __VA_ARGS__))                    \
  }                                                                                             \
  static void from_json(const Json& nlohmann_json_j, Type& nlohmann_json_t) {                   \
    NLOHMANN_JSON_EXPAND(NLOHMANN_JSON_PASTE(NLOHMANN_JSON_FROM, __VA_ARGS__))                  \
  }

// Keys that came later and are only written where they say something, so that older records read.
template <typename T>
static void Put(Json& json, const char* key, const T& value) {
  if (value != T()) json[key] = value;
}
template <typename T>
static void Take(const Json& json, const char* key, T& value) {
  if (const auto it = json.find(key); it != json.end()) value = it->template get<T>();
}
#define CSL_PUT(key) Put(nlohmann_json_j, #key, nlohmann_json_t.key);
#define CSL_TAKE(key) Take(nlohmann_json_j, #key, nlohmann_json_t.key);
#define OPTIONAL_SITE(F)                                                               \
  F(capabilities) F(certificate_ends_us) F(next_key_sha256) F(next_ends_us)            \
  F(previous_key_sha256) F(previous_until_us) F(enrolment_key_sha256)
#define OPTIONAL_CONTRIBUTION(F)                                                           \
  F(task_round) F(base_version) F(base_sha256) F(base_bytes) F(base_commits) F(staleness) \
  F(weight_full_milli) F(norm) F(values_sha256)
#define OPTIONAL_ROUND(F) F(required) F(buffer) F(weight_cap_milli) F(masking)
#define OPTIONAL_STUDY(F) \
  F(optimizer_sha256) F(optimizer_bytes) F(control_sha256) F(control_bytes) F(change_rms)
#define CSL_JSON_AND(Type, OPTIONAL, ...)                                       \
  static void to_json(Json& nlohmann_json_j, const Type& nlohmann_json_t) {     \
    NLOHMANN_JSON_EXPAND(NLOHMANN_JSON_PASTE(NLOHMANN_JSON_TO, __VA_ARGS__))    \
    OPTIONAL(CSL_PUT)                                                           \
  }                                                                             \
  static void from_json(const Json& nlohmann_json_j, Type& nlohmann_json_t) {   \
    NLOHMANN_JSON_EXPAND(NLOHMANN_JSON_PASTE(NLOHMANN_JSON_FROM, __VA_ARGS__))  \
    OPTIONAL(CSL_TAKE)                                                          \
  }
CSL_JSON_AND(SiteRecord, OPTIONAL_SITE, name, state, key_sha256, enrolled_us, last_seen_us,
             software_version, retired_keys)
CSL_JSON(AdminRecord, name, key_sha256, enrolled_us)
CSL_JSON(InvitationRecord, token_sha256, site, expires_us, used_us)
CSL_JSON_AND(StudyRecord, OPTIONAL_STUDY, name, run_id, yaml, state, stage, reason, created_us, stage_since_us,
         ready_us, paused_us, plan_json, plan_sha256, round, rounds_committed, failures_in_row, attempt, latest_version,
         latest_sha256, latest_bytes, layout_sha256, parameters, cohort)
CSL_JSON(SummaryRecord, steps, seconds, mean_loss, mean_supervised_loss, mean_consistency_loss,
         teacher_certainty, pseudo_foreground_fraction)
CSL_JSON_AND(ContributionRecord, OPTIONAL_CONTRIBUTION, site, outcome, reason, task_id,
             labelled_cases, unlabelled_cases, weight_max_milli, weight_milli, upload_id, bytes,
             summary)
CSL_JSON(RosterRecord, sites, sharing, survivors, threshold, phase, failed)
CSL_JSON(MaskingRecord, job, bits, words, min_cohort, quantiser, weight_unit_milli, parameters,
         window_us, phase_ends_us,
         rosters, sums)
CSL_JSON(AgreementRecord, study, round, site, certificate_pem, certificate_sha256, protocol_key,
         protocol_key_signature, mask_key, box_key, signature, commitment, boxes, consent_survivors,
         consent_signature, shares)
CSL_JSON_AND(RoundRecord, OPTIONAL_ROUND, study, number, phase, reason, started_us, deadline_us,
             ended_us, quorum, base_version, base_sha256, new_version, contributions)
CSL_JSON(EvaluationRecord, study, version, number, started_us, deadline_us, ended_us, sites)
CSL_JSON(ManifestRecord, sha256, bytes, chunks)
CSL_JSON(AliasRecord, study, alias, version)
CSL_JSON(PublicationRecord, target, manifest_sha256, time_us)
CSL_JSON(ReleaseRecord, name, version, model_sha256, created_us, created_by, publications)
CSL_JSON(UploadRecord, upload_id, task_id, site, study, round, sha256, bytes, accepted, reason)
CSL_JSON(WitnessRecord, site, vkey, key_sha256, enrolled_us)
#undef CSL_JSON
#undef CSL_JSON_AND
#undef CSL_PUT
#undef CSL_TAKE

template <typename Record>
std::string Encode(const Record& record) {
  // Foreign text reaches records only after a check, but a store must not die of a bad byte.
  return Json(record).dump(-1, ' ', false, Json::error_handler_t::replace);
}

template <typename Record>
absl::StatusOr<Record> Decode(absl::string_view text) {
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::DataLossError("a stored record is not JSON");
  Record record;
  try {
    record = json.get<Record>();
  } catch (const Json::exception& e) {
    return absl::DataLossError(absl::StrCat("a stored record does not read: ", e.what()));
  }
  if (Json(record) != json) return absl::DataLossError("a stored record has an unknown key or name");
  return record;
}

#define CSL_CODEC(Type)                       \
  template std::string Encode(const Type&);   \
  template absl::StatusOr<Type> Decode(absl::string_view);
CSL_CODEC(AdminRecord)
CSL_CODEC(SiteRecord)
CSL_CODEC(InvitationRecord)
CSL_CODEC(StudyRecord)
CSL_CODEC(RoundRecord)
CSL_CODEC(EvaluationRecord)
CSL_CODEC(VersionRecord)
CSL_CODEC(ManifestRecord)
CSL_CODEC(AliasRecord)
CSL_CODEC(ReleaseRecord)
CSL_CODEC(UploadRecord)
CSL_CODEC(WitnessRecord)
CSL_CODEC(AgreementRecord)
#undef CSL_CODEC

}  // namespace consilium::coordinator
