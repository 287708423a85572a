// What must be refused, a test for each entry of the shared list, with a coordinator or peer that
// tries it. Then what a site's session must never do, whatever it is told.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "privacy/crypto/certificate.h"
#include "privacy/crypto/x25519.h"
#include "privacy/secagg/shamir.h"
#include "privacy/secagg/test_round.h"
#include "proto/base/bytes.h"

namespace consilium::secagg {
namespace {

using testing::CodeOf;
using testing::Genuine;
using testing::TestRound;
using Code = absl::StatusCode;

SiteSet SetOf(size_t sites, const std::vector<size_t>& indices) {
  SiteSet set(sites);
  for (const size_t i : indices) set.Add(i);
  return set;
}

// Signed again, as a peer with its own identity can.
void SignAgain(const Job& job, const privacy::Ed25519Key& identity, KeyAnnouncement& keys) {
  keys.signature = identity.Sign(AnnouncementBytes(job, keys));
}

TEST(MustRefuseTest, SurvivorSetSmallerThanTheThresholdOrTheCohort) {
  TestRound round(5);  // threshold 4
  round.Mask();
  for (const auto& survivors : {SetOf(5, {0, 1, 2}), SetOf(5, {0}), SetOf(5, {0, 1})}) {
    EXPECT_EQ(CodeOf(round.sites[0].OnSurvivors(survivors.bytes(), round.identities[0],
                                                *round.ledgers[0])),
              Code::kInvalidArgument);
  }
  EXPECT_EQ(round.sites[0].phase(), SiteSession::Phase::kMasking);
  const std::vector<std::string> three(round.names.begin(), round.names.begin() + 3);
  EXPECT_EQ(round.server->FixSurvivors(three).code(), Code::kFailedPrecondition);

  Job large = testing::TestJob();
  large.min_cohort = 5;
  TestRound strict(5, large);
  strict.Mask();
  EXPECT_EQ(CodeOf(strict.sites[0].OnSurvivors(SetOf(5, {0, 1, 2, 3}).bytes(), strict.identities[0],
                                               *strict.ledgers[0])),
            Code::kInvalidArgument);
  const std::vector<std::string> four(strict.names.begin(), strict.names.begin() + 4);
  EXPECT_EQ(strict.server->FixSurvivors(four).code(), Code::kFailedPrecondition);
}

// There is no message in which a server could name a site twice: who dropped is derived. What is
// left to it is to ask twice, and the answers never hold both shares of one site.
TEST(MustRefuseTest, SiteBothSurvivorAndDropped) {
  TestRound round(4);
  round.AgreeOn({3});
  const auto message = round.sites[0].OnConsents(round.server->Consents());
  ASSERT_TRUE(message.ok());
  ASSERT_EQ(message->shares.size(), 4u);
  std::vector<Consent> with_dropped = round.server->Consents();
  const auto again = round.sites[0].OnConsents(with_dropped);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again, *message);
  const SiteSet all = SetOf(4, {0, 1, 2, 3});
  EXPECT_EQ(CodeOf(round.sites[0].OnSurvivors(all.bytes(), round.identities[0], *round.ledgers[0])),
            Code::kFailedPrecondition);
  // The shares are of three b and one sk_mask: as one kind, they open nothing of the other.
  ASSERT_TRUE(round.server->OnReveal(round.names[0], *message).ok());
  for (const size_t i : {1, 2}) {
    ASSERT_TRUE(
        round.server->OnReveal(round.names[i], *round.sites[i].OnConsents(round.server->Consents()))
            .ok());
  }
  std::vector<ShamirShare> of_dropped;
  const ServerRecord record = round.server->record();
  for (size_t i = 0; i < 3; ++i) {
    of_dropped.push_back({.holder = i, .bytes = record.members[i].reveal->shares[3]});
  }
  const auto secret = ShamirCombine(of_dropped);
  ASSERT_TRUE(secret.ok());
  EXPECT_EQ(*privacy::X25519PublicKey(secret->view()), round.server->roster()[3].mask_key);
  EXPECT_NE(Commitment(round.server->session_id(), round.names[3], secret->view()),
            record.members[3].shares->commitment);
}

TEST(MustRefuseTest, SurvivorThatDidNotShare) {
  TestRound round(5);
  round.Mask({4});
  const SiteSet survivors = SetOf(5, {0, 1, 2, 3, 4});
  EXPECT_EQ(
      CodeOf(round.sites[0].OnSurvivors(survivors.bytes(), round.identities[0], *round.ledgers[0])),
      Code::kInvalidArgument);
  EXPECT_EQ(round.server->FixSurvivors(round.names).code(), Code::kNotFound);
}

TEST(MustRefuseTest, SecondConsentWithAnotherBitmapForTheSameRound) {
  TestRound round(5);
  round.Mask();
  const auto stored = round.sites[0].Serialize();
  const SiteSet first = SetOf(5, {0, 1, 2, 3, 4});
  const SiteSet second = SetOf(5, {0, 1, 2, 3});
  ASSERT_TRUE(
      round.sites[0].OnSurvivors(first.bytes(), round.identities[0], *round.ledgers[0]).ok());
  EXPECT_EQ(
      CodeOf(round.sites[0].OnSurvivors(second.bytes(), round.identities[0], *round.ledgers[0])),
      Code::kFailedPrecondition);
  // Nor after a restart with the state from before: the ledger remembers.
  auto restored = SiteSession::Restore(stored.view());
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(CodeOf(restored->OnSurvivors(second.bytes(), round.identities[0], *round.ledgers[0])),
            Code::kFailedPrecondition);
  EXPECT_TRUE(restored->OnSurvivors(first.bytes(), round.identities[0], *round.ledgers[0]).ok());
  // Nor in a second session of the same job, round and model, with a smaller cohort.
  TestRound rerun(4);
  rerun.Mask();
  EXPECT_EQ(CodeOf(rerun.sites[0].OnSurvivors(SetOf(4, {0, 1, 2, 3}).bytes(), rerun.identities[0],
                                              *round.ledgers[0])),
            Code::kFailedPrecondition);
}

TEST(MustRefuseTest, ConsentsThatAreNotSignedOrTooFew) {
  TestRound round(5);
  round.AgreeOn();
  const std::vector<Consent> consents = round.server->Consents();
  ASSERT_EQ(consents.size(), 5u);
  const std::vector<Consent> three(consents.begin(), consents.begin() + 3);
  EXPECT_EQ(CodeOf(round.sites[0].OnConsents(three)), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(round.sites[0].OnConsents({})), Code::kInvalidArgument);

  std::vector<Consent> forged = consents;
  forged[2].signature[5] ^= 1;
  EXPECT_EQ(CodeOf(round.sites[0].OnConsents(forged)), Code::kPermissionDenied);
  forged = consents;
  forged[2].signature = forged[1].signature;  // another site's
  EXPECT_EQ(CodeOf(round.sites[0].OnConsents(forged)), Code::kPermissionDenied);
  const std::vector<Consent> repeated(4, consents[1]);
  EXPECT_EQ(CodeOf(round.sites[0].OnConsents(repeated)), Code::kInvalidArgument);
  std::vector<Consent> other_set = consents;
  const SiteSet four = SetOf(5, {0, 1, 2, 3});
  for (size_t i = 0; i < 4; ++i) {
    other_set[i].survivors = four.bytes();
    other_set[i].signature =
        round.identities[i].Sign(ConsentBytes(round.server->session_id(), four.bytes()));
  }
  EXPECT_EQ(CodeOf(round.sites[0].OnConsents(other_set)), Code::kInvalidArgument);
  EXPECT_EQ(round.sites[0].phase(), SiteSession::Phase::kConsenting);

  Consent by_another = consents[1];
  by_another.site = round.names[2];
  EXPECT_NE(round.server->OnConsent(by_another).code(), Code::kOk);
}

TEST(MustRefuseTest, OwnIdMissingFromTheSurvivors) {
  TestRound round(5);
  round.Mask();
  EXPECT_EQ(CodeOf(round.sites[0].OnSurvivors(SetOf(5, {1, 2, 3, 4}).bytes(), round.identities[0],
                                              *round.ledgers[0])),
            Code::kInvalidArgument);
}

TEST(MustRefuseTest, ReflectedShareBox) {
  TestRound round(4);
  round.Announce();
  const auto message =
      round.sites[0].OnRoster(round.server->params(), round.server->Announcements(), Genuine);
  ASSERT_TRUE(message.ok());
  std::vector<PeerShare> shares;
  for (size_t i = 1; i < 4; ++i) {
    const auto peer =
        round.sites[i].OnRoster(round.server->params(), round.server->Announcements(), Genuine);
    shares.push_back({.site = round.names[i], .box = peer->boxes[0]});
  }
  std::vector<PeerShare> reflected = shares;
  reflected[0].box = message->boxes[1];
  EXPECT_EQ(round.sites[0].OnShares(reflected).code(), Code::kPermissionDenied);
  std::vector<PeerShare> misrouted = shares;
  std::swap(misrouted[0].box, misrouted[1].box);
  EXPECT_EQ(round.sites[0].OnShares(misrouted).code(), Code::kPermissionDenied);
  EXPECT_TRUE(round.sites[0].OnShares(shares).ok());
}

TEST(MustRefuseTest, ShareBoxOfAnotherRound) {
  TestRound earlier(4);
  earlier.Share();
  Job next = testing::TestJob();
  next.round = 4;
  TestRound round(4, next);
  round.Share();
  auto shares = *round.server->SharesFor(round.names[0]);
  shares[0].box = (*earlier.server->SharesFor(earlier.names[0]))[0].box;
  EXPECT_EQ(round.sites[0].OnShares(shares).code(), Code::kPermissionDenied);
}

TEST(MustRefuseTest, AllZeroX25519Result) {
  for (const bool mask_key : {true, false}) {
    TestRound round(4);
    std::vector<KeyAnnouncement> roster;
    for (const SiteSession& site : round.sites) roster.push_back(site.announcement());
    (mask_key ? roster[2].mask_key : roster[2].box_key) = std::string(kKeyBytes, '\0');
    SignAgain(round.job, round.identities[2], roster[2]);
    const auto message =
        round.sites[0].OnRoster({.job = round.job, .threshold = 3}, roster, Genuine);
    EXPECT_EQ(CodeOf(message), Code::kInvalidArgument);
    EXPECT_NE(message.status().message().find(round.names[2]), std::string::npos);
  }
}

// A verifier as an agent has one: the pinned root, the name in the certificate, a list of keys that
// are revoked.
class PinnedRoot {
 public:
  PinnedRoot() : root_(*privacy::MakeRootCa("study", kNow, absl::Hours(24))) {}

