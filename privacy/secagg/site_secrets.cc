#include "privacy/secagg/site_secrets.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status.h"

namespace consilium::secagg {

void WriteJob(SecretWriter& writer, const Job& job) {
  writer.Prefixed(job.job);
  writer.U64(job.round);
  writer.Fixed(job.model_digest);
  writer.U32(job.bits);
  writer.U64(job.words);
  writer.U32(job.min_cohort);
  writer.Prefixed(job.quantiser);
}

absl::StatusOr<Job> ReadJob(Reader& reader) {
  Job job;
  job.job = std::string(reader.Prefixed(kJobBytesMax));
  job.round = reader.U64();
  job.model_digest = std::string(reader.Fixed(kDigestBytes));
  job.bits = reader.U32();
  job.words = reader.U64();
  job.min_cohort = reader.U32();
  job.quantiser = std::string(reader.Prefixed(kQuantiserBytesMax));
  CSL_RETURN_IF_ERROR(reader.status());
  CSL_RETURN_IF_ERROR(CheckJob(job));
  return job;
}

void WriteShares(SecretWriter& writer, const SharePair& shares) {
  writer.Fixed(shares.self_seed.view());
  writer.Fixed(shares.mask_key.view());
}

SharePair ReadShares(Reader& reader) {
  SharePair shares;
  shares.self_seed = privacy::SecretBytes(reader.Fixed(kKeyBytes));
  shares.mask_key = privacy::SecretBytes(reader.Fixed(kKeyBytes));
  return shares;
}

SiteSet ReadSiteSet(Reader& reader, size_t sites) {
  absl::StatusOr<SiteSet> set = SiteSet::FromBytes(reader.Fixed((sites + 7) / 8), sites);
  if (!set.ok()) reader.Fail();
  return set.ok() ? *std::move(set) : SiteSet(sites);
}

void SiteSecrets::Write(SecretWriter& writer) const {
  for (const privacy::SecretBytes* secret : {&mask_key, &box_key, &self_seed, &rounding_seed}) {
    writer.Fixed(secret->view());
  }
}

absl::StatusOr<SiteSecrets> SiteSecrets::Read(Reader& reader) {
  SiteSecrets secrets;
  for (privacy::SecretBytes* secret :
       {&secrets.mask_key, &secrets.box_key, &secrets.self_seed, &secrets.rounding_seed}) {
    *secret = privacy::SecretBytes(reader.Fixed(kKeyBytes));
  }
  CSL_RETURN_IF_ERROR(reader.status());
  return secrets;
}

void SiteRound::Write(SecretWriter& writer) const {
  WriteJob(writer, params.job);
  writer.U32(static_cast<uint32_t>(roster.size()));
  for (const Member& member : roster) {
    writer.Prefixed(member.site);
    for (const std::string* field : {&member.certificate_fingerprint, &member.identity_key,
                                     &member.mask_key, &member.box_key}) {
      writer.Fixed(*field);
    }
  }
  writer.U32(static_cast<uint32_t>(self));
  writer.U32(cohort_floor);
}

absl::StatusOr<SiteRound> SiteRound::Read(Reader& reader) {
  SiteRound round;
  CSL_ASSIGN_OR_RETURN(round.params.job, ReadJob(reader));
  round.roster.resize(reader.Count(kSitesMax));
  for (Member& member : round.roster) {
    member.site = std::string(reader.Prefixed(kSiteBytesMax));
    for (std::string* field : {&member.certificate_fingerprint, &member.identity_key,
                               &member.mask_key, &member.box_key}) {
      *field = std::string(reader.Fixed(kKeyBytes));
    }
  }
  round.params.threshold = Threshold(round.roster.size());
  CSL_RETURN_IF_ERROR(CheckParams(round.params, round.roster));
  round.self = reader.Count(round.roster.size() - 1);
  round.cohort_floor = reader.U32();
  CSL_RETURN_IF_ERROR(reader.status());
  round.session_id = SessionId(round.params, round.roster);
  return round;
}

}  // namespace consilium::secagg
