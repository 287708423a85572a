#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secagg/codec.h"
#include "privacy/secagg/quantise.h"
#include "privacy/secagg/server_session.h"
#include "privacy/secagg/site_session.h"
#include "proto/base/check.h"
#include "tests/fuzz/target.h"

namespace consilium::fuzz {
namespace {

using namespace consilium::secagg;  // NOLINT(google-build-using-namespace)

constexpr size_t kSites = 4;
constexpr size_t kFieldBytesMax = 1 << 16;

absl::Status Genuine(const KeyAnnouncement&) { return absl::OkStatus(); }

class AnyLedger : public ConsentLedger {
 public:
  absl::Status Record(const Job&, absl::string_view, absl::string_view) override {
    return absl::OkStatus();
  }
};

// The server in each of its phases, a site in each of its own, and every message that is right.
struct Rounds {
  Rounds() {
    const Job job{.job = "job",
                  .round = 1,
                  .model_digest = std::string(kDigestBytes, 'm'),
                  .bits = 32,
                  .words = 66,
                  .min_cohort = 3,
                  .quantiser = "clip=0.05;D=354;lanes=2"};
    std::vector<std::string> names;
    std::vector<SiteSession> sites;
    for (size_t i = 0; i < kSites; ++i) {
      names.push_back(absl::StrCat("site", i));
      identities.push_back(privacy::Ed25519Key::Generate());
      SiteSession::Options options;
      options.site = names[i];
      options.certificate_fingerprint = privacy::Sha256(names[i]);
      options.job = job;
      options.loaded_model_digest = job.model_digest;
      sites.push_back(*SiteSession::Start(options, identities[i]));
    }
    ServerSession server = *ServerSession::Start(job, names);
    Keep(server, sites[0]);
    for (const SiteSession& site : sites) {
      CSL_CHECK(server.OnKeys(site.announcement(), Genuine).ok());
      announcements.push_back(site.announcement());
    }
    CSL_CHECK(server.CloseKeys().ok());
    params = server.params();
    for (size_t i = 0; i < kSites; ++i) {
      shares.push_back(*sites[i].OnRoster(server.params(), announcements, Genuine));
      if (i == 0) Keep(server, sites[0]);
      CSL_CHECK(server.OnShares(names[i], shares[i]).ok());
    }
    CSL_CHECK(server.CloseSharing().ok());
    for (size_t i = 0; i < kSites; ++i) {
      CSL_CHECK(sites[i].OnShares(*server.SharesFor(names[i])).ok());
      CSL_CHECK(sites[i].MaskerFor(privacy::Sha256("payload")).ok());
    }
    Keep(server, sites[0]);
    CSL_CHECK(server.FixSurvivors(names).ok());
    AnyLedger ledger;
    for (size_t i = 0; i < kSites; ++i) {
      consents.push_back(*sites[i].OnSurvivors(server.survivors().bytes(), identities[i], ledger));
      if (i == 0) Keep(server, sites[0]);
      CSL_CHECK(server.OnConsent(consents[i]).ok());
    }
    for (size_t i = 0; i < kSites; ++i) reveals.push_back(*sites[i].OnConsents(consents));
    Keep(server, sites[0]);
  }
  void Keep(const ServerSession& server, const SiteSession& site) {
    servers.push_back(server);
    stored.emplace_back(site.Serialize().view());
  }

