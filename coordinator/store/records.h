// What the coordinator remembers, as plain values.
//
// Every record is stored as canonical JSON (sorted keys, no spaces). Decoding is strict: an unknown
// or missing key, a wrong type or an unknown state is DATA_LOSS, because only this program writes
// them. Times are microseconds since 1970, UTC; weights are thousandths of a case.
#ifndef CONSILIUM_COORDINATOR_STORE_RECORDS_H_
#define CONSILIUM_COORDINATOR_STORE_RECORDS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::coordinator {

enum class SiteState { kInvited, kPending, kApproved, kSuspended, kRevoked };
enum class StudyState { kDraft, kPreparing, kRunning, kPaused, kFinished, kStopped, kFailed };
// What a study is busy with. It outlives a pause, so that a resumed study goes on where it was.
enum class Stage { kIdle, kPreparing, kInitialising, kBetweenRounds, kRound, kEvaluating };
enum class RoundPhase { kCollecting, kUnmasking, kAggregating, kCommitted, kFailed };
enum class Outcome { kAwaited, kAccepted, kFolded, kRefused, kMissing, kSkipped, kDeclined };
// How far the key agreement of a masked round is; the phases of privacy/secagg's ServerSession.
enum class MaskingPhase { kKeys, kShares, kMasked, kConsent, kReveal };
enum class ReportState { kAwaited, kReported, kMissing };

absl::string_view Name(SiteState state);    // "approved"
absl::string_view Name(StudyState state);   // "running"
absl::string_view Name(Stage stage);        // "between-rounds"
absl::string_view Name(RoundPhase phase);   // "collecting"
absl::string_view Name(Outcome outcome);    // "folded"
absl::string_view Name(MaskingPhase phase);  // "shares"
absl::string_view Name(ReportState state);  // "reported"
// INVALID_ARGUMENT lists the names there are.
absl::StatusOr<SiteState> SiteStateFromName(absl::string_view name);

// Whoever holds a certificate of role admin; enrolled by its key like a site.
struct AdminRecord {
  std::string name;
  std::string key_sha256;
  int64_t enrolled_us = 0;
};

struct SiteRecord {
  std::string name;
  SiteState state = SiteState::kInvited;
  std::string key_sha256;  // of the SubjectPublicKeyInfo; empty until enrolled
  int64_t enrolled_us = 0;
  int64_t last_seen_us = 0;  // as of the last start or Hello; the driver knows better
  std::string software_version;
  std::vector<std::string> retired_keys;  // never accepted again
  std::vector<std::string> capabilities = {};  // of its last Hello; empty: it named none
  // Of renewals; not written while empty.
  int64_t certificate_ends_us = 0;          // of the certificate for `key_sha256`
  std::string next_key_sha256 = {};         // certified by a renewal, not used yet
  int64_t next_ends_us = 0;                 // its certificate's end
  std::string previous_key_sha256 = {};     // retired, and still good until
  int64_t previous_until_us = 0;
  std::string enrolment_key_sha256 = {};    // of its invitation; empty: `key_sha256` still is that
};

struct InvitationRecord {
  std::string token_sha256;  // the token itself is with the site only
  std::string site;
  int64_t expires_us = 0;
  int64_t used_us = 0;  // 0: not yet
};

struct CohortRecord {
  std::string site;
  int64_t cases = 0;
  int64_t labelled_cases = 0;
  int64_t held_out_cases = 0;  // some of the labelled ones
  std::vector<double> median_spacing_xyz_mm;
  std::vector<double> median_size_xyz;
  std::map<std::string, int64_t> rejected_by_reason;
  int64_t trainable_labelled() const { return labelled_cases - held_out_cases; }
  int64_t unlabelled() const { return cases - labelled_cases; }
  bool operator==(const CohortRecord&) const = default;
};

