#include "site_agent/uplink/renewal.h"

#include <utility>

#include "privacy/crypto/certificate.h"
#include "privacy/log/log.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

using privacy::Log;
using privacy::LogLevel;
using Key = privacy::LogField::Key;

constexpr BackoffOptions kRetry = {
    .first = absl::Minutes(2), .max = absl::Hours(6), .min = absl::Minutes(1)};

}  // namespace

Renewal::Renewal(std::string home, const SiteIdentity& in_use, Parts parts, const Clock& clock)
    : home_(std::move(home)),
      parts_(std::move(parts)),
      clock_(clock),
      backoff_(kRetry, parts_.uniform),
      certificate_pem_(in_use.certificate_pem),
      jitter_(parts_.uniform()) {}

void Renewal::Run(const std::function<bool(absl::Duration)>& wait) {
  do {
    Look();
  } while (wait(kRenewalLookEvery));
}

void Renewal::Look() {
  absl::Status done = TakeUp();
  if (done.ok()) done = RenewIfDue();
  if (!done.ok()) {
    Log(LogLevel::kWarning, "the certificate is not renewed, trying again",
        {{Key::kCode, absl::StatusCodeToString(done.code())}, {Key::kReason, done.message()}});
  }
  WarnOfEnd();
}

absl::Status Renewal::TakeUp() {
  CSL_ASSIGN_OR_RETURN(const SiteIdentity identity, ReadIdentity(home_));
  if (identity.certificate_pem == certificate_pem_) return absl::OkStatus();
  parts_.use(identity);
  certificate_pem_ = identity.certificate_pem;
  jitter_ = parts_.uniform();
  failures_ = 0;
  not_before_ = -absl::InfiniteDuration();
  Log(LogLevel::kInfo, "a new certificate is in use");
  return absl::OkStatus();
}

absl::StatusOr<absl::Time> Renewal::DueAt() const {
  CSL_ASSIGN_OR_RETURN(const absl::Time begin, privacy::CertificateNotBefore(certificate_pem_));
  CSL_ASSIGN_OR_RETURN(const absl::Time end, privacy::CertificateNotAfter(certificate_pem_));
  const absl::Duration lifetime = end - begin;
  return end - lifetime / kRenewalPart - lifetime / kRenewalJitter * jitter_;
}

absl::Status Renewal::RenewIfDue() {
  CSL_ASSIGN_OR_RETURN(const absl::Time due, DueAt());
  const absl::Duration now = clock_.Monotonic();
  if (clock_.Now() < due || now < not_before_) return absl::OkStatus();
  not_before_ = now + backoff_.Delay(++failures_);  // if this one fails
  CSL_ASSIGN_OR_RETURN(const KeyRequest request, PrepareRenewal(home_));
  const absl::StatusOr<std::string> certificate = parts_.ask(request.csr_pem);
  if (absl::IsPermissionDenied(certificate.status()) && parts_.record) {
    CSL_RETURN_IF_ERROR(parts_.record({.action = "certificate.renew",
                                       .outcome = "refused",
                                       .reason = std::string(certificate.status().message())}));
  }
  CSL_RETURN_IF_ERROR(certificate.status());
  // First in the site's own log: from here on the key is another one.
  if (parts_.record) {
    CSL_ASSIGN_OR_RETURN(const std::string key, privacy::SpkiSha256Hex(*certificate));
    CSL_RETURN_IF_ERROR(parts_.record({.action = "certificate.renew", .digest = key}));
  }
  CSL_RETURN_IF_ERROR(FinishRenewal(home_, *certificate, clock_.Now()));
  return TakeUp();
}

void Renewal::WarnOfEnd() {
  const privacy::Expiry due = ends_.Due("site", certificate_pem_, clock_.Now());
  if (due == privacy::Expiry::kFar) return;
  const auto end = privacy::CertificateNotAfter(certificate_pem_);
  Log(due == privacy::Expiry::kSoon ? LogLevel::kWarning : LogLevel::kError,
      "the site's certificate ends; if it is not renewed by then, a new invitation is needed",
      {{Key::kSeconds, end.ok() ? absl::ToInt64Seconds(*end - clock_.Now()) : 0}});
}

}  // namespace consilium::agent
