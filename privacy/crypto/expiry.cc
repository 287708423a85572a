#include "privacy/crypto/expiry.h"

#include <algorithm>

#include "privacy/crypto/certificate.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr int kSoonPart = 3;     // of the lifetime
constexpr int kUrgentPart = 12;

}  // namespace

absl::StatusOr<Expiry> ExpiryOf(absl::string_view certificate_pem, absl::Time now) {
  CSL_ASSIGN_OR_RETURN(const absl::Time begin, CertificateNotBefore(certificate_pem));
  CSL_ASSIGN_OR_RETURN(const absl::Time end, CertificateNotAfter(certificate_pem));
  const absl::Duration lifetime = end - begin;
  const absl::Duration left = end - now;
  if (left <= absl::ZeroDuration()) return Expiry::kOver;
  if (left < std::min(kExpiryUrgent, lifetime / kUrgentPart)) return Expiry::kUrgent;
  return left < std::min(kExpirySoon, lifetime / kSoonPart) ? Expiry::kSoon : Expiry::kFar;
}

Expiry ExpiryWatch::Due(const std::string& name, absl::string_view certificate_pem,
                        absl::Time now) {
  const absl::StatusOr<Expiry> expiry = ExpiryOf(certificate_pem, now);
  if (!expiry.ok() || *expiry == Expiry::kFar) {
    said_.erase(name);
    return Expiry::kFar;
  }
  Said& said = said_[name];
  // The wall clock may have been set back since.
  if (*expiry <= said.what && absl::AbsDuration(now - said.when) < kExpirySayEvery) {
    return Expiry::kFar;
  }
  said = {*expiry, now};
  return *expiry;
}

}  // namespace consilium::privacy
