#include "site_agent/uplink/invitation.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "consilium/v1/admin.pb.h"
#include "google/protobuf/util/json_util.h"
#include "privacy/crypto/certificate.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"
#include "site_agent/agent_options.h"

namespace consilium::agent {
namespace {

constexpr size_t kTokenBytesMax = 512;

absl::Status Refuse(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("invitation: ", what));
}

absl::Status CheckToken(absl::string_view token) {
  if (token.empty() || token.size() > kTokenBytesMax) return Refuse("token is missing or too long");
  for (const char c : token) {
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c))) {
      return Refuse("token is not plain text");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckFingerprint(const Invitation& invitation, absl::string_view ca_sha256) {
  const auto fingerprint = privacy::CertificateSha256Hex(invitation.ca_pem);
  if (!fingerprint.ok()) return Refuse("ca_pem is not a certificate");
  if (*fingerprint != absl::AsciiStrToLower(ca_sha256)) {
    return Refuse("ca_pem does not have the fingerprint ca_sha256: the file was altered");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Invitation> ParseInvitation(absl::string_view json, absl::Time now) {
  if (json.size() > kInvitationBytesMax) return Refuse("file is too long");
  v1::InviteSiteReply message;
  // Both spellings of a key (caCertificate, ca_certificate) and of a 64-bit number are JSON of the
  // message; unknown keys are refused. The parser's own message may quote the file: not passed on.
  if (!google::protobuf::util::JsonStringToMessage(std::string(json), &message).ok()) {
    return Refuse("file is not the JSON of an invitation");
  }
  Invitation invitation;
  invitation.federation = message.federation();
  invitation.site = message.site();
  invitation.token = message.token();
  invitation.enrolment_address = message.enrolment_address();
  invitation.federation_address = message.federation_address();
  invitation.ca_pem = message.ca_pem();
  invitation.expires = absl::FromUnixSeconds(message.expires_unix());
  CSL_RETURN_IF_ERROR(CheckName("invitation: federation", invitation.federation));
  CSL_RETURN_IF_ERROR(CheckName("invitation: site", invitation.site));
  CSL_RETURN_IF_ERROR(CheckToken(invitation.token));
  CSL_RETURN_IF_ERROR(
      CheckAddress("invitation: enrolment_address", invitation.enrolment_address));
  CSL_RETURN_IF_ERROR(
      CheckAddress("invitation: federation_address", invitation.federation_address));
  CSL_RETURN_IF_ERROR(CheckFingerprint(invitation, message.ca_sha256()));
  if (invitation.expires <= now) {
    return Refuse("it has expired: ask the coordinating centre for a new one");
  }
  return invitation;
}

}  // namespace consilium::agent