  Params params;
  std::vector<privacy::Ed25519Key> identities;
  std::vector<ServerSession> servers;
  std::vector<std::string> stored;  // sessions of site 0
  std::vector<KeyAnnouncement> announcements;
  std::vector<ShareMessage> shares;
  std::vector<Consent> consents;
  std::vector<RevealMessage> reveals;
};

const Rounds& Made() {
  static const auto* const rounds = new Rounds();
  return *rounds;
}

// ---- a stored session of a site ----

void RunSite(absl::string_view bytes) {
  auto session = SiteSession::Restore(bytes);
  if (!session.ok()) return;
  CSL_CHECK(session->Serialize().view() == bytes);
  AnyLedger ledger;
  (void)session->OnRoster(Made().params, Made().announcements, Genuine);
  (void)session->MaskerFor(std::string(kDigestBytes, 'd'));
  (void)session->OnSurvivors("\x0f", Made().identities[0], ledger);
  (void)session->OnConsents(Made().consents);
  CSL_CHECK(SiteSession::Restore(session->Serialize().view()).ok());
}

std::vector<std::string> SiteSeeds() { return Made().stored; }

// ---- the text of a quantiser ----

void RunQuantiser(absl::string_view bytes) {
  const auto spec = QuantiserSpec::Parse(bytes);
  if (!spec.ok()) return;
  CSL_CHECK(spec->ToText() == bytes);
  const auto quantiser = Quantiser::Create({.spec = *spec,
                                            .bits = 16,
                                            .sites = kSites,
                                            .parameters = 100,
                                            .rotation_seed = std::string(kKeyBytes, 's')});
  CSL_CHECK(quantiser.ok() && quantiser->words() == spec->Words(100));
}

std::vector<std::string> QuantiserSeeds() {
  return {"clip=0.05;D=354;lanes=2",
          "clip=1e-05;D=65535;lanes=10;metrics=dice,loss;rotate=16384;round=stochastic"};
}

// ---- messages to the server: u8 kind, then their fields with lengths ----

enum Kind : uint8_t { kKeys, kShares, kConsents, kReveals, kKinds };

std::string Read(Reader& reader) { return std::string(reader.Prefixed(kFieldBytesMax)); }

std::vector<std::string> ReadList(Reader& reader) {
  std::vector<std::string> list(reader.Count(kSitesMax));
  for (std::string& item : list) item = Read(reader);
  return list;
}

// Taken by a session: then it is the message that was right, or one the session had not seen, but
// never another consent than the site signed.
void RunServer(absl::string_view bytes) {
  Reader reader(bytes);
  const uint8_t kind = reader.U8() % kKinds;
  const std::string site = Read(reader);
  for (const ServerSession& before : Made().servers) {
    ServerSession server = before;
    Reader fields = reader;
    if (kind == kKeys) {
      KeyAnnouncement keys;
      keys.site = site;
      for (std::string* field :
           {&keys.certificate_pem, &keys.certificate_fingerprint, &keys.identity_key,
            &keys.mask_key, &keys.box_key, &keys.signature}) {
        *field = Read(fields);
      }
      if (server.OnKeys(keys, Genuine).ok())
        CSL_CHECK(CheckAnnouncement(Made().params.job, keys).ok());
    } else if (kind == kShares) {
      ShareMessage message{.commitment = Read(fields), .boxes = ReadList(fields)};
      (void)server.OnShares(site, message);
    } else if (kind == kConsents) {
      Consent consent{.site = site, .survivors = Read(fields), .signature = Read(fields)};
      if (server.OnConsent(consent).ok()) {
        bool known = false;
        for (const Consent& right : Made().consents) known = known || right == consent;
        CSL_CHECK(known);
      }
    } else {
      const RevealMessage message{.shares = ReadList(fields)};
      (void)server.OnReveal(site, message);
      (void)server.Unmask(nullptr);
    }
    CSL_CHECK(ServerSession::FromRecord(server.record()).ok());
  }
}

std::string Message(uint8_t kind, absl::string_view site, const std::vector<std::string>& fields,
                    const std::vector<std::string>* list) {
  std::string bytes = absl::StrCat(std::string(1, static_cast<char>(kind)), Prefixed(site));
  for (const std::string& field : fields) absl::StrAppend(&bytes, Prefixed(field));
  if (list == nullptr) return bytes;
  absl::StrAppend(&bytes, BigEndian32(static_cast<uint32_t>(list->size())));
  for (const std::string& item : *list) absl::StrAppend(&bytes, Prefixed(item));
  return bytes;
}

std::vector<std::string> ServerSeeds() {
  const KeyAnnouncement& keys = Made().announcements[0];
  const Consent& consent = Made().consents[0];
  return {Message(kKeys, keys.site,
                  {keys.certificate_pem, keys.certificate_fingerprint, keys.identity_key,
                   keys.mask_key, keys.box_key, keys.signature},
                  nullptr),
          Message(kShares, keys.site, {Made().shares[0].commitment}, &Made().shares[0].boxes),
          Message(kConsents, keys.site, {consent.survivors, consent.signature}, nullptr),
          Message(kReveals, keys.site, {}, &Made().reveals[0].shares)};
}

}  // namespace

std::vector<Target> SecaggTargets() {
  return {{"secagg_site", RunSite, SiteSeeds},
          {"quantiser", RunQuantiser, QuantiserSeeds},
          {"secagg_server", RunServer, ServerSeeds}};
}

}  // namespace consilium::fuzz
