// The messages of a key agreement, and of what a site says to unmask a sum.
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "privacy/crypto/certificate.h"
#include "privacy/crypto/protocol_key.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"
#include "site_agent/uplink/convert.h"

namespace consilium::agent {
namespace {

constexpr size_t kReasonBytesMax = 500;

absl::Status Refuse(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("key agreement: ", field, " ", what));
}

absl::Status CheckSize(absl::string_view field, const std::string& bytes, size_t size) {
  if (bytes.size() == size) return absl::OkStatus();
  return Refuse(field, absl::StrCat("must be ", size, " bytes"));
}

absl::StatusOr<SiteKeys> KeysFromMessage(const v1::SiteKeys& message) {
  CSL_RETURN_IF_ERROR(CheckName("key agreement: site", message.site()));
  if (message.certificate_pem().size() > secagg::kCertificateBytesMax) {
    return Refuse("certificate_pem", "is too long");
  }
  if (message.protocol_key_signature().empty() ||
      message.protocol_key_signature().size() > privacy::kProtocolKeySignatureBytesMax) {
    return Refuse("protocol_key_signature", "is missing or too long");
  }
  CSL_RETURN_IF_ERROR(CheckSize("protocol_key", message.protocol_key(), secagg::kKeyBytes));
  CSL_RETURN_IF_ERROR(CheckSize("mask_key", message.mask_key(), secagg::kKeyBytes));
  CSL_RETURN_IF_ERROR(CheckSize("box_key", message.box_key(), secagg::kKeyBytes));
  CSL_RETURN_IF_ERROR(CheckSize("signature", message.signature(), secagg::kSignatureBytes));
  // What a session is bound to is never taken from the message.
  CSL_ASSIGN_OR_RETURN(const std::string hex,
                       privacy::CertificateSha256Hex(message.certificate_pem()));
  CSL_ASSIGN_OR_RETURN(std::string fingerprint, HexDecode(hex));
  return SiteKeys{
      {message.site(), message.certificate_pem(), std::move(fingerprint), message.protocol_key(),
       message.mask_key(), message.box_key(), message.signature()},
      message.protocol_key_signature()};
}

absl::Status ReadRoster(const v1::AgreeKeysReply& message, AgreementReply& reply) {
  if (message.roster_size() > static_cast<int>(secagg::kSitesMax)) {
    return Refuse("roster", "has too many sites");
  }
  reply.threshold = message.threshold();
  for (const v1::SiteKeys& item : message.roster()) {
    CSL_ASSIGN_OR_RETURN(SiteKeys keys, KeysFromMessage(item));
    reply.roster.push_back(std::move(keys));
  }
  return absl::OkStatus();
}

absl::Status ReadBoxes(const v1::AgreeKeysReply& message, AgreementReply& reply) {
  const int sites_max = static_cast<int>(secagg::kSitesMax);
  if (message.boxes_size() > sites_max || message.sharing_size() > sites_max) {
    return Refuse("boxes", "are of too many sites");
  }
  for (const v1::ShareBox& item : message.boxes()) {
    CSL_RETURN_IF_ERROR(CheckName("key agreement: box.from", item.from()));
    CSL_RETURN_IF_ERROR(CheckSize("box", item.box(), secagg::kBoxBytes));
    reply.boxes.push_back({item.from(), item.box()});
  }
  for (const std::string& site : message.sharing()) {
    CSL_RETURN_IF_ERROR(CheckName("key agreement: sharing", site));
    if (!reply.sharing.empty() && site <= reply.sharing.back()) {
      return Refuse("sharing", "must be sorted, no site twice");
    }
    reply.sharing.push_back(site);
  }
  return absl::OkStatus();
}

// For logs: no control characters of somebody else.
std::string PlainText(absl::string_view text) {
  std::string plain(text.substr(0, kReasonBytesMax));
  std::replace_if(
      plain.begin(), plain.end(),
      [](char c) { return !absl::ascii_isprint(static_cast<unsigned char>(c)); }, ' ');
  return plain;
}

}  // namespace

absl::StatusOr<AgreementReply> AgreementFromMessage(const v1::AgreeKeysReply& message) {
  AgreementReply reply;
  switch (message.stage()) {
    case v1::AgreeKeysReply::KEYS:
      reply.stage = AgreementStage::kKeys;
      return reply;
    case v1::AgreeKeysReply::SHARES:
      reply.stage = AgreementStage::kShares;
      CSL_RETURN_IF_ERROR(ReadRoster(message, reply));
      return reply;
    case v1::AgreeKeysReply::READY:
      reply.stage = AgreementStage::kReady;
      CSL_RETURN_IF_ERROR(ReadBoxes(message, reply));
      return reply;
    case v1::AgreeKeysReply::OUT:
      reply.stage = AgreementStage::kOut;
      reply.reason = PlainText(message.reason());
      return reply;
    default:
      return Refuse("stage", "is not one that this agent knows: update it");
  }
}

v1::AgreeKeysRequest ToMessage(const std::string& task_id, const SiteKeys& keys,
                               const SiteShares* shares) {
  v1::AgreeKeysRequest message;
  message.set_task_id(task_id);
  v1::SiteKeys& out = *message.mutable_keys();
  out.set_site(keys.announcement.site);
  out.set_certificate_pem(keys.announcement.certificate_pem);
  out.set_protocol_key(keys.announcement.identity_key);
  out.set_protocol_key_signature(keys.protocol_key_signature);
  out.set_mask_key(keys.announcement.mask_key);
  out.set_box_key(keys.announcement.box_key);
  out.set_signature(keys.announcement.signature);
  if (shares == nullptr) return message;
  message.mutable_shares()->set_commitment(shares->commitment);
  for (const ShareBox& box : shares->boxes) {
    v1::ShareBox& item = *message.mutable_shares()->add_boxes();
    item.set_from(keys.announcement.site);
    item.set_to(box.to);
    item.set_box(box.box);
  }
  return message;
}

v1::ConsentReport ToMessage(const std::string& task_id, const ConsentResult& result) {
  v1::ConsentReport message;
  message.set_task_id(task_id);
  message.mutable_consent()->set_site(result.consent.site);
  message.mutable_consent()->set_survivors(result.consent.survivors);
  message.mutable_consent()->set_signature(result.consent.signature);
  return message;
}

v1::RevealReport ToMessage(const std::string& task_id, const RevealResult& result) {
  v1::RevealReport message;
  message.set_task_id(task_id);
  for (const RevealedShare& share : result.shares) {
    v1::RevealedShare& item = *message.add_shares();
    item.set_of(share.of);
    item.set_share(share.share);
    item.set_mask_key(share.secret == RevealedShare::Secret::kMaskKey);
  }
  return message;
}

}  // namespace consilium::agent
