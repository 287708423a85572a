// The coordinator as those who run it see it: liveness, readiness, metrics.
//
//   GET /healthz   200 while the tick loop moves, 503 when it has stood still for kTickStallMax
//   GET /readyz    200 when every check holds, else 503; JSON that names each check and its reason
//   GET /metrics   for Prometheus
//
// Liveness says "restart me", readiness "send nobody here": a full disk or a drain is the latter.
// The same liveness feeds systemd's watchdog.
//
// Order: construct, Listen, Ticked from the tick loop; SetDraining before the listeners go.
// Thread-safe.
#ifndef CONSILIUM_COORDINATOR_SERVICE_OPERATIONS_H_
#define CONSILIUM_COORDINATOR_SERVICE_OPERATIONS_H_

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "coordinator/audit/audit_log.h"
#include "coordinator/http/http_server.h"
#include "coordinator/metrics/metrics.h"
#include "coordinator/round/federation_driver.h"
#include "coordinator/round/site_registry.h"
#include "coordinator/store/store.h"
#include "proto/base/clock.h"

namespace consilium::coordinator {

inline constexpr absl::Duration kTickStallMax = absl::Seconds(60);
// A write of the readiness probe is durable, so it is made at most this often.
inline constexpr absl::Duration kWriteProbeEvery = absl::Seconds(10);

class Operations {
 public:
  // All must outlive it.
  struct Parts {
    FederationDriver& driver;
    SiteRegistry& sites;
    Store& store;
    AuditLog& log;
    Metrics& metrics;
    const Clock& clock;
  };
  Operations(std::string home, const Parts& parts);
  ~Operations();

  // Serves on `address`; empty: serves nothing. UNAVAILABLE: cannot be listened on.
  absl::Status Listen(const std::string& address);
  int port() const { return http_ == nullptr ? 0 : http_->port(); }  // 0: serves nothing

  // The tick loop has done a turn.
  void Ticked();
  void SetDraining() { draining_ = true; }

  struct Check {
    std::string name;  // store (which is not while the log is frozen), disk, serving
    absl::Status status;
  };
  std::vector<Check> Readiness() const;
  bool Alive() const;

 private:
  MetricsSnapshot Snapshot() const;
  absl::Status ProbeWrite() const;
  void AddTrust(MetricsSnapshot& now) const;
  HttpResponse Ready() const;

  const std::string home_;
  const Parts parts_;
  std::atomic<int64_t> ticked_ns_;  // monotonic
  std::atomic<int64_t> notified_ns_ = 0;
  const absl::Duration notify_every_;
  std::atomic<bool> draining_ = false;
  mutable absl::Mutex mutex_;
  mutable absl::Duration probed_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  mutable absl::Status probe_ ABSL_GUARDED_BY(mutex_);
  mutable uint64_t offered_size_ ABSL_GUARDED_BY(mutex_) = 0;  // of the checkpoint seen last
  mutable absl::Duration offered_since_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<HttpServer> http_;  // last: its threads use the rest
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_OPERATIONS_H_
