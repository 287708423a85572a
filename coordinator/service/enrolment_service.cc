#include "coordinator/service/enrolment_service.h"

#include "coordinator/home.h"
#include "proto/base/status.h"
#include "proto/wire/transport.h"

namespace consilium::coordinator {
namespace {
constexpr uint64_t kPemBytesMax = 64 * 1024;
}  // namespace

absl::Status EnrolmentService::Answer(const v1::EnrolRequest& request, v1::EnrolReply& reply) {
  if (request.csr_pem().size() > kPemBytesMax) {
    return absl::InvalidArgumentError("the certificate request is too long");
  }
  CSL_ASSIGN_OR_RETURN(const privacy::KeyAndCertificate ca, ReadCa(ca_folder_));
  CSL_ASSIGN_OR_RETURN(SiteRegistry::Enrolment enrolment,
                       sites_.Enrol(request.token(), request.csr_pem(),
                                    request.software_version(), ca));
  if (enrolment.replaced_key) {
    gate_.Cut(enrolment.site);
    driver_.OnSiteGone(enrolment.site, "the site enrolled with another key");
  }
  reply.set_certificate_pem(std::move(enrolment.certificate_pem));
  reply.set_ca_pem(ca.certificate_pem);
  return absl::OkStatus();
}

grpc::Status EnrolmentService::Enrol(grpc::ServerContext*, const v1::EnrolRequest* request,
                                     v1::EnrolReply* reply) {
  const absl::Status status = Answer(*request, *reply);
  if (!status.ok()) gate_.Refused("unknown", "site.enrol", status);
  return wire::ToGrpc(status);
}

}  // namespace consilium::coordinator
