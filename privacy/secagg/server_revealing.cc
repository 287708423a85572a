#include "privacy/secagg/server_revealing.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/x25519.h"
#include "privacy/secagg/key_schedule.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::secagg {

ServerRevealing::ServerRevealing(std::shared_ptr<const ServerRoster> roster, SharesBySite shares,
                                 SiteSet sharing, SiteSet survivors, ConsentBook consents)
    : roster_(std::move(roster)),
      shares_(std::move(shares)),
      sharing_(std::move(sharing)),
      survivors_(std::move(survivors)),
      consents_(std::move(consents)),
      reveals_(roster_->members.size()) {}

absl::Status ServerRevealing::OnConsent(const Consent& consent) {
  return consents_.Add(*roster_, survivors_, consent);
}

absl::Status ServerRevealing::OnReveal(absl::string_view site, const RevealMessage& message) {
  CSL_ASSIGN_OR_RETURN(const size_t index, IndexOf(roster_->members, site));
  if (!survivors_.Has(index)) return absl::NotFoundError(absl::StrCat(site, " is no survivor"));
  if (reveals_[index] != nullptr) {
    if (*reveals_[index] == message) return absl::OkStatus();
    return absl::AlreadyExistsError(absl::StrCat(site, " revealed other shares before"));
  }
  CSL_RETURN_IF_ERROR(Annotate(CheckReveal(message, sharing_), absl::StrCat("shares from ", site)));
  reveals_[index] = std::make_shared<const RevealMessage>(message);
  return absl::OkStatus();
}

bool ServerRevealing::CanUnmask() const {
  const size_t missing = std::count(reveals_.begin(), reveals_.end(), nullptr);
  return reveals_.size() - missing >= roster_->params.threshold;
}

absl::StatusOr<privacy::SecretBytes> ServerRevealing::Rebuild(
    size_t owner, absl::FunctionRef<bool(absl::string_view)> fits, Recovery& recovery) const {
  std::vector<ShamirShare> shares;
  for (size_t holder = 0; holder < reveals_.size(); ++holder) {
    if (reveals_[holder] == nullptr) continue;
    shares.push_back({.holder = holder, .bytes = reveals_[holder]->shares[owner]});
  }
  const std::string& name = roster_->members[owner].site;
  auto recovered = recovery.shares.Recover(shares, fits);
  if (!recovered.ok()) return Annotate(recovered.status(), absl::StrCat("secret of ", name));
  for (const size_t holder : recovered->wrong) {
    recovery.wrong.push_back({.holder = roster_->members[holder].site, .owner = name});
  }
  return std::move(recovered->secret);
}

absl::Status ServerRevealing::AddSelfMask(size_t site, Recovery& recovery, MaskSum& masks) const {
  const std::string& name = roster_->members[site].site;
  const auto fits = [&](absl::string_view seed) {
    return Commitment(roster_->session_id, name, seed) == shares_[site]->commitment;
  };
  CSL_ASSIGN_OR_RETURN(const privacy::SecretBytes seed, Rebuild(site, fits, recovery));
  masks.Add(SelfMaskKey(roster_->session_id, seed.view(), name), MaskSign::kSubtract);
  return absl::OkStatus();
}

absl::Status ServerRevealing::AddPairMasks(size_t dropped, Recovery& recovery,
                                           MaskSum& masks) const {
  const Member& gone = roster_->members[dropped];
  const auto fits = [&](absl::string_view key) {
    const absl::StatusOr<std::string> public_key = privacy::X25519PublicKey(key);
    return public_key.ok() && *public_key == gone.mask_key;
  };
  CSL_ASSIGN_OR_RETURN(const privacy::SecretBytes key, Rebuild(dropped, fits, recovery));
  for (const size_t i : survivors_.Indices()) {
    const Member& survivor = roster_->members[i];
    CSL_ASSIGN_OR_RETURN(
        privacy::SecretBytes mask,
        PairMaskKey(roster_->session_id, key.view(), gone.site, survivor.mask_key, survivor.site));
    // The survivor added it where the other's index is the higher.
    masks.Add(std::move(mask), dropped > i ? MaskSign::kSubtract : MaskSign::kAdd);
  }
  return absl::OkStatus();
}

absl::StatusOr<Unmasker> ServerRevealing::Unmask(std::vector<WrongShare>* wrong) const {
  if (!CanUnmask()) return absl::FailedPreconditionError("too few sites have revealed shares");
  Recovery recovery{.shares = ShareRecovery(roster_->params.threshold, roster_->members.size()),
                    .wrong = {}};
  MaskSum masks;
  absl::Status status;
  // Goes on after a secret that is lost, so that all who sent wrong shares are named.
  for (const size_t i : sharing_.Indices()) {
    status.Update(survivors_.Has(i) ? AddSelfMask(i, recovery, masks)
                                    : AddPairMasks(i, recovery, masks));
  }
  if (wrong != nullptr) *wrong = std::move(recovery.wrong);
  if (!status.ok()) return status;
  return Unmasker(std::move(masks));
}

void ServerRevealing::Fill(ServerRecord& record) const {
  record.phase = ServerPhase::kRevealing;
  FillRoster(*roster_, shares_, record);
  record.sharing = sharing_.bytes();
  record.survivors = survivors_.bytes();
  for (size_t i = 0; i < record.members.size(); ++i) {
    record.members[i].consent = consents_.by_site[i];
    record.members[i].reveal = reveals_[i];
  }
}

}  // namespace consilium::secagg
