#include "site_agent/round/masking/test_round.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/protocol_key.h"
#include "privacy/crypto/sealed_update.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secagg/payload.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/status.h"
#include "proto/base/thread_pool.h"

namespace consilium::agent {
namespace {

constexpr KeyAgreement::Pace kQuick = {absl::Milliseconds(2), absl::Milliseconds(10)};

secagg::Job JobOf(const TestStudy& study) {
  const SiteTask task = study.TrainTask("any");
  return CheckMaskingTerms(task, kTestFederation)->job;
}

}  // namespace

wire::Plan TestStudy::MaskedPlan() {
  wire::Plan plan;
  plan.study = kTestStudy;
  plan.labels = {{1, "Anterior", ""}};
  plan.protection.kind = "secure-aggregation";
  plan.protection.clip = 0.5;
  return plan;
}

TestStudy::TestStudy(wire::Plan of)
    : now(absl::FromUnixSeconds(absl::ToUnixSeconds(Clock::System().Now()))),
      ca(*privacy::MakeRootCa(kTestFederation, now - absl::Hours(1), absl::Hours(48))),
      sealing(privacy::GenerateHpkeKeyPair()),
      plan(std::move(of)) {
  quantiser.clip = plan.protection.clip;
  quantiser.divisor = 5000;
  quantiser.metrics = {"labelled_cases", "loss", "saturated", "steps"};
  if (plan.privacy.level == "site") {  // four sites that count alike
    quantiser.divisor = 4;
    weight_max = 1;
  }
  bits = static_cast<uint32_t>(plan.protection.bits);
  if (bits == 16) {
    quantiser.rotation_block = 128;
    quantiser.rounding = secagg::Rounding::kStochastic;
  }
}

SiteTask TestStudy::TrainTask(const std::string& site) const {
  SiteTask task;
  task.task_id = absl::StrCat("hippo/1/train/", site);
  task.kind = TaskKind::kTrain;
  task.study = kTestStudy;
  task.round = 1;
  task.plan = plan;
  task.plan_json = wire::PlanToJson(plan);
  task.model = {"hippo/0", std::string(64, 'a'), 100};
  task.sealing_public_key = sealing.public_key;
  task.masking = MaskingTerms{absl::StrCat(kTestFederation, "/", kTestStudy),
                              bits,
                              quantiser.Words(parameters),
                              static_cast<uint32_t>(plan.protection.min_cohort),
                              quantiser.ToText(),
                              1000,
                              weight_max};
  return task;
}

SiteTask TestStudy::UnmaskTask(const std::string& site, TaskKind kind, const std::string& survivors,
                               std::vector<secagg::Consent> consents) const {
  SiteTask task = TrainTask(site);
  task.kind = kind;
  task.masking.reset();
  task.unmasking = UnmaskingTerms{task.task_id, survivors, std::move(consents)};
  task.task_id = absl::StrCat("hippo/1/", TaskKindName(kind), "/", site);
  return task;
}

std::string TestStudy::Certificate(const privacy::SecretBytes& key, const std::string& site) const {
  privacy::IssueOptions options;
  options.identity = {kTestFederation, privacy::Role::kSite, site};
  options.not_before = now - absl::Minutes(5);
  options.lifetime = absl::Hours(24);
  return *privacy::IssueCertificate(ca, *privacy::MakeCsrPem(key, site), options);
}

TestRound::TestRound(const TestStudy& study, std::vector<std::string> invited)
    : sharing(invited.begin(), invited.end()),
      invited_(invited),
      session_(*secagg::ServerSession::Start(JobOf(study), invited)) {}

absl::StatusOr<AgreementReply> TestRound::Agree(const std::string& site, const SiteKeys& keys,
                                                const SiteShares* shares) {
  absl::MutexLock lock(&mutex_);
  CSL_RETURN_IF_ERROR(session_.OnKeys(
      keys.announcement, [](const secagg::KeyAnnouncement&) { return absl::OkStatus(); }));
  keys_[site] = keys;
  if (keys_.size() == invited_.size() && session_.phase() == secagg::ServerPhase::kCollecting) {
    CSL_RETURN_IF_ERROR(session_.CloseKeys());
  }
  if (shares != nullptr) {
    secagg::ShareMessage message{shares->commitment, {}};
    message.boxes.resize(session_.roster().size());
    for (const ShareBox& box : shares->boxes) {
      message.boxes[*secagg::IndexOf(session_.roster(), box.to)] = box.box;
    }
    CSL_RETURN_IF_ERROR(session_.OnShares(site, message));
    shared_.insert(site);
  }
  if (shared_ == sharing && session_.phase() == secagg::ServerPhase::kSharing) {
    CSL_RETURN_IF_ERROR(session_.CloseSharing());
  }
  AgreementReply reply = Reply(site);
  if (tamper) tamper(site, reply);
  return reply;
}

AgreementReply TestRound::Reply(const std::string& site) {
  AgreementReply reply;
  if (session_.phase() == secagg::ServerPhase::kCollecting) return reply;
  if (session_.phase() == secagg::ServerPhase::kSharing) {
    reply.stage = AgreementStage::kShares;
    reply.threshold = session_.params().threshold;
    for (const auto& [name, keys] : keys_) reply.roster.push_back(keys);
    return reply;
  }
  const auto boxes = session_.SharesFor(site);
  if (!boxes.ok()) return {.stage = AgreementStage::kOut, .reason = "too late"};
  reply.stage = AgreementStage::kReady;
  reply.boxes = *boxes;
  reply.sharing.assign(shared_.begin(), shared_.end());
  return reply;
}

TestSite::TestSite(const TestStudy& study, std::string site_name, TestRound* of)
    : name(std::move(site_name)),
      round(of),
      task(study.TrainTask(name)),
      study_(study),
      home_(*TempDir::Create("masking")),
      key_pem_(*privacy::GenerateKeyPem()),
      certificate_pem_(study.Certificate(key_pem_, name)),
      protocol_key_(privacy::Ed25519Key::Generate()) {
  Restart();
}

void TestSite::Restart() {
  site_.reset();
  spool_.emplace(*Spool::Open(home_.path()));
  sessions_.emplace(*SessionStore::Open(home_.path(), study_.now));
  consents_.reset();
  consents_ = *secagg::FileConsentLedger::Open(At("secagg/consents"));
  site_.emplace(MaskingSite{.federation = kTestFederation,
                            .site = name,
                            .sessions = *sessions_,
                            .consents = *consents_,
                            .key = protocol_key_,
                            .certificate = [this]() -> absl::StatusOr<CertificateInForce> {
                              return CertificateInForce{
                                  certificate_pem_,
                                  *privacy::SignProtocolKey(
                                      key_pem_, {kTestFederation, privacy::Role::kSite, name},
                                      protocol_key_.public_key()),
                                  study_.ca.certificate_pem};
                            },
                            .clock = Clock::System(),
                            .record =
                                [this](const SiteEvent& event) {
                                  events.push_back(event);
                                  return absl::OkStatus();
                                },
                            .threads = 2});
}

absl::StatusOr<FinishedTask> TestSite::Train(wire::TensorMap update, const UpdateFacts& facts) {
  TaskMonitor monitor(task, *this, stop, Clock::System());
  CSL_ASSIGN_OR_RETURN(const auto agreement,
                       KeyAgreement::Start(*site_, *this, task, monitor, kQuick));
  CSL_ASSIGN_OR_RETURN(
      const FinishedTask finished,
      FinishMasked(*site_, task, *agreement, *spool_, std::move(update), facts, monitor));
  CSL_RETURN_IF_ERROR(spool_->Keep(finished));
  return finished;
}

absl::Status TestSite::AgreeOnly() {
  TaskMonitor monitor(task, *this, stop, Clock::System());
  CSL_ASSIGN_OR_RETURN(const auto agreement,
                       KeyAgreement::Start(*site_, *this, task, monitor, kQuick));
  return agreement->AwaitReady();
}

absl::StatusOr<AgreementReply> TestSite::AgreeKeys(const std::string&, const SiteKeys& keys,
                                                   const SiteShares* shares) {
  if (before_agree) CSL_RETURN_IF_ERROR(before_agree());
  return round->Agree(name, keys, shares);
}

absl::Status TestSite::ReportProgress(const TaskProgress& report) {
  absl::MutexLock lock(&mutex);
  progress.push_back(report);
  return absl::OkStatus();
}

wire::TensorMap TestUpdate(const std::string& name, uint64_t parameters) {
  wire::TensorMap map;
  map.layout.tensors.push_back({.name = "w", .shape = {static_cast<int64_t>(parameters)}});
  const std::string digest = privacy::Sha256(name);
  for (uint64_t i = 0; i < parameters; ++i) {
    const uint32_t bits = LoadLe32(digest.data() + 4 * (i % 8)) + static_cast<uint32_t>(i * i);
    map.values.push_back(0.2f * (static_cast<float>(bits % 20001) / 10000 - 1));
  }
  return map;
}

std::vector<absl::Status> AgreeAll(const std::vector<std::unique_ptr<TestSite>>& sites) {
  std::vector<absl::Status> ended(sites.size());
  ThreadPool pool(static_cast<int>(sites.size()));
  for (size_t i = 0; i < sites.size(); ++i) {
    pool.Schedule([&, i] {
      ended[i] = sites[i]->AgreeOnly();
      if (ended[i].ok()) return;
      for (const auto& site : sites) site->stop = true;  // nobody can be ready any more
    });
  }
  pool.Wait();
  return ended;
}

absl::StatusOr<OpenedPayload> OpenPayload(const TestStudy& study, TestSite& site) {
  CSL_ASSIGN_OR_RETURN(
      const privacy::SealedReader reader,
      privacy::SealedReader::Open(
          site.spool().UpdatePath(site.task.task_id), study.sealing,
          {kTestFederation, kTestStudy, site.task.round, site.name, site.task.task_id}));
  std::string bytes;
  for (uint64_t at = 0; at < reader.pieces(); ++at) {
    std::string piece;
    CSL_RETURN_IF_ERROR(reader.Read(at, piece));
    bytes += piece;
  }
  CSL_ASSIGN_OR_RETURN(const secagg::PayloadHeader header, secagg::DecodePayloadHeader(bytes));
  if (bytes.size() != header.PayloadBytes()) return absl::InvalidArgumentError("another length");
  OpenedPayload opened{header.session_id, std::vector<uint32_t>(header.words)};
  const char* at = bytes.data() + secagg::kPayloadHeaderBytes;
  for (uint32_t& word : opened.words) {
    std::memcpy(&word, at, header.bits / 8);  // little-endian
    at += header.bits / 8;
  }
  return opened;
}

}  // namespace consilium::agent
