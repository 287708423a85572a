#include "tests/sim/sim_masking.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secagg/key_schedule.h"
#include "privacy/secagg/quantise.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"

namespace consilium::sim {

using coordinator::MaskedRound;
using coordinator::SiteTask;

absl::Status SimLedger::Record(const secagg::Job& job, absl::string_view session_id,
                               absl::string_view survivors) {
  const std::string key =
      absl::StrCat(job.job, "\n", job.round, "\n", HexEncode(job.model_digest));
  const std::string consent = absl::StrCat(HexEncode(session_id), "\n", HexEncode(survivors));
  const auto [it, added] = consents_.emplace(key, consent);
  return added || it->second == consent
             ? absl::OkStatus()
             : absl::FailedPreconditionError("consented to other survivors before");
}

SimMasking::SimMasking(std::string site, Leaks& leaks)
    : site_(std::move(site)), leaks_(leaks), key_(privacy::Ed25519Key::Generate()) {}

absl::StatusOr<secagg::SiteSession> SimMasking::Restore(const std::string& task_id) const {
  const auto it = sessions_.find(task_id);
  if (it == sessions_.end()) return absl::FailedPreconditionError("the session is gone");
  return secagg::SiteSession::Restore(it->second.session);
}

absl::StatusOr<coordinator::StudyRun::AgreeKeys> SimMasking::Say(const SiteTask& task) {
  if (!sessions_.contains(task.task_id)) {
    const coordinator::MaskingRecord& terms = task.masking->masking;
    secagg::SiteSession::Options options;
    options.site = site_;
    options.certificate_pem = "certificate";
    options.certificate_fingerprint = privacy::Sha256(site_);
    options.job.job = terms.job;
    options.job.round = static_cast<uint64_t>(task.round);
    CSL_ASSIGN_OR_RETURN(options.job.model_digest, HexDecode(task.model_sha256));
    options.job.bits = static_cast<uint32_t>(terms.bits);
    options.job.words = static_cast<uint64_t>(terms.words);
    options.job.min_cohort = static_cast<uint32_t>(terms.min_cohort);
    options.job.quantiser = terms.quantiser;
    options.loaded_model_digest = options.job.model_digest;
    CSL_ASSIGN_OR_RETURN(const secagg::SiteSession session,
                         secagg::SiteSession::Start(std::move(options), key_));
    sessions_[task.task_id] = {std::string(session.Serialize().view()), session.announcement(),
                               std::nullopt, {}, ""};
  }
  const Stored& stored = sessions_.at(task.task_id);
  return coordinator::StudyRun::AgreeKeys{{stored.announcement, "signature"}, stored.shares};
}

absl::StatusOr<bool> SimMasking::Hear(const SiteTask& task,
                                      const MaskedRound::Agreement& agreement) {
  Stored& stored = sessions_.at(task.task_id);
  CSL_ASSIGN_OR_RETURN(secagg::SiteSession session, Restore(task.task_id));
  switch (agreement.stage) {
    case MaskedRound::Stage::kKeys:
      return false;
    case MaskedRound::Stage::kOut:
      return absl::FailedPreconditionError(agreement.reason);
    case MaskedRound::Stage::kShares: {
      if (stored.shares) return false;
      const coordinator::MaskingRecord& terms = task.masking->masking;
      secagg::Params params;
      params.job.job = terms.job;
      params.job.round = static_cast<uint64_t>(task.round);
      CSL_ASSIGN_OR_RETURN(params.job.model_digest, HexDecode(task.model_sha256));
      params.job.bits = static_cast<uint32_t>(terms.bits);
      params.job.words = static_cast<uint64_t>(terms.words);
      params.job.min_cohort = static_cast<uint32_t>(terms.min_cohort);
      params.job.quantiser = terms.quantiser;
      params.threshold = agreement.threshold;
      std::vector<secagg::KeyAnnouncement> roster;
      stored.roster.clear();
      for (const coordinator::SiteKeys& keys : agreement.roster) {
        roster.push_back(keys.announcement);
        stored.roster.push_back(keys.announcement.site);
      }
      CSL_ASSIGN_OR_RETURN(secagg::ShareMessage shares,
                           session.OnRoster(params, roster, [](const secagg::KeyAnnouncement&) {
                             return absl::OkStatus();
                           }));
      stored.session = std::string(session.Serialize().view());
      stored.shares = std::move(shares);
      return false;
    }
    case MaskedRound::Stage::kReady: {
      secagg::SiteSet sharing(stored.roster.size());
      for (size_t i = 0; i < stored.roster.size(); ++i) {
        const bool other = std::any_of(
            agreement.shares.begin(), agreement.shares.end(),
            [&](const secagg::PeerShare& share) { return share.site == stored.roster[i]; });
        if (other || stored.roster[i] == site_) sharing.Add(i);
      }
      CSL_RETURN_IF_ERROR(session.OnShares(agreement.shares));
      stored.session = std::string(session.Serialize().view());
      stored.sharing = sharing.bytes();
      return true;
    }
  }
  return false;
}

absl::StatusOr<Words> SimMasking::Mask(const SiteTask& task, const std::vector<float>& values) {
  CSL_ASSIGN_OR_RETURN(secagg::SiteSession session, Restore(task.task_id));
  const coordinator::MaskingRecord& terms = task.masking->masking;
  secagg::Quantiser::Options options;
  CSL_ASSIGN_OR_RETURN(options.spec, secagg::QuantiserSpec::Parse(terms.quantiser));
  options.bits = static_cast<uint32_t>(terms.bits);
  options.sites = session.sites();
  options.parameters = values.size();
  options.rotation_seed = secagg::RotationSeed(session.session_id());
  CSL_ASSIGN_OR_RETURN(const secagg::Quantiser quantiser,
                       secagg::Quantiser::Create(std::move(options)));
  Words words(quantiser.words());
  uint64_t saturated = 0;
  const auto weight = static_cast<uint32_t>(task.masking->weight_max);
  CSL_RETURN_IF_ERROR(quantiser.Encode({weight, session.rounding_seed()}, 0, values, {},
                                       absl::MakeSpan(words).first(quantiser.padded_parameters()),
                                       saturated));
  const std::vector<double> metrics(quantiser.spec().metrics.size(), 1.0);
  CSL_RETURN_IF_ERROR(
      quantiser.EncodeLanes(weight, metrics,
                            absl::MakeSpan(words).subspan(quantiser.padded_parameters())));
  const std::string digest = privacy::Sha256(
      absl::string_view(reinterpret_cast<const char*>(words.data()), words.size() * 4));
  // The planted fault tells the session that it is the same payload as before.
  const absl::StatusOr<secagg::Masker> masker =
      session.MaskerFor(masks_twice_ ? privacy::Sha256(site_) : digest);
  CSL_RETURN_IF_ERROR(masker.status());
  const std::string session_id(session.session_id());
  masker->Apply(0, absl::MakeSpan(words));
  sessions_.at(task.task_id).session = std::string(session.Serialize().view());
  const auto [it, added] = leaks_.payloads.emplace(std::make_pair(session_id, site_), words);
  if (!added && it->second != words) leaks_.violation = absl::StrCat(site_, " used its masks twice");
  return words;
}

absl::StatusOr<secagg::Consent> SimMasking::Consent(const SiteTask& task) {
  const std::string& train = task.unmasking->train_task_id;
  CSL_ASSIGN_OR_RETURN(secagg::SiteSession session, Restore(train));
  CSL_ASSIGN_OR_RETURN(secagg::Consent consent,
                       session.OnSurvivors(task.unmasking->survivors, key_, ledger_));
  sessions_.at(train).session = std::string(session.Serialize().view());
  return consent;
}

absl::StatusOr<secagg::RevealMessage> SimMasking::Reveal(const SiteTask& task) {
  const std::string& train = task.unmasking->train_task_id;
  CSL_RETURN_IF_ERROR(Consent(task).status());
  CSL_ASSIGN_OR_RETURN(secagg::SiteSession session, Restore(train));
  Stored& stored = sessions_.at(train);
  const std::string session_id(session.session_id());
  CSL_ASSIGN_OR_RETURN(secagg::RevealMessage reveal,
                       session.OnConsents(task.unmasking->consents));
  stored.session = std::string(session.Serialize().view());
  CSL_ASSIGN_OR_RETURN(
      const secagg::SiteSet survivors,
      secagg::SiteSet::FromBytes(task.unmasking->survivors, stored.roster.size()));
  for (size_t i = 0; i < stored.roster.size(); ++i) {
    if (reveal.shares[i].empty()) continue;
    std::set<bool>& kinds = leaks_.revealed[{session_id, stored.roster[i]}];
    kinds.insert(!survivors.Has(i));
    if (kinds.size() > 1) {
      leaks_.violation = absl::StrCat("both secrets of ", stored.roster[i], " were given away");
    }
  }
  return reveal;
}

}  // namespace consilium::sim