  std::string Issue(const std::string& site) const {
    const privacy::SecretBytes key = *privacy::GenerateKeyPem();
    privacy::IssueOptions options;
    options.identity = {.federation = "study", .role = privacy::Role::kSite, .name = site};
    options.not_before = kNow;
    options.lifetime = absl::Hours(1);
    return *privacy::IssueCertificate(root_, *privacy::MakeCsrPem(key, site), options);
  }
  void Revoke(const std::string& certificate) {
    revoked_.push_back(*privacy::SpkiSha256Hex(certificate));
  }
  absl::Status Verify(const KeyAnnouncement& keys) const {
    const std::string& pem = keys.certificate_pem;
    if (const absl::Status chain = privacy::VerifyCertificate(pem, root_.certificate_pem, kNow);
        !chain.ok()) {
      return chain;
    }
    const auto spki = privacy::SpkiSha256Hex(pem);
    if (std::find(revoked_.begin(), revoked_.end(), *spki) != revoked_.end()) {
      return absl::PermissionDeniedError("revoked");
    }
    const bool fits =
        privacy::CertificateIdentity(pem)->name == keys.site &&
        *privacy::CertificateSha256Hex(pem) == HexEncode(keys.certificate_fingerprint);
    return fits ? absl::OkStatus() : absl::PermissionDeniedError("another site's certificate");
  }

