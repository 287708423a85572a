// The file with which a site is asked to join: admin.proto's InviteSiteReply as JSON.
#ifndef CONSILIUM_SITE_AGENT_UPLINK_INVITATION_H_
#define CONSILIUM_SITE_AGENT_UPLINK_INVITATION_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace consilium::agent {

inline constexpr size_t kInvitationBytesMax = 64 * 1024;

struct Invitation {
  std::string federation;
  std::string site;
  std::string token;               // a secret until it is used
  std::string enrolment_address;   // host:port
  std::string federation_address;  // host:port
  std::string ca_pem;
  absl::Time expires;
};

// Strict: an unknown key, a wrong type, a name or address out of form, a certificate that does not
// have the fingerprint beside it, or a time that has passed is INVALID_ARGUMENT and names the key.
// The message never holds the token.
absl::StatusOr<Invitation> ParseInvitation(absl::string_view json, absl::Time now);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_UPLINK_INVITATION_H_
