// A secure aggregation in one process, for tests: sites with identities, a server, and the steps up
// to a phase, so that each test can go on from there with a hostile message.
#ifndef CONSILIUM_PRIVACY_SECAGG_TEST_ROUND_H_
#define CONSILIUM_PRIVACY_SECAGG_TEST_ROUND_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "privacy/crypto/ed25519.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secagg/server_session.h"
#include "privacy/secagg/site_session.h"

namespace consilium::secagg::testing {

inline absl::Status Genuine(const KeyAnnouncement&) { return absl::OkStatus(); }

// In memory; what FileConsentLedger does durably.
class MemoryLedger : public ConsentLedger {
 public:
  absl::Status Record(const Job& job, absl::string_view session_id,
                      absl::string_view survivors) override {
    const std::string key = absl::StrCat(job.job, "/", job.round, "/", job.model_digest);
    const std::string agreed = absl::StrCat(session_id, survivors);
    const auto [at, added] = agreed_.emplace(key, agreed);
    if (at->second == agreed) return absl::OkStatus();
    return absl::FailedPreconditionError("other survivors before");
  }

 private:
  std::map<std::string, std::string> agreed_;
};

inline Job TestJob(uint64_t words = 66, uint32_t bits = 32) {
  return {.job = "job-7",
          .round = 3,
          .model_digest = privacy::Sha256("model"),
          .bits = bits,
          .words = words,
          .min_cohort = 3,
          .quantiser = "clip=0.05;D=354;lanes=2"};
}

struct TestRound {
  explicit TestRound(size_t count, Job round_job = TestJob()) : job(std::move(round_job)) {
    for (size_t i = 0; i < count; ++i) {
      names.push_back(absl::StrCat("site-", i / 100, i / 10 % 10, i % 10));
      identities.push_back(privacy::Ed25519Key::Generate());
      ledgers.push_back(std::make_unique<MemoryLedger>());
    }
    for (size_t i = 0; i < count; ++i) {
      auto site = SiteSession::Start(SiteOptions(i), identities[i]);
      EXPECT_TRUE(site.ok()) << site.status();
      sites.push_back(*std::move(site));
    }
    auto session = ServerSession::Start(job, names);
    EXPECT_TRUE(session.ok()) << session.status();
    server = std::make_unique<ServerSession>(*std::move(session));
  }

  SiteSession::Options SiteOptions(size_t i) const {
    SiteSession::Options options;
    options.site = names[i];
    options.certificate_pem = absl::StrCat("certificate of ", names[i]);
    options.certificate_fingerprint = privacy::Sha256(options.certificate_pem);
    options.job = job;
    options.loaded_model_digest = job.model_digest;
    return options;
  }

  void Announce() {
    for (SiteSession& site : sites) {
      const absl::Status status = server->OnKeys(site.announcement(), Genuine);
      EXPECT_TRUE(status.ok()) << status;
    }
    EXPECT_TRUE(server->CloseKeys().ok());
  }

  // Up to SharesFor; sites of `silent` do not share.
  void Share(const std::vector<size_t>& silent = {}) {
    Announce();
    for (size_t i = 0; i < sites.size(); ++i) {
      const auto message = sites[i].OnRoster(server->params(), server->Announcements(), Genuine);
      ASSERT_TRUE(message.ok()) << message.status();
      if (std::find(silent.begin(), silent.end(), i) != silent.end()) continue;
      const absl::Status status = server->OnShares(names[i], *message);
      ASSERT_TRUE(status.ok()) << status;
    }
    ASSERT_TRUE(server->CloseSharing().ok());
  }

  // Up to masked payloads of `words`, the same for each site but for its number in word 0.
  void Mask(const std::vector<size_t>& silent = {}) {
    Share(silent);
    for (size_t i = 0; i < sites.size(); ++i) {
      payloads.emplace_back();
      const auto shares = server->SharesFor(names[i]);
      if (!shares.ok()) continue;
      const absl::Status status = sites[i].OnShares(*shares);
      ASSERT_TRUE(status.ok()) << status;
      const auto masker = sites[i].MaskerFor(PayloadDigest(i));
      ASSERT_TRUE(masker.ok()) << masker.status();
      payloads[i] = Payload(i);
      masker->Apply(0, absl::MakeSpan(payloads[i]));
    }
  }

  std::vector<uint32_t> Payload(size_t i) const {
    std::vector<uint32_t> payload(job.words);
    for (size_t w = 0; w < payload.size(); ++w) {
      payload[w] = static_cast<uint32_t>(w * 1000 + i) - 5000;
    }
    return payload;
  }
  std::string PayloadDigest(size_t i) const { return privacy::Sha256(absl::StrCat("payload ", i)); }

  // Up to the server's having the survivors' consents; `dropped` did not deliver.
  void AgreeOn(const std::vector<size_t>& dropped = {}) {
    Mask();
    FixWithout(dropped);
    for (const size_t i : server->survivors().Indices()) {
      const auto consent =
          sites[i].OnSurvivors(server->survivors().bytes(), identities[i], *ledgers[i]);
      ASSERT_TRUE(consent.ok()) << consent.status();
      const absl::Status status = server->OnConsent(*consent);
      ASSERT_TRUE(status.ok()) << status;
    }
  }
  void FixWithout(const std::vector<size_t>& dropped) {
    std::vector<std::string> delivered;
    for (size_t i = 0; i < sites.size(); ++i) {
      if (!server->sharing().Has(i)) continue;
      if (std::find(dropped.begin(), dropped.end(), i) == dropped.end()) {
        delivered.push_back(names[i]);
      }
    }
    const absl::Status status = server->FixSurvivors(delivered);
    ASSERT_TRUE(status.ok()) << status;
  }

  void Reveal(const std::vector<size_t>& dropped = {}) {
    AgreeOn(dropped);
    for (const size_t i : server->survivors().Indices()) {
      const auto message = sites[i].OnConsents(server->Consents());
      ASSERT_TRUE(message.ok()) << message.status();
      const absl::Status status = server->OnReveal(names[i], *message);
      ASSERT_TRUE(status.ok()) << status;
    }
  }

  // The sum of the survivors' words as the server gets it, and as it should be.
  std::vector<uint32_t> MaskedSum() const {
    std::vector<uint32_t> sum(job.words);
    for (const size_t i : server->survivors().Indices()) {
      for (size_t w = 0; w < sum.size(); ++w) sum[w] += payloads[i][w];
    }
    return sum;
  }
  std::vector<uint32_t> TrueSum() const {
    std::vector<uint32_t> sum(job.words);
    for (const size_t i : server->survivors().Indices()) {
      for (size_t w = 0; w < sum.size(); ++w) sum[w] += Payload(i)[w];
    }
    return sum;
  }

  Job job;
  std::vector<std::string> names;
  std::vector<privacy::Ed25519Key> identities;
  std::vector<std::unique_ptr<MemoryLedger>> ledgers;
  std::vector<SiteSession> sites;
  std::unique_ptr<ServerSession> server;
  std::vector<std::vector<uint32_t>> payloads;
};

// The code of what a call refused with.
template <typename Result>
absl::StatusCode CodeOf(const Result& result) {
  if constexpr (std::is_same_v<Result, absl::Status>) {
    return result.code();
  } else {
    return result.status().code();
  }
}

}  // namespace consilium::secagg::testing

#endif  // CONSILIUM_PRIVACY_SECAGG_TEST_ROUND_H_
