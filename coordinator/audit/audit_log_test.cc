#include "coordinator/audit/audit_log.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/transparency/policy.h"
#include "privacy/transparency/proof.h"
#include "proto/base/file.h"

namespace consilium::coordinator {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

class FakeClock final : public Clock {
 public:
  absl::Time Now() const override { return now_; }
  absl::Duration Monotonic() const override { return now_ - absl::UnixEpoch(); }
  void Advance(absl::Duration by) { now_ += by; }

 private:
  absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
};

// A coordinator's home with nothing but its log.
class AuditLogTest : public ::testing::Test {
 protected:
  absl::Status OpenStatus() {
    Close();
    absl::StatusOr<std::unique_ptr<Store>> store = Store::Open(JoinPath(home_, "store"));
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    AuditLogOptions options;
    options.federation = "fed";
    options.key_path = JoinPath(home_, "audit.key");
    options.checkpoint_path = JoinPath(home_, "audit/checkpoint");
    options.evidence_folder = JoinPath(home_, "audit/evidence");
    auto log = AuditLog::Open(options, *store_, clock_, [this](const std::string& site) {
      return site != revoked_;
    });
    if (!log.ok()) return log.status();
    log_ = *std::move(log);
    return absl::OkStatus();
  }
  void Open() { ASSERT_TRUE(OpenStatus().ok()) << OpenStatus(); }
  void Close() {
    log_.reset();
    store_.reset();
  }
  void Add(int count, const std::string& action = "something") {
    for (int i = 0; i < count; ++i) {
      Batch batch;
      AuditFacts facts;
      facts.actor = facts.role = "coordinator";
      facts.action = action;
      batch.Audit(facts);
      ASSERT_TRUE(store_->Commit(batch, clock_.Now()).ok());
    }
  }
  void CopyHome(const std::string& from, const std::string& to) {
    fs::remove_all(to);
    fs::copy(from, to, fs::copy_options::recursive);
  }
  // A witness that cosigns what it is offered.
  struct Site {
    std::string name;
    privacy::NoteSigner signer;
    std::string last;
    uint64_t size = 0;
  };
  static Site MakeSite(const std::string& name) {
    return {name,
            privacy::NoteSigner::Generate(absl::StrCat("site/", name), privacy::kCosignatureEd25519)
                .value(),
            {},
            0};
  }
  absl::Status Hello(const Site& site, const std::string& certificate = "key") {
    return log_->OnHello(site.name, certificate, site.signer.verifier().ToString(), site.last);
  }
  absl::Status Cosign(Site& site) {
    const auto offer = log_->OfferSince(site.size);
    if (!offer.ok()) return offer.status();
    const auto note = privacy::SignedNote::Parse(offer->note);
    const auto checkpoint = privacy::ParseCheckpoint(note->text);
    site.last = offer->note;
    site.size = checkpoint->size;
    return log_->AcceptCosignature(site.name, *checkpoint,
                                   privacy::Cosign(note->text, site.signer, clock_.Now()).ToLine());
  }
  absl::StatusOr<privacy::PolicyVerdict> Verdict() {
    const auto policy = privacy::Policy::Parse(log_->PolicyText());
    if (!policy.ok()) return policy.status();
    return privacy::CheckPolicy(log_->ReviewHead()->note, *policy);
  }

  const TempDir temp_ = TempDir::Create("audit_log").value();
  const std::string home_ = JoinPath(temp_.path(), "home");
  FakeClock clock_;
  std::string revoked_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<AuditLog> log_;

  void SetUp() override { ASSERT_TRUE(MakeDirs(JoinPath(home_, "audit")).ok()); }
};

TEST_F(AuditLogTest, CheckpointsAreSignedAndKeptInsideAndOutside) {
  Open();
  Add(3);
  ASSERT_TRUE(log_->Sign().ok());
  const std::string outside = *ReadFile(JoinPath(home_, "audit/checkpoint"), 1 << 20);
  EXPECT_EQ(outside, *store_->LoadCheckpoint(CheckpointKind::kNewest));
  const auto key = privacy::VerifierKey::Parse(log_->vkey());
  const auto checkpoint = privacy::OpenCheckpoint(outside, *key);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->origin, "consilium/fed/audit");
  EXPECT_EQ(checkpoint->size, 3u);
  EXPECT_EQ(checkpoint->root, *store_->RootAt(3));
  Open();
  EXPECT_EQ(log_->offered_size(), 3u);
  const std::string vkey = log_->vkey();
  Add(1);
  Open();
  EXPECT_EQ(log_->vkey(), vkey) << "the key stays";
}

