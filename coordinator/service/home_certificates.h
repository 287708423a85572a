// The certificates of a coordinator's home while it serves. A server certificate that is replaced on the
// disk is shown to the next connection; whatever is not sound is left alone, and said. What ends soon is
// warned of once a day.
//
// Order: Open; server() for the listeners, which it must outlive; LookAgain from the tick loop.
#ifndef CONSILIUM_COORDINATOR_SERVICE_HOME_CERTIFICATES_H_
#define CONSILIUM_COORDINATOR_SERVICE_HOME_CERTIFICATES_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/store/store.h"
#include "privacy/crypto/certificate.h"
#include "privacy/crypto/expiry.h"
#include "proto/base/clock.h"
#include "proto/wire/transport.h"

namespace consilium::coordinator {

inline constexpr absl::Duration kCertificatesLookEvery = absl::Seconds(2);

class HomeCertificates {
 public:
  // `store` and `clock` must outlive it. INVALID_ARGUMENT: server.crt and server.key do not read or do not
  // fit. One that has expired is served all the same: only its callers can say that they mind.
  static absl::StatusOr<std::unique_ptr<HomeCertificates>> Open(const std::string& home,
                                                                const std::string& federation,
                                                                Store& store, const Clock& clock);

  wire::ServerIdentity& server() { return server_; }
  const std::string& ca_pem() const { return ca_pem_; }

  // At most once in kCertificatesLookEvery. The new one has to be of the home's CA, of this federation's
  // coordinator, valid now, and for the key beside it; its arrival is in the audit log. Not thread-safe.
  void LookAgain();

 private:
  struct Pair {
    std::string certificate_pem;
    std::string key_pem;
    bool operator==(const Pair&) const = default;
  };
  HomeCertificates(std::string home, std::string federation, std::string ca_pem, Pair served,
                   Store& store, const Clock& clock);
  static absl::StatusOr<Pair> Read(const std::string& home);
  absl::Status Check(const Pair& found) const;
  absl::Status Take(const Pair& found);
  void TakeWhatIsNew();
  void WarnOfEnds();

  const std::string home_;
  const std::string federation_;
  const std::string ca_pem_;
  Store& store_;
  const Clock& clock_;
  wire::ServerIdentity server_;
  Pair served_;
  // Not sound when looked at last. Said at the second look: the two files are not replaced at once.
  Pair unsound_;
  bool unsound_said_ = false;
  absl::Duration looked_ = -absl::InfiniteDuration();
  privacy::ExpiryWatch ends_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_HOME_CERTIFICATES_H_
