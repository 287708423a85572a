#include "privacy/secagg/protocol.h"

#include <algorithm>
#include <bit>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/ed25519.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secagg/codec.h"
#include "privacy/secagg/quantise.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::secagg {
namespace {

absl::Status Invalid(absl::string_view what) { return absl::InvalidArgumentError(what); }

// A name of this library's callers goes into messages of errors, one that came in does not.
bool GoodSiteName(absl::string_view site) {
  const auto good = [](char c) { return c > ' ' && c < 0x7f; };
  return !site.empty() && site.size() <= kSiteBytesMax &&
         std::all_of(site.begin(), site.end(), good);
}

std::string MemberBytes(const Member& member) {
  return absl::StrCat(Prefixed(member.site), member.certificate_fingerprint, member.mask_key,
                      member.box_key);
}

bool SizesFit(const Member& member) {
  return GoodSiteName(member.site) && member.certificate_fingerprint.size() == kDigestBytes &&
         member.identity_key.size() == kKeyBytes && member.mask_key.size() == kKeyBytes &&
         member.box_key.size() == kKeyBytes;
}

}  // namespace

absl::Status CheckJob(const Job& job) {
  if (job.job.empty() || job.job.size() > kJobBytesMax) return Invalid("the job's id: its length");
  if (job.model_digest.size() != kDigestBytes) return Invalid("the model digest: not 32 bytes");
  if (job.bits != 16 && job.bits != 32) return Invalid("words of neither 16 nor 32 bits");
  if (job.min_cohort < kSitesMin || job.min_cohort > kSitesMax) {
    return Invalid(absl::StrCat("a cohort of at least ", job.min_cohort, " sites: not within ",
                                kSitesMin, " to ", kSitesMax));
  }
  CSL_ASSIGN_OR_RETURN(const QuantiserSpec spec, QuantiserSpec::Parse(job.quantiser));
  const uint64_t lanes = spec.lanes();
  if (job.words <= lanes || job.words > kWordsMax) {
    return Invalid(absl::StrCat("a vector of ", job.words, " words"));
  }
  if (spec.rotation_block != 0 && (job.words - lanes) % spec.rotation_block != 0) {
    return Invalid("a vector that is not whole blocks of its rotation");
  }
  return absl::OkStatus();
}

std::string Params::Encode() const {
  return absl::StrCat(Prefixed(job.job), BigEndian64(job.round), Prefixed(job.model_digest),
                      BigEndian32(job.bits), BigEndian64(job.words), BigEndian32(threshold),
                      BigEndian32(job.min_cohort), Prefixed(job.quantiser));
}

absl::Status CheckSiteName(absl::string_view site) {
  return GoodSiteName(site) ? absl::OkStatus() : Invalid("a site's name");
}

uint32_t Threshold(size_t sites) { return static_cast<uint32_t>(2 * sites / 3 + 1); }

std::string AnnouncementBytes(const Job& job, const KeyAnnouncement& announcement) {
  return absl::StrCat(Prefixed("keys"), Prefixed(job.job), BigEndian64(job.round),
                      Prefixed(job.model_digest), Prefixed(announcement.site),
                      announcement.certificate_fingerprint, announcement.mask_key,
                      announcement.box_key);
}

absl::Status CheckAnnouncement(const Job& job, const KeyAnnouncement& announcement) {
  if (!SizesFit(MemberOf(announcement))) return Invalid("announced keys: a field of a wrong size");
  if (announcement.certificate_pem.size() > kCertificateBytesMax) {
    return Invalid("announced keys: a certificate that is too long");
  }
  if (announcement.mask_key == announcement.box_key) {
    return Invalid(absl::StrCat(announcement.site, " announced one key for two purposes"));
  }
  return Annotate(
      privacy::Ed25519Verify(announcement.identity_key, AnnouncementBytes(job, announcement),
                             announcement.signature),
      absl::StrCat("keys of ", announcement.site));
}

Member MemberOf(const KeyAnnouncement& announcement) {
  return {.site = announcement.site,
          .certificate_fingerprint = announcement.certificate_fingerprint,
          .identity_key = announcement.identity_key,
          .mask_key = announcement.mask_key,
          .box_key = announcement.box_key};
}

