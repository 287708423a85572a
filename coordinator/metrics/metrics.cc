#include "coordinator/metrics/metrics.h"

#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/histogram.h"
#include "prometheus/metric_family.h"
#include "prometheus/registry.h"
#include "prometheus/text_serializer.h"

namespace consilium::coordinator {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

// A round takes seconds in a test and hours at work; making a model takes its size.
const prometheus::Histogram::BucketBoundaries& RoundSeconds() {
  static const auto& bounds =
      *new prometheus::Histogram::BucketBoundaries{1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 21600};
  return bounds;
}
const prometheus::Histogram::BucketBoundaries& AggregationSeconds() {
  static const auto& bounds =
      *new prometheus::Histogram::BucketBoundaries{0.01, 0.05, 0.25, 1, 5, 15, 60, 300};
  return bounds;
}

double Seconds(absl::Time time) { return absl::ToDoubleSeconds(time - absl::UnixEpoch()); }

// One family that is filled at the scrape. Without a sample it is left out.
class Sampled {
 public:
  Sampled(MetricType type, const char* name, const char* help) {
    family_.type = type;
    family_.name = name;
    family_.help = help;
  }
  Sampled& Add(double value) { return Add({}, value); }
  Sampled& Add(std::vector<ClientMetric::Label> labels, double value) {
    ClientMetric& metric = family_.metric.emplace_back();
    metric.label = std::move(labels);
    (family_.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
    return *this;
  }
  void MoveTo(std::vector<MetricFamily>& out) {
    if (!family_.metric.empty()) out.push_back(std::move(family_));
  }

 private:
  MetricFamily family_;
};

void AddTrust(const MetricsSnapshot& now, std::vector<MetricFamily>& out) {
  Sampled(MetricType::Counter, "consilium_audit_entries_total", "Entries of the audit log.")
      .Add(static_cast<double>(now.audit_entries))
      .MoveTo(out);
  Sampled age(MetricType::Gauge, "consilium_audit_checkpoint_age_seconds",
              "Since the audit log's newest checkpoint was signed.");
  if (now.checkpoint_age) age.Add(absl::ToDoubleSeconds(*now.checkpoint_age));
  age.MoveTo(out);
  Sampled lag(MetricType::Gauge, "consilium_audit_witness_lag_entries",
              "Entries of the audit log that a witness has not cosigned yet.");
  for (const auto& [witness, entries] : now.witness_lag_entries) {
    lag.Add({{"witness", witness}}, static_cast<double>(entries));
  }
  lag.MoveTo(out);
  Sampled expiry(MetricType::Gauge, "consilium_cert_expiry_timestamp_seconds",
                 "When a certificate of the coordinator ends, in Unix time.");
  for (const auto& [name, time] : now.certificate_expiry) {
    expiry.Add({{"certificate", name}}, Seconds(time));
  }
  expiry.MoveTo(out);
  Sampled site_expiry(MetricType::Gauge, "consilium_site_cert_expiry_timestamp_seconds",
                      "When a site's certificate ends; sites renew at a third of its lifetime.");
  for (const auto& [site, time] : now.site_certificate_expiry) {
    site_expiry.Add({{"site", site}}, Seconds(time));
  }
  site_expiry.MoveTo(out);
}

void AddSites(const MetricsSnapshot& now, std::vector<MetricFamily>& out) {
  Sampled seen(MetricType::Gauge, "consilium_site_last_seen_timestamp_seconds",
               "When an approved site last called, in Unix time.");
  for (const auto& [site, time] : now.site_last_seen) seen.Add({{"site", site}}, Seconds(time));
  seen.MoveTo(out);
  Sampled states(MetricType::Gauge, "consilium_sites", "Sites by their state.");
  for (const auto& [state, count] : now.sites_by_state) {
    states.Add({{"state", state}}, static_cast<double>(count));
  }
  states.MoveTo(out);
  Sampled(MetricType::Gauge, "consilium_sites_connected", "Sites that called just now.")
      .Add(static_cast<double>(now.sites_connected))
      .MoveTo(out);
}

void AddMachine(const MetricsSnapshot& now, std::vector<MetricFamily>& out) {
  Sampled free(MetricType::Gauge, "consilium_disk_free_bytes", "Free space where the home lies.");
  if (now.disk_free_bytes) free.Add(static_cast<double>(*now.disk_free_bytes));
  free.MoveTo(out);
  Sampled size(MetricType::Gauge, "consilium_disk_size_bytes", "Size of the disk of the home.");
  if (now.disk_bytes) size.Add(static_cast<double>(*now.disk_bytes));
  size.MoveTo(out);
  Sampled(MetricType::Gauge, "consilium_uploads_in_flight", "Uploads that are not committed.")
      .Add(static_cast<double>(now.uploads_in_flight))
      .MoveTo(out);
  Sampled(MetricType::Gauge, "consilium_uploads_in_flight_bytes",
          "Received bytes of uploads that are not committed.")
      .Add(static_cast<double>(now.upload_in_flight_bytes))
      .MoveTo(out);
  Sampled ready(MetricType::Gauge, "consilium_ready",
                "1 while a check of /readyz holds, 0 while it does not.");
  for (const auto& [check, ok] : now.readiness) ready.Add({{"check", check}}, ok ? 1 : 0);
  ready.MoveTo(out);
}

}  // namespace

struct Metrics::Rep {
  explicit Rep(absl::string_view version)
      : rounds(Counters("consilium_rounds_total", "Rounds that ended, by how they did.")),
        site_bytes(Counters("consilium_submission_bytes_total",
                            "Bytes of updates received from a site.")),
        calls_refused(Counters("consilium_calls_refused_total",
                               "Calls that were refused, by status code.")),
        round_seconds(Histogram("consilium_round_duration_seconds",
                                "From a round's opening to its end.", RoundSeconds())),
        aggregation_seconds(Histogram("consilium_aggregation_duration_seconds",
                                      "Making a model from the updates of a round.",
                                      AggregationSeconds())),
        resumes(Counter("consilium_upload_resumes_total",
                        "Uploads that went on after a break instead of from the start.")),
        store_errors(Counter("consilium_store_write_errors_total",
                             "Commits that the store refused or could not make durable.")),
        peers_refused(Counter("consilium_tls_refusals_total",
                              "Callers whose certificate is missing or not enrolled.")),
        atna_dropped(Counter("consilium_atna_dropped_total",
                             "Audit messages for the hospital's repository that the full spool "
                             "could not take.")) {
    prometheus::BuildGauge()
        .Name("consilium_build_info")
        .Help("1, labelled with the program's version.")
        .Register(registry)
        .Add({{"version", std::string(version)}})
        .Set(1);
    // Named from the start, so that a rate over the first of them is right.
    rounds.Add({{"outcome", "committed"}});
    rounds.Add({{"outcome", "failed"}});
  }

