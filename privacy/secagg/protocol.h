// What all parties of a secure aggregation agree on ("secagg v1"): the round's parameters, the
// roster, the messages, and the bytes that are hashed and signed.
//
//   params = LP(job) u64be(round) LP(model_digest) u32be(bits) u64be(d) u32be(t) u32be(min_cohort)
//            LP(quantiser text)
//   sid    = SHA-256( LP("consilium/secagg/v1") LP(params) { LP(site) cert_fp pk_mask pk_enc }* )
//
// LP(x) is a big-endian 32-bit length and x; sites are in the order of their names' bytes.
// After Bonawitz et al., CCS 2017, "Practical Secure Aggregation", its variant against an active
// server: signed keys, and consent to one survivor set before any share is released.
//
// The structs are plain values of what came in; nothing about them holds until the Check function
// beside each has said so. Every limit on a field stands here. Functions are thread-safe.
#ifndef CONSILIUM_PRIVACY_SECAGG_PROTOCOL_H_
#define CONSILIUM_PRIVACY_SECAGG_PROTOCOL_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace consilium::secagg {

inline constexpr size_t kDigestBytes = 32;
inline constexpr size_t kKeyBytes = 32;        // X25519 and Ed25519 keys, seeds, shares
inline constexpr size_t kSignatureBytes = 64;  // Ed25519
inline constexpr size_t kBoxBytes = 1 + 2 * kKeyBytes + 16;
inline constexpr size_t kSitesMin = 3;    // of two, each subtracts itself
inline constexpr size_t kSitesMax = 255;  // x-coordinates of the shares in GF(2^8)
inline constexpr size_t kJobBytesMax = 256;
inline constexpr size_t kSiteBytesMax = 63;
inline constexpr size_t kQuantiserBytesMax = 1024;
inline constexpr size_t kCertificateBytesMax = 16 * 1024;
inline constexpr uint64_t kWordsMax = uint64_t{1} << 34;

// What the signed plan of a round fixes before anybody knows who takes part.
struct Job {
  std::string job;  // 1 to kJobBytesMax bytes
  uint64_t round = 0;
  std::string model_digest;         // kDigestBytes, of the weights that training starts from
  uint32_t bits = 32;               // 16 or 32: words are added modulo 2^bits
  uint64_t words = 0;               // d: parameters (padded) and lanes, see quantise.h
  uint32_t min_cohort = kSitesMin;  // fewest survivors whose sum may be opened
  std::string quantiser;            // QuantiserSpec::ToText()

  friend bool operator==(const Job&, const Job&) = default;
};

// INVALID_ARGUMENT: a field beyond its limits, or a quantiser text that does not parse.
absl::Status CheckJob(const Job& job);

// A job, and the number of shares that opens a secret.
struct Params {
  Job job;
  uint32_t threshold = 0;

  std::string Encode() const;  // `params` above
  friend bool operator==(const Params&, const Params&) = default;
};

// OK for 1 to kSiteBytesMax printing characters of ASCII but the space. INVALID_ARGUMENT.
absl::Status CheckSiteName(absl::string_view site);

// floor(2n/3) + 1: safe while fewer than a third of the sites collude with the server.
uint32_t Threshold(size_t sites);

// A site's keys of one round, signed with its enrolled identity:
//   Ed25519( LP("keys") LP(job) u64be(round) LP(model_digest) LP(site) cert_fp pk_mask pk_enc )
struct KeyAnnouncement {
  std::string site;
  std::string certificate_pem;  // carried for the verifier of peers, at most kCertificateBytesMax
  std::string certificate_fingerprint;  // SHA-256 of its DER form
  std::string identity_key;             // Ed25519 public key that the certificate is for
  std::string mask_key;                 // pk_mask, X25519
  std::string box_key;                  // pk_enc, X25519
  std::string signature;

  friend bool operator==(const KeyAnnouncement&, const KeyAnnouncement&) = default;
};

std::string AnnouncementBytes(const Job& job,
                              const KeyAnnouncement& announcement);  // what is signed
// INVALID_ARGUMENT: a field of the wrong size, or both keys the same. PERMISSION_DENIED: not signed
// by `identity_key`. Whether that key is the site's is for a PeerVerifier to say.
absl::Status CheckAnnouncement(const Job& job, const KeyAnnouncement& announcement);