struct StudyRecord {
  std::string name;
  std::string run_id;  // random; part of every task id
  std::string yaml;    // as given, with every default filled in
  StudyState state = StudyState::kDraft;
  Stage stage = Stage::kIdle;
  std::string reason;  // why it is paused, stopped or failed
  int64_t created_us = 0;
  int64_t stage_since_us = 0;
  int64_t ready_us = 0;   // since when enough sites are there for the stage to end; 0: not yet
  int64_t paused_us = 0;  // since when; 0: is not
  std::string plan_json;  // empty until the plan is fixed
  std::string plan_sha256;
  int64_t round = 0;             // opened last; failed ones count
  int64_t rounds_committed = 0;  // of those the study asks for
  int64_t failures_in_row = 0;
  int64_t attempt = 0;  // counts initialisations
  std::string latest_version;
  std::string latest_sha256;
  int64_t latest_bytes = 0;
  std::string layout_sha256;
  int64_t parameters = 0;
  std::vector<CohortRecord> cohort;
  // Model-sized files beside the latest version; not written while empty.
  std::string optimizer_sha256;  // the server optimiser's state
  int64_t optimizer_bytes = 0;
  std::string control_sha256;    // SCAFFOLD's server control variate
  int64_t control_bytes = 0;
  double change_rms = 0;         // of the values of the last aggregate
  bool operator==(const StudyRecord&) const = default;
};

struct SummaryRecord {
  int64_t steps = 0;
  double seconds = 0;
  double mean_loss = 0;
  double mean_supervised_loss = 0;
  double mean_consistency_loss = 0;
  double teacher_certainty = 0;
  double pseudo_foreground_fraction = 0;
};

struct ContributionRecord {
  std::string site;
  Outcome outcome = Outcome::kAwaited;
  std::string reason;
  std::string task_id;
  int64_t labelled_cases = 0;
  int64_t unlabelled_cases = 0;
  int64_t weight_max_milli = 0;  // what the cohort report allows
  int64_t weight_milli = 0;      // as folded
  std::string upload_id;
  int64_t bytes = 0;
  SummaryRecord summary;
  // Asynchronous studies only, and not written elsewhere: the task outlives the round it was made in.
  int64_t task_round = 0;     // the round it was made in, part of the task; 0: this one
  std::string base_version = {};  // what the site trains from
  std::string base_sha256 = {};
  int64_t base_bytes = 0;
  int64_t base_commits = 0;      // versions committed when the task was made
  int64_t staleness = 0;         // versions between the base and the one it went into
  int64_t weight_full_milli = 0;  // before the discount for staleness
  // Of sealed updates that were accepted; not written where they are not known.
  double norm = 0;                   // L2
  std::string values_sha256 = {};    // of the values; two sites never train to the same
};

// Sites of a masked round whose updates are summed together.
struct RosterRecord {
  std::vector<std::string> sites;      // invited, then those who sent keys; sorted
  std::vector<std::string> sharing;    // whose shares came; sorted
  std::vector<std::string> survivors;  // whose sum is revealed; sorted
  int64_t threshold = 0;               // 0: the keys are not closed yet
  MaskingPhase phase = MaskingPhase::kKeys;
  std::string failed;                  // why these sites give no sum; empty: they may
  bool operator==(const RosterRecord&) const = default;
};

// The secure aggregation of a round (coordinator/round/masked_round.h).
struct MaskingRecord {
  std::string job;
  int64_t bits = 0;
  int64_t words = 0;
  int64_t min_cohort = 0;
  std::string quantiser;
  int64_t weight_unit_milli = 0;
  int64_t parameters = 0;  // of the update; the rest of the words is padding and lanes
  int64_t window_us = 0;   // that each phase of the key agreement has
  int64_t phase_ends_us = 0;  // when the present phase of key agreement, or the unmasking, is cut off
  std::vector<RosterRecord> rosters;
  std::map<std::string, double> sums;  // of what travelled in masked words, once it is known
  bool operator==(const MaskingRecord&) const = default;
};

// What one site said in the key agreement and unmasking of a masked round: the fields of
// privacy/secagg/protocol.h, bytes in hex; empty: nothing yet. Deleted when the round has ended.
struct AgreementRecord {
  std::string study;
  int64_t round = 0;
  std::string site;
  std::string certificate_pem;
  std::string certificate_sha256;
  std::string protocol_key;
  std::string protocol_key_signature;
  std::string mask_key;
  std::string box_key;
  std::string signature;
  std::string commitment;
  std::vector<std::string> boxes;  // by roster index
  std::string consent_survivors;
  std::string consent_signature;
  std::vector<std::string> shares;  // revealed, by roster index
  bool operator==(const AgreementRecord&) const = default;
};

