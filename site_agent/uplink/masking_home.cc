#include "site_agent/uplink/masking_home.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/certificate.h"
#include "privacy/crypto/protocol_key.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/uplink/enrol.h"

namespace consilium::agent {
namespace {

constexpr uint64_t kKeyFileBytesMax = 4096;

absl::StatusOr<privacy::Ed25519Key> OpenKey(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) {
    CSL_RETURN_IF_ERROR(MakeDirs(path.substr(0, path.rfind('/'))));
    privacy::Ed25519Key key = privacy::Ed25519Key::Generate();
    CSL_RETURN_IF_ERROR(WriteFileAtomic(path, key.ToPem().view(), kPrivateFile));
    return key;
  }
  if ((info.st_mode & 077) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(BaseName(path), " may be read by others: chmod 600 it"));
  }
  CSL_ASSIGN_OR_RETURN(std::string pem, ReadFile(path, kKeyFileBytesMax));
  const privacy::SecretBytes secret(pem);
  std::fill(pem.begin(), pem.end(), '\0');
  absl::StatusOr<privacy::Ed25519Key> key = privacy::Ed25519Key::FromPem(secret);
  if (!key.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(BaseName(path),
                     " is not an Ed25519 key (PKCS#8 PEM); restore it, or remove it to have a new "
                     "one made while no masked round is under way"));
  }
  return key;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MaskingHome>> MaskingHome::Open(const std::string& home,
                                                               const std::string& federation,
                                                               const std::string& site,
                                                               const Clock& clock) {
  CSL_ASSIGN_OR_RETURN(privacy::Ed25519Key key,
                       OpenKey(JoinPath(JoinPath(home, "identity"), "protocol.key")));
  CSL_ASSIGN_OR_RETURN(SessionStore sessions, SessionStore::Open(home, clock.Now()));
  CSL_ASSIGN_OR_RETURN(
      std::unique_ptr<secagg::FileConsentLedger> consents,
      secagg::FileConsentLedger::Open(JoinPath(JoinPath(home, "secagg"), "consents")));
  return std::unique_ptr<MaskingHome>(new MaskingHome(home, federation, site, clock, std::move(key),
                                                      std::move(sessions), std::move(consents)));
}

MaskingHome::MaskingHome(std::string home, std::string federation, std::string site,
                         const Clock& clock, privacy::Ed25519Key key, SessionStore sessions,
                         std::unique_ptr<secagg::ConsentLedger> consents)
    : home_(std::move(home)),
      federation_(std::move(federation)),
      site_(std::move(site)),
      clock_(clock),
      key_(std::move(key)),
      sessions_(std::move(sessions)),
      consents_(std::move(consents)) {}

absl::StatusOr<CertificateInForce> MaskingHome::Certificate() const {
  CSL_ASSIGN_OR_RETURN(SiteIdentity identity, ReadIdentity(home_));
  CSL_ASSIGN_OR_RETURN(
      std::string signature,
      privacy::SignProtocolKey(identity.key_pem, {federation_, privacy::Role::kSite, site_},
                               key_.public_key()));
  return CertificateInForce{std::move(identity.certificate_pem), std::move(signature),
                            std::move(identity.ca_pem)};
}

MaskingSite MaskingHome::Site() const {
  return {.federation = federation_,
          .site = site_,
          .sessions = sessions_,
          .consents = *consents_,
          .key = key_,
          .certificate = [this] { return Certificate(); },
          .clock = clock_};
}

}  // namespace consilium::agent
