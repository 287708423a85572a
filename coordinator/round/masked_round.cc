#include "coordinator/round/masked_round.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/round/agreement_records.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secagg/key_schedule.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

using secagg::ServerPhase;
using Sites = std::vector<std::string>;

constexpr uint32_t kRotationBlock = 4096;  // of 16-bit words

MaskingPhase PhaseOf(const secagg::ServerSession& session) {
  switch (session.phase()) {
    case ServerPhase::kCollecting:
      return MaskingPhase::kKeys;
    case ServerPhase::kSharing:
      return MaskingPhase::kShares;
    case ServerPhase::kDelivering:
      return MaskingPhase::kMasked;
    case ServerPhase::kConsenting:
      return MaskingPhase::kConsent;
    case ServerPhase::kRevealing:
      return MaskingPhase::kReveal;
  }
  CSL_CHECK(false);
}

ServerPhase PhaseOf(MaskingPhase phase) {
  switch (phase) {
    case MaskingPhase::kKeys:
      return ServerPhase::kCollecting;
    case MaskingPhase::kShares:
      return ServerPhase::kSharing;
    case MaskingPhase::kMasked:
      return ServerPhase::kDelivering;
    case MaskingPhase::kConsent:
      return ServerPhase::kConsenting;
    case MaskingPhase::kReveal:
      return ServerPhase::kRevealing;
  }
  CSL_CHECK(false);
}

bool Has(const Sites& sorted, absl::string_view site) {
  return std::binary_search(sorted.begin(), sorted.end(), site);
}

Sites NamesOf(absl::Span<const secagg::Member> roster, const secagg::SiteSet& set) {
  Sites names;
  for (const size_t index : set.Indices()) names.push_back(roster[index].site);
  return names;
}

// Where a site stands in the rosters: a hash, so that a site cannot be put beside chosen others.
std::vector<Sites> GroupsOf(const MaskedRound::Options& options) {
  const size_t groups =
      options.protection.group == 0
          ? 1
          : std::max<size_t>(1, options.sites.size() /
                                    static_cast<size_t>(options.protection.group));
  std::vector<std::pair<std::string, std::string>> order;
  for (const std::string& site : options.sites) {
    order.emplace_back(
        privacy::Sha256(absl::StrCat(options.group_seed, "\n", options.round, "\n", site)), site);
  }
  std::sort(order.begin(), order.end());
  std::vector<Sites> result(groups);
  for (size_t i = 0; i < order.size(); ++i) result[i % groups].push_back(order[i].second);
  for (Sites& sites : result) std::sort(sites.begin(), sites.end());
  return result;
}

secagg::QuantiserSpec QuantiserOf(const MaskedRound::Options& options) {
  secagg::QuantiserSpec spec;
  spec.clip = options.clip;
  spec.divisor = static_cast<uint64_t>(options.weight_total);
  spec.metrics = MaskedMetrics();
  if (options.protection.bits == 16) {
    spec.rotation_block = kRotationBlock;
    spec.rounding = secagg::Rounding::kStochastic;
  }
  return spec;
}

absl::StatusOr<secagg::Job> JobOf(const MaskingRecord& record, int64_t round,
                                  absl::string_view base_sha256) {
  secagg::Job job;
  job.job = record.job;
  job.round = static_cast<uint64_t>(round);
  CSL_ASSIGN_OR_RETURN(job.model_digest, HexDecode(base_sha256));
  job.bits = static_cast<uint32_t>(record.bits);
  job.words = static_cast<uint64_t>(record.words);
  job.min_cohort = static_cast<uint32_t>(record.min_cohort);
  job.quantiser = record.quantiser;
  return job;
}

std::string SetOf(const std::vector<secagg::ServerMember>& members, const Sites& sites) {
  secagg::SiteSet set(members.size());
  for (size_t i = 0; i < members.size(); ++i) {
    if (Has(sites, members[i].keys->site)) set.Add(i);
  }
  return set.bytes();
}

std::string Count(size_t have, absl::string_view what, int64_t need) {
  return absl::StrCat(have, " sites ", what, " where ", need, " are needed");
}

}  // namespace

const std::vector<std::string>& MaskedMetrics() {
  static const auto& names = *new std::vector<std::string>{
      "loss",      "supervised_loss", "consistency_loss",  "teacher_certainty", "pseudo_foreground",
      "saturated", "labelled_cases",  "unlabelled_cases", "steps"};
  return names;
}

