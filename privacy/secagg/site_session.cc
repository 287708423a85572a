#include "privacy/secagg/site_session.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"

namespace consilium::secagg {
namespace {

constexpr absl::string_view kFormat = "consilium/secagg/site/1";

absl::Status WrongPhase(absl::string_view call) {
  return absl::FailedPreconditionError(absl::StrCat(call, " in this phase of the session"));
}

// The next state that a repeated message led to before, seen from its input.
bool LedHere(const SiteRound& round, const Params& params,
             absl::Span<const KeyAnnouncement> announcements) {
  if (!(params == round.params) || announcements.size() != round.roster.size()) return false;
  for (size_t i = 0; i < announcements.size(); ++i) {
    if (!(MemberOf(announcements[i]) == round.roster[i])) return false;
  }
  return true;
}

bool LedHere(const SiteMasking& state, absl::Span<const PeerShare> shares) {
  SiteSet sharing(state.round().roster.size());
  sharing.Add(state.round().self);
  for (const PeerShare& share : shares) {
    const absl::StatusOr<size_t> index = IndexOf(state.round().roster, share.site);
    if (!index.ok() || sharing.Has(*index)) return false;
    sharing.Add(*index);
  }
  return sharing == state.sharing();
}

template <typename State>
absl::Status ReadInto(
    Reader& reader,
    std::variant<SiteAnnounced, SiteSharing, SiteMasking, SiteConsenting, SiteRevealed>& out) {
  CSL_ASSIGN_OR_RETURN(State state, State::Read(reader));
  out.emplace<State>(std::move(state));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SiteSession> SiteSession::Start(Options options,
                                               const privacy::Ed25519Key& identity) {
  CSL_ASSIGN_OR_RETURN(SiteAnnounced state, SiteAnnounced::Create(std::move(options), identity));
  return SiteSession(std::move(state));
}

KeyAnnouncement SiteSession::announcement() const {
  const auto* const state = std::get_if<SiteAnnounced>(&state_);
  return state != nullptr ? state->announcement() : KeyAnnouncement();
}

absl::StatusOr<ShareMessage> SiteSession::OnRoster(const Params& params,
                                                   absl::Span<const KeyAnnouncement> announcements,
                                                   PeerVerifier verify) {
  if (const auto* const done = std::get_if<SiteSharing>(&state_)) {
    if (LedHere(done->round(), params, announcements)) return done->message();
  }
  const auto* const state = std::get_if<SiteAnnounced>(&state_);
  if (state == nullptr) return WrongPhase("a roster");
  CSL_ASSIGN_OR_RETURN(SiteSharing next, state->OnRoster(params, announcements, verify));
  ShareMessage message = next.message();
  state_ = std::move(next);
  return message;
}

absl::Status SiteSession::OnShares(absl::Span<const PeerShare> shares) {
  if (const auto* const done = std::get_if<SiteMasking>(&state_)) {
    if (LedHere(*done, shares)) return absl::OkStatus();
  }
  const auto* const state = std::get_if<SiteSharing>(&state_);
  if (state == nullptr) return WrongPhase("shares");
  CSL_ASSIGN_OR_RETURN(SiteMasking next, state->OnShares(shares));
  state_ = std::move(next);
  return absl::OkStatus();
}

absl::StatusOr<Masker> SiteSession::MaskerFor(absl::string_view payload_digest) {
  auto* const state = std::get_if<SiteMasking>(&state_);
  if (state == nullptr) return WrongPhase("a payload");
  return state->MaskerFor(payload_digest);
}

absl::StatusOr<Consent> SiteSession::OnSurvivors(absl::string_view survivors,
                                                 const privacy::Ed25519Key& identity,
                                                 ConsentLedger& ledger) {
  if (const auto* const done = std::get_if<SiteConsenting>(&state_)) {
    if (done->consent().survivors == survivors) return done->consent();
  }
  const auto* const state = std::get_if<SiteMasking>(&state_);
  if (state == nullptr) return WrongPhase("a survivor set");
  CSL_ASSIGN_OR_RETURN(SiteConsenting next, state->OnSurvivors(survivors, identity, ledger));
  Consent consent = next.consent();
  state_ = std::move(next);
  return consent;
}

absl::StatusOr<RevealMessage> SiteSession::OnConsents(absl::Span<const Consent> consents) {
  if (const auto* const done = std::get_if<SiteRevealed>(&state_)) return done->message();
  const auto* const state = std::get_if<SiteConsenting>(&state_);
  if (state == nullptr) return WrongPhase("consents");
  CSL_ASSIGN_OR_RETURN(SiteRevealed next, state->OnConsents(consents));
  RevealMessage message = next.message();
  state_ = std::move(next);
  return message;
}

const SiteRound* SiteSession::round() const {
  if (const auto* const state = std::get_if<SiteSharing>(&state_)) return &state->round();
  if (const auto* const state = std::get_if<SiteMasking>(&state_)) return &state->round();
  if (const auto* const state = std::get_if<SiteConsenting>(&state_)) return &state->round();
  return nullptr;
}

absl::string_view SiteSession::session_id() const {
  return round() != nullptr ? absl::string_view(round()->session_id) : absl::string_view();
}

size_t SiteSession::sites() const { return round() != nullptr ? round()->roster.size() : 0; }

absl::string_view SiteSession::rounding_seed() const {
  const SiteSecrets* secrets = nullptr;
  if (const auto* const state = std::get_if<SiteAnnounced>(&state_)) secrets = &state->secrets();
  if (const auto* const state = std::get_if<SiteSharing>(&state_)) secrets = &state->secrets();
  if (const auto* const state = std::get_if<SiteMasking>(&state_)) secrets = &state->secrets();
  return secrets != nullptr ? secrets->rounding_seed.view() : absl::string_view();
}

privacy::SecretBytes SiteSession::Serialize() const {
  SecretWriter writer;
  writer.Prefixed(kFormat);
  writer.U8(static_cast<uint8_t>(phase()));
  std::visit([&writer](const auto& state) { state.Write(writer); }, state_);
  return std::move(writer).Finish();
}

absl::StatusOr<SiteSession> SiteSession::Restore(absl::string_view serialized) {
  Reader reader(serialized);
  State state(SiteRevealed(RevealMessage{}));
  absl::Status status = absl::InvalidArgumentError("another format");
  if (reader.Prefixed(kFormat.size()) == kFormat) {
    switch (static_cast<Phase>(reader.U8())) {
      case Phase::kAnnounced:
        status = ReadInto<SiteAnnounced>(reader, state);
        break;
      case Phase::kSharing:
        status = ReadInto<SiteSharing>(reader, state);
        break;
      case Phase::kMasking:
        status = ReadInto<SiteMasking>(reader, state);
        break;
      case Phase::kConsenting:
        status = ReadInto<SiteConsenting>(reader, state);
        break;
      case Phase::kRevealed:
        status = ReadInto<SiteRevealed>(reader, state);
        break;
    }
  }
  status.Update(reader.Finish());
  if (!status.ok()) {
    return absl::DataLossError(absl::StrCat("a stored session: ", status.message()));
  }
  return SiteSession(std::move(state));
}

}  // namespace consilium::secagg