  prometheus::Family<prometheus::Counter>& Counters(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
  }
  prometheus::Counter& Counter(const char* name, const char* help) {
    return Counters(name, help).Add({});
  }
  prometheus::Histogram& Histogram(const char* name, const char* help,
                                   const prometheus::Histogram::BucketBoundaries& bounds) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, bounds);
  }

  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& rounds;
  prometheus::Family<prometheus::Counter>& site_bytes;
  prometheus::Family<prometheus::Counter>& calls_refused;
  prometheus::Histogram& round_seconds;
  prometheus::Histogram& aggregation_seconds;
  prometheus::Counter& resumes;
  prometheus::Counter& store_errors;
  prometheus::Counter& peers_refused;
  prometheus::Counter& atna_dropped;
  mutable absl::Mutex mutex;
  std::function<MetricsSnapshot()> snapshot ABSL_GUARDED_BY(mutex);
};

Metrics::Metrics(absl::string_view version) : rep_(std::make_unique<Rep>(version)) {}
Metrics::~Metrics() = default;

void Metrics::RoundEnded(RoundOutcome outcome, absl::Duration took) {
  rep_->rounds.Add({{"outcome", outcome == RoundOutcome::kCommitted ? "committed" : "failed"}})
      .Increment();
  rep_->round_seconds.Observe(absl::ToDoubleSeconds(took));
}

void Metrics::Aggregated(absl::Duration took) {
  rep_->aggregation_seconds.Observe(absl::ToDoubleSeconds(took));
}

void Metrics::BytesReceived(absl::string_view site, uint64_t bytes) {
  rep_->site_bytes.Add({{"site", std::string(site)}}).Increment(static_cast<double>(bytes));
}

void Metrics::UploadResumed() { rep_->resumes.Increment(); }
void Metrics::StoreWriteFailed() { rep_->store_errors.Increment(); }
void Metrics::PeerRefused() { rep_->peers_refused.Increment(); }
void Metrics::AtnaDropped(uint64_t count) {
  rep_->atna_dropped.Increment(static_cast<double>(count));
}

void Metrics::CallRefused(absl::string_view code) {
  rep_->calls_refused.Add({{"code", std::string(code)}}).Increment();
}

void Metrics::SetSnapshot(std::function<MetricsSnapshot()> snapshot) {
  absl::MutexLock lock(&rep_->mutex);
  rep_->snapshot = std::move(snapshot);
}

std::string Metrics::Scrape() const {
  std::vector<MetricFamily> families;
  // A family without a sample is legal text but no use to anybody.
  for (MetricFamily& family : rep_->registry.Collect()) {
    if (!family.metric.empty()) families.push_back(std::move(family));
  }
  std::function<MetricsSnapshot()> take;
  {
    absl::MutexLock lock(&rep_->mutex);
    take = rep_->snapshot;
  }
  if (take) {
    const MetricsSnapshot now = take();
    AddTrust(now, families);
    AddSites(now, families);
    AddMachine(now, families);
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace consilium::coordinator
