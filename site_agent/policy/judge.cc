#include "site_agent/policy/judge.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace consilium::agent {
namespace {

constexpr size_t kValueBytesMax = 64;  // of one value of the task in a text
constexpr absl::string_view kPayloadUrl = "consilium/policy-refusal";
constexpr absl::string_view kPayloadSeparator = "\n";

// Bounded printable ASCII: the coordinator must not write our log's lines.
std::string Shown(absl::string_view text) {
  std::string out(text.substr(0, kValueBytesMax));
  for (char& c : out) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = '?';
  }
  if (text.size() > kValueBytesMax) out.replace(out.size() - 2, 2, "..");
  return out.empty() ? "nothing" : out;
}

std::string Number(double value) { return absl::StrFormat("%g", value); }

class Bench {
 public:
  Bench(const SitePolicy& policy, const TaskTerms& terms, const PolicyState& state)
      : policy_(policy), terms_(terms), state_(state) {}

  std::vector<Finding> Judge() && {
    Study();
    Series();
    Peers();
    if (terms_.sends_update) {
      Algorithm();
      ProtectionKind();
      SecureAggregation();
      Norm();
      Privacy();
    }
    Approval();
    if (terms_.trains) Time();
    return std::move(findings_);
  }

 private:
  void Say(const char* clause, bool holds, std::string wanted, std::string got) {
    findings_.push_back({clause, holds ? Verdict::kHolds : Verdict::kRefused, std::move(wanted),
                         std::move(got), std::nullopt});
  }
  void Unsaid(const char* clause, std::string wanted, std::string got) {
    findings_.push_back(
        {clause, Verdict::kUnsaid, std::move(wanted), std::move(got), std::nullopt});
  }

  // Lists of the policy are shortened in texts; the clause says where all of it is.
  static std::string Names(const std::vector<std::string>& names) {
    std::string all = absl::StrJoin(names, ", ");
    return all.size() > kValueBytesMax ? absl::StrCat("one of ", names.size(), " in the list")
                                       : all;
  }

  void Among(const char* clause, const std::optional<std::vector<std::string>>& allowed,
             const std::string& got) {
    if (!allowed) return;
    const bool holds = std::find(allowed->begin(), allowed->end(), got) != allowed->end();
    Say(clause, holds, Names(*allowed), Shown(got));
  }

  void Study() {
    const bool denied = MatchesAny(policy_.studies_deny, terms_.study);
    if (!policy_.studies_deny.empty()) {
      Say("studies.deny", !denied, "another study", Shown(terms_.study));
    }
    Say("studies.allow", MatchesAny(policy_.studies_allow, terms_.study),
        Names(policy_.studies_allow), Shown(terms_.study));
    Among("purposes", policy_.purposes, terms_.purpose);
  }

  void Approval() {
    if (policy_.approval == agent::Approval::kNone) return;
    const bool each = policy_.approval == agent::Approval::kEachPlan;
    const bool holds = each ? state_.plan_approved : state_.study_approved || state_.plan_approved;
    Say("approval", holds,
        each ? "a person's approval of each plan" : "a person's approval of the study",
        holds ? "it" : absl::StrCat("none; plan ", Shown(terms_.plan_sha256.substr(0, 12))));
  }

  void Algorithm() {
    if (terms_.algorithms.empty()) return Among("algorithms", policy_.algorithms, "");
    for (const std::string& name : terms_.algorithms) Among("algorithms", policy_.algorithms, name);
  }

  void Series() {
    if (terms_.modalities.empty()) Among("series.modalities", policy_.modalities, "");
    for (const std::string& modality : terms_.modalities) {
      Among("series.modalities", policy_.modalities, modality);
    }
    std::string bad_keyword, against;
    for (const wire::SeriesRule& rule : terms_.series_rules) {
      const auto& deny = policy_.keywords_deny;
      if (std::find(deny.begin(), deny.end(), rule.keyword) != deny.end()) {
        bad_keyword = rule.keyword;
      }
      for (const wire::SeriesRule& ours : policy_.series_rules) {
        if (Contradict(rule, ours)) against = absl::StrCat(rule.keyword, " ", rule.condition);
      }
    }
    if (!policy_.keywords_deny.empty()) {
      Say("series.keywords_deny", bad_keyword.empty(), "no rule on it",
          bad_keyword.empty() ? "none" : absl::StrCat("a rule on ", Shown(bad_keyword)));
    }
    if (!policy_.series_rules.empty()) {
      Say("series.rules", against.empty(), "no series that the site keeps out",
          against.empty() ? "none" : Shown(against));
    }
  }

