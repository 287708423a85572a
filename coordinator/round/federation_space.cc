// The part of FederationDriver that keeps what sites send within what this machine has room for.
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "coordinator/round/federation_driver.h"
#include "privacy/log/log.h"
#include "proto/base/status.h"
#include "proto/wire/timeouts.h"

namespace consilium::coordinator {
namespace {

using privacy::Log;
using privacy::LogField;
using privacy::LogLevel;
using Key = privacy::LogField::Key;

constexpr absl::string_view kRetry = "; try again in 10 s, the update is kept at the site";

}  // namespace

absl::StatusOr<FederationDriver::Space> FederationDriver::MeasureSpace() const {
  std::error_code error;
  // The folder comes with the first upload; the one that it will lie in is there.
  const auto space = std::filesystem::space(
      std::filesystem::path(options_.staging_folder).parent_path(), error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("the home's disk cannot be asked: ", error.message()));
  }
  return Space{space.available, space.capacity, options_.disk_floor_bytes};
}

std::optional<uint64_t> FederationDriver::RoomFor(absl::string_view study) const {
  const absl::StatusOr<Space> space = MeasureSpace();
  if (!space.ok()) return std::nullopt;  // readiness says so
  uint64_t taken = space->floor;
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, run] : studies_) {
    if (name != study) taken += run->BytesAhead();
  }
  return space->free > taken ? space->free - taken : 0;
}

void FederationDriver::WatchSpace() {
  const absl::StatusOr<Space> space = MeasureSpace();
  if (!space.ok()) return;  // readiness says so
  const bool low = space->low();
  {
    absl::MutexLock lock(&mutex_);
    if (low == low_on_space_) return;
    low_on_space_ = low;
    ScheduleWake();
  }
  AuditFacts facts;
  facts.actor = facts.role = "coordinator";
  facts.action = low ? "disk.low" : "disk.recovered";
  facts.reason = absl::StrCat(space->free, " bytes free, the floor is ", space->floor);
  Log(low ? LogLevel::kError : LogLevel::kInfo,
      "free space crossed the floor: below it no training and no upload begins; make room, or lower "
      "disk_floor_bytes",
      {{Key::kAction, facts.action}, {Key::kReason, facts.reason}});
  Batch batch;
  batch.Audit(std::move(facts));
  if (const absl::Status written = store_.Commit(batch, clock_.Now()).status(); !written.ok()) {
    Log(LogLevel::kError, "the want of space could not be audited",
        {{Key::kReason, written.message()}});
  }
}

// Cuts what hangs. A site whose update is being checked waits for us, so it is not standing still.
void FederationDriver::WatchUploads() {
  const absl::Duration now = clock_.Monotonic();
  std::vector<std::shared_ptr<Upload>> uploads;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [id, upload] : uploads_) uploads.push_back(upload);
  }
  for (const std::shared_ptr<Upload>& upload : uploads) {
    upload->CutIfStalled(now, wire::kTransferIdle);
    if (upload->claimed()) SignOfProgress(upload->announcement().site);
  }
}

absl::Status FederationDriver::Admit(const Announcement& announcement) const {
  CSL_ASSIGN_OR_RETURN(const Space space, MeasureSpace());
  if (space.low() || space.free - space.floor < announcement.bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the coordinator's disk is nearly full", kRetry));
  }
  const std::string id = UploadId(announcement);
  uint64_t under_way = 0;
  absl::MutexLock lock(&mutex_);
  for (const auto& [other, upload] : uploads_) {
    if (other == id) continue;
    // One that hangs has written what it has; its site comes back through this door.
    if (!upload->stalled()) under_way += upload->announcement().bytes;
  }
  // One update always fits: the bound is for many at once.
  if (under_way > 0 && under_way + announcement.bytes > options_.uploads_in_flight_bytes_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat(under_way, " bytes of updates are on their way, at most ",
                     options_.uploads_in_flight_bytes_max, " may be", kRetry));
  }
  return absl::OkStatus();
}

}  // namespace consilium::coordinator