 private:
  static constexpr absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);
  privacy::KeyAndCertificate root_;
  std::vector<std::string> revoked_;
};

// What the first of three sites says to a roster with these certificates, when it trusts `root`.
absl::Status ViewOfRoster(const PinnedRoot& root, const std::vector<std::string>& certificates) {
  TestRound round(3);
  std::vector<KeyAnnouncement> roster;
  for (size_t i = 0; i < 3; ++i) {
    SiteSession::Options options = round.SiteOptions(i);
    options.certificate_pem = certificates[i];
    options.certificate_fingerprint = *HexDecode(*privacy::CertificateSha256Hex(certificates[i]));
    round.sites[i] = *SiteSession::Start(options, round.identities[i]);
    roster.push_back(round.sites[i].announcement());
  }
  const auto verify = [&root](const KeyAnnouncement& keys) { return root.Verify(keys); };
  const absl::Status status =
      round.sites[0].OnRoster({.job = round.job, .threshold = 3}, roster, verify).status();
  // The server is as strict.
  EXPECT_EQ(round.server->OnKeys(roster[2], verify).code(), status.code());
  return status;
}

TEST(MustRefuseTest, PeerCertificateRevokedOrNotChainingToThePinnedRoot) {
  PinnedRoot root;
  const PinnedRoot stranger;
  std::vector<std::string> certificates;
  for (const char* site : {"site-000", "site-001", "site-002"}) {
    certificates.push_back(root.Issue(site));
  }
  EXPECT_TRUE(ViewOfRoster(root, certificates).ok());
  std::vector<std::string> foreign = certificates;
  foreign[2] = stranger.Issue("site-002");
  EXPECT_EQ(ViewOfRoster(root, foreign).code(), Code::kPermissionDenied);
  foreign[2] = root.Issue("site-009");
  EXPECT_EQ(ViewOfRoster(root, foreign).code(), Code::kPermissionDenied);
  root.Revoke(certificates[2]);
  const absl::Status revoked = ViewOfRoster(root, certificates);
  EXPECT_EQ(revoked.code(), Code::kPermissionDenied);
  EXPECT_NE(revoked.message().find("site-002"), std::string::npos);
}

