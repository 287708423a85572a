// The part of FederationDriver that takes updates in. What a site announces and sends is checked
// here, on the caller's thread and without a lock; the study only hears of the verdict.
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/round/federation_driver.h"
#include "coordinator/round/masked_reader.h"
#include "coordinator/round/update_reader.h"
#include "privacy/crypto/sealed_update.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr uint64_t kHeaderSlackBytes = 64 * 1024;  // an update's metadata, beyond the model's
constexpr uint64_t kUploadBytesMin = 32;
constexpr int kDamagedMax = 2;
constexpr size_t kUploadsMax = 4096;  // under way at once

bool IsDigest(absl::string_view text) {
  return text.size() == 2 * privacy::kSha256Bytes &&
         text.find_first_not_of("0123456789abcdef") == absl::string_view::npos;
}

// The update itself is wrong, now and for ever; anything else is trouble on this side.
bool IsVerdict(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsPermissionDenied(status);
}

// Numbers for the record only. A NaN has no place in JSON.
SummaryRecord Finite(SummaryRecord summary) {
  for (double* value : {&summary.seconds, &summary.mean_loss, &summary.mean_supervised_loss,
                        &summary.mean_consistency_loss, &summary.teacher_certainty,
                        &summary.pseudo_foreground_fraction}) {
    if (!std::isfinite(*value)) *value = 0;
  }
  return summary;
}

Caller SiteCaller(absl::string_view site) { return {std::string(site), "site"}; }

// What a masked update of the site has to begin with.
secagg::PayloadHeader MaskedHeader(const MaskedRound& masked, absl::string_view site) {
  return {.session_id = masked.SessionIdOf(site),
          .bits = static_cast<uint32_t>(masked.record().bits),
          .words = static_cast<uint64_t>(masked.record().words)};
}

Offer OfferOf(const Announcement& announcement) {
  return {.site = announcement.site,
          .task_id = announcement.task_id,
          .round = announcement.round,
          .base_sha256 = announcement.base_model_sha256};
}

}  // namespace