struct RoundRecord {
  std::string study;
  int64_t number = 0;  // 0: the first weights
  RoundPhase phase = RoundPhase::kCollecting;
  std::string reason;  // of a failure, or why it closed before everyone had delivered
  int64_t started_us = 0;
  int64_t deadline_us = 0;
  int64_t ended_us = 0;
  int64_t quorum = 0;
  std::string base_version;  // empty for round 0
  std::string base_sha256;
  std::string new_version;
  std::vector<ContributionRecord> contributions;
  // Not written while empty.
  std::vector<std::string> required = {};  // sites without which it cannot be committed
  int64_t buffer = 0;            // updates that close the round; 0: a synchronous one
  int64_t weight_cap_milli = 0;  // the most that one update of a buffer weighs
  MaskingRecord masking = {};    // of secure aggregation; no rosters: updates are sealed
};

struct CaseDiceRecord {
  std::string case_pseudonym;
  std::vector<double> dice;  // NaN: neither image has the structure
};

struct SiteEvaluationRecord {
  std::string site;
  std::string role;
  std::string task_id;
  ReportState state = ReportState::kAwaited;
  int64_t cases_max = 0;  // what the cohort report promised
  std::vector<double> mean_dice;
  std::vector<CaseDiceRecord> cases;
  std::string reason = {};  // why it is missing; not written while empty
};

struct EvaluationRecord {
  std::string study;
  std::string version;
  int64_t number = 0;
  int64_t started_us = 0;
  int64_t deadline_us = 0;
  int64_t ended_us = 0;
  std::vector<SiteEvaluationRecord> sites;
};

struct VersionRecord {
  std::string version;  // STUDY/NUMBER
  std::string study;
  int64_t number = 0;
  std::string sha256;
  int64_t bytes = 0;
  int64_t parameters = 0;
  int64_t created_us = 0;
  int64_t round = 0;
  std::string parent;
  std::string plan_sha256;
  int64_t audit_index = 0;  // filled by the commit
  // Lineage; versions of before it was recorded have none of it.
  std::string origin;        // initialise | round | import
  std::string code_version;  // of the coordinator that made it
  std::vector<std::string> parents;
  std::vector<std::string> sites;  // that contributed, sorted
  int64_t weights_gone_us = 0;     // when the weights were collected; 0: they are kept
};

// A model file as pieces of 4 MiB in the order of the file; the last one may be shorter.
struct ManifestRecord {
  std::string sha256;  // of the whole file
  int64_t bytes = 0;
  std::vector<std::string> chunks;  // SHA-256 of each, lower-case hex
};

struct AliasRecord {
  std::string study;
  std::string alias;
  std::string version;
};

struct PublicationRecord {
  std::string target;
  std::string manifest_sha256;
  int64_t time_us = 0;
};

struct ReleaseRecord {
  std::string name;
  std::string version;
  std::string model_sha256;
  int64_t created_us = 0;
  std::string created_by;
  std::vector<PublicationRecord> publications;
};

// The first answer to a committed upload, kept so that a repeat gets the same.
struct UploadRecord {
  std::string upload_id;
  std::string task_id;
  std::string site;
  std::string study;
  int64_t round = 0;
  std::string sha256;
  int64_t bytes = 0;
  int64_t accepted = 0;  // 1 or 0
  std::string reason;
};

// A site's key for cosigning checkpoints of the audit log.
struct WitnessRecord {
  std::string site;
  std::string vkey;        // C2SP signed-note: name+hex+base64
  std::string key_sha256;  // of the certificate it was enrolled with
  int64_t enrolled_us = 0;
};

// For AdminRecord, SiteRecord, InvitationRecord, StudyRecord, RoundRecord, EvaluationRecord,
// VersionRecord, ManifestRecord, AliasRecord, ReleaseRecord, UploadRecord, WitnessRecord and
// AgreementRecord.
template <typename Record>
std::string Encode(const Record& record);
template <typename Record>
absl::StatusOr<Record> Decode(absl::string_view text);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_STORE_RECORDS_H_