TEST(MustRefuseTest, DuplicatePublicKey) {
  TestRound round(4);
  std::vector<KeyAnnouncement> honest;
  for (const SiteSession& site : round.sites) honest.push_back(site.announcement());
  std::vector<std::vector<KeyAnnouncement>> hostile(4, honest);
  hostile[0][2].mask_key = honest[1].mask_key;
  hostile[1][2].box_key = honest[1].mask_key;
  hostile[2][2].box_key = honest[2].mask_key;
  hostile[3][2].certificate_fingerprint = honest[1].certificate_fingerprint;
  for (auto& roster : hostile) {
    SignAgain(round.job, round.identities[2], roster[2]);
    EXPECT_EQ(CodeOf(round.sites[0].OnRoster({.job = round.job, .threshold = 3}, roster, Genuine)),
              Code::kInvalidArgument);
  }
  ASSERT_TRUE(round.server->OnKeys(honest[1], Genuine).ok());
  EXPECT_EQ(round.server->OnKeys(hostile[0][2], Genuine).code(), Code::kInvalidArgument);
  EXPECT_EQ(round.server->OnKeys(hostile[3][2], Genuine).code(), Code::kInvalidArgument);
}

TEST(MustRefuseTest, ModelDigestThatIsNotOfTheLoadedWeights) {
  const TestRound round(4);
  SiteSession::Options options = round.SiteOptions(0);
  options.loaded_model_digest = privacy::Sha256("another model");
  EXPECT_EQ(CodeOf(SiteSession::Start(options, round.identities[0])), Code::kInvalidArgument);
}

