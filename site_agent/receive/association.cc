#include "site_agent/receive/association.h"

#include <unistd.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcuid.h"
#include "dcmtk/dcmnet/assoc.h"
#include "dcmtk/dcmnet/dcmtrans.h"
#include "dcmtk/dcmnet/dul.h"
#include "dcmtk/dcmtls/tlslayer.h"
#include "privacy/crypto/tls_context.h"
#include "proto/base/status.h"
#include "site_agent/imaging/dicom_file.h"

namespace consilium::agent {
namespace {

int Seconds(absl::Duration duration) { return static_cast<int>(absl::ToInt64Seconds(duration)); }

// BCP 195, without falling back to older protocols: TLS 1.2 and 1.3. Peers have to show a
// certificate.
absl::StatusOr<std::unique_ptr<DcmTLSTransportLayer>> MakeTls(const DicomTlsFiles& files,
                                                              T_ASC_NetworkRole role) {
  auto layer = std::make_unique<DcmTLSTransportLayer>(role, nullptr, OFTrue);
  if (layer->setTLSProfile(TSP_Profile_BCP195_ND).bad() || layer->activateCipherSuites().bad()) {
    return absl::InternalError("TLS: no cipher suites of BCP 195");
  }
  if (layer->addTrustedCertificateFile(files.ca.c_str(), DCF_Filetype_PEM).bad()) {
    return absl::FailedPreconditionError("TLS: the file of tls.ca cannot be used");
  }
  if (layer->setPrivateKeyFile(files.key.c_str(), DCF_Filetype_PEM).bad()) {
    return absl::FailedPreconditionError("TLS: the file of tls.key cannot be used");
  }
  if (layer->setCertificateFile(files.certificate.c_str(), DCF_Filetype_PEM).bad() ||
      !layer->checkPrivateKeyMatchesCertificate()) {
    return absl::FailedPreconditionError(
        "TLS: the certificate cannot be used, or is not the key's");
  }
  layer->setCertificateVerification(DCV_requireCertificate);
  return layer;
}

absl::Status Propose(T_ASC_Parameters* parameters,
                     const std::vector<Association::Proposal>& proposals) {
  int id = 1;
  for (const Association::Proposal& proposal : proposals) {
    std::vector<const char*> syntaxes = proposal.transfer_syntaxes;
    const T_ASC_SC_ROLE role =
        proposal.role == Association::Proposal::Role::kScp ? ASC_SC_ROLE_SCP : ASC_SC_ROLE_DEFAULT;
    CSL_RETURN_IF_ERROR(FromCondition(
        ASC_addPresentationContext(parameters, static_cast<T_ASC_PresentationContextID>(id),
                                   proposal.abstract_syntax, syntaxes.data(),
                                   static_cast<int>(syntaxes.size()), role),
        "a presentation context"));
    id += 2;
  }
  return absl::OkStatus();
}

}  // namespace

void PrepareNetwork() {
  ::setenv("TCP_NODELAY", "1", /*overwrite=*/1);
  imaging::PrepareDcmtk();
  dcmDisableGethostbyaddr.set(OFTrue);
  dcmConnectionTimeout.set(Seconds(kHandshakeMax));
  dcmSocketReceiveTimeout.set(Seconds(kSilenceMax));
  dcmSocketSendTimeout.set(Seconds(kSilenceMax));
}

std::vector<const char*> StorageClasses() {
  return std::vector<const char*>(dcmAllStorageSOPClassUIDs,
                                  dcmAllStorageSOPClassUIDs + numberOfDcmAllStorageSOPClassUIDs);
}

std::vector<const char*> TransferSyntaxes() {
  return {UID_LittleEndianExplicitTransferSyntax,
          UID_JPEGProcess14SV1TransferSyntax,
          UID_JPEGProcess14TransferSyntax,
          UID_JPEGLSLosslessTransferSyntax,
          UID_JPEG2000LosslessOnlyTransferSyntax,
          UID_RLELosslessTransferSyntax,
          UID_DeflatedExplicitVRLittleEndianTransferSyntax,
          UID_JPEGProcess1TransferSyntax,
          UID_JPEGProcess2_4TransferSyntax,
          UID_JPEGLSLossyTransferSyntax,
          UID_JPEG2000TransferSyntax,
          UID_BigEndianExplicitTransferSyntax,
          UID_LittleEndianImplicitTransferSyntax};
}

absl::Status FromCondition(const OFCondition& condition, absl::string_view what) {
  if (condition.good()) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat(what, ": DICOM network fault ", condition.module(), ".", condition.code()));
}

Association::Association() = default;