absl::Status FederationDriver::CheckShape(const StudyRun& run,
                                          const Announcement& announcement) const {
  uint64_t bytes_max = options_.upload_bytes_max;
  if (announcement.round > 0) {
    const uint64_t models = run.spec().algorithm.kind == "scaffold" ? 2 : 1;
    const uint64_t plain =
        models * static_cast<uint64_t>(run.record().latest_bytes) + kHeaderSlackBytes;
    bytes_max = std::min(bytes_max, privacy::SealedBytes(plain));
  }
  if (announcement.round > 0 && run.masked()) {
    const uint64_t expected =
        privacy::SealedBytes(MaskedHeader(*run.masked(), announcement.site).PayloadBytes());
    if (announcement.bytes != expected) {
      return absl::InvalidArgumentError(absl::StrCat("the masked update has ", announcement.bytes,
                                                     " bytes where ", expected, " belong"));
    }
  }
  if (announcement.bytes < kUploadBytesMin || announcement.bytes > bytes_max) {
    return absl::InvalidArgumentError(absl::StrCat("the update has ", announcement.bytes,
                                                   " bytes where at most ", bytes_max, " fit"));
  }
  if (!IsDigest(announcement.layout_sha256)) {
    return absl::InvalidArgumentError("layout_sha256: must be 64 lower-case hex digits");
  }
  if (announcement.round > 0 && announcement.layout_sha256 != run.record().layout_sha256) {
    return absl::InvalidArgumentError("the update's tensors are not those of the model");
  }
  if (announcement.labelled_cases < 0 || announcement.unlabelled_cases < 0) {
    return absl::InvalidArgumentError("the update's counts of cases are negative");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Upload>> FederationDriver::OpenUpload(
    const Announcement& announcement) {
  const std::string id = UploadId(announcement);
  std::vector<std::shared_ptr<Upload>> replaced;
  {
    absl::MutexLock lock(&mutex_);
    const auto it = uploads_.find(id);
    if (it != uploads_.end()) return it->second;
    for (const auto& [other_id, other] : uploads_) {
      if (other->announcement().task_id == announcement.task_id) replaced.push_back(other);
    }
    if (uploads_.size() - replaced.size() >= kUploadsMax) {
      return absl::ResourceExhaustedError("too many uploads are under way; try again later");
    }
  }
  // One upload a task: a site that sealed its update anew starts anew.
  for (const std::shared_ptr<Upload>& other : replaced) {
    CSL_RETURN_IF_ERROR(other->Discard());
    absl::MutexLock lock(&mutex_);
    uploads_.erase(other->id());
  }
  CSL_RETURN_IF_ERROR(staging_.MakeRoom(announcement.study, announcement.round));
  CSL_ASSIGN_OR_RETURN(
      std::shared_ptr<Upload> upload,
      Upload::Open(announcement,
                   staging_.Path(announcement.study, announcement.round, id)));
  absl::MutexLock lock(&mutex_);
  return uploads_.emplace(id, std::move(upload)).first->second;
}

absl::StatusOr<FederationDriver::UploadPosition> FederationDriver::BeginUpload(
    const Announcement& announcement) {
  if (!IsDigest(announcement.sha256)) {
    return absl::InvalidArgumentError("sha256: must be 64 lower-case hex digits");
  }
  SignOfLife(announcement.site);
  const RunPtr run = Find(announcement.study);
  if (run == nullptr) return absl::NotFoundError("no such study");
  const std::string id = UploadId(announcement);
  // A repeat after the first answer: only the commit is missing.
  const absl::StatusOr<UploadRecord> answered = store_.Upload(id);
  if (answered.ok() && answered->site == announcement.site) {
    return UploadPosition{id, static_cast<uint64_t>(answered->bytes)};
  }
  CSL_RETURN_IF_ERROR(run->CheckOffer(OfferOf(announcement), Now()));
  if (const absl::Status shape = CheckShape(*run, announcement); !shape.ok()) {
    // It will not get better by waiting: the site is out of this round.
    CSL_RETURN_IF_ERROR(Change(announcement.study, SiteCaller(announcement.site),
                               [&](StudyRun& changing, Step& step, Batch&, absl::Time now) {
                                 return changing.OnUpdateRefused(announcement.site,
                                                                 shape.message(), now, step);
                               }));
    return shape;
  }
  CSL_RETURN_IF_ERROR(Admit(announcement));
  CSL_ASSIGN_OR_RETURN(const std::shared_ptr<Upload> upload, OpenUpload(announcement));
  const uint64_t have_offset = upload->have_offset();
  if (options_.metrics != nullptr && have_offset > 0) options_.metrics->UploadResumed();
  return UploadPosition{id, have_offset};
}

FederationDriver::UploadTotals FederationDriver::UploadsUnderWay() const {
  std::vector<std::shared_ptr<Upload>> uploads;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [id, upload] : uploads_) uploads.push_back(upload);
  }
  UploadTotals totals;
  totals.count = uploads.size();
  for (const std::shared_ptr<Upload>& upload : uploads) totals.received_bytes += upload->have_offset();
  return totals;
}

absl::StatusOr<std::shared_ptr<Upload>> FederationDriver::FindUpload(
    absl::string_view site, absl::string_view upload_id) const {
  absl::MutexLock lock(&mutex_);
  const auto it = uploads_.find(upload_id);
  if (it == uploads_.end() || it->second->announcement().site != site) {
    return absl::FailedPreconditionError("no such upload is under way; begin it again");
  }
  return it->second;
}

absl::StatusOr<aggregation::UpdateFacts> FederationDriver::CheckContent(Upload& upload,
                                                                       const StudyRun& run) const {
  const Announcement& announcement = upload.announcement();
  CSL_ASSIGN_OR_RETURN(const std::string digest, upload.Digest());
  if (digest != announcement.sha256) {
    return absl::DataLossError("the upload's digest is not the announced one");
  }
  const privacy::SealContext context = {.federation = options_.federation,
                                        .study = announcement.study,
                                        .round = announcement.round,
                                        .site = announcement.site,
                                        .task_id = announcement.task_id};
  if (run.masked() && announcement.round > 0) {
    CSL_RETURN_IF_ERROR(CheckMasked(upload.path(), sealing_key_, context,
                                    MaskedHeader(*run.masked(), announcement.site)));
    return aggregation::UpdateFacts();  // of a masked update nobody knows any
  }
  return CheckUpdate(upload.path(), sealing_key_, context,
                     {.layout_sha256 = announcement.layout_sha256,
                      .with_control = announcement.round > 0 &&
                                      run.spec().algorithm.kind == "scaffold",
                      .norm_max = announcement.round > 0 ? run.spec().protection.norm_max : 0});
}

