// The one call open to a program without a certificate: trades a one-time token for one.
//
// A site that enrols with a new key loses the calls and tasks of the old one at once.
//
// Thread-safe. The CA's key is read from the home for each enrolment, so it may be taken offline in
// between: then FAILED_PRECONDITION. Privacy: token and request are neither logged nor stored.
#ifndef CONSILIUM_COORDINATOR_SERVICE_ENROLMENT_SERVICE_H_
#define CONSILIUM_COORDINATOR_SERVICE_ENROLMENT_SERVICE_H_

#include <string>

#include "consilium/v1/federation.grpc.pb.h"
#include "coordinator/round/federation_driver.h"
#include "coordinator/round/site_registry.h"
#include "coordinator/service/access_gate.h"

namespace consilium::coordinator {

class EnrolmentService final : public v1::Enrolment::Service {
 public:
  // `ca_folder` holds ca.crt and ca.key. The others must outlive it.
  EnrolmentService(std::string ca_folder, FederationDriver& driver, SiteRegistry& sites,
                   AccessGate& gate)
      : ca_folder_(std::move(ca_folder)), driver_(driver), sites_(sites), gate_(gate) {}
  grpc::Status Enrol(grpc::ServerContext* context, const v1::EnrolRequest* request,
                     v1::EnrolReply* reply) override;

 private:
  absl::Status Answer(const v1::EnrolRequest& request, v1::EnrolReply& reply);

  const std::string ca_folder_;
  FederationDriver& driver_;
  SiteRegistry& sites_;
  AccessGate& gate_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_ENROLMENT_SERVICE_H_
