#include "privacy/secagg/server_session.h"

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"

namespace consilium::secagg {
namespace {

absl::Status WrongPhase(absl::string_view call) {
  return absl::FailedPreconditionError(absl::StrCat(call, " in this phase of the session"));
}

// Whether a message was taken in a phase that is over: then it may come again.
template <typename Message>
absl::Status Repeated(const std::shared_ptr<const Message>& before, const Message& message,
                      absl::string_view what) {
  if (before == nullptr) return WrongPhase(what);
  if (*before == message) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrCat("other ", what, " came from this site before"));
}

absl::StatusOr<std::vector<PeerShare>> SharesOf(const ServerRoster& roster,
                                                const SharesBySite& shares, const SiteSet& sharing,
                                                absl::string_view site) {
  CSL_ASSIGN_OR_RETURN(const size_t to, IndexOf(roster.members, site));
  if (!sharing.Has(to)) return absl::NotFoundError(absl::StrCat(site, " did not share"));
  std::vector<PeerShare> result;
  for (const size_t from : sharing.Indices()) {
    if (from == to) continue;
    result.push_back({.site = roster.members[from].site, .box = shares[from]->boxes[to]});
  }
  return result;
}

}  // namespace

absl::StatusOr<ServerSession> ServerSession::Start(Job job, std::vector<std::string> invited) {
  CSL_ASSIGN_OR_RETURN(ServerCollecting state,
                       ServerCollecting::Create(std::move(job), std::move(invited)));
  return ServerSession(std::move(state));
}

const ServerRoster* ServerSession::Roster() const {
  if (const auto* const state = std::get_if<ServerSharing>(&state_)) return &state->roster();
  if (const auto* const state = std::get_if<ServerDelivering>(&state_)) return &state->roster();
  if (const auto* const state = std::get_if<ServerConsenting>(&state_)) return &state->roster();
  if (const auto* const state = std::get_if<ServerRevealing>(&state_)) return &state->roster();
  return nullptr;
}

const SharesBySite* ServerSession::ClosedShares() const {
  if (const auto* const state = std::get_if<ServerDelivering>(&state_)) return &state->shares();
  if (const auto* const state = std::get_if<ServerConsenting>(&state_)) return &state->shares();
  if (const auto* const state = std::get_if<ServerRevealing>(&state_)) return &state->shares();
  return nullptr;
}

absl::Status ServerSession::OnKeys(const KeyAnnouncement& announcement, PeerVerifier verify) {
  if (auto* const state = std::get_if<ServerCollecting>(&state_)) {
    return state->OnKeys(announcement, verify);
  }
  const absl::StatusOr<size_t> index = IndexOf(Roster()->members, announcement.site);
  if (!index.ok()) return WrongPhase("keys");
  return Repeated(Roster()->announcements[*index], announcement, "keys");
}

absl::Status ServerSession::CloseKeys() {
  const auto* const state = std::get_if<ServerCollecting>(&state_);
  if (state == nullptr) return WrongPhase("the end of the keys");
  CSL_ASSIGN_OR_RETURN(ServerSharing next, state->Close());
  state_ = std::move(next);
  return absl::OkStatus();
}

absl::Status ServerSession::OnShares(absl::string_view site, const ShareMessage& message) {
  if (auto* const state = std::get_if<ServerSharing>(&state_)) {
    return state->OnShares(site, message);
  }
  const SharesBySite* const shares = ClosedShares();
  if (shares == nullptr) return WrongPhase("shares");
  CSL_ASSIGN_OR_RETURN(const size_t index, IndexOf(Roster()->members, site));
  return Repeated((*shares)[index], message, "shares");
}