Association::Association(Association&& other) noexcept
    : tls_(std::move(other.tls_)),
      network_(std::exchange(other.network_, nullptr)),
      association_(std::exchange(other.association_, nullptr)),
      open_(std::exchange(other.open_, false)) {}

Association::~Association() {
  if (association_ != nullptr) {
    if (open_) ASC_abortAssociation(association_);
    ASC_dropAssociation(association_);
    ASC_destroyAssociation(&association_);
  }
  if (network_ != nullptr) ASC_dropNetwork(&network_);
}

absl::StatusOr<Association> Association::Receive(int socket, const DicomTlsFiles* tls) {
  Association made;
  DUL_markProcessAsForkedChild();
  dcmExternalSocketHandle.set(socket);
  OFCondition condition =
      ASC_initializeNetwork(NET_ACCEPTOR, 104, Seconds(kHandshakeMax), &made.network_);
  if (condition.bad()) return FromCondition(condition, "the network cannot be prepared");
  if (tls != nullptr) {
    CSL_ASSIGN_OR_RETURN(made.tls_, MakeTls(*tls, NET_ACCEPTOR));
    ASC_setTransportLayer(made.network_, made.tls_.get(), /*takeoverOwnership=*/0);
  }
  condition = ASC_receiveAssociation(made.network_, &made.association_, kPduBytesMax, nullptr,
                                     nullptr, tls != nullptr, DUL_NOBLOCK, Seconds(kHandshakeMax));
  CSL_RETURN_IF_ERROR(FromCondition(condition, "no association was asked for"));
  made.open_ = true;
  return made;
}

absl::StatusOr<Association> Association::Request(const DicomPeer& peer,
                                                 const std::string& our_title,
                                                 const DicomTlsFiles* tls,
                                                 const std::vector<Proposal>& proposals) {
  Association made;
  OFCondition condition =
      ASC_initializeNetwork(NET_REQUESTOR, 0, Seconds(kHandshakeMax), &made.network_);
  if (condition.bad()) return FromCondition(condition, "the network cannot be prepared");
  if (tls != nullptr) {
    CSL_ASSIGN_OR_RETURN(made.tls_, MakeTls(*tls, NET_REQUESTOR));
    ASC_setTransportLayer(made.network_, made.tls_.get(), /*takeoverOwnership=*/0);
  }
  T_ASC_Parameters* parameters = nullptr;
  condition = ASC_createAssociationParameters(&parameters, kPduBytesMax);
  if (condition.bad()) return FromCondition(condition, "the network cannot be prepared");
  ASC_setTransportLayerType(parameters, tls != nullptr);
  ASC_setAPTitles(parameters, our_title.c_str(), peer.ae_title.c_str(), nullptr);
  char host[256] = "localhost";
  (void)::gethostname(host, sizeof(host) - 1);
  ASC_setPresentationAddresses(parameters, host, absl::StrCat(peer.host, ":", peer.port).c_str());
  if (const absl::Status proposed = Propose(parameters, proposals); !proposed.ok()) {
    ASC_destroyAssociationParameters(&parameters);
    return proposed;
  }
  condition = ASC_requestAssociation(made.network_, parameters, &made.association_, nullptr,
                                     nullptr, DUL_NOBLOCK, Seconds(kHandshakeMax));
  if (condition == DUL_ASSOCIATIONREJECTED) {
    T_ASC_RejectParameters reject;
    ASC_getRejectParameters(parameters, &reject);
    return absl::PermissionDeniedError(
        absl::StrCat("the peer rejects our association, DICOM result ", reject.result, ", source ",
                     reject.source, ", reason ", reject.reason & 0xFF));
  }
  if (made.association_ == nullptr && condition.bad()) {
    ASC_destroyAssociationParameters(&parameters);
  }
  CSL_RETURN_IF_ERROR(FromCondition(condition, "no association with the peer"));
  made.open_ = true;
  CSL_RETURN_IF_ERROR(made.CheckPeerName(peer.host));
  return made;
}

absl::Status Association::CheckPeerName(const std::string& host) const {
  if (tls_ == nullptr || !IsHostName(host)) return absl::OkStatus();
  std::string certificate(ASC_getPeerCertificateLength(association_), '\0');
  certificate.resize(ASC_getPeerCertificate(association_, certificate.data(), certificate.size()));
  if (privacy::CertificateNames(certificate, host)) return absl::OkStatus();
  return absl::PermissionDeniedError("the peer's certificate does not name its host");
}

void Association::Release() {
  if (std::exchange(open_, false)) ASC_releaseAssociation(association_);
}

void Association::Acknowledged() { open_ = false; }

}  // namespace consilium::agent