  // A plan that asks for just what the site keeps out; anything less certain is left to the
  // selection of cases, where the site's rules hold beside the plan's.
  static bool Contradict(const wire::SeriesRule& theirs, const wire::SeriesRule& ours) {
    if (theirs.keyword != ours.keyword) return false;
    absl::string_view a = absl::StripAsciiWhitespace(theirs.condition);
    absl::string_view b = absl::StripAsciiWhitespace(ours.condition);
    const bool not_a = absl::ConsumePrefix(&a, "!");
    const bool not_b = absl::ConsumePrefix(&b, "!");
    return not_a != not_b && absl::StripAsciiWhitespace(a) == absl::StripAsciiWhitespace(b);
  }

  void Peers() {
    if (policy_.peers_deny.empty()) return;
    if (!terms_.roster) {
      Unsaid("peers.deny", "to know who takes part", "no roster");
      return;
    }
    std::string found;
    for (const Peer& peer : *terms_.roster) {
      const bool named = MatchesAny(policy_.peers_deny, peer.name);
      const std::string key = absl::StrCat("sha256:", peer.certificate_sha256);
      const auto& deny = policy_.peers_deny;
      if (named || std::find(deny.begin(), deny.end(), key) != deny.end()) found = peer.name;
    }
    Say("peers.deny", found.empty(), "a round without it", found.empty() ? "that" : Shown(found));
  }

  void ProtectionKind() {
    std::vector<std::string> names;
    for (const Protection p : policy_.protections) names.emplace_back(ProtectionName(p));
    if (!terms_.protection) {
      Unsaid("protections", Names(names), "nothing");
      return;
    }
    Say("protections", policy_.Accepts(*terms_.protection), Names(names),
        ProtectionName(*terms_.protection));
    if (*terms_.protection == Protection::kSealed && policy_.Accepts(Protection::kSealed)) {
      Say("sealed.studies", MatchesAny(policy_.sealed_studies, terms_.study),
          Names(policy_.sealed_studies), Shown(terms_.study));
    }
  }

  void SecureAggregation() {
    if (terms_.protection != Protection::kSecureAggregation) return;
    // The smallest of what the plan promises, who is there at all, and the groups they are put in.
    int64_t cohort = terms_.min_cohort;
    const char* of = "promised by the plan";
    const auto lower = [&](int64_t value, const char* what) {
      if (value >= cohort) return;
      cohort = value;
      of = what;
    };
    if (terms_.group_size != 0) lower(terms_.group_size, "in a group");
    if (terms_.sites) lower(*terms_.sites, "in the round");
    const int64_t wanted = std::max(policy_.min_cohort, kMinCohortFloor);
    Say("secure_aggregation.min_cohort", cohort >= wanted,
        absl::StrCat("at least ", wanted, " sites in a sum"), absl::StrCat(cohort, " ", of));
    Say("secure_aggregation.bits_min", terms_.bits >= policy_.bits_min,
        absl::StrCat("at least ", policy_.bits_min, " bits"), absl::StrCat(terms_.bits));
  }

  void Norm() {
    if (!policy_.norm_max) return;
    const double bound = terms_.norm_bound;
    Say("update.norm_max", bound > 0 && bound <= *policy_.norm_max,
        absl::StrCat("updates clipped to at most ", Number(*policy_.norm_max)),
        bound > 0 ? Number(bound) : "no clipping");
  }

  void AtMost(const char* clause, const std::optional<double>& limit,
              const std::optional<double>& value) {
    if (!limit) return;
    const std::string wanted = absl::StrCat("at most ", Number(*limit));
    if (!value) return Unsaid(clause, wanted, "nothing");
    Say(clause, *value > 0 && *value <= *limit, wanted, *value == 0 ? "nothing" : Number(*value));
  }

  void Noise(const std::optional<double>& value) {
    const std::optional<double>& limit = policy_.privacy.noise_multiplier_min;
    if (!limit) return;
    const std::string wanted = absl::StrCat("at least ", Number(*limit));
    if (!value) return Unsaid("privacy.noise_multiplier_min", wanted, "nothing");
    Say("privacy.noise_multiplier_min", *value >= *limit, wanted, Number(*value));
  }

  void Privacy() {
    const PrivacyLimits& limits = policy_.privacy;
    const PrivacyTerms& privacy = terms_.privacy;
    if (limits.level != PrivacyLevel::kNone) {
      Say("privacy.level", privacy.level >= limits.level,
          absl::StrCat(PrivacyLevelName(limits.level), " or stronger"),
          PrivacyLevelName(privacy.level));
    }
    // A plan that promises nothing spends no declared budget: whether it may is the level's clause.
    if (privacy.level == PrivacyLevel::kNone) return;
    AtMost("privacy.epsilon_max", limits.epsilon_max, privacy.epsilon);
    AtMost("privacy.delta_max", limits.delta_max, privacy.delta);
    AtMost("privacy.epsilon_per_round_max", limits.epsilon_per_round_max,
           privacy.epsilon_per_round);
    Noise(privacy.noise_multiplier);
    AtMost("privacy.clip_max", limits.clip_max, privacy.clip);
  }

