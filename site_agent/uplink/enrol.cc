#include "site_agent/uplink/enrol.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "consilium/v1/federation.grpc.pb.h"
#include "privacy/crypto/certificate.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/wire/transport.h"
#include "site_agent/agent_options.h"

namespace consilium::agent {
namespace {

constexpr uint64_t kPemBytesMax = 64 * 1024;
constexpr int kReadsMax = 3;

struct IdentityPaths {
  explicit IdentityPaths(const std::string& home)
      : folder(JoinPath(home, "identity")),
        key(JoinPath(folder, "site.key")),
        certificate(JoinPath(folder, "site.crt")),
        ca(JoinPath(folder, "ca.crt")),
        next_key(JoinPath(folder, "next.key")),
        lock(JoinPath(folder, "lock")) {}
  std::string folder, key, certificate, ca, next_key, lock;
};

// `enroll` and the agent that runs may both change the identity. Gone with the process.
class IdentityLock {
 public:
  static absl::StatusOr<IdentityLock> Take(const IdentityPaths& paths) {
    const int fd = ::open(paths.lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kPrivateFile);
    if (fd < 0) return absl::UnavailableError("the identity's lock cannot be made");
    IdentityLock lock(fd);
    if (::flock(fd, LOCK_EX) != 0) return absl::UnavailableError("the identity cannot be locked");
    return lock;
  }
  IdentityLock(IdentityLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  IdentityLock& operator=(IdentityLock&&) = delete;
  ~IdentityLock() {
    if (fd_ >= 0) ::close(fd_);
  }

 private:
  explicit IdentityLock(int fd) : fd_(fd) {}
  int fd_;
};

absl::StatusOr<privacy::SecretBytes> ReadKey(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return absl::NotFoundError("no site.key: not enrolled");
  if ((info.st_mode & 077) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(BaseName(path), " may be read by others: chmod 600 it"));
  }
  CSL_ASSIGN_OR_RETURN(const std::string pem, ReadFile(path, kPemBytesMax));
  return privacy::SecretBytes(pem);
}

absl::StatusOr<privacy::SecretBytes> MakeOrReadKey(const std::string& path) {
  if (PathExists(path)) return ReadKey(path);
  CSL_ASSIGN_OR_RETURN(privacy::SecretBytes key, privacy::GenerateKeyPem());
  CSL_RETURN_IF_ERROR(WriteFileAtomic(path, key.view(), kPrivateFile));
  return key;
}

bool IsForNextKey(const IdentityPaths& paths, const std::string& certificate_pem) {
  const auto key = PathExists(paths.next_key) ? ReadKey(paths.next_key)
                                              : absl::NotFoundError("no next.key");
  return key.ok() && privacy::CheckCertificateKey(certificate_pem, *key).ok();
}

// Under the lock: the last step of a renewal that was killed before it.
absl::Status SettleKey(const IdentityPaths& paths) {
  if (!PathExists(paths.certificate)) return absl::OkStatus();
  CSL_ASSIGN_OR_RETURN(const std::string certificate, ReadFile(paths.certificate, kPemBytesMax));
  if (!IsForNextKey(paths, certificate)) return absl::OkStatus();
  return RenameDurably(paths.next_key, paths.key);
}

absl::StatusOr<v1::EnrolReply> CallEnrol(const Invitation& invitation, const std::string& csr_pem,
                                         const EnrolOptions& options) {
  wire::TlsFiles tls;
  tls.ca_pem = invitation.ca_pem;
  const auto channel = wire::ConnectTls(invitation.enrolment_address, tls,
                                        AddressHost(invitation.enrolment_address));
  const auto stub = v1::Enrolment::NewStub(channel);
  v1::EnrolRequest request;
  request.set_token(invitation.token);
  request.set_csr_pem(csr_pem);
  request.set_software_version(options.software_version);
  grpc::ClientContext context;
  context.set_deadline(wire::DeadlineIn(options.timeout));
  v1::EnrolReply reply;
  const absl::Status called = wire::FromGrpc(stub->Enrol(&context, request, &reply));
  CSL_RETURN_IF_ERROR(Annotate(called, "enrolment"));
  return reply;
}

absl::Status CheckReply(const Invitation& invitation, const v1::EnrolReply& reply,
                        absl::Time now) {
  const std::string& certificate = reply.certificate_pem();
  if (certificate.size() > kPemBytesMax || reply.ca_pem().size() > kPemBytesMax) {
    return absl::InvalidArgumentError("enrolment: the reply is too long");
  }
  CSL_ASSIGN_OR_RETURN(const std::string invited_ca,
                       privacy::CertificateSha256Hex(invitation.ca_pem));
  CSL_ASSIGN_OR_RETURN(const std::string replied_ca, privacy::CertificateSha256Hex(reply.ca_pem()));
  if (invited_ca != replied_ca) {
    return absl::InvalidArgumentError("enrolment: the reply names another CA than the invitation");
  }
  CSL_RETURN_IF_ERROR(privacy::VerifyCertificate(certificate, invitation.ca_pem, now));
  CSL_ASSIGN_OR_RETURN(const privacy::Identity identity,
                       privacy::CertificateIdentity(certificate));
  const privacy::Identity expected = {invitation.federation, privacy::Role::kSite,
                                      invitation.site};
  if (identity != expected) {
    return absl::InvalidArgumentError("enrolment: the certificate is for somebody else");
  }
  return absl::OkStatus();
}

// OK for a home without an identity, and for one with the identity that the invitation is for.
absl::Status CheckHome(const Invitation& invitation, const IdentityPaths& paths) {
  if (!PathExists(paths.certificate)) return absl::OkStatus();
  CSL_ASSIGN_OR_RETURN(const std::string certificate, ReadFile(paths.certificate, kPemBytesMax));
  CSL_ASSIGN_OR_RETURN(const privacy::Identity identity,
                       privacy::CertificateIdentity(certificate));
  const privacy::Identity invited = {invitation.federation, privacy::Role::kSite, invitation.site};
  if (identity != invited) {
    return absl::AlreadyExistsError(absl::StrCat(
        "this home is enrolled as ", identity.name, " in ", identity.federation,
        ", the invitation is for ", invited.name, " in ", invited.federation,
        "; use another --home"));
  }
  CSL_ASSIGN_OR_RETURN(const std::string ca, ReadFile(paths.ca, kPemBytesMax));
  CSL_ASSIGN_OR_RETURN(const std::string known, privacy::CertificateSha256Hex(ca));
  CSL_ASSIGN_OR_RETURN(const std::string asked, privacy::CertificateSha256Hex(invitation.ca_pem));
  if (known != asked) {
    return absl::AlreadyExistsError(absl::StrCat(
        "this home is enrolled in ", identity.federation,
        " under another CA than the invitation's; use another --home"));
  }
  return absl::OkStatus();
}

absl::Status WriteOptions(const Invitation& invitation, const std::string& home) {
  AgentOptions options;
  if (auto before = ReadAgentOptions(home); before.ok()) options = *std::move(before);
  options.federation = invitation.federation;
  options.site = invitation.site;
  options.federation_address = invitation.federation_address;
  return WriteAgentOptions(home, options);
}

}  // namespace

absl::StatusOr<SiteIdentity> ReadIdentity(const std::string& home) {
  const IdentityPaths paths(home);
  if (!PathExists(paths.certificate)) {
    return absl::NotFoundError(
        "this home has no identity: run `consilium-agent enroll --home DIR --invitation FILE`");
  }
  // Without the lock, so that it changes nothing; a renewal may come in between.
  for (int attempt = 0; attempt < kReadsMax; ++attempt) {
    SiteIdentity identity;
    CSL_ASSIGN_OR_RETURN(identity.certificate_pem, ReadFile(paths.certificate, kPemBytesMax));
    CSL_ASSIGN_OR_RETURN(identity.ca_pem, ReadFile(paths.ca, kPemBytesMax));
    for (const std::string& path : {paths.key, paths.next_key}) {
      if (path == paths.next_key && !PathExists(path)) continue;
      CSL_ASSIGN_OR_RETURN(identity.key_pem, ReadKey(path));
      if (privacy::CheckCertificateKey(identity.certificate_pem, identity.key_pem).ok()) {
        return identity;
      }
    }
  }
  return absl::DataLossError("site.key is not the key of site.crt: enrol with a new invitation");
}

absl::StatusOr<KeyRequest> PrepareRenewal(const std::string& home) {
  const IdentityPaths paths(home);
  CSL_ASSIGN_OR_RETURN(const IdentityLock lock, IdentityLock::Take(paths));
  CSL_RETURN_IF_ERROR(SettleKey(paths));
  CSL_ASSIGN_OR_RETURN(const std::string certificate, ReadFile(paths.certificate, kPemBytesMax));
  CSL_ASSIGN_OR_RETURN(const privacy::Identity identity,
                       privacy::CertificateIdentity(certificate));
  KeyRequest request;
  CSL_ASSIGN_OR_RETURN(request.key_pem, MakeOrReadKey(paths.next_key));
  CSL_ASSIGN_OR_RETURN(request.csr_pem, privacy::MakeCsrPem(request.key_pem, identity.name));
  return request;
}

absl::Status FinishRenewal(const std::string& home, const std::string& certificate_pem,
                           absl::Time now) {
  const IdentityPaths paths(home);
  CSL_ASSIGN_OR_RETURN(const IdentityLock lock, IdentityLock::Take(paths));
  CSL_ASSIGN_OR_RETURN(const privacy::SecretBytes key, ReadKey(paths.next_key));
  CSL_RETURN_IF_ERROR(privacy::CheckCertificateKey(certificate_pem, key));
  CSL_ASSIGN_OR_RETURN(const std::string ca, ReadFile(paths.ca, kPemBytesMax));
  CSL_RETURN_IF_ERROR(privacy::VerifyCertificate(certificate_pem, ca, now));
  CSL_ASSIGN_OR_RETURN(const std::string before, ReadFile(paths.certificate, kPemBytesMax));
  CSL_ASSIGN_OR_RETURN(const privacy::Identity ours, privacy::CertificateIdentity(before));
  CSL_ASSIGN_OR_RETURN(const privacy::Identity theirs,
                       privacy::CertificateIdentity(certificate_pem));
  if (ours != theirs) {
    return absl::InvalidArgumentError("renewal: the certificate is for somebody else");
  }
  CSL_RETURN_IF_ERROR(WriteFileAtomic(paths.certificate, certificate_pem));
  return SettleKey(paths);
}

absl::Status Enrol(const Invitation& invitation, const EnrolOptions& options) {
  const IdentityPaths paths(options.home);
  CSL_RETURN_IF_ERROR(CheckHome(invitation, paths));
  const bool renews = PathExists(paths.certificate);
  CSL_RETURN_IF_ERROR(MakeDirs(paths.folder));
  CSL_ASSIGN_OR_RETURN(const IdentityLock lock, IdentityLock::Take(paths));
  CSL_RETURN_IF_ERROR(SettleKey(paths));
  CSL_ASSIGN_OR_RETURN(const privacy::SecretBytes key, MakeOrReadKey(paths.key));
  CSL_ASSIGN_OR_RETURN(const std::string csr_pem, privacy::MakeCsrPem(key, invitation.site));
  CSL_ASSIGN_OR_RETURN(const v1::EnrolReply reply, CallEnrol(invitation, csr_pem, options));
  CSL_RETURN_IF_ERROR(CheckReply(invitation, reply, options.now));
  CSL_RETURN_IF_ERROR(privacy::CheckCertificateKey(reply.certificate_pem(), key));
  if (!renews || absl::IsNotFound(ReadAgentOptions(options.home).status())) {
    CSL_RETURN_IF_ERROR(WriteOptions(invitation, options.home));
  }
  CSL_RETURN_IF_ERROR(WriteFileAtomic(paths.ca, invitation.ca_pem));
  // Last: its presence says that the home is enrolled.
  return WriteFileAtomic(paths.certificate, reply.certificate_pem());
}

}  // namespace consilium::agent