TEST(MustRefuseTest, MaskedVectorAfterSharesWereReleased) {
  TestRound round(5);
  round.Mask();
  EXPECT_TRUE(round.server->CheckDelivery(round.names[4]).ok());
  round.FixWithout({4});
  EXPECT_EQ(round.server->CheckDelivery(round.names[4]).code(), Code::kFailedPrecondition);
  EXPECT_EQ(round.server->FixSurvivors(round.names).code(), Code::kFailedPrecondition);
  EXPECT_EQ(round.server->survivors(), SetOf(5, {0, 1, 2, 3}));
}

// A late payload stays shut: what was revealed of the site is sk_mask, its self mask stays on.
TEST(MustRefuseTest, LateMaskedVectorIsReadableByNobody) {
  TestRound round(4);
  round.Reveal({3});
  const auto unmasker = round.server->Unmask(nullptr);
  ASSERT_TRUE(unmasker.ok());
  // All pair masks of the late site, which the server can compute now.
  std::vector<uint32_t> late = round.payloads[3];
  const ServerRecord record = round.server->record();
  std::vector<ShamirShare> shares;
  for (size_t i = 0; i < 3; ++i) {
    shares.push_back({.holder = i, .bytes = record.members[i].reveal->shares[3]});
  }
  const auto key = ShamirCombine(shares);
  MaskSum pairs;
  for (size_t i = 0; i < 3; ++i) {
    pairs.Add(*PairMaskKey(round.server->session_id(), key->view(), round.names[3],
                           round.server->roster()[i].mask_key, round.names[i]),
              MaskSign::kAdd);  // index 3 is the highest: the site subtracted them
  }
  pairs.Apply(0, absl::MakeSpan(late));
  const std::vector<uint32_t> truth = round.Payload(3);
  size_t equal = 0;
  for (size_t w = 0; w < truth.size(); ++w) equal += late[w] == truth[w];
  EXPECT_EQ(equal, 0u);
}

TEST(MustRefuseTest, RecoveredSecretThatDoesNotFit) {
  TestRound round(5);  // threshold 4
  round.AgreeOn({4});
  for (const size_t i : {0, 1, 2, 3}) {
    RevealMessage message = *round.sites[i].OnConsents(round.server->Consents());
    if (i == 1) message.shares[4][0] ^= 1;
    ASSERT_TRUE(round.server->OnReveal(round.names[i], message).ok());
  }
  // All four shares are needed and one is a lie: the key of site 4 is lost, the sum stays shut.
  std::vector<WrongShare> wrong;
  const auto lost = round.server->Unmask(&wrong);
  EXPECT_EQ(CodeOf(lost), Code::kDataLoss);
  EXPECT_NE(lost.status().message().find(round.names[4]), std::string::npos);
}

TEST(MustRefuseTest, WrongSharesAreLeftOutAndTheirHolderNamed) {
  TestRound round(7);  // threshold 5
  round.AgreeOn({6});
  for (const size_t i : {0, 1, 2, 3, 4, 5}) {
    RevealMessage message = *round.sites[i].OnConsents(round.server->Consents());
    if (i == 2) {
      for (const size_t owner : {0, 5, 6}) message.shares[owner][7] ^= 0x40;
    }
    ASSERT_TRUE(round.server->OnReveal(round.names[i], message).ok());
  }
  std::vector<WrongShare> wrong;
  const auto unmasker = round.server->Unmask(&wrong);
  ASSERT_TRUE(unmasker.ok()) << unmasker.status();
  const std::string& liar = round.names[2];
  EXPECT_EQ(wrong, (std::vector<WrongShare>{{.holder = liar, .owner = round.names[0]},
                                            {.holder = liar, .owner = round.names[5]},
                                            {.holder = liar, .owner = round.names[6]}}));
  std::vector<uint32_t> sum = round.MaskedSum();
  unmasker->Remove(0, absl::MakeSpan(sum));
  EXPECT_EQ(sum, round.TrueSum());
}