  void Time() {
    absl::TimeZone zone = terms_.zone;
    if (!policy_.time_zone.empty() && !absl::LoadTimeZone(policy_.time_zone, &zone)) {
      // It was there when the policy was read.
      Say("training.time_zone", false, policy_.time_zone, "no such zone on this machine");
      return;
    }
    const auto local = [&](absl::Time time) {
      return absl::FormatTime("%Y-%m-%d %H:%M", time, zone);
    };
    if (policy_.rounds_per_day) {
      const bool holds = state_.rounds_today < *policy_.rounds_per_day;
      const absl::Time midnight = absl::FromCivil(absl::CivilDay(zone.At(terms_.now).cs) + 1, zone);
      Later("training.rounds_per_day", holds, absl::StrCat("at most ", *policy_.rounds_per_day),
            holds ? absl::StrCat(state_.rounds_today) : absl::StrCat(state_.rounds_today, " today"),
            NextOpening(policy_.hours, midnight, zone));
    }
    if (policy_.hours == TrainingHours()) return;
    const absl::Time opening = NextOpening(policy_.hours, terms_.now, zone);
    const bool open = opening == terms_.now;
    Later("training.hours", open,
          open ? "the site's hours" : absl::StrCat("not before ", local(opening)),
          local(terms_.now), opening);
  }

  void Later(const char* clause, bool holds, std::string wanted, std::string got,
             absl::Time retry_at) {
    findings_.push_back({clause, holds ? Verdict::kHolds : Verdict::kLater, std::move(wanted),
                         std::move(got),
                         holds ? std::nullopt : std::optional<absl::Time>(retry_at)});
  }

  const SitePolicy& policy_;
  const TaskTerms& terms_;
  const PolicyState& state_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> JudgeAll(const SitePolicy& policy, const TaskTerms& terms,
                              const PolicyState& state) {
  return Bench(policy, terms, state).Judge();
}

Refusal RefusalFrom(const Finding& finding) {
  Refusal refusal{finding.clause, finding.wanted, finding.got, "", finding.retry_at, ""};
  refusal.text = absl::StrCat("site policy (", finding.clause, "): wants ", finding.wanted,
                              "; got ", finding.got)
                     .substr(0, kDeclineBytesMax);
  return refusal;
}

std::optional<Refusal> Judge(const SitePolicy& policy, const TaskTerms& terms,
                             const PolicyState& state) {
  std::optional<Refusal> later;
  for (const Finding& finding : JudgeAll(policy, terms, state)) {
    switch (finding.verdict) {
      case Verdict::kHolds:
        break;
      case Verdict::kUnsaid:
        if (terms.complete) return RefusalFrom(finding);
        break;
      case Verdict::kRefused:
        return RefusalFrom(finding);
      case Verdict::kLater:
        // Of two that wait, the one that waits longer says when it is worth asking.
        if (!later || *finding.retry_at > *later->retry_at) later = RefusalFrom(finding);
        break;
    }
  }
  return later;
}

Refusal UnusablePolicy(const absl::Status& why) {
  Refusal refusal = RefusalFrom({.clause = "policy.yaml",
                                 .verdict = Verdict::kRefused,
                                 .wanted = "a policy that can be read",
                                 .got = "one with an error; its people have to correct it",
                                 .retry_at = std::nullopt});
  refusal.detail = std::string(why.message());
  return refusal;
}

absl::Status ToStatus(const Refusal& refusal) {
  absl::Status status = refusal.retry_at ? absl::UnavailableError(refusal.text)
                                         : absl::FailedPreconditionError(refusal.text);
  const std::string retry =
      refusal.retry_at ? absl::StrCat(absl::ToUnixMicros(*refusal.retry_at)) : "";
  status.SetPayload(
      kPayloadUrl,
      absl::Cord(absl::StrJoin({refusal.clause, refusal.wanted, refusal.got, retry, refusal.detail},
                               kPayloadSeparator)));
  return status;
}

std::optional<Refusal> RefusalIn(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayloadUrl);
  if (!payload) return std::nullopt;
  const std::string text(*payload);
  const std::vector<std::string> parts =
      absl::StrSplit(text, absl::MaxSplits(kPayloadSeparator, 4));
  if (parts.size() != 5) return std::nullopt;
  Refusal refusal{parts[0],     parts[1], parts[2], std::string(status.message()),
                  std::nullopt, parts[4]};
  if (int64_t us = 0; absl::SimpleAtoi(parts[3], &us)) refusal.retry_at = absl::FromUnixMicros(us);
  return refusal;
}

}  // namespace consilium::agent