// Records the verdict with the study, and keeps the answer for a repeat.
absl::StatusOr<FederationDriver::UploadAnswer> FederationDriver::Settle(
    const Upload& upload, const absl::StatusOr<aggregation::UpdateFacts>& verdict) {
  const Announcement& announcement = upload.announcement();
  UploadRecord record;
  record.upload_id = upload.id();
  record.task_id = announcement.task_id;
  record.site = announcement.site;
  record.study = announcement.study;
  record.round = announcement.round;
  record.sha256 = announcement.sha256;
  record.bytes = static_cast<int64_t>(announcement.bytes);
  record.accepted = verdict.ok() ? 1 : 0;
  record.reason = std::string(verdict.status().message());
  const absl::Status settled = Change(
      announcement.study, SiteCaller(announcement.site),
      [&](StudyRun& run, Step& step, Batch& batch, absl::Time now) -> absl::Status {
        // Once more, now that nothing else can happen in between.
        CSL_RETURN_IF_ERROR(run.CheckOffer(OfferOf(announcement), now));
        // The check took its time; the site may have been revoked since it was let in.
        CSL_ASSIGN_OR_RETURN(const SiteStatus site, sites_.Get(announcement.site));
        if (site.record.state != SiteState::kApproved) {
          return absl::PermissionDeniedError("the site is no longer approved");
        }
        if (verdict.ok()) {
          CSL_RETURN_IF_ERROR(run.OnUpdateVerified(
              announcement.site,
              {.upload_id = upload.id(),
               .bytes = static_cast<int64_t>(announcement.bytes),
               .labelled_cases = announcement.labelled_cases,
               .unlabelled_cases = announcement.unlabelled_cases,
               .weight_milli = 0,
               .summary = Finite(announcement.summary),
               .norm = verdict->norm,
               .all_zero = verdict->all_zero,
               .values_sha256 = HexEncode(verdict->sha256)},
              now, step));
        } else {
          CSL_RETURN_IF_ERROR(
              run.OnUpdateRefused(announcement.site, verdict.status().message(), now, step));
        }
        batch.Put(record);
        return absl::OkStatus();
      });
  CSL_RETURN_IF_ERROR(settled);
  return UploadAnswer{verdict.ok(), record.reason};
}

absl::StatusOr<FederationDriver::UploadAnswer> FederationDriver::CommitUpload(
    absl::string_view site, absl::string_view upload_id) {
  const absl::StatusOr<UploadRecord> answered = store_.Upload(upload_id);
  if (answered.ok() && answered->site == site) {
    return UploadAnswer{answered->accepted != 0, answered->reason};
  }
  CSL_ASSIGN_OR_RETURN(const std::shared_ptr<Upload> upload, FindUpload(site, upload_id));
  const Announcement& announcement = upload->announcement();
  const RunPtr run = Find(announcement.study);
  if (run == nullptr) return absl::NotFoundError("no such study");
  CSL_RETURN_IF_ERROR(run->CheckOffer(OfferOf(announcement), Now()));
  CSL_RETURN_IF_ERROR(upload->Claim());

  absl::StatusOr<aggregation::UpdateFacts> verdict = CheckContent(*upload, *run);
  if (absl::IsDataLoss(verdict.status())) {
    upload->Release(Upload::Content::kDamaged);
    if (upload->damaged_count() < kDamagedMax) {
      return absl::UnavailableError(
          "the upload arrived with another digest than announced; begin it again");
    }
    verdict = absl::InvalidArgumentError(verdict.status().message());
  } else if (!verdict.ok() && !IsVerdict(verdict.status())) {
    upload->Release(Upload::Content::kKept);
    return absl::UnavailableError(
        absl::StrCat("the update could not be checked: ", verdict.status().message()));
  }
  absl::StatusOr<UploadAnswer> answer = Settle(*upload, verdict);
  if (verdict.ok() && absl::IsInvalidArgument(answer.status())) {
    answer = Settle(*upload, answer.status());  // the study itself found fault
  }
  if (!answer.ok()) {
    upload->Release(Upload::Content::kKept);
    return answer;
  }
  absl::MutexLock lock(&mutex_);
  uploads_.erase(std::string(upload_id));
  return answer;
}

}  // namespace consilium::coordinator