TEST_F(AuditLogTest, ARoundIsSignedByItselfAndOfferedAtOnce) {
  Open();
  log_->Start();
  Add(1, "round.commit");
  for (int i = 0; i < 500 && log_->offered_size() == 0; ++i) {
    absl::Notification never;
    never.WaitForNotificationWithTimeout(absl::Milliseconds(10));
  }
  EXPECT_EQ(log_->offered_size(), 1u);
}

TEST_F(AuditLogTest, OneCheckpointIsOfferedUntilARoundOrAMinutePasses) {
  Open();
  Add(2);
  ASSERT_TRUE(log_->Sign().ok());
  Add(2);
  ASSERT_TRUE(log_->Sign().ok());
  EXPECT_EQ(log_->offered_size(), 2u) << "so that cosignatures meet";
  EXPECT_EQ(log_->OfferSince(3).ok(), true) << "whoever has seen more gets the newest";
  EXPECT_TRUE(absl::IsOutOfRange(log_->OfferSince(5).status()));
  clock_.Advance(kOfferedFor);
  ASSERT_TRUE(log_->Sign().ok());
  EXPECT_EQ(log_->offered_size(), 4u);
}

TEST_F(AuditLogTest, CosignaturesMakeACheckpointThatThePolicyAccepts) {
  Open();
  Site a = MakeSite("a"), b = MakeSite("b"), c = MakeSite("c");
  for (Site* site : {&a, &b, &c}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(log_->AcceptCosignature(site->name, {}, "")));
    ASSERT_TRUE(Hello(*site).ok());
    ASSERT_TRUE(Hello(*site).ok()) << "said again";
  }
  AuditQuery enrolments;
  enrolments.action = "witness.enrol";
  EXPECT_THAT(*store_->SearchAudit(enrolments), SizeIs(3));
  ASSERT_TRUE(log_->Sign().ok());
  ASSERT_TRUE(Cosign(a).ok());
  EXPECT_FALSE(Verdict().ok()) << "two of three are asked for";
  ASSERT_TRUE(Cosign(b).ok());
  const auto verdict = Verdict();
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_THAT(verdict->cosigned, SizeIs(2));
  ASSERT_TRUE(Cosign(c).ok());
  EXPECT_THAT(Verdict()->cosigned, SizeIs(3));

  const auto policy = privacy::Policy::Parse(log_->PolicyText());
  const AuditLine entry = *store_->AuditEntry(1);
  const auto text = log_->Prove(entry);
  ASSERT_TRUE(text.ok()) << text.status();
  const auto proof = privacy::ParseLogProof(*text);
  ASSERT_TRUE(proof.ok()) << proof.status();
  EXPECT_EQ(proof->extra, entry.json);
  EXPECT_TRUE(privacy::VerifyLogProof(*proof, entry.json, *policy).ok());

  Open();  // what was witnessed survives
  EXPECT_THAT(Verdict()->cosigned, SizeIs(3));
  revoked_ = "c";
  EXPECT_THAT(log_->PolicyText(), Not(HasSubstr("witness c ")));
}

TEST_F(AuditLogTest, WrongCosignaturesAndKeysAreRefused) {
  Open();
  Site a = MakeSite("a"), thief = MakeSite("thief");
  ASSERT_TRUE(Hello(a).ok());
  ASSERT_TRUE(log_->Sign().ok());
  EXPECT_TRUE(absl::IsPermissionDenied(
      log_->OnHello("thief", "key", a.signer.verifier().ToString(), "")));
  ASSERT_TRUE(Hello(thief).ok());
  const auto offer = log_->OfferSince(0);
  const std::string text = privacy::SignedNote::Parse(offer->note)->text;
  privacy::Checkpoint checkpoint = *privacy::ParseCheckpoint(text);
  const std::string by_thief = privacy::Cosign(text, thief.signer, clock_.Now()).ToLine();
  EXPECT_TRUE(absl::IsInvalidArgument(log_->AcceptCosignature("a", checkpoint, by_thief)));
  checkpoint.root[0] ^= 1;
  EXPECT_TRUE(absl::IsInvalidArgument(log_->AcceptCosignature("thief", checkpoint, by_thief)));
  checkpoint.size = 99;
  EXPECT_TRUE(absl::IsOutOfRange(log_->AcceptCosignature("thief", checkpoint, by_thief)));

  a.signer = MakeSite("a").signer;
  EXPECT_TRUE(absl::IsPermissionDenied(Hello(a))) << "same certificate, other key";
  EXPECT_TRUE(Hello(a, "new certificate").ok());
  EXPECT_TRUE(absl::IsInvalidArgument(log_->OnHello("a", "key", "no key", "")));
  EXPECT_TRUE(absl::IsInvalidArgument(log_->OnHello("a", "key", log_->vkey(), "")));
}

