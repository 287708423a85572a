// What the coordinator tells Prometheus: events counted as they happen, and a snapshot of its state
// that is taken when somebody asks.
//
// Names: consilium_<subsystem>_<noun>_<unit>[_total], base units. Labels are bounded: a site's name,
// a witness's, an outcome, a status code. Never a study, a person or a case: what is scraped is kept
// for long, elsewhere, and read by many.
//
// Order: construct, SetSnapshot once, then anything. Thread-safe. Counters start at 0 with the
// process, as Prometheus expects; consilium_audit_entries_total alone is the log's size.
#ifndef CONSILIUM_COORDINATOR_METRICS_METRICS_H_
#define CONSILIUM_COORDINATOR_METRICS_METRICS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace consilium::coordinator {

enum class RoundOutcome { kCommitted, kFailed };

// The coordinator at one moment. What is absent is left out of the answer.
struct MetricsSnapshot {
  uint64_t audit_entries = 0;
  std::optional<absl::Duration> checkpoint_age;
  std::map<std::string, uint64_t> witness_lag_entries;
  std::map<std::string, absl::Time> site_last_seen;
  std::map<std::string, int64_t> sites_by_state;  // "approved" -> how many
  int64_t sites_connected = 0;
  std::map<std::string, absl::Time> certificate_expiry;  // "server", "ca", "admin"
  std::map<std::string, absl::Time> site_certificate_expiry;  // of approved sites
  std::optional<uint64_t> disk_free_bytes;
  std::optional<uint64_t> disk_bytes;
  uint64_t uploads_in_flight = 0;
  uint64_t upload_in_flight_bytes = 0;  // received of uploads that are not committed
  std::map<std::string, bool> readiness;  // by check
};

class Metrics {
 public:
  explicit Metrics(absl::string_view version);
  ~Metrics();

  void RoundEnded(RoundOutcome outcome, absl::Duration took);
  void Aggregated(absl::Duration took);
  void BytesReceived(absl::string_view site, uint64_t bytes);
  void UploadResumed();
  void StoreWriteFailed();
  // A caller that was turned away. `code` is absl::StatusCodeToString's name.
  void CallRefused(absl::string_view code);
  // Callers without a certificate of ours, or with one that is not enrolled.
  void PeerRefused();
  void AtnaDropped(uint64_t count);

  // Called once for each Scrape, on the scraping thread.
  void SetSnapshot(std::function<MetricsSnapshot()> snapshot);
  // Prometheus text format 0.0.4.
  std::string Scrape() const;

 private:
  struct Rep;
  std::unique_ptr<Rep> rep_;
};

inline constexpr const char* kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_METRICS_METRICS_H_
