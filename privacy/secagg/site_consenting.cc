#include "privacy/secagg/site_consenting.h"

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"

namespace consilium::secagg {

absl::StatusOr<SiteRevealed> SiteConsenting::OnConsents(absl::Span<const Consent> consents) const {
  const SiteRound& round = *round_;
  SiteSet consenting(round.roster.size());
  for (const Consent& consent : consents) {
    CSL_RETURN_IF_ERROR(CheckConsent(round.session_id, round.roster, survivors_, consent));
    CSL_ASSIGN_OR_RETURN(const size_t index, IndexOf(round.roster, consent.site));
    if (consenting.Has(index)) {
      return absl::InvalidArgumentError(absl::StrCat(consent.site, " consents twice"));
    }
    consenting.Add(index);
  }
  if (consenting.Count() < round.params.threshold) {
    return absl::InvalidArgumentError(
        absl::StrCat(consenting.Count(), " consents, and ", round.params.threshold, " are needed"));
  }
  // Never both shares of one site: either opens a mask, together they would open its update.
  RevealMessage message;
  message.shares.resize(round.roster.size());
  for (const size_t i : sharing_.Indices()) {
    const SharePair& held = (*shares_)[i];
    message.shares[i] =
        std::string(survivors_.Has(i) ? held.self_seed.view() : held.mask_key.view());
  }
  return SiteRevealed(std::move(message));
}

void SiteConsenting::Write(SecretWriter& writer) const {
  round_->Write(writer);
  writer.Fixed(sharing_.bytes());
  for (const size_t i : sharing_.Indices()) WriteShares(writer, (*shares_)[i]);
  writer.Fixed(consent_.survivors);
  writer.Fixed(consent_.signature);
}

absl::StatusOr<SiteConsenting> SiteConsenting::Read(Reader& reader) {
  CSL_ASSIGN_OR_RETURN(SiteRound round, SiteRound::Read(reader));
  const size_t sites = round.roster.size();
  SiteSet sharing = ReadSiteSet(reader, sites);
  std::vector<SharePair> held(sites);
  for (const size_t i : sharing.Indices()) held[i] = ReadShares(reader);
  SiteSet survivors = ReadSiteSet(reader, sites);
  Consent consent{.site = round.site(),
                  .survivors = survivors.bytes(),
                  .signature = std::string(reader.Fixed(kSignatureBytes))};
  CSL_RETURN_IF_ERROR(reader.status());
  CSL_RETURN_IF_ERROR(CheckSurvivors(round.params, sharing, survivors, round.cohort_floor));
  CSL_RETURN_IF_ERROR(CheckConsent(round.session_id, round.roster, survivors, consent));
  return SiteConsenting(
      std::make_shared<const SiteRound>(std::move(round)), std::move(sharing), std::move(survivors),
      std::make_shared<const std::vector<SharePair>>(std::move(held)), std::move(consent));
}

void SiteRevealed::Write(SecretWriter& writer) const {
  writer.U32(static_cast<uint32_t>(message_.shares.size()));
  for (const std::string& share : message_.shares) writer.Prefixed(share);
}

absl::StatusOr<SiteRevealed> SiteRevealed::Read(Reader& reader) {
  RevealMessage message;
  message.shares.resize(reader.Count(kSitesMax));
  for (std::string& share : message.shares) {
    share = std::string(reader.Prefixed(kKeyBytes));
    if (!share.empty() && share.size() != kKeyBytes) reader.Fail();
  }
  CSL_RETURN_IF_ERROR(reader.status());
  return SiteRevealed(std::move(message));
}

}  // namespace consilium::secagg
