#include "coordinator/service/masking_calls.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/certificate.h"
#include "privacy/crypto/protocol_key.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr size_t kTaskIdBytesMax = 256;
constexpr const char* kCaCertificateName = "ca.crt";
constexpr uint64_t kPemBytesMax = 64 * 1024;

absl::Status CheckTaskId(absl::string_view task_id) {
  return task_id.size() <= kTaskIdBytesMax ? absl::OkStatus()
                                           : absl::InvalidArgumentError("task_id: too long");
}

// Where `site` stands among the roster's sites.
std::optional<size_t> IndexIn(const std::vector<std::string>& roster, absl::string_view site) {
  const auto it = std::lower_bound(roster.begin(), roster.end(), site);
  if (it == roster.end() || *it != site) return std::nullopt;
  return static_cast<size_t>(it - roster.begin());
}

absl::StatusOr<secagg::ShareMessage> SharesFrom(const std::string& site,
                                                const std::vector<std::string>& roster,
                                                const v1::SiteShares& message) {
  secagg::ShareMessage shares;
  shares.commitment = message.commitment();
  shares.boxes.resize(roster.size());
  for (const v1::ShareBox& box : message.boxes()) {
    const std::optional<size_t> to = IndexIn(roster, box.to());
    if (box.from() != site || !to || !shares.boxes[*to].empty()) {
      return absl::InvalidArgumentError("boxes: one from this site to each other of the roster");
    }
    shares.boxes[*to] = box.box();
  }
  return shares;
}

void FillKeys(const SiteKeys& keys, v1::SiteKeys& out) {
  out.set_site(keys.announcement.site);
  out.set_certificate_pem(keys.announcement.certificate_pem);
  out.set_protocol_key(keys.announcement.identity_key);
  out.set_protocol_key_signature(keys.protocol_key_signature);
  out.set_mask_key(keys.announcement.mask_key);
  out.set_box_key(keys.announcement.box_key);
  out.set_signature(keys.announcement.signature);
}

void FillReply(const std::string& site, const MaskedRound::Agreement& agreement,
               v1::AgreeKeysReply& reply) {
  switch (agreement.stage) {
    case MaskedRound::Stage::kKeys:
      reply.set_stage(v1::AgreeKeysReply::KEYS);
      break;
    case MaskedRound::Stage::kShares:
      reply.set_stage(v1::AgreeKeysReply::SHARES);
      break;
    case MaskedRound::Stage::kReady:
      reply.set_stage(v1::AgreeKeysReply::READY);
      break;
    case MaskedRound::Stage::kOut:
      reply.set_stage(v1::AgreeKeysReply::OUT);
      break;
  }
  reply.set_threshold(agreement.threshold);
  reply.set_reason(agreement.reason);
  for (const SiteKeys& keys : agreement.roster) FillKeys(keys, *reply.add_roster());
  for (const secagg::PeerShare& share : agreement.shares) {
    v1::ShareBox& box = *reply.add_boxes();
    box.set_from(share.site);
    box.set_to(site);
    box.set_box(share.box);
  }
  if (agreement.stage != MaskedRound::Stage::kReady) return;
  std::vector<std::string> sharing = {site};
  for (const secagg::PeerShare& share : agreement.shares) sharing.push_back(share.site);
  std::sort(sharing.begin(), sharing.end());
  for (std::string& one : sharing) reply.add_sharing(std::move(one));
}

}  // namespace

absl::StatusOr<SiteKeys> MaskingCalls::KeysFrom(const std::string& site,
                                                const v1::SiteKeys& message) const {
  if (message.site() != site) {
    return absl::PermissionDeniedError("keys: they are announced for another site");
  }
  if (message.certificate_pem().size() > secagg::kCertificateBytesMax ||
      message.protocol_key_signature().size() > privacy::kProtocolKeySignatureBytesMax) {
    return absl::InvalidArgumentError("keys: the certificate or its signature is too long");
  }
  SiteKeys keys;
  keys.announcement.site = site;
  keys.announcement.certificate_pem = message.certificate_pem();
  CSL_ASSIGN_OR_RETURN(const std::string fingerprint,
                       privacy::CertificateSha256Hex(message.certificate_pem()));
  CSL_ASSIGN_OR_RETURN(keys.announcement.certificate_fingerprint, HexDecode(fingerprint));
  keys.announcement.identity_key = message.protocol_key();
  keys.announcement.mask_key = message.mask_key();
  keys.announcement.box_key = message.box_key();
  keys.announcement.signature = message.signature();
  keys.protocol_key_signature = message.protocol_key_signature();
  return keys;
}

absl::Status MaskingCalls::CheckKeys(const SiteKeys& keys) const {
  CSL_ASSIGN_OR_RETURN(const std::string ca_pem,
                       ReadFile(JoinPath(ca_folder_, kCaCertificateName), kPemBytesMax));
  return sites_.CheckProtocolKey(ca_pem, keys.announcement, keys.protocol_key_signature);
}

absl::Status MaskingCalls::AgreeKeys(const std::string& site, const v1::AgreeKeysRequest& request,
                                     v1::AgreeKeysReply& reply) const {
  CSL_RETURN_IF_ERROR(CheckTaskId(request.task_id()));
  StudyRun::AgreeKeys said;
  CSL_ASSIGN_OR_RETURN(said.keys, KeysFrom(site, request.keys()));
  if (request.has_shares()) {
    CSL_ASSIGN_OR_RETURN(const std::vector<std::string> roster,
                         driver_.MaskingRoster(site, request.task_id()));
    CSL_ASSIGN_OR_RETURN(said.shares, SharesFrom(site, roster, request.shares()));
  }
  const auto verify = [&](const SiteKeys& keys) {
    return CheckKeys(keys);
  };
  CSL_ASSIGN_OR_RETURN(const MaskedRound::Agreement agreement,
                       driver_.AgreeKeys(site, request.task_id(), said, verify));
  FillReply(site, agreement, reply);
  return absl::OkStatus();
}

absl::Status MaskingCalls::SubmitConsent(const std::string& site,
                                         const v1::ConsentReport& request) const {
  CSL_RETURN_IF_ERROR(CheckTaskId(request.task_id()));
  const v1::Consent& consent = request.consent();
  return driver_.Consent(site, request.task_id(),
                         {consent.site(), consent.survivors(), consent.signature()});
}

absl::Status MaskingCalls::SubmitReveal(const std::string& site,
                                        const v1::RevealReport& request) const {
  CSL_RETURN_IF_ERROR(CheckTaskId(request.task_id()));
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> roster,
                       driver_.MaskingRoster(site, request.task_id()));
  secagg::RevealMessage reveal;
  reveal.shares.resize(roster.size());
  for (const v1::RevealedShare& share : request.shares()) {
    const std::optional<size_t> of = IndexIn(roster, share.of());
    if (!of || !reveal.shares[*of].empty()) {
      return absl::InvalidArgumentError("shares: one of each site that shared its keys");
    }
    reveal.shares[*of] = share.share();
  }
  return driver_.Reveal(site, request.task_id(), reveal);
}

}  // namespace consilium::coordinator