absl::StatusOr<MaskedRound> MaskedRound::Open(const Options& options) {
  MaskedRound masked;
  masked.study_ = options.study;
  masked.round_ = options.round;
  const secagg::QuantiserSpec quantiser = QuantiserOf(options);
  CSL_RETURN_IF_ERROR(quantiser.Check());
  MaskingRecord& record = masked.record_;
  record.job = options.job;
  record.bits = options.protection.bits;
  record.parameters = options.parameters;
  record.words = static_cast<int64_t>(quantiser.Words(static_cast<uint64_t>(options.parameters)));
  record.min_cohort = options.protection.min_cohort;
  record.quantiser = quantiser.ToText();
  record.weight_unit_milli = options.weight_unit_milli;
  record.window_us = absl::ToInt64Microseconds(options.window);
  record.phase_ends_us = absl::ToUnixMicros(options.now + options.window);
  CSL_ASSIGN_OR_RETURN(const secagg::Job job, JobOf(record, options.round, options.base_sha256));
  for (Sites& sites : GroupsOf(options)) {
    RosterRecord roster;
    roster.sites = sites;
    CSL_ASSIGN_OR_RETURN(secagg::ServerSession session,
                         secagg::ServerSession::Start(job, std::move(sites)));
    masked.groups_.push_back({std::move(session), ""});
    record.rosters.push_back(std::move(roster));
  }
  return masked;
}

absl::StatusOr<MaskedRound> MaskedRound::FromRecords(
    const RoundRecord& round, const std::vector<AgreementRecord>& agreements) {
  MaskedRound masked;
  masked.study_ = round.study;
  masked.round_ = round.number;
  masked.record_ = round.masking;
  CSL_ASSIGN_OR_RETURN(const secagg::Job job,
                       JobOf(round.masking, round.number, round.base_sha256));
  for (const RosterRecord& roster : round.masking.rosters) {
    secagg::ServerRecord record;
    record.phase = PhaseOf(roster.phase);
    record.job = job;
    record.invited = roster.sites;
    record.threshold = static_cast<uint32_t>(roster.threshold);
    for (const AgreementRecord& agreement : agreements) {
      if (!Has(roster.sites, agreement.site)) continue;
      absl::StatusOr<secagg::ServerMember> member = MemberFrom(agreement);
      if (!member.ok()) return absl::DataLossError(member.status().message());
      record.members.push_back(*std::move(member));
      masked.key_signatures_[agreement.site] = agreement.protocol_key_signature;
    }
    if (record.phase >= ServerPhase::kDelivering) {
      record.sharing = SetOf(record.members, roster.sharing);
    }
    if (record.phase >= ServerPhase::kConsenting) {
      record.survivors = SetOf(record.members, roster.survivors);
    }
    CSL_ASSIGN_OR_RETURN(secagg::ServerSession session, secagg::ServerSession::FromRecord(record));
    masked.groups_.push_back({std::move(session), roster.failed});
  }
  return masked;
}

std::vector<std::string> MaskedRound::Speakers() const {
  std::vector<std::string> sites;
  for (const auto& [site, signature] : key_signatures_) sites.push_back(site);
  return sites;
}

const MaskedRound::Group* MaskedRound::Find(absl::string_view site) const {
  for (size_t i = 0; i < groups_.size(); ++i) {
    if (Has(record_.rosters[i].sites, site)) return &groups_[i];
  }
  return nullptr;
}

MaskedRound::Group* MaskedRound::Find(absl::string_view site) {
  return const_cast<Group*>(std::as_const(*this).Find(site));
}

AgreementRecord MaskedRound::RecordOf(absl::string_view site) const {
  AgreementRecord record;
  const secagg::ServerRecord all = Find(site)->session.record();
  for (const secagg::ServerMember& member : all.members) {
    if (member.keys->site != site) continue;
    record = AgreementFrom(member);
    record.protocol_key_signature = key_signatures_.at(std::string(site));
  }
  record.study = study_;
  record.round = round_;
  record.site = std::string(site);
  return record;
}

absl::StatusOr<std::optional<AgreementRecord>> MaskedRound::Hear(
    absl::string_view site, const std::function<absl::Status(secagg::ServerSession&)>& tell) {
  Group* group = Find(site);
  if (group == nullptr) return absl::NotFoundError("the site is not part of the masked round");
  if (group->failed()) return absl::FailedPreconditionError(group->why);
  const AgreementRecord before = RecordOf(site);
  CSL_RETURN_IF_ERROR(tell(group->session));
  Refresh();
  AgreementRecord after = RecordOf(site);
  if (after == before) return std::nullopt;
  return after;
}