TEST(MustRefuseTest, SiteThatCommittedToAnotherSeedIsNamed) {
  TestRound round(4);
  round.Announce();
  for (size_t i = 0; i < 4; ++i) {
    ShareMessage message =
        *round.sites[i].OnRoster(round.server->params(), round.server->Announcements(), Genuine);
    if (i == 1) message.commitment = privacy::Sha256("another");
    ASSERT_TRUE(round.server->OnShares(round.names[i], message).ok());
  }
  ASSERT_TRUE(round.server->CloseSharing().ok());
  for (size_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(round.sites[i].OnShares(*round.server->SharesFor(round.names[i])).ok());
    ASSERT_TRUE(round.sites[i].MaskerFor(round.PayloadDigest(i)).ok());
  }
  round.FixWithout({});
  for (size_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(round.server
                    ->OnConsent(*round.sites[i].OnSurvivors(round.server->survivors().bytes(),
                                                            round.identities[i], *round.ledgers[i]))
                    .ok());
  }
  for (size_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(
        round.server->OnReveal(round.names[i], *round.sites[i].OnConsents(round.server->Consents()))
            .ok());
  }
  const auto unmasker = round.server->Unmask(nullptr);
  EXPECT_EQ(CodeOf(unmasker), Code::kDataLoss);
  EXPECT_NE(unmasker.status().message().find(round.names[1]), std::string::npos);
}

TEST(MustRefuseTest, BitsWordsOrClipThatDifferFromTheSignedPlan) {
  TestRound round(4);
  std::vector<KeyAnnouncement> roster;
  for (const SiteSession& site : round.sites) roster.push_back(site.announcement());
  std::vector<Job> jobs(7, round.job);
  jobs[0].bits = 16;
  jobs[1].words += 1;
  jobs[2].quantiser = "clip=0.5;D=354;lanes=2";
  jobs[3].min_cohort = 4;
  jobs[4].round += 1;
  jobs[5].job = "job-8";
  jobs[6].model_digest = privacy::Sha256("another model");
  for (const Job& job : jobs) {
    EXPECT_EQ(CodeOf(round.sites[0].OnRoster({.job = job, .threshold = 3}, roster, Genuine)),
              Code::kInvalidArgument);
  }
  for (const uint32_t threshold : {0, 1, 2, 4}) {
    EXPECT_EQ(CodeOf(round.sites[0].OnRoster({.job = round.job, .threshold = threshold}, roster,
                                             Genuine)),
              Code::kInvalidArgument);
  }
  EXPECT_TRUE(round.sites[0].OnRoster({.job = round.job, .threshold = 3}, roster, Genuine).ok());
}

TEST(MustRefuseTest, PlanBelowTheSitesOwnFloor) {
  const TestRound round(4);
  SiteSession::Options options = round.SiteOptions(0);
  options.cohort_floor = 5;
  const auto session = SiteSession::Start(options, round.identities[0]);
  EXPECT_EQ(CodeOf(session), Code::kInvalidArgument);
}

// A server that shows two sites different rosters gets masks that do not cancel.
TEST(SplitViewTest, DifferentRostersGiveDifferentSessions) {
  TestRound round(5);
  std::vector<KeyAnnouncement> all;
  for (const SiteSession& site : round.sites) all.push_back(site.announcement());
  const std::vector<KeyAnnouncement> four(all.begin(), all.begin() + 4);
  ASSERT_TRUE(round.sites[0].OnRoster({.job = round.job, .threshold = 4}, all, Genuine).ok());
  const auto other = round.sites[1].OnRoster({.job = round.job, .threshold = 3}, four, Genuine);
  ASSERT_TRUE(other.ok());
  EXPECT_NE(round.sites[0].session_id(), round.sites[1].session_id());
  EXPECT_EQ(round.sites[0].OnShares({{.site = round.names[1], .box = other->boxes[0]}}).code(),
            Code::kPermissionDenied);
}

}  // namespace
}  // namespace consilium::secagg
