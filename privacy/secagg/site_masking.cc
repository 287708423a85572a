#include "privacy/secagg/site_masking.h"

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"

namespace consilium::secagg {

absl::StatusOr<Masker> SiteMasking::MaskerFor(absl::string_view payload_digest) {
  if (payload_digest.size() != kDigestBytes) {
    return absl::InvalidArgumentError("a payload's digest: not 32 bytes");
  }
  if (!payload_digest_.empty() && payload_digest_ != payload_digest) {
    return absl::FailedPreconditionError("this session's masks are spent on another payload");
  }
  const SiteRound& round = *round_;
  MaskSum masks;
  masks.Add(SelfMaskKey(round.session_id, secrets_->self_seed.view(), round.site()),
            MaskSign::kAdd);
  for (const size_t i : sharing_.Indices()) {
    if (i == round.self) continue;
    const Member& peer = round.roster[i];
    CSL_ASSIGN_OR_RETURN(privacy::SecretBytes key,
                         PairMaskKey(round.session_id, secrets_->mask_key.view(), round.site(),
                                     peer.mask_key, peer.site));
    masks.Add(std::move(key), i > round.self ? MaskSign::kAdd : MaskSign::kSubtract);
  }
  payload_digest_ = std::string(payload_digest);
  return Masker(std::move(masks));
}

absl::StatusOr<SiteConsenting> SiteMasking::OnSurvivors(absl::string_view survivors,
                                                        const privacy::Ed25519Key& identity,
                                                        ConsentLedger& ledger) const {
  const SiteRound& round = *round_;
  CSL_ASSIGN_OR_RETURN(SiteSet set, SiteSet::FromBytes(survivors, round.roster.size()));
  if (!set.Has(round.self)) return absl::InvalidArgumentError("survivors without this site");
  CSL_RETURN_IF_ERROR(CheckSurvivors(round.params, sharing_, set, round.cohort_floor));
  if (payload_digest_.empty()) {
    return absl::FailedPreconditionError("this site is said to have delivered, and masked nothing");
  }
  if (identity.public_key() != round.roster[round.self].identity_key) {
    return absl::InvalidArgumentError("not the identity that announced this session's keys");
  }
  CSL_RETURN_IF_ERROR(ledger.Record(round.params.job, round.session_id, survivors));
  Consent consent{.site = round.site(),
                  .survivors = std::string(survivors),
                  .signature = identity.Sign(ConsentBytes(round.session_id, survivors))};
  return SiteConsenting(round_, sharing_, std::move(set), shares_, std::move(consent));
}

void SiteMasking::Write(SecretWriter& writer) const {
  round_->Write(writer);
  secrets_->Write(writer);
  writer.Fixed(sharing_.bytes());
  for (const size_t i : sharing_.Indices()) WriteShares(writer, (*shares_)[i]);
  writer.Prefixed(payload_digest_);
}

absl::StatusOr<SiteMasking> SiteMasking::Read(Reader& reader) {
  CSL_ASSIGN_OR_RETURN(SiteRound round, SiteRound::Read(reader));
  CSL_ASSIGN_OR_RETURN(SiteSecrets secrets, SiteSecrets::Read(reader));
  SiteSet sharing = ReadSiteSet(reader, round.roster.size());
  HeldShares held(round.roster.size());
  for (const size_t i : sharing.Indices()) held[i] = ReadShares(reader);
  const std::string payload_digest(reader.Prefixed(kDigestBytes));
  if (!sharing.Has(round.self) ||
      (!payload_digest.empty() && payload_digest.size() != kDigestBytes)) {
    reader.Fail();
  }
  CSL_RETURN_IF_ERROR(reader.status());
  CSL_RETURN_IF_ERROR(CheckSurvivors(round.params, sharing, sharing, round.cohort_floor));
  SiteMasking state(std::make_shared<const SiteRound>(std::move(round)),
                    std::make_shared<const SiteSecrets>(std::move(secrets)), std::move(sharing),
                    std::make_shared<const HeldShares>(std::move(held)));
  state.payload_digest_ = payload_digest;
  return state;
}

}  // namespace consilium::secagg
