#include "coordinator/service/operations.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/service/log_routes.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/certificate.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/base/supervisor.h"

namespace consilium::coordinator {
namespace {

constexpr uint64_t kPemBytesMax = 64 * 1024;

void AddExpiry(const std::string& path, const char* name,
               std::map<std::string, absl::Time>& expiry) {
  const absl::StatusOr<std::string> pem = ReadFile(path, kPemBytesMax);
  if (!pem.ok()) return;
  const absl::StatusOr<absl::Time> end = privacy::CertificateNotAfter(*pem);
  if (end.ok()) expiry[name] = *end;
}

}  // namespace

Operations::Operations(std::string home, const Parts& parts)
    : home_(std::move(home)),
      parts_(parts),
      ticked_ns_(absl::ToInt64Nanoseconds(parts.clock.Monotonic())),
      notify_every_(SupervisorInterval()) {
  parts_.metrics.SetSnapshot([this] { return Snapshot(); });
}

Operations::~Operations() {
  http_.reset();
  parts_.metrics.SetSnapshot({});
}

absl::Status Operations::Listen(const std::string& address) {
  if (address.empty()) return absl::OkStatus();
  std::vector<HttpRoute> routes = LogRoutes(parts_.store, parts_.log);
  routes.push_back({"/healthz", [this](absl::string_view) {
                      return Alive() ? HttpResponse{.body = "ok\n"}
                                     : HttpResponse{.status = 503,
                                                    .body = "the tick loop stands still\n"};
                    }});
  routes.push_back({"/readyz", [this](absl::string_view) { return Ready(); }});
  routes.push_back({"/metrics", [this](absl::string_view) {
                      return HttpResponse{.content_type = kMetricsContentType,
                                          .body = parts_.metrics.Scrape()};
                    }});
  CSL_ASSIGN_OR_RETURN(http_, HttpServer::Start(address, std::move(routes)));
  return absl::OkStatus();
}

void Operations::Ticked() {
  const absl::Duration now = parts_.clock.Monotonic();
  ticked_ns_ = absl::ToInt64Nanoseconds(now);
  if (now - absl::Nanoseconds(notified_ns_.load()) < notify_every_) return;
  notified_ns_ = absl::ToInt64Nanoseconds(now);
  NotifySupervisor(kSupervisorAlive);
}

bool Operations::Alive() const {
  // After the drain has begun the loop is over on purpose.
  return draining_ ||
         parts_.clock.Monotonic() - absl::Nanoseconds(ticked_ns_.load()) < kTickStallMax;
}

// The disk takes a small file, durably. What only the store would notice is counted where it
// writes.
absl::Status Operations::ProbeWrite() const {
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = parts_.clock.Monotonic();
  if (now - probed_ >= kWriteProbeEvery) {
    probed_ = now;
    probe_ = WriteFileAtomic(JoinPath(home_, "run/probe"), "ok\n");
  }
  return probe_;
}

std::vector<Operations::Check> Operations::Readiness() const {
  std::vector<Check> checks;
  const absl::Status writable = parts_.store.Writable();  // not while the audit log is frozen
  checks.push_back({"store", writable.ok() ? ProbeWrite() : writable});
  const absl::StatusOr<FederationDriver::Space> disk = parts_.driver.MeasureSpace();
  absl::Status space = disk.status();
  if (disk.ok() && disk->low()) {
    space = absl::ResourceExhaustedError(
        absl::StrCat(disk->free, " bytes free, the floor is ", disk->floor,
                     "; free some space, rounds go on by themselves"));
  }
  checks.push_back({"disk", space});
  checks.push_back({"serving", draining_ || parts_.driver.draining()
                                   ? absl::UnavailableError("the coordinator is stopping")
                                   : absl::OkStatus()});
  return checks;
}

HttpResponse Operations::Ready() const {
  nlohmann::ordered_json checks = nlohmann::ordered_json::object();
  bool ready = true;
  for (const Check& check : Readiness()) {
    ready = ready && check.status.ok();
    checks[check.name] = check.status.ok() ? "ok" : std::string(check.status.message());
  }
  const nlohmann::ordered_json body = {{"ready", ready}, {"checks", std::move(checks)}};
  return {ready ? 200 : 503, "application/json", absl::StrCat(body.dump(2), "\n")};
}

// A note holds no time: its age counts from the first look that found it.
void Operations::AddTrust(MetricsSnapshot& now) const {
  now.audit_entries = parts_.store.AuditSize();
  const uint64_t offered = parts_.log.offered_size();
  if (offered > 0) {
    absl::MutexLock lock(&mutex_);
    const absl::Duration moment = parts_.clock.Monotonic();
    if (offered != offered_size_) {
      offered_size_ = offered;
      offered_since_ = moment;
    }
    now.checkpoint_age = moment - offered_since_;
  }
  for (const AuditLog::WitnessStatus& witness : parts_.log.Witnesses()) {
    now.witness_lag_entries[witness.site] =
        now.audit_entries - std::min(now.audit_entries, witness.size);
  }
}

MetricsSnapshot Operations::Snapshot() const {
  MetricsSnapshot now;
  AddTrust(now);
  for (const SiteStatus& site : parts_.sites.List()) {
    ++now.sites_by_state[std::string(Name(site.record.state))];
    now.sites_connected += site.connected ? 1 : 0;
    if (site.record.state == SiteState::kApproved && site.last_seen > absl::UnixEpoch()) {
      now.site_last_seen[site.record.name] = site.last_seen;
    }
    if (site.record.state == SiteState::kApproved && site.record.certificate_ends_us > 0) {
      now.site_certificate_expiry[site.record.name] =
          absl::FromUnixMicros(site.record.certificate_ends_us);
    }
  }
  AddExpiry(JoinPath(home_, "server.crt"), "server", now.certificate_expiry);
  AddExpiry(JoinPath(home_, "ca/ca.crt"), "ca", now.certificate_expiry);
  AddExpiry(JoinPath(home_, "admin/client.crt"), "admin", now.certificate_expiry);
  if (const auto disk = parts_.driver.MeasureSpace(); disk.ok()) {
    now.disk_free_bytes = disk->free;
    now.disk_bytes = disk->total;
  }
  const FederationDriver::UploadTotals uploads = parts_.driver.UploadsUnderWay();
  now.uploads_in_flight = uploads.count;
  now.upload_in_flight_bytes = uploads.received_bytes;
  for (const Check& check : Readiness()) now.readiness[check.name] = check.status.ok();
  return now;
}

}  // namespace consilium::coordinator
