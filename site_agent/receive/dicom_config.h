// HOME/dicom.yaml: who may send images to this site, and where it may fetch some.
//
// Unknown keys are errors. deploy/config/dicom.yaml is an example with every key.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_DICOM_CONFIG_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_DICOM_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "site_agent/policy/training_hours.h"

namespace consilium::agent {

// PEM files; relative paths are in the home.
struct DicomTlsFiles {
  std::string certificate;
  std::string key;
  std::string ca;  // whom a peer's certificate must come from
};

enum class RetrieveMethod { kGet, kMove, kWeb };

// How we show a DICOMweb server who we are, besides our certificate: a file of mode 0600. Its
// content is read when it is used.
struct WebCredentials {
  enum class Kind { kToken, kLogin } kind = Kind::kToken;  // bearer (RFC 6750), basic (RFC 7617)
  std::string file;                                        // relative ones are in the home
};

// One application entity of the hospital.
struct DicomPeer {
  std::string name;      // ours for it
  std::string ae_title;  // empty: it speaks DICOMweb only
  std::string host;      // name or IPv4 address; empty: it has a web_root only
  int port = 0;          // 0: it sends to us, and is never called
  bool tls = false;      // when we call it
  bool may_send = true;  // to us; never without a host
  RetrieveMethod method = RetrieveMethod::kGet;
  std::string web_root;  // of its DICOMweb service; for kWeb
  std::optional<WebCredentials> web_credentials;
  int64_t studies_per_hour = 0;  // 0: as fast as it answers
  TrainingHours hours;           // when it may be asked for images
  int64_t attempts = 3;          // for one study
};

// STOW-RS, always with TLS.
struct DicomWebListen {
  int port = 11443;  // 0: any free one
  // Who sends what is in this file (mode 0600) as a bearer token need not show a certificate.
  std::string token_file;  // empty: everybody needs a certificate; relative ones are in the home
};

struct DicomListen {
  std::string address = "0.0.0.0";  // IPv4: DCMTK 3.6.7 knows no other
  int port = 11112;                 // 0: any free one
  bool tls = false;
  int associations_max = 10;  // HTTP connections included
  std::optional<DicomWebListen> web;
};

// What lies in HOME/quarantine before intake has taken it.
struct QuarantineLimits {
  uint64_t bytes_max = uint64_t{50} << 30;
  uint64_t free_bytes_min = uint64_t{1} << 30;  // of the disk, left to others
  uint64_t object_bytes_max = uint64_t{2} << 30;
  absl::Duration settle = absl::Minutes(2);  // since a patient's newest object
};

struct DicomConfig {
  std::string ae_title = "CONSILIUM";
  DicomListen listen;
  QuarantineLimits quarantine;
  std::optional<DicomTlsFiles> tls;
  std::vector<std::string> watch;  // folders; what appears there is taken in
  std::vector<DicomPeer> peers;

  // NOT_FOUND names the peers there are.
  absl::StatusOr<DicomPeer> Peer(absl::string_view name) const;
};

// INVALID_ARGUMENT with the line and the remedy.
absl::StatusOr<DicomConfig> ParseDicomConfig(const std::string& yaml);
// With paths made absolute. NOT_FOUND: no dicom.yaml.
absl::StatusOr<DicomConfig> ReadDicomConfig(const std::string& home);

// Whether a peer's host is given by its name, so that its certificate can be held to it.
bool IsHostName(absl::string_view host);

// PS3.5 6.2, AE: 1..16 characters without backslash and control characters, not only blanks.
bool IsAeTitle(absl::string_view text);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_DICOM_CONFIG_H_
