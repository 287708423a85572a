#include "coordinator/metrics/metrics.h"

#include <cstdio>
#include <cstdlib>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/file.h"

namespace consilium::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

MetricsSnapshot SomeSnapshot() {
  MetricsSnapshot now;
  now.audit_entries = 12;
  now.checkpoint_age = absl::Milliseconds(1500);
  now.witness_lag_entries = {{"north", 3}};
  now.site_last_seen = {{"north", absl::FromUnixSeconds(1'700'000'000)}};
  now.sites_by_state = {{"approved", 1}};
  now.sites_connected = 1;
  now.certificate_expiry = {{"server", absl::FromUnixSeconds(1'800'000'000)}};
  now.site_certificate_expiry = {{"north", absl::FromUnixSeconds(1'900'000'000)}};
  now.disk_free_bytes = 1000;
  now.disk_bytes = 4000;
  now.readiness = {{"store", true}, {"serving", false}};
  return now;
}

void Fill(Metrics& metrics) {
  metrics.RoundEnded(RoundOutcome::kCommitted, absl::Seconds(20));
  metrics.Aggregated(absl::Milliseconds(100));
  metrics.BytesReceived("north", 250'000'000);
  metrics.UploadResumed();
  metrics.CallRefused("PERMISSION_DENIED");
  metrics.SetSnapshot(SomeSnapshot);
}

TEST(MetricsTest, EventsAndSnapshotAreInTheText) {
  Metrics metrics("1.2.3");
  Fill(metrics);
  metrics.RoundEnded(RoundOutcome::kCommitted, absl::Seconds(30));
  const std::string text = metrics.Scrape();
  for (const char* line : {
           "consilium_rounds_total{outcome=\"committed\"} 2",
           "consilium_rounds_total{outcome=\"failed\"} 0",
           "consilium_round_duration_seconds_count 2",
           "consilium_round_duration_seconds_bucket{le=\"60\"} 2",
           "consilium_aggregation_duration_seconds_sum 0.1",
           "consilium_submission_bytes_total{site=\"north\"} 250000000",
           "consilium_upload_resumes_total 1",
           "consilium_store_write_errors_total 0",
           "consilium_calls_refused_total{code=\"PERMISSION_DENIED\"} 1",
           "consilium_audit_entries_total 12",
           "consilium_audit_checkpoint_age_seconds 1.5",
           "consilium_audit_witness_lag_entries{witness=\"north\"} 3",
           "consilium_site_last_seen_timestamp_seconds{site=\"north\"} 1700000000",
           "consilium_sites{state=\"approved\"} 1",
           "consilium_cert_expiry_timestamp_seconds{certificate=\"server\"} 1800000000",
           "consilium_site_cert_expiry_timestamp_seconds{site=\"north\"} 1900000000",
           "consilium_disk_free_bytes 1000",
           "consilium_ready{check=\"serving\"} 0",
           "consilium_build_info{version=\"1.2.3\"} 1",
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(MetricsTest, WhatIsNotKnownIsLeftOut) {
  Metrics metrics("1");
  metrics.SetSnapshot([] { return MetricsSnapshot(); });
  const std::string text = metrics.Scrape();
  for (const char* name : {"checkpoint_age", "witness_lag", "disk_free", "calls_refused"}) {
    EXPECT_THAT(text, Not(HasSubstr(name)));
  }
  EXPECT_THAT(text, HasSubstr("consilium_audit_entries_total 0"));
}

// The names and types as Prometheus' own linter wants them.
TEST(MetricsTest, PromtoolFindsNoFault) {
  if (std::system("command -v promtool >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "promtool (package prometheus) is not installed";
  }
  Metrics metrics("1.2.3");
  Fill(metrics);
  const auto folder = TempDir::Create("metrics");
  ASSERT_TRUE(folder.ok());
  const std::string path = JoinPath(folder->path(), "metrics.txt");
  ASSERT_TRUE(WriteFileAtomic(path, metrics.Scrape()).ok());
  EXPECT_EQ(std::system(("promtool check metrics < " + path).c_str()), 0) << metrics.Scrape();
}

}  // namespace
}  // namespace consilium::coordinator
