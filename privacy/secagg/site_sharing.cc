#include "privacy/secagg/site_sharing.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "privacy/secagg/shamir.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::secagg {
namespace {

using privacy::SecretBytes;

std::vector<SecretBytes> Split(const SecretBytes& secret, const SiteRound& round,
                               const RandomSource& random) {
  const size_t threshold = round.params.threshold;
  const SecretBytes coefficients = random((threshold - 1) * kKeyBytes);
  return ShamirSplit(secret.view(), coefficients.view(), threshold, round.roster.size());
}

}  // namespace

absl::StatusOr<SiteSharing> SiteSharing::Create(SiteRound round,
                                                std::shared_ptr<const SiteSecrets> secrets,
                                                const RandomSource& random) {
  std::vector<SecretBytes> of_seed = Split(secrets->self_seed, round, random);
  std::vector<SecretBytes> of_key = Split(secrets->mask_key, round, random);
  SiteSharing state;
  state.message_.commitment = Commitment(round.session_id, round.site(), secrets->self_seed.view());
  state.message_.boxes.resize(round.roster.size());
  for (size_t i = 0; i < round.roster.size(); ++i) {
    SharePair shares{.self_seed = std::move(of_seed[i]), .mask_key = std::move(of_key[i])};
    if (i == round.self) {
      state.own_ = std::make_shared<const SharePair>(std::move(shares));
      continue;
    }
    const Member& peer = round.roster[i];
    const BoxRoute route{
        .session_id = round.session_id, .from = round.site(), .to = peer.site, .to_index = i};
    absl::StatusOr<std::string> box =
        SealShares(route, secrets->box_key.view(), peer.box_key, shares);
    // A mask key of low order would show only when the update waits to be masked.
    absl::Status usable = PairMaskKey(round.session_id, secrets->mask_key.view(), round.site(),
                                      peer.mask_key, peer.site)
                              .status();
    usable.Update(box.status());
    CSL_RETURN_IF_ERROR(Annotate(usable, absl::StrCat("keys of ", peer.site)));
    state.message_.boxes[i] = *std::move(box);
  }
  state.round_ = std::make_shared<const SiteRound>(std::move(round));
  state.secrets_ = std::move(secrets);
  return state;
}

absl::StatusOr<SiteMasking> SiteSharing::OnShares(absl::Span<const PeerShare> shares) const {
  const SiteRound& round = *round_;
  SiteSet sharing(round.roster.size());
  sharing.Add(round.self);
  HeldShares held(round.roster.size());
  held[round.self] = {.self_seed = own_->self_seed.Clone(), .mask_key = own_->mask_key.Clone()};
  for (const PeerShare& share : shares) {
    const absl::StatusOr<size_t> from = IndexOf(round.roster, share.site);
    if (!from.ok() || sharing.Has(*from)) {
      return absl::InvalidArgumentError("shares of a site that is not of the roster, or is twice");
    }
    const Member& peer = round.roster[*from];
    const BoxRoute route{.session_id = round.session_id,
                         .from = peer.site,
                         .to = round.site(),
                         .to_index = round.self};
    absl::StatusOr<SharePair> opened =
        OpenShares(route, secrets_->box_key.view(), peer.box_key, share.box);
    if (!opened.ok()) return Annotate(opened.status(), absl::StrCat("shares of ", peer.site));
    held[*from] = *std::move(opened);
    sharing.Add(*from);
  }
  // All who share could still survive, so they must be enough.
  CSL_RETURN_IF_ERROR(CheckSurvivors(round.params, sharing, sharing, round.cohort_floor));
  return SiteMasking(round_, secrets_, std::move(sharing),
                     std::make_shared<const HeldShares>(std::move(held)));
}

void SiteSharing::Write(SecretWriter& writer) const {
  round_->Write(writer);
  secrets_->Write(writer);
  WriteShares(writer, *own_);
  writer.Fixed(message_.commitment);
  for (const std::string& box : message_.boxes) writer.Fixed(box);
}

absl::StatusOr<SiteSharing> SiteSharing::Read(Reader& reader) {
  SiteSharing state;
  CSL_ASSIGN_OR_RETURN(SiteRound round, SiteRound::Read(reader));
  CSL_ASSIGN_OR_RETURN(SiteSecrets secrets, SiteSecrets::Read(reader));
  state.own_ = std::make_shared<const SharePair>(ReadShares(reader));
  state.message_.commitment = std::string(reader.Fixed(kDigestBytes));
  state.message_.boxes.resize(round.roster.size());
  for (size_t i = 0; i < round.roster.size(); ++i) {
    if (i != round.self) state.message_.boxes[i] = std::string(reader.Fixed(kBoxBytes));
  }
  CSL_RETURN_IF_ERROR(reader.status());
  state.round_ = std::make_shared<const SiteRound>(std::move(round));
  state.secrets_ = std::make_shared<const SiteSecrets>(std::move(secrets));
  return state;
}

}  // namespace consilium::secagg
