#include "coordinator/round/agreement_records.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proto/base/bytes.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

std::vector<std::string> HexAll(const std::vector<std::string>& all) {
  std::vector<std::string> hex;
  for (const std::string& bytes : all) hex.push_back(HexEncode(bytes));
  return hex;
}

absl::StatusOr<std::vector<std::string>> UnhexAll(const std::vector<std::string>& all) {
  std::vector<std::string> bytes;
  for (const std::string& hex : all) {
    CSL_ASSIGN_OR_RETURN(std::string one, HexDecode(hex));
    bytes.push_back(std::move(one));
  }
  return bytes;
}

}  // namespace

AgreementRecord AgreementFrom(const secagg::ServerMember& member) {
  AgreementRecord record;
  record.site = member.keys->site;
  record.certificate_pem = member.keys->certificate_pem;
  record.certificate_sha256 = HexEncode(member.keys->certificate_fingerprint);
  record.protocol_key = HexEncode(member.keys->identity_key);
  record.mask_key = HexEncode(member.keys->mask_key);
  record.box_key = HexEncode(member.keys->box_key);
  record.signature = HexEncode(member.keys->signature);
  if (member.shares != nullptr) {
    record.commitment = HexEncode(member.shares->commitment);
    record.boxes = HexAll(member.shares->boxes);
  }
  if (member.consent != nullptr) {
    record.consent_survivors = HexEncode(member.consent->survivors);
    record.consent_signature = HexEncode(member.consent->signature);
  }
  if (member.reveal != nullptr) record.shares = HexAll(member.reveal->shares);
  return record;
}

absl::StatusOr<secagg::ServerMember> MemberFrom(const AgreementRecord& record) {
  secagg::ServerMember member;
  secagg::KeyAnnouncement keys;
  keys.site = record.site;
  keys.certificate_pem = record.certificate_pem;
  CSL_ASSIGN_OR_RETURN(keys.certificate_fingerprint, HexDecode(record.certificate_sha256));
  CSL_ASSIGN_OR_RETURN(keys.identity_key, HexDecode(record.protocol_key));
  CSL_ASSIGN_OR_RETURN(keys.mask_key, HexDecode(record.mask_key));
  CSL_ASSIGN_OR_RETURN(keys.box_key, HexDecode(record.box_key));
  CSL_ASSIGN_OR_RETURN(keys.signature, HexDecode(record.signature));
  member.keys = std::make_shared<const secagg::KeyAnnouncement>(std::move(keys));
  if (!record.commitment.empty()) {
    secagg::ShareMessage shares;
    CSL_ASSIGN_OR_RETURN(shares.commitment, HexDecode(record.commitment));
    CSL_ASSIGN_OR_RETURN(shares.boxes, UnhexAll(record.boxes));
    member.shares = std::make_shared<const secagg::ShareMessage>(std::move(shares));
  }
  if (!record.consent_signature.empty()) {
    secagg::Consent consent;
    consent.site = record.site;
    CSL_ASSIGN_OR_RETURN(consent.survivors, HexDecode(record.consent_survivors));
    CSL_ASSIGN_OR_RETURN(consent.signature, HexDecode(record.consent_signature));
    member.consent = std::make_shared<const secagg::Consent>(std::move(consent));
  }
  if (!record.shares.empty()) {
    secagg::RevealMessage reveal;
    CSL_ASSIGN_OR_RETURN(reveal.shares, UnhexAll(record.shares));
    member.reveal = std::make_shared<const secagg::RevealMessage>(std::move(reveal));
  }
  return member;
}

}  // namespace consilium::coordinator
