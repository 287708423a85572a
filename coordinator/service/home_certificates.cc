#include "coordinator/service/home_certificates.h"

#include <utility>

#include "privacy/log/log.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

using privacy::Log;
using privacy::LogLevel;
using Key = privacy::LogField::Key;

constexpr uint64_t kPemBytesMax = 64 * 1024;

struct Named {
  const char* name;
  const char* file;
};
constexpr Named kWatched[] = {
    {"server", "server.crt"}, {"ca", "ca/ca.crt"}, {"admin", "admin/client.crt"}};

}  // namespace

HomeCertificates::HomeCertificates(std::string home, std::string federation, std::string ca_pem,
                                   Pair served, Store& store, const Clock& clock)
    : home_(std::move(home)),
      federation_(std::move(federation)),
      ca_pem_(std::move(ca_pem)),
      store_(store),
      clock_(clock),
      server_({ca_pem_, served.certificate_pem, served.key_pem}),
      served_(std::move(served)) {}

absl::StatusOr<HomeCertificates::Pair> HomeCertificates::Read(const std::string& home) {
  Pair pair;
  CSL_ASSIGN_OR_RETURN(pair.certificate_pem, ReadFile(JoinPath(home, "server.crt"), kPemBytesMax));
  CSL_ASSIGN_OR_RETURN(pair.key_pem, ReadFile(JoinPath(home, "server.key"), kPemBytesMax));
  return pair;
}

absl::StatusOr<std::unique_ptr<HomeCertificates>> HomeCertificates::Open(
    const std::string& home, const std::string& federation, Store& store, const Clock& clock) {
  CSL_ASSIGN_OR_RETURN(std::string ca_pem, ReadFile(JoinPath(home, "ca/ca.crt"), kPemBytesMax));
  CSL_ASSIGN_OR_RETURN(Pair pair, Read(home));
  CSL_RETURN_IF_ERROR(Annotate(
      privacy::CheckCertificateKey(pair.certificate_pem, privacy::SecretBytes(pair.key_pem)),
      "server.crt and server.key"));
  return std::unique_ptr<HomeCertificates>(new HomeCertificates(
      home, federation, std::move(ca_pem), std::move(pair), store, clock));
}

void HomeCertificates::LookAgain() {
  const absl::Duration now = clock_.Monotonic();
  if (now - looked_ < kCertificatesLookEvery) return;
  looked_ = now;
  TakeWhatIsNew();
  WarnOfEnds();
}

absl::Status HomeCertificates::Check(const Pair& found) const {
  CSL_RETURN_IF_ERROR(
      privacy::CheckCertificateKey(found.certificate_pem, privacy::SecretBytes(found.key_pem)));
  CSL_RETURN_IF_ERROR(privacy::VerifyCertificate(found.certificate_pem, ca_pem_, clock_.Now()));
  CSL_ASSIGN_OR_RETURN(const privacy::Identity identity,
                       privacy::CertificateIdentity(found.certificate_pem));
  if (identity.role != privacy::Role::kCoordinator || identity.federation != federation_) {
    return absl::PermissionDeniedError("certificate refused: it is not of this coordinator");
  }
  return absl::OkStatus();
}

// In the log first: a key that nobody recorded is not used.
absl::Status HomeCertificates::Take(const Pair& found) {
  AuditFacts facts;
  facts.actor = facts.role = "coordinator";
  facts.action = "server.certificate";
  CSL_ASSIGN_OR_RETURN(facts.before, privacy::CertificateSha256Hex(served_.certificate_pem));
  CSL_ASSIGN_OR_RETURN(facts.after, privacy::CertificateSha256Hex(found.certificate_pem));
  CSL_ASSIGN_OR_RETURN(facts.digest, privacy::SpkiSha256Hex(found.certificate_pem));
  Batch batch;
  batch.Audit(std::move(facts));
  CSL_RETURN_IF_ERROR(store_.Commit(batch, clock_.Now()).status());
  server_.Replace(found.certificate_pem, found.key_pem);
  served_ = found;
  return absl::OkStatus();
}

void HomeCertificates::TakeWhatIsNew() {
  const absl::StatusOr<Pair> found = Read(home_);
  if (!found.ok() || *found == served_) return;  // being replaced; the old one serves
  absl::Status taken = Check(*found);
  if (taken.ok()) taken = Take(*found);
  if (taken.ok()) {
    unsound_ = {};
    Log(LogLevel::kInfo, "the server certificate was replaced; the next connections see it");
    return;
  }
  if (*found != unsound_) {
    unsound_ = *found;
    unsound_said_ = false;
  } else if (!std::exchange(unsound_said_, true)) {
    Log(LogLevel::kError, "server.crt and server.key were changed and are not taken",
        {{Key::kCode, absl::StatusCodeToString(taken.code())}, {Key::kReason, taken.message()}});
  }
}

void HomeCertificates::WarnOfEnds() {
  for (const Named& each : kWatched) {
    const absl::StatusOr<std::string> pem = ReadFile(JoinPath(home_, each.file), kPemBytesMax);
    if (!pem.ok()) continue;
    const privacy::Expiry due = ends_.Due(each.name, *pem, clock_.Now());
    if (due == privacy::Expiry::kFar) continue;
    const auto end = privacy::CertificateNotAfter(*pem);
    Log(due == privacy::Expiry::kSoon ? LogLevel::kWarning : LogLevel::kError,
        "a certificate of the home ends: issue a new one with `consilium renew`",
        {{Key::kAction, each.name},
         {Key::kSeconds, end.ok() ? absl::ToInt64Seconds(*end - clock_.Now()) : 0}});
  }
}

}  // namespace consilium::coordinator