TEST_F(AuditLogTest, AStoreThatWasRolledBackCutOrEmptiedDoesNotOpen) {
  Open();
  Add(5);
  ASSERT_TRUE(log_->Sign().ok());
  Close();
  const std::string store = JoinPath(home_, "store"), old = JoinPath(temp_.path(), "old");
  CopyHome(store, old);
  Open();
  Add(7);
  ASSERT_TRUE(log_->Sign().ok());
  Close();
  CopyHome(store, JoinPath(temp_.path(), "now"));

  CopyHome(old, store);
  const absl::Status rolled_back = OpenStatus();
  EXPECT_TRUE(absl::IsDataLoss(rolled_back)) << rolled_back;
  EXPECT_THAT(rolled_back.message(), HasSubstr("has 12 entries, the store 5"));
  EXPECT_THAT(rolled_back.message(), HasSubstr("restore a backup with at least 12 entries"));
  Close();

  fs::remove_all(store);
  EXPECT_THAT(OpenStatus().message(), HasSubstr("the store 0"));
  Close();

  CopyHome(JoinPath(temp_.path(), "now"), store);
  for (const auto& file : fs::directory_iterator(store)) {  // RocksDB itself opens this with nothing
    if (file.path().extension() == ".log") fs::remove(file.path());
  }
  const absl::Status no_wal = OpenStatus();
  EXPECT_TRUE(absl::IsDataLoss(no_wal)) << no_wal;
  Close();

  CopyHome(JoinPath(temp_.path(), "now"), store);
  EXPECT_TRUE(OpenStatus().ok());
}

TEST_F(AuditLogTest, AMissingKeyOrAForeignCheckpointIsNotTakenSilently) {
  Open();
  Add(2);
  ASSERT_TRUE(log_->Sign().ok());
  Close();
  const std::string key = JoinPath(home_, "audit.key");
  fs::rename(key, key + ".away");
  EXPECT_THAT(OpenStatus().message(), HasSubstr("audit.key"));
  EXPECT_FALSE(PathExists(key)) << "no new one is made";
  ASSERT_TRUE(privacy::NoteSigner::OpenFile(key, LogOrigin("fed"), privacy::kNoteEd25519).ok());
  EXPECT_THAT(OpenStatus().message(), HasSubstr("not signed by this log's key"));
  fs::rename(key + ".away", key);
  EXPECT_TRUE(OpenStatus().ok());
}

TEST_F(AuditLogTest, AWitnessThatSawMoreFreezesTheLogForGood) {
  Open();
  Site site = MakeSite("a");
  ASSERT_TRUE(Hello(site).ok());
  Close();
  const std::string old = JoinPath(temp_.path(), "old");
  CopyHome(home_, old);
  Open();
  Add(5);
  ASSERT_TRUE(log_->Sign().ok());
  ASSERT_TRUE(Cosign(site).ok());
  Close();
  CopyHome(old, home_);  // the checkpoint outside went back too
  Open();
  const absl::Status status = Hello(site);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("the witness at a has 6 entries, the store 1"));
  EXPECT_TRUE(absl::IsDataLoss(log_->Health()));
  Batch batch;
  AuditFacts facts;
  facts.actor = facts.role = "coordinator";
  facts.action = "x";
  batch.Audit(facts);
  EXPECT_EQ(store_->Commit(batch, clock_.Now()).status(), status);
  Close();
  EXPECT_THAT(OpenStatus().message(), HasSubstr("a-6-")) << "evidence is there after a restart";
  fs::remove_all(JoinPath(home_, "audit/evidence"));
  EXPECT_TRUE(OpenStatus().ok());
}

TEST_F(AuditLogTest, AForkIsSeenAtTheSameSizeAndOnlyWhatThisLogSignedCounts) {
  Open();
  Close();
  const std::string fork = JoinPath(temp_.path(), "fork");
  CopyHome(home_, fork);
  Site site = MakeSite("a");
  Open();
  Add(3, "history");
  ASSERT_TRUE(log_->Sign().ok());
  site.last = log_->OfferSince(0)->note;
  Close();
  CopyHome(fork, home_);
  Open();
  Add(3, "another history");
  EXPECT_TRUE(absl::IsFailedPrecondition(log_->OnHello(
      "b", "key", "",
      privacy::SignCheckpoint(
          {LogOrigin("fed"), 100, {}},
          *privacy::NoteSigner::Generate(LogOrigin("fed"), privacy::kNoteEd25519)))));
  EXPECT_TRUE(log_->Health().ok()) << "a site cannot stop the log by itself";
  const absl::Status status = Hello(site);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("are not those that were signed"));
  EXPECT_FALSE(fs::is_empty(JoinPath(home_, "audit/evidence")));
}

}  // namespace
}  // namespace consilium::coordinator