absl::StatusOr<std::optional<AgreementRecord>> MaskedRound::OnKeys(const SiteKeys& keys,
                                                                   const Verifier& verify) {
  const std::string& site = keys.announcement.site;
  return Hear(site, [&](secagg::ServerSession& session) {
    CSL_RETURN_IF_ERROR(session.OnKeys(
        keys.announcement, [&](const secagg::KeyAnnouncement&) { return verify(keys); }));
    key_signatures_.emplace(site, HexEncode(keys.protocol_key_signature));
    return absl::OkStatus();
  });
}

absl::StatusOr<std::optional<AgreementRecord>> MaskedRound::OnShares(
    absl::string_view site, const secagg::ShareMessage& message) {
  return Hear(site, [&](secagg::ServerSession& session) {
    return session.OnShares(site, message);
  });
}

absl::StatusOr<std::optional<AgreementRecord>> MaskedRound::OnConsent(
    const secagg::Consent& consent) {
  return Hear(consent.site,
              [&](secagg::ServerSession& session) { return session.OnConsent(consent); });
}

absl::StatusOr<std::optional<AgreementRecord>> MaskedRound::OnReveal(
    absl::string_view site, const secagg::RevealMessage& message) {
  return Hear(site, [&](secagg::ServerSession& session) {
    return session.OnReveal(site, message);
  });
}

bool MaskedRound::Knows(const secagg::KeyAnnouncement& keys,
                        const secagg::ShareMessage* shares) const {
  const Group* group = Find(keys.site);
  if (group == nullptr) return false;
  const secagg::ServerRecord session = group->session.record();
  for (const secagg::ServerMember& member : session.members) {
    if (member.keys->site != keys.site) continue;
    return *member.keys == keys &&
           (shares == nullptr || (member.shares != nullptr && *member.shares == *shares));
  }
  return false;
}

bool MaskedRound::CanStillUnmask() const {
  for (const Group& group : groups_) {
    if (group.failed() || group.session.phase() < ServerPhase::kConsenting) continue;
    size_t willing = 0;
    for (const std::string& site :
         NamesOf(group.session.roster(), group.session.survivors())) {
      willing += refused_.contains(site) ? 0 : 1;
    }
    if (willing < group.session.params().threshold) return false;
  }
  return true;
}

// The record as the sessions are now.
void MaskedRound::Refresh() {
  for (size_t i = 0; i < groups_.size(); ++i) {
    const secagg::ServerSession& session = groups_[i].session;
    RosterRecord& roster = record_.rosters[i];
    roster.phase = PhaseOf(session);
    roster.threshold = session.params().threshold;
    roster.failed = groups_[i].why;
    if (roster.phase >= MaskingPhase::kMasked) {
      roster.sharing = NamesOf(session.roster(), session.sharing());
    }
    if (roster.phase >= MaskingPhase::kConsent) {
      roster.survivors = NamesOf(session.roster(), session.survivors());
    }
  }
}

void MaskedRound::FailGroup(Group& group, std::string why, const Sites& sites,
                            std::vector<LeftOut>& out) {
  group.why = std::move(why);
  for (const std::string& site : sites) out.push_back({site, group.why});
}

void MaskedRound::EndKeys(Group& group, const Sites& awaited, bool late,
                          std::vector<LeftOut>& out, bool& changed) {
  Sites announced, silent;
  const secagg::ServerRecord session = group.session.record();
  for (const secagg::ServerMember& member : session.members) {
    announced.push_back(member.keys->site);
  }
  std::set_difference(awaited.begin(), awaited.end(), announced.begin(), announced.end(),
                      std::back_inserter(silent));
  if (!silent.empty() && !late) return;
  if (const absl::Status closed = group.session.CloseKeys(); !closed.ok()) {
    if (!silent.empty()) return;  // there is still somebody who may make it enough
    FailGroup(group,
              Count(announced.size(), "agreed on keys",
                    std::max<int64_t>(static_cast<int64_t>(secagg::kSitesMin), record_.min_cohort)),
              awaited, out);
    changed = true;
    return;
  }
  changed = true;
  for (const std::string& site : silent) out.push_back({site, "sent no keys in time"});
}