// Says whether a peer's certificate is genuine: that `certificate_pem` has the fingerprint, chains
// to the pinned root, is not revoked, names `site` and is for `identity_key`.
using PeerVerifier = absl::FunctionRef<absl::Status(const KeyAnnouncement&)>;

// What is kept of an announcement once it was checked.
struct Member {
  std::string site;
  std::string certificate_fingerprint;
  std::string identity_key;
  std::string mask_key;
  std::string box_key;

  friend bool operator==(const Member&, const Member&) = default;
};
Member MemberOf(const KeyAnnouncement& announcement);

// INVALID_ARGUMENT: fewer than kSitesMin or more than kSitesMax, not in the order of their names,
// or a name, fingerprint, identity or public key that occurs twice.
absl::Status CheckRoster(absl::Span<const Member> roster);
// OK and the checks of CheckJob and CheckRoster, min_cohort within the roster, and the threshold
// that belongs to it. INVALID_ARGUMENT otherwise.
absl::Status CheckParams(const Params& params, absl::Span<const Member> roster);

// sid: 32 bytes. REQUIRES: CheckRoster.
std::string SessionId(const Params& params, absl::Span<const Member> roster);
// Where `site` stands in the roster. NOT_FOUND.
absl::StatusOr<size_t> IndexOf(absl::Span<const Member> roster, absl::string_view site);

// A subset of the roster. Its bytes: bit i % 8 (from the lowest) of byte i / 8 is site i.
class SiteSet {
 public:
  SiteSet() = default;
  explicit SiteSet(size_t sites) : sites_(sites), bytes_((sites + 7) / 8, '\0') {}
  // INVALID_ARGUMENT: not ceil(sites / 8) bytes, or a bit beyond the last site.
  static absl::StatusOr<SiteSet> FromBytes(absl::string_view bytes, size_t sites);

  void Add(size_t index);
  bool Has(size_t index) const;
  size_t Count() const;
  bool Contains(const SiteSet& other) const;
  std::vector<size_t> Indices() const;  // ascending
  size_t sites() const { return sites_; }
  const std::string& bytes() const { return bytes_; }

  friend bool operator==(const SiteSet&, const SiteSet&) = default;

 private:
  size_t sites_ = 0;
  std::string bytes_;
};

// INVALID_ARGUMENT: survivors who did not share, or fewer than the threshold, min_cohort or `floor`
// of them. The one rule for server and sites.
absl::Status CheckSurvivors(const Params& params, const SiteSet& sharing, const SiteSet& survivors,
                            uint32_t floor);

// What a site sends once it knows the roster.
struct ShareMessage {
  std::string commitment;          // SHA-256( LP("commit") sid LP(site) b )
  std::vector<std::string> boxes;  // by roster index, kBoxBytes each; the sender's own is empty

  friend bool operator==(const ShareMessage&, const ShareMessage&) = default;
};
// INVALID_ARGUMENT: not one box for each other site of `sites`, or a field of the wrong size.
absl::Status CheckShareMessage(const ShareMessage& message, size_t sender, size_t sites);

// What the server passes on of another site's ShareMessage.
struct PeerShare {
  std::string site;
  std::string box;  // from `site` to the reader

  friend bool operator==(const PeerShare&, const PeerShare&) = default;
};

// Agreement that just these sites' updates are summed: Ed25519( LP("unmask") sid survivors ).
struct Consent {
  std::string site;
  std::string survivors;  // SiteSet::bytes()
  std::string signature;

  friend bool operator==(const Consent&, const Consent&) = default;
};
std::string ConsentBytes(absl::string_view session_id, absl::string_view survivors);
// INVALID_ARGUMENT: not a survivor, another set than `survivors`, or a size. PERMISSION_DENIED: the
// signature is not the site's.
absl::Status CheckConsent(absl::string_view session_id, absl::Span<const Member> roster,
                          const SiteSet& survivors, const Consent& consent);

// A site's shares of what opens the sum: of b for each survivor, of sk_mask for each site that
// shared and did not deliver. By roster index; empty where a site did not share.
struct RevealMessage {
  std::vector<std::string> shares;

  friend bool operator==(const RevealMessage&, const RevealMessage&) = default;
};
// INVALID_ARGUMENT: not one share of kKeyBytes for each site of `sharing`, and no other.
absl::Status CheckReveal(const RevealMessage& message, const SiteSet& sharing);

}  // namespace consilium::secagg

#endif  // CONSILIUM_PRIVACY_SECAGG_PROTOCOL_H_
