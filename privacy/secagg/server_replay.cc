// ServerSession::FromRecord: a stored session is believed only as far as its messages hold.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "privacy/secagg/server_session.h"
#include "proto/base/status.h"

namespace consilium::secagg {
namespace {

absl::Status TrustStored(const KeyAnnouncement&) { return absl::OkStatus(); }

// Sends the record's messages to a new session, as far as its phase had come.
absl::StatusOr<ServerSession> Replay(const ServerRecord& record) {
  CSL_ASSIGN_OR_RETURN(ServerSession session, ServerSession::Start(record.job, record.invited));
  for (const ServerMember& member : record.members) {
    if (member.keys == nullptr) return absl::InvalidArgumentError("a member without keys");
    CSL_RETURN_IF_ERROR(session.OnKeys(*member.keys, TrustStored));
  }
  if (record.phase == ServerPhase::kCollecting) return session;
  CSL_RETURN_IF_ERROR(session.CloseKeys());
  for (const ServerMember& member : record.members) {
    if (member.shares == nullptr) continue;
    CSL_RETURN_IF_ERROR(session.OnShares(member.keys->site, *member.shares));
  }
  if (record.phase == ServerPhase::kSharing) return session;
  CSL_RETURN_IF_ERROR(session.CloseSharing());
  if (record.phase == ServerPhase::kDelivering) return session;
  CSL_ASSIGN_OR_RETURN(const SiteSet survivors,
                       SiteSet::FromBytes(record.survivors, session.roster().size()));
  std::vector<std::string> delivered;
  for (const size_t i : survivors.Indices()) delivered.push_back(session.roster()[i].site);
  CSL_RETURN_IF_ERROR(session.FixSurvivors(delivered));
  for (const ServerMember& member : record.members) {
    if (member.consent == nullptr) continue;
    if (member.consent->site != member.keys->site) {
      return absl::InvalidArgumentError("a consent with another site's keys");
    }
    CSL_RETURN_IF_ERROR(session.OnConsent(*member.consent));
  }
  for (const ServerMember& member : record.members) {
    if (member.reveal == nullptr) continue;
    CSL_RETURN_IF_ERROR(session.OnReveal(member.keys->site, *member.reveal));
  }
  return session;
}

// What no replay has made from the record must not have been in it.
bool SameRecord(const ServerRecord& a, const ServerRecord& b) {
  if (a.phase != b.phase || a.threshold != b.threshold || a.sharing != b.sharing ||
      a.survivors != b.survivors || a.members.size() != b.members.size()) {
    return false;
  }
  for (size_t i = 0; i < a.members.size(); ++i) {
    const ServerMember& x = a.members[i];
    const ServerMember& y = b.members[i];
    if (x.keys->site != y.keys->site || (x.shares == nullptr) != (y.shares == nullptr) ||
        (x.consent == nullptr) != (y.consent == nullptr) ||
        (x.reveal == nullptr) != (y.reveal == nullptr)) {
      return false;
    }
  }
  return true;
}

}  // namespace

absl::StatusOr<ServerSession> ServerSession::FromRecord(const ServerRecord& record) {
  absl::StatusOr<ServerSession> session = Replay(record);
  if (!session.ok()) {
    return absl::DataLossError(absl::StrCat("a stored session: ", session.status().message()));
  }
  if (!SameRecord(record, session->record())) {
    return absl::DataLossError("a stored session that is not of one phase");
  }
  return session;
}

}  // namespace consilium::secagg
