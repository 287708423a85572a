// The folder that `consilium init` makes and `consilium-coordinator` runs in.
//
//   coordinator.yaml                  what an administrator may change; written last: it marks a
//                                     whole home
//   ca/ca.crt, ca/ca.key              the federation's root; the key may be taken offline after
//                                     enrolments
//   server.crt, server.key            this coordinator
//   admin/ca.crt, client.crt, client.key, endpoint.json
//                                     credentials of the first administrator
//   sealing.key                       X25519 private key, 32 raw bytes; updates are sealed to it
//   audit.key                         Ed25519, signs the audit log's checkpoints
//   audit/checkpoint                  the newest of them, unless `checkpoint_file` says elsewhere
//   audit/evidence/                   of a log that was rolled back or forked
//   ballast                           space kept back, so that a full disk can still be recorded
//   store/                            RocksDB
//   chunks/ab/cd/<sha256>             weights of versions, in pieces of 4 MiB by their digest
//   staging/                          uploads in progress and accepted updates of running rounds
#ifndef CONSILIUM_COORDINATOR_HOME_H_
#define CONSILIUM_COORDINATOR_HOME_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/crypto/certificate.h"
#include "proto/base/clock.h"

namespace consilium::coordinator {

// coordinator.yaml. Unknown keys are errors.
struct CoordinatorOptions {
  std::string federation;                 // its name; part of every identity
  std::string listen = "127.0.0.1:7443";  // Federation and Admin, mutual TLS
  std::string enrolment_listen = "127.0.0.1:7444";
  std::vector<std::string> hosts = {"localhost", "127.0.0.1"};  // names in the server certificate
  std::string advertise;  // host:port sites connect to; empty: `listen`
  std::string enrolment_advertise;
  int64_t site_certificate_days = 90;
  uint64_t upload_bytes_max = uint64_t{4} << 30;
  uint64_t uploads_in_flight_bytes_max = uint64_t{4} << 30;
  std::string http_listen = "127.0.0.1:7445";  // metrics and health, plain HTTP; empty: off
  uint64_t disk_floor_bytes = uint64_t{2} << 30;  // less free space: not ready, no new work
  // The hospital's audit repository (IHE ATNA), host:port; empty: none. The files are PEM, in the home
  // unless their path is absolute.
  std::string atna_repository;
  std::string atna_ca = "atna/ca.crt";
  std::string atna_certificate = "atna/client.crt";
  std::string atna_key = "atna/client.key";
  // Where the newest checkpoint of the audit log is also kept, best on another disk; empty:
  // HOME/audit/checkpoint.
  std::string checkpoint_file;
  int64_t retention_versions = 0;  // newest of each study whose weights are kept; 0: all
};

// OK, or INVALID_ARGUMENT that names the key and says what it may be.
absl::Status CheckCoordinatorOptions(const CoordinatorOptions& options);

// Where sites and administrators connect to, and where a site enrols: `advertise` or, where that is
// empty, `listen`, with the first of `hosts` in place of an address that means "every interface".
std::string AdvertisedAddress(const CoordinatorOptions& options);
std::string AdvertisedEnrolmentAddress(const CoordinatorOptions& options);

// Makes the home: keys (0600), certificates, configuration. ALREADY_EXISTS if DIR holds one;
// FAILED_PRECONDITION if DIR holds anything else (an empty folder is taken).
// A failure leaves no half-made home behind.
absl::Status InitHome(const std::string& dir, const CoordinatorOptions& options);

// The federation's root with its key. FAILED_PRECONDITION: the key is not there (kept offline).
absl::StatusOr<privacy::KeyAndCertificate> ReadCa(const std::string& ca_folder);

// Issues the server's certificate and, where the home holds one, the administrator's anew, for the keys
// they have: each is one file, replaced atomically, and a coordinator that runs takes its own up.
// `hosts` of coordinator.yaml are the server's names. Errors of ReadCoordinatorOptions and ReadCa.
absl::Status RenewHome(const std::string& dir, const Clock& clock);

// NOT_FOUND: DIR is no home. INVALID_ARGUMENT: names the key, and its line, that is unknown, given
// twice, or not of its type or range. Keys left out keep their default; `federation` is required.
absl::StatusOr<CoordinatorOptions> ReadCoordinatorOptions(const std::string& dir);

// How a CLI reaches a coordinator: <dir>/endpoint.json beside client.crt, client.key and ca.crt.
struct AdminEndpoint {
  std::string federation;
  std::string address;      // host:port
  std::string server_name;  // name in the server's certificate
};
// NOT_FOUND: no endpoint.json there. INVALID_ARGUMENT: it is not what InitHome writes.
absl::StatusOr<AdminEndpoint> ReadAdminEndpoint(const std::string& credentials_dir);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_HOME_H_