void MaskedRound::EndShares(Group& group, const Sites& awaited, bool late,
                            std::vector<LeftOut>& out, bool& changed) {
  Sites shared, silent;
  const secagg::ServerRecord session = group.session.record();
  for (const secagg::ServerMember& member : session.members) {
    if (member.shares != nullptr) shared.push_back(member.keys->site);
  }
  std::set_difference(awaited.begin(), awaited.end(), shared.begin(), shared.end(),
                      std::back_inserter(silent));
  if (!silent.empty() && !late) return;
  if (const absl::Status closed = group.session.CloseSharing(); !closed.ok()) {
    if (!silent.empty()) return;
    FailGroup(group, Count(shared.size(), "shared their keys", group.session.params().threshold),
              awaited, out);
    changed = true;
    return;
  }
  changed = true;
  for (const std::string& site : silent) out.push_back({site, "sent no key shares in time"});
}

std::vector<MaskedRound::LeftOut> MaskedRound::OnTime(const Sites& awaited, absl::Time now,
                                                      bool& changed) {
  std::vector<LeftOut> out;
  const bool late = absl::ToUnixMicros(now) > record_.phase_ends_us;
  bool moved = false;
  for (size_t i = 0; i < groups_.size(); ++i) {
    Group& group = groups_[i];
    if (group.failed()) continue;
    Sites own;
    std::set_intersection(awaited.begin(), awaited.end(), record_.rosters[i].sites.begin(),
                          record_.rosters[i].sites.end(), std::back_inserter(own));
    if (group.session.phase() == ServerPhase::kCollecting) {
      EndKeys(group, own, late, out, moved);
    } else if (group.session.phase() == ServerPhase::kSharing) {
      EndShares(group, own, late, out, moved);
    }
  }
  if (!moved) return out;
  // The next phase has its own time, counted from when the first group enters it.
  record_.phase_ends_us = absl::ToUnixMicros(now) + record_.window_us;
  Refresh();
  changed = true;
  return out;
}

int64_t MaskedRound::SitesNeeded() const {
  int64_t needed = 0;
  for (const Group& group : groups_) {
    if (group.failed()) continue;
    if (group.session.phase() == ServerPhase::kCollecting) return 0;
    const int64_t own =
        std::max<int64_t>(group.session.params().threshold, record_.min_cohort);
    if (groups_.size() == 1) return own;
    needed += own;
  }
  return groups_.size() == 1 ? needed : 0;  // a group may fail, and the round goes on
}

absl::Status MaskedRound::CheckDelivery(absl::string_view site) const {
  const Group* group = Find(site);
  if (group == nullptr || group->failed()) {
    return absl::FailedPreconditionError("the site is not part of the masked sum");
  }
  return group->session.CheckDelivery(site);
}

absl::StatusOr<std::vector<MaskedRound::LeftOut>> MaskedRound::FixSurvivors(
    const Sites& delivered, absl::Time unmask_by, size_t groups_min) {
  std::vector<Group> groups = groups_;
  std::vector<LeftOut> out;
  size_t alive = 0;
  for (size_t i = 0; i < groups.size(); ++i) {
    Group& group = groups[i];
    if (group.failed()) continue;
    Sites own;
    std::set_intersection(delivered.begin(), delivered.end(), record_.rosters[i].sites.begin(),
                          record_.rosters[i].sites.end(), std::back_inserter(own));
    if (group.session.phase() >= ServerPhase::kConsenting) {
      if (NamesOf(group.session.roster(), group.session.survivors()) != own) {
        return absl::FailedPreconditionError(
            "the updates that are there are not those whose sum the sites were asked to open");
      }
    } else if (const absl::Status fixed = group.session.FixSurvivors(own); !fixed.ok()) {
      if (groups.size() == 1) return fixed;
      FailGroup(group, std::string(fixed.message()), own, out);
      continue;
    }
    ++alive;
  }
  if (groups.size() > 1 && alive < groups_min) {
    return absl::FailedPreconditionError(
        absl::StrCat(alive, " groups of sites are left where the median needs ", groups_min));
  }
  if (alive == 0) return absl::FailedPreconditionError("no sites are left whose sum can be opened");
  groups_ = std::move(groups);
  record_.phase_ends_us = absl::ToUnixMicros(unmask_by);
  Refresh();
  return out;
}

bool MaskedRound::survivors_fixed() const {
  return std::any_of(groups_.begin(), groups_.end(), [](const Group& group) {
    return group.session.phase() >= ServerPhase::kConsenting;
  });
}

bool MaskedRound::IsLate(absl::Time now) const {
  return survivors_fixed() && absl::ToUnixMicros(now) > record_.phase_ends_us;
}

