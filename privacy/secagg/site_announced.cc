#include "privacy/secagg/site_announced.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/x25519.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::secagg {
namespace {

std::string PublicKey(const privacy::SecretBytes& private_key) {
  absl::StatusOr<std::string> key = privacy::X25519PublicKey(private_key.view());
  CSL_CHECK(key.ok());
  return *std::move(key);
}

absl::Status CheckFloor(const Job& job, uint32_t floor) {
  if (job.min_cohort >= floor) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the plan opens sums of ", job.min_cohort,
                                                 " sites, this site takes part from ", floor,
                                                 " on"));
}

}  // namespace

absl::StatusOr<SiteAnnounced> SiteAnnounced::Create(Options options,
                                                    const privacy::Ed25519Key& identity) {
  CSL_RETURN_IF_ERROR(CheckJob(options.job));
  if (options.loaded_model_digest != options.job.model_digest) {
    return absl::InvalidArgumentError("the model that is loaded is not the plan's");
  }
  SiteAnnounced state;
  state.cohort_floor_ = std::max<uint32_t>(options.cohort_floor, kSitesMin);
  CSL_RETURN_IF_ERROR(CheckFloor(options.job, state.cohort_floor_));
  auto secrets = std::make_shared<SiteSecrets>();
  for (privacy::SecretBytes* secret :
       {&secrets->mask_key, &secrets->box_key, &secrets->self_seed, &secrets->rounding_seed}) {
    *secret = options.random(kKeyBytes);
  }
  KeyAnnouncement& announcement = state.announcement_;
  announcement.site = std::move(options.site);
  announcement.certificate_pem = std::move(options.certificate_pem);
  announcement.certificate_fingerprint = std::move(options.certificate_fingerprint);
  announcement.identity_key = identity.public_key();
  announcement.mask_key = PublicKey(secrets->mask_key);
  announcement.box_key = PublicKey(secrets->box_key);
  announcement.signature = identity.Sign(AnnouncementBytes(options.job, announcement));
  CSL_RETURN_IF_ERROR(CheckAnnouncement(options.job, announcement));
  state.job_ = std::move(options.job);
  state.secrets_ = std::move(secrets);
  state.random_ = std::move(options.random);
  return state;
}

absl::StatusOr<SiteSharing> SiteAnnounced::OnRoster(const Params& params,
                                                    absl::Span<const KeyAnnouncement> announcements,
                                                    PeerVerifier verify) const {
  if (!(params.job == job_)) {
    return absl::InvalidArgumentError("parameters that differ from the signed plan");
  }
  SiteRound round{
      .params = params, .roster = {}, .self = 0, .cohort_floor = cohort_floor_, .session_id = {}};
  for (const KeyAnnouncement& announcement : announcements) {
    round.roster.push_back(MemberOf(announcement));
  }
  CSL_RETURN_IF_ERROR(CheckParams(params, round.roster));
  const absl::StatusOr<size_t> self = IndexOf(round.roster, announcement_.site);
  if (!self.ok() || !(round.roster[*self] == MemberOf(announcement_))) {
    return absl::InvalidArgumentError("a roster without this site's keys");
  }
  for (const KeyAnnouncement& announcement : announcements) {
    if (announcement.site == announcement_.site) continue;
    CSL_RETURN_IF_ERROR(CheckAnnouncement(job_, announcement));
    CSL_RETURN_IF_ERROR(
        Annotate(verify(announcement), absl::StrCat("certificate of ", announcement.site)));
  }
  round.self = *self;
  round.session_id = SessionId(params, round.roster);
  return SiteSharing::Create(std::move(round), secrets_, random_);
}

void SiteAnnounced::Write(SecretWriter& writer) const {
  WriteJob(writer, job_);
  writer.U32(cohort_floor_);
  writer.Prefixed(announcement_.site);
  writer.Prefixed(announcement_.certificate_pem);
  writer.Fixed(announcement_.certificate_fingerprint);
  writer.Fixed(announcement_.identity_key);
  writer.Fixed(announcement_.signature);
  secrets_->Write(writer);
}

absl::StatusOr<SiteAnnounced> SiteAnnounced::Read(Reader& reader) {
  SiteAnnounced state;
  CSL_ASSIGN_OR_RETURN(state.job_, ReadJob(reader));
  state.cohort_floor_ = reader.U32();
  KeyAnnouncement& announcement = state.announcement_;
  announcement.site = std::string(reader.Prefixed(kSiteBytesMax));
  announcement.certificate_pem = std::string(reader.Prefixed(kCertificateBytesMax));
  announcement.certificate_fingerprint = std::string(reader.Fixed(kDigestBytes));
  announcement.identity_key = std::string(reader.Fixed(kKeyBytes));
  announcement.signature = std::string(reader.Fixed(kSignatureBytes));
  CSL_ASSIGN_OR_RETURN(SiteSecrets secrets, SiteSecrets::Read(reader));
  announcement.mask_key = PublicKey(secrets.mask_key);
  announcement.box_key = PublicKey(secrets.box_key);
  CSL_RETURN_IF_ERROR(CheckAnnouncement(state.job_, announcement));
  state.secrets_ = std::make_shared<const SiteSecrets>(std::move(secrets));
  return state;
}

}  // namespace consilium::secagg
