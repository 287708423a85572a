// The three calls of secure aggregation as messages: what sites say and are told. Everything is bounded
// and checked before it goes on to the round.
#ifndef CONSILIUM_COORDINATOR_SERVICE_MASKING_CALLS_H_
#define CONSILIUM_COORDINATOR_SERVICE_MASKING_CALLS_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "consilium/v1/federation.pb.h"
#include "coordinator/round/federation_driver.h"
#include "coordinator/round/site_registry.h"

namespace consilium::coordinator {

// Thread-safe. All must outlive it.
class MaskingCalls {
 public:
  // `ca_folder` holds ca.crt.
  MaskingCalls(FederationDriver& driver, SiteRegistry& sites, std::string ca_folder)
      : driver_(driver), sites_(sites), ca_folder_(std::move(ca_folder)) {}

  // INVALID_ARGUMENT: a field of the wrong size, or boxes that do not fit the roster.
  // PERMISSION_DENIED: keys that are not this site's. Others: FederationDriver::AgreeKeys.
  absl::Status AgreeKeys(const std::string& site, const v1::AgreeKeysRequest& request,
                         v1::AgreeKeysReply& reply) const;
  absl::Status SubmitConsent(const std::string& site, const v1::ConsentReport& request) const;
  absl::Status SubmitReveal(const std::string& site, const v1::RevealReport& request) const;

 private:
  absl::Status CheckKeys(const SiteKeys& keys) const;
  absl::StatusOr<SiteKeys> KeysFrom(const std::string& site, const v1::SiteKeys& message) const;

  FederationDriver& driver_;
  SiteRegistry& sites_;
  const std::string ca_folder_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_MASKING_CALLS_H_
