// A masked round in process: a coordinator's session, and sites with homes of their own that can be
// restarted. Hostile where a test says so.
#ifndef CONSILIUM_SITE_AGENT_ROUND_MASKING_TEST_ROUND_H_
#define CONSILIUM_SITE_AGENT_ROUND_MASKING_TEST_ROUND_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "privacy/crypto/certificate.h"
#include "privacy/crypto/hpke.h"
#include "privacy/secagg/quantise.h"
#include "privacy/secagg/server_session.h"
#include "proto/base/file.h"
#include "proto/wire/tensor_map.h"
#include "site_agent/round/masking/key_agreement.h"
#include "site_agent/round/masking/masked_update.h"
#include "site_agent/round/masking/masking_site.h"
#include "site_agent/round/spool.h"

namespace consilium::agent {

inline constexpr char kTestFederation[] = "fed";
inline constexpr char kTestStudy[] = "hippo";

// The federation's root, and what every site's task has in common.
struct TestStudy {
  explicit TestStudy(wire::Plan plan = MaskedPlan());
  static wire::Plan MaskedPlan();
  SiteTask TrainTask(const std::string& site) const;
  SiteTask UnmaskTask(const std::string& site, TaskKind kind, const std::string& survivors,
                      std::vector<secagg::Consent> consents = {}) const;
  std::string Certificate(const privacy::SecretBytes& key, const std::string& site) const;

  absl::Time now;
  privacy::KeyAndCertificate ca;
  privacy::HpkeKeyPair sealing;
  wire::Plan plan;
  secagg::QuantiserSpec quantiser;
  uint64_t parameters = 1000;
  uint32_t bits = 32;
  int64_t weight_max = 1000;  // of each site
};

// The coordinator's end. Fixes the roster when all of `invited` have announced, and the sharing
// sites when all of `sharing` have shared. Thread-safe.
class TestRound {
 public:
  TestRound(const TestStudy& study, std::vector<std::string> invited);

  absl::StatusOr<AgreementReply> Agree(const std::string& site, const SiteKeys& keys,
                                       const SiteShares* shares);

  // Changes a reply to `site` on its way; may be empty.
  std::function<void(const std::string& site, AgreementReply& reply)> tamper;
  std::set<std::string> sharing;  // default: all invited
  secagg::ServerSession& session() { return session_; }

 private:
  AgreementReply Reply(const std::string& site) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  const std::vector<std::string> invited_;
  std::map<std::string, SiteKeys> keys_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> shared_ ABSL_GUARDED_BY(mutex_);
  secagg::ServerSession session_;
};

// A site with a home; not enrolled over a network, but by the study's root.
class TestSite final : public Federation {
 public:
  TestSite(const TestStudy& study, std::string site_name, TestRound* of);

  // As after a kill: everything is read from the home again.
  void Restart();
  // Trains `update` as a real task would; at most once at a time.
  absl::StatusOr<FinishedTask> Train(wire::TensorMap update, const UpdateFacts& facts);
  // Only the agreement, until it is ready.
  absl::Status AgreeOnly();
  const MaskingSite& site() const { return *site_; }
  Spool& spool() { return *spool_; }
  std::string At(const std::string& file) const { return JoinPath(home_.path(), file); }

  std::string name;
  TestRound* round;
  SiteTask task;
  std::atomic<bool> stop{false};
  std::function<absl::Status()> before_agree;  // a call's failure; may be empty
  std::vector<SiteEvent> events;
  absl::Mutex mutex;
  std::vector<TaskProgress> progress ABSL_GUARDED_BY(mutex);

  absl::StatusOr<AgreementReply> AgreeKeys(const std::string&, const SiteKeys& keys,
                                           const SiteShares* shares) override;
  absl::Status ReportProgress(const TaskProgress& report) override;
  absl::Status Hello() override { return absl::OkStatus(); }
  absl::StatusOr<NextAnswer> NextTask(absl::Duration, const std::vector<std::string>&) override {
    return NextAnswer();
  }
  absl::Status ReportCohort(const std::string&, const CohortSummary&) override { return Unasked(); }
  absl::Status DownloadModel(const ModelRef&, const std::string&, const ByteProgress&) override {
    return Unasked();
  }
  absl::StatusOr<UploadOutcome> Upload(const TaskKey&, const UpdateOffer&, const std::string&,
                                       const ByteProgress&) override {
    return Unasked();
  }
  absl::Status Decline(const std::string&, const std::string&) override { return Unasked(); }
  absl::Status ReportEvaluation(const std::string&, const EvaluationResult&) override {
    return Unasked();
  }
  absl::Status SubmitConsent(const std::string&, const ConsentResult&) override {
    return Unasked();
  }
  absl::Status SubmitReveal(const std::string&, const RevealResult&) override { return Unasked(); }

 private:
  static absl::Status Unasked() { return absl::UnimplementedError("not part of this test"); }

  const TestStudy& study_;
  TempDir home_;
  privacy::SecretBytes key_pem_;
  std::string certificate_pem_;
  privacy::Ed25519Key protocol_key_;
  std::optional<SessionStore> sessions_;
  std::unique_ptr<secagg::FileConsentLedger> consents_;
  std::optional<Spool> spool_;
  std::optional<MaskingSite> site_;
};

// Values that are the same for the same name.
wire::TensorMap TestUpdate(const std::string& name, uint64_t parameters);
// Every site agrees at the same time; what each says at the end.
std::vector<absl::Status> AgreeAll(const std::vector<std::unique_ptr<TestSite>>& sites);

// The opened payload of a site's spooled update.
struct OpenedPayload {
  std::string session_id;
  std::vector<uint32_t> words;
};
absl::StatusOr<OpenedPayload> OpenPayload(const TestStudy& study, TestSite& site);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_MASKING_TEST_ROUND_H_