absl::Status CheckRoster(absl::Span<const Member> roster) {
  if (roster.size() < kSitesMin || roster.size() > kSitesMax) {
    return Invalid(absl::StrCat("a roster of ", roster.size(), " sites"));
  }
  std::set<absl::string_view> public_keys;
  std::set<absl::string_view> identities;
  std::set<absl::string_view> fingerprints;
  for (size_t i = 0; i < roster.size(); ++i) {
    const Member& member = roster[i];
    if (!SizesFit(member)) return Invalid("a roster with a field of a wrong size");
    if (i > 0 && roster[i - 1].site >= member.site) {
      return Invalid("a roster that is not in the order of its sites, or has one twice");
    }
    if (!public_keys.insert(member.mask_key).second || !public_keys.insert(member.box_key).second ||
        !identities.insert(member.identity_key).second ||
        !fingerprints.insert(member.certificate_fingerprint).second) {
      return Invalid(
          absl::StrCat(member.site, " has a key or certificate that is in the roster twice"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckParams(const Params& params, absl::Span<const Member> roster) {
  CSL_RETURN_IF_ERROR(CheckJob(params.job));
  CSL_RETURN_IF_ERROR(CheckRoster(roster));
  if (params.job.min_cohort > roster.size()) {
    return Invalid(absl::StrCat("a roster of ", roster.size(), " sites where at least ",
                                params.job.min_cohort, " must survive"));
  }
  if (params.threshold != Threshold(roster.size())) {
    return Invalid(absl::StrCat("a threshold of ", params.threshold, " for ", roster.size(),
                                " sites, not ", Threshold(roster.size())));
  }
  return absl::OkStatus();
}

std::string SessionId(const Params& params, absl::Span<const Member> roster) {
  privacy::Sha256Stream hash;
  hash.Update(Prefixed("consilium/secagg/v1"));
  hash.Update(Prefixed(params.Encode()));
  for (const Member& member : roster) hash.Update(MemberBytes(member));
  return hash.Finish();
}

absl::StatusOr<size_t> IndexOf(absl::Span<const Member> roster, absl::string_view site) {
  const auto at = std::lower_bound(
      roster.begin(), roster.end(), site,
      [](const Member& member, absl::string_view name) { return member.site < name; });
  if (at == roster.end() || at->site != site) return absl::NotFoundError("no site of the roster");
  return static_cast<size_t>(at - roster.begin());
}

absl::StatusOr<SiteSet> SiteSet::FromBytes(absl::string_view bytes, size_t sites) {
  SiteSet set(sites);
  if (bytes.size() != set.bytes_.size()) return Invalid("a set of sites of another length");
  set.bytes_ = std::string(bytes);
  if (sites % 8 != 0 && static_cast<unsigned char>(bytes.back()) >> (sites % 8) != 0) {
    return Invalid("a set with a site beyond the last");
  }
  return set;
}

void SiteSet::Add(size_t index) {
  CSL_CHECK(index < sites_);
  bytes_[index / 8] = static_cast<char>(bytes_[index / 8] | 1 << (index % 8));
}

bool SiteSet::Has(size_t index) const {
  return index < sites_ && (bytes_[index / 8] >> (index % 8) & 1) != 0;
}

size_t SiteSet::Count() const {
  size_t count = 0;
  for (const char byte : bytes_) count += std::popcount(static_cast<unsigned char>(byte));
  return count;
}

bool SiteSet::Contains(const SiteSet& other) const {
  if (sites_ != other.sites_) return false;
  for (size_t i = 0; i < bytes_.size(); ++i) {
    if ((other.bytes_[i] & ~bytes_[i]) != 0) return false;
  }
  return true;
}

std::vector<size_t> SiteSet::Indices() const {
  std::vector<size_t> indices;
  for (size_t i = 0; i < sites_; ++i) {
    if (Has(i)) indices.push_back(i);
  }
  return indices;
}

absl::Status CheckSurvivors(const Params& params, const SiteSet& sharing, const SiteSet& survivors,
                            uint32_t floor) {
  if (!sharing.Contains(survivors)) return Invalid("a survivor that did not share");
  const size_t least = std::max({params.threshold, params.job.min_cohort, floor});
  if (survivors.Count() < least) {
    return Invalid(
        absl::StrCat(survivors.Count(), " survivors, and at least ", least, " are needed"));
  }
  return absl::OkStatus();
}

absl::Status CheckShareMessage(const ShareMessage& message, size_t sender, size_t sites) {
  if (message.commitment.size() != kDigestBytes || message.boxes.size() != sites) {
    return Invalid("shares: a commitment of another size, or not a box for each site");
  }
  for (size_t i = 0; i < sites; ++i) {
    if (message.boxes[i].size() != (i == sender ? 0 : kBoxBytes)) {
      return Invalid("shares: a box of another size");
    }
  }
  return absl::OkStatus();
}

std::string ConsentBytes(absl::string_view session_id, absl::string_view survivors) {
  return absl::StrCat(Prefixed("unmask"), session_id, survivors);
}

absl::Status CheckConsent(absl::string_view session_id, absl::Span<const Member> roster,
                          const SiteSet& survivors, const Consent& consent) {
  const absl::StatusOr<size_t> index = IndexOf(roster, consent.site);
  if (!index.ok() || !survivors.Has(*index))
    return Invalid("a consent of a site that is no survivor");
  if (consent.survivors != survivors.bytes()) {
    return Invalid(absl::StrCat(consent.site, " consents to other survivors"));
  }
  return Annotate(
      privacy::Ed25519Verify(roster[*index].identity_key,
                             ConsentBytes(session_id, consent.survivors), consent.signature),
      absl::StrCat("consent of ", consent.site));
}

absl::Status CheckReveal(const RevealMessage& message, const SiteSet& sharing) {
  if (message.shares.size() != sharing.sites()) return Invalid("not a share for each site");
  for (size_t i = 0; i < message.shares.size(); ++i) {
    if (message.shares[i].size() != (sharing.Has(i) ? kKeyBytes : 0)) {
      return Invalid("a revealed share of another size");
    }
  }
  return absl::OkStatus();
}

}  // namespace consilium::secagg