MaskedRound::Wanted MaskedRound::WantedOf(absl::string_view site) const {
  const Group* group = Find(site);
  if (group == nullptr || group->failed() || refused_.contains(site)) return Wanted::kNothing;
  const secagg::ServerSession& session = group->session;
  if (session.phase() < ServerPhase::kConsenting) return Wanted::kNothing;
  const absl::StatusOr<size_t> index = secagg::IndexOf(session.roster(), site);
  if (!index.ok() || !session.survivors().Has(*index)) return Wanted::kNothing;
  const secagg::ServerMember member = session.record().members[*index];
  if (session.HasConsents()) {
    return member.reveal == nullptr ? Wanted::kReveal : Wanted::kNothing;
  }
  return member.consent == nullptr ? Wanted::kConsent : Wanted::kNothing;
}

std::vector<secagg::Consent> MaskedRound::ConsentsFor(absl::string_view site) const {
  const Group* group = Find(site);
  return group == nullptr ? std::vector<secagg::Consent>() : group->session.Consents();
}

std::string MaskedRound::SurvivorsFor(absl::string_view site) const {
  const Group* group = Find(site);
  return group == nullptr ? "" : group->session.survivors().bytes();
}

MaskedRound::Agreement MaskedRound::AgreementFor(absl::string_view site) const {
  Agreement agreement;
  const Group* group = Find(site);
  if (group == nullptr || group->failed()) {
    agreement.stage = Stage::kOut;
    agreement.reason = group == nullptr ? "not part of the round" : group->why;
    return agreement;
  }
  const secagg::ServerSession& session = group->session;
  if (session.phase() == ServerPhase::kCollecting) return agreement;
  if (!secagg::IndexOf(session.roster(), site).ok()) {
    agreement.stage = Stage::kOut;
    agreement.reason = "sent no keys in time";
    return agreement;
  }
  agreement.threshold = session.params().threshold;
  if (session.phase() == ServerPhase::kSharing) {
    agreement.stage = Stage::kShares;
    for (secagg::KeyAnnouncement& keys : session.Announcements()) {
      std::string signature = HexDecode(key_signatures_.at(keys.site)).value_or("");
      agreement.roster.push_back({std::move(keys), std::move(signature)});
    }
    return agreement;
  }
  absl::StatusOr<std::vector<secagg::PeerShare>> shares = session.SharesFor(site);
  if (!shares.ok()) {
    agreement.stage = Stage::kOut;
    agreement.reason = "sent no key shares in time";
    return agreement;
  }
  agreement.stage = Stage::kReady;
  agreement.shares = *std::move(shares);
  return agreement;
}

bool MaskedRound::CanUnmask() const {
  bool any = false;
  for (const Group& group : groups_) {
    if (group.failed()) continue;
    if (!group.session.CanUnmask()) return false;
    any = true;
  }
  return any;
}

absl::StatusOr<std::vector<MaskedSum>> MaskedRound::Unmask(std::vector<std::string>* wrong) const {
  CSL_ASSIGN_OR_RETURN(const secagg::QuantiserSpec spec,
                       secagg::QuantiserSpec::Parse(record_.quantiser));
  std::set<std::string> culprits;
  std::vector<MaskedSum> sums;
  for (const Group& group : groups_) {
    if (group.failed()) continue;
    const secagg::ServerSession& session = group.session;
    std::vector<secagg::WrongShare> shares;
    absl::StatusOr<secagg::Unmasker> unmasker = session.Unmask(&shares);
    for (const secagg::WrongShare& share : shares) culprits.insert(share.holder);
    if (wrong != nullptr) wrong->assign(culprits.begin(), culprits.end());
    CSL_RETURN_IF_ERROR(unmasker.status());
    secagg::Quantiser::Options options;
    options.spec = spec;
    options.bits = static_cast<uint32_t>(record_.bits);
    options.sites = session.roster().size();
    options.parameters = static_cast<uint64_t>(record_.parameters);
    options.rotation_seed = secagg::RotationSeed(session.session_id());
    CSL_ASSIGN_OR_RETURN(secagg::Quantiser quantiser,
                         secagg::Quantiser::Create(std::move(options)));
    sums.push_back({NamesOf(session.roster(), session.survivors()),
                    std::string(session.session_id()), *std::move(unmasker), std::move(quantiser)});
  }
  return sums;
}

std::vector<std::string> MaskedRound::RosterOf(absl::string_view site) const {
  Sites names;
  if (const Group* group = Find(site)) {
    for (const secagg::Member& member : group->session.roster()) names.push_back(member.site);
  }
  return names;
}

std::string MaskedRound::SessionIdOf(absl::string_view site) const {
  const Group* group = Find(site);
  return group == nullptr ? "" : std::string(group->session.session_id());
}

}  // namespace consilium::coordinator