absl::Status ServerSession::CloseSharing() {
  const auto* const state = std::get_if<ServerSharing>(&state_);
  if (state == nullptr) return WrongPhase("the end of the shares");
  CSL_ASSIGN_OR_RETURN(ServerDelivering next, state->Close());
  state_ = std::move(next);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<PeerShare>> ServerSession::SharesFor(absl::string_view site) const {
  const SharesBySite* const shares = ClosedShares();
  if (shares == nullptr) return WrongPhase("asking for shares");
  return SharesOf(*Roster(), *shares, sharing(), site);
}

absl::Status ServerSession::CheckDelivery(absl::string_view site) const {
  const auto* const state = std::get_if<ServerDelivering>(&state_);
  if (state == nullptr) return WrongPhase("a masked update");
  return state->CheckDelivery(site);
}

absl::Status ServerSession::FixSurvivors(absl::Span<const std::string> delivered) {
  const auto* const state = std::get_if<ServerDelivering>(&state_);
  if (state == nullptr) return WrongPhase("survivors");
  CSL_ASSIGN_OR_RETURN(ServerConsenting next, state->FixSurvivors(delivered));
  state_ = std::move(next);
  return absl::OkStatus();
}

absl::Status ServerSession::OnConsent(const Consent& consent) {
  if (auto* const state = std::get_if<ServerRevealing>(&state_)) return state->OnConsent(consent);
  auto* const state = std::get_if<ServerConsenting>(&state_);
  if (state == nullptr) return WrongPhase("a consent");
  CSL_RETURN_IF_ERROR(state->OnConsent(consent));
  if (state->HasConsents()) {
    CSL_ASSIGN_OR_RETURN(ServerRevealing next, state->Close());
    state_ = std::move(next);
  }
  return absl::OkStatus();
}

bool ServerSession::HasConsents() const { return std::holds_alternative<ServerRevealing>(state_); }

std::vector<Consent> ServerSession::Consents() const {
  if (const auto* const state = std::get_if<ServerConsenting>(&state_)) return state->Consents();
  if (const auto* const state = std::get_if<ServerRevealing>(&state_)) return state->Consents();
  return {};
}

absl::Status ServerSession::OnReveal(absl::string_view site, const RevealMessage& message) {
  auto* const state = std::get_if<ServerRevealing>(&state_);
  if (state == nullptr) return WrongPhase("revealed shares");
  return state->OnReveal(site, message);
}

bool ServerSession::CanUnmask() const {
  const auto* const state = std::get_if<ServerRevealing>(&state_);
  return state != nullptr && state->CanUnmask();
}

absl::StatusOr<Unmasker> ServerSession::Unmask(std::vector<WrongShare>* wrong) const {
  const auto* const state = std::get_if<ServerRevealing>(&state_);
  if (state == nullptr) return WrongPhase("unmasking");
  return state->Unmask(wrong);
}

absl::Span<const Member> ServerSession::roster() const {
  if (Roster() == nullptr) return {};
  return Roster()->members;
}

std::vector<KeyAnnouncement> ServerSession::Announcements() const {
  std::vector<KeyAnnouncement> announcements;
  if (Roster() == nullptr) return announcements;
  for (const auto& keys : Roster()->announcements) announcements.push_back(*keys);
  return announcements;
}

Params ServerSession::params() const {
  if (const auto* const state = std::get_if<ServerCollecting>(&state_)) {
    return {.job = state->job(), .threshold = 0};
  }
  return Roster()->params;
}

absl::string_view ServerSession::session_id() const {
  return Roster() != nullptr ? absl::string_view(Roster()->session_id) : absl::string_view();
}

SiteSet ServerSession::sharing() const {
  if (const auto* const state = std::get_if<ServerDelivering>(&state_)) return state->sharing();
  if (const auto* const state = std::get_if<ServerConsenting>(&state_)) return state->sharing();
  if (const auto* const state = std::get_if<ServerRevealing>(&state_)) return state->sharing();
  return {};
}

SiteSet ServerSession::survivors() const {
  if (const auto* const state = std::get_if<ServerConsenting>(&state_)) return state->survivors();
  if (const auto* const state = std::get_if<ServerRevealing>(&state_)) return state->survivors();
  return {};
}

ServerRecord ServerSession::record() const {
  ServerRecord record;
  std::visit([&record](const auto& state) { state.Fill(record); }, state_);
  return record;
}

}  // namespace consilium::secagg
