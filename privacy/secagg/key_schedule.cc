#include "privacy/secagg/key_schedule.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/aead.h"
#include "privacy/crypto/hkdf.h"
#include "privacy/crypto/sha256.h"
#include "privacy/crypto/x25519.h"
#include "privacy/secagg/codec.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::secagg {
namespace {

using privacy::SecretBytes;

SecretBytes Derive(absl::string_view session_id, absl::string_view input_key,
                   absl::string_view info) {
  absl::StatusOr<SecretBytes> key = privacy::Hkdf(session_id, input_key, info, kKeyBytes);
  CSL_CHECK(key.ok());
  return *std::move(key);
}

std::string Route(const BoxRoute& route) {
  return absl::StrCat(Prefixed(route.from), Prefixed(route.to));
}

absl::StatusOr<privacy::Aead> BoxKey(const BoxRoute& route, absl::string_view box_private_key,
                                     absl::string_view peer_box_key) {
  CSL_ASSIGN_OR_RETURN(const SecretBytes shared, privacy::X25519(box_private_key, peer_box_key));
  const SecretBytes key =
      Derive(route.session_id, shared.view(), absl::StrCat(Prefixed("share"), Route(route)));
  return privacy::Aead::Create(privacy::AeadAlgorithm::kAes256Gcm, key.view());
}

const std::string& ZeroNonce() {
  static const auto* const nonce = new std::string(privacy::kAeadNonceBytes, '\0');
  return *nonce;
}

}  // namespace

absl::StatusOr<SecretBytes> PairMaskKey(absl::string_view session_id,
                                        absl::string_view mask_private_key,
                                        absl::string_view own_site, absl::string_view peer_mask_key,
                                        absl::string_view peer_site) {
  CSL_ASSIGN_OR_RETURN(const SecretBytes shared, privacy::X25519(mask_private_key, peer_mask_key));
  return Derive(session_id, shared.view(),
                absl::StrCat(Prefixed("mask"), Prefixed(std::min(own_site, peer_site)),
                             Prefixed(std::max(own_site, peer_site))));
}

SecretBytes SelfMaskKey(absl::string_view session_id, absl::string_view self_seed,
                        absl::string_view site) {
  return Derive(session_id, self_seed, absl::StrCat(Prefixed("self"), Prefixed(site)));
}

std::string Commitment(absl::string_view session_id, absl::string_view site,
                       absl::string_view self_seed) {
  privacy::Sha256Stream hash;
  hash.Update(absl::StrCat(Prefixed("commit"), session_id, Prefixed(site)));
  hash.Update(self_seed);
  return hash.Finish();
}

std::string RotationSeed(absl::string_view session_id) {
  return std::string(Derive(session_id, "", Prefixed("rotate")).view());
}

absl::StatusOr<std::string> SealShares(const BoxRoute& route, absl::string_view box_private_key,
                                       absl::string_view peer_box_key, const SharePair& shares) {
  CSL_ASSIGN_OR_RETURN(privacy::Aead box, BoxKey(route, box_private_key, peer_box_key));
  CSL_CHECK(shares.self_seed.size() == kKeyBytes && shares.mask_key.size() == kKeyBytes &&
            route.to_index < kSitesMax);
  // Sealed where it lies, so that the plaintext is in no other memory.
  std::string message(kBoxBytes, '\0');
  message[0] = static_cast<char>(route.to_index + 1);
  std::copy_n(shares.self_seed.view().data(), kKeyBytes, message.begin() + 1);
  std::copy_n(shares.mask_key.view().data(), kKeyBytes, message.begin() + 1 + kKeyBytes);
  CSL_RETURN_IF_ERROR(box.SealInPlace(ZeroNonce(), absl::StrCat(route.session_id, Route(route)),
                                      absl::MakeSpan(message)));
  return message;
}

absl::StatusOr<SharePair> OpenShares(const BoxRoute& route, absl::string_view box_private_key,
                                     absl::string_view peer_box_key, absl::string_view box) {
  const absl::Status denied = absl::PermissionDeniedError("a share box that does not open");
  if (box.size() != kBoxBytes) return denied;
  CSL_ASSIGN_OR_RETURN(privacy::Aead key, BoxKey(route, box_private_key, peer_box_key));
  SecretBytes message(box);
  if (!key.OpenInPlace(ZeroNonce(), absl::StrCat(route.session_id, Route(route)),
                       absl::MakeSpan(message.data(), message.size()))
           .ok()) {
    return denied;
  }
  const absl::string_view text = message.view();
  if (static_cast<unsigned char>(text[0]) != route.to_index + 1) return denied;
  return SharePair{.self_seed = SecretBytes(text.substr(1, kKeyBytes)),
                   .mask_key = SecretBytes(text.substr(1 + kKeyBytes, kKeyBytes))};
}

}  // namespace consilium::secagg
