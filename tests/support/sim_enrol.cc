#include "tests/support/sim_enrol.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "consilium/v1/admin.grpc.pb.h"
#include "coordinator/home.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/base/thread_pool.h"
#include "proto/wire/transport.h"
#include "site_agent/uplink/enrol.h"
#include "site_agent/uplink/invitation.h"

namespace consilium::simulated {
namespace {

constexpr uint64_t kPemBytesMax = 64 * 1024;
constexpr int kEnrolledAtOnce = 16;

absl::StatusOr<std::vector<std::string>> SortedEntries(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    paths.push_back(entry.path().string());
  }
  if (error) return absl::NotFoundError("the folder cannot be read");
  std::sort(paths.begin(), paths.end());
  return paths;
}

bool IsEnrolled(const std::string& home) {
  return PathExists(JoinPath(home, "identity/site.crt"));
}

absl::Status EnrolHome(const agent::Invitation& invitation, const std::string& home,
                       const Clock& clock) {
  if (IsEnrolled(home)) return absl::OkStatus();
  return agent::Enrol(invitation,
                      {.home = home, .software_version = "simulated", .now = clock.Now()});
}

struct AdminConnection {
  std::unique_ptr<v1::Admin::Stub> stub;

  static absl::StatusOr<AdminConnection> Open(const std::string& admin) {
    CSL_ASSIGN_OR_RETURN(const coordinator::AdminEndpoint endpoint,
                         coordinator::ReadAdminEndpoint(admin));
    wire::TlsFiles tls;
    CSL_ASSIGN_OR_RETURN(tls.ca_pem, ReadFile(JoinPath(admin, "ca.crt"), kPemBytesMax));
    CSL_ASSIGN_OR_RETURN(tls.certificate_pem, ReadFile(JoinPath(admin, "client.crt"), kPemBytesMax));
    CSL_ASSIGN_OR_RETURN(tls.key_pem, ReadFile(JoinPath(admin, "client.key"), kPemBytesMax));
    return AdminConnection{
        v1::Admin::NewStub(wire::ConnectTls(endpoint.address, tls, endpoint.server_name))};
  }

  absl::StatusOr<agent::Invitation> Invite(const std::string& site, absl::Time now) {
    grpc::ClientContext context;
    v1::InviteSiteRequest request;
    request.set_site(site);
    v1::InviteSiteReply reply;
    CSL_RETURN_IF_ERROR(wire::FromGrpc(stub->InviteSite(&context, request, &reply)));
    return agent::Invitation{.federation = reply.federation(),
                             .site = reply.site(),
                             .token = reply.token(),
                             .enrolment_address = reply.enrolment_address(),
                             .federation_address = reply.federation_address(),
                             .ca_pem = reply.ca_pem(),
                             .expires = now + absl::Hours(1)};
  }

  absl::Status Approve(const std::string& site) {
    grpc::ClientContext context;
    v1::SetSiteStateRequest request;
    request.set_name(site);
    request.set_state("approved");
    v1::Site reply;
    return wire::FromGrpc(stub->SetSiteState(&context, request, &reply));
  }
};

}  // namespace

absl::StatusOr<std::vector<std::string>> EnrolFromFolder(const std::string& invitations,
                                                         const std::string& homes,
                                                         const Clock& clock) {
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> files, SortedEntries(invitations));
  std::vector<std::string> enrolled;
  for (const std::string& file : files) {
    if (std::filesystem::path(file).extension() != ".json") continue;
    CSL_ASSIGN_OR_RETURN(const std::string text, ReadFile(file, agent::kInvitationBytesMax));
    CSL_ASSIGN_OR_RETURN(const agent::Invitation invitation,
                         agent::ParseInvitation(text, clock.Now()));
    enrolled.push_back(JoinPath(homes, invitation.site));
    CSL_RETURN_IF_ERROR(EnrolHome(invitation, enrolled.back(), clock));
  }
  return enrolled;
}

absl::StatusOr<std::vector<std::string>> EnrolAsAdmin(const std::string& admin,
                                                      const std::string& homes, int count,
                                                      const Clock& clock) {
  CSL_ASSIGN_OR_RETURN(AdminConnection connection, AdminConnection::Open(admin));
  const auto enrol = [&](const std::string& site, const std::string& home) -> absl::Status {
    if (IsEnrolled(home)) return absl::OkStatus();
    CSL_ASSIGN_OR_RETURN(const agent::Invitation invitation,
                         connection.Invite(site, clock.Now()));
    CSL_RETURN_IF_ERROR(EnrolHome(invitation, home, clock));
    return connection.Approve(site);
  };
  std::vector<std::string> enrolled;
  absl::Mutex mutex;
  absl::Status failed;
  {
    ThreadPool pool(kEnrolledAtOnce);  // each step waits for a disk
    for (int i = 1; i <= count; ++i) {
      const std::string site = absl::StrFormat("sim-%04d", i);
      enrolled.push_back(JoinPath(homes, site));
      pool.Schedule([&, site, home = enrolled.back()] {
        const absl::Status status = enrol(site, home);
        absl::MutexLock lock(&mutex);
        failed.Update(status);
      });
    }
  }
  CSL_RETURN_IF_ERROR(failed);
  return enrolled;
}

absl::StatusOr<std::vector<std::string>> EnrolledHomes(const std::string& homes) {
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> entries, SortedEntries(homes));
  std::vector<std::string> enrolled;
  for (const std::string& home : entries) {
    if (IsEnrolled(home)) enrolled.push_back(home);
  }
  return enrolled;
}

}  // namespace consilium::simulated
