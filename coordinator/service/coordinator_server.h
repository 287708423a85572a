// The running coordinator: store, domain, services and their two listeners, put together.
//
// Order: wire::RequireTls13() first in the process, then Start, then Shutdown (or destruction, which
// cuts what is open). Thread-safe after Start.
//
// Listeners: Federation and Admin over mutual TLS 1.3 on `listen`; Enrolment, server authentication
// only, on `enrolment_listen`; metrics and health over plain HTTP on `http_listen`. Port 0 is allowed:
// the ports in use are written to HOME/run/ports.json ({"enrolment":N,"federation":N,"http":N}) and, where the configured address has port 0,
// into the administrator's endpoint.json.
//
// Errors of Start: NOT_FOUND, INVALID_ARGUMENT: no home, or a broken one. DATA_LOSS: the store.
// UNAVAILABLE: an address that cannot be listened on, or the home is in use.
#ifndef CONSILIUM_COORDINATOR_SERVICE_COORDINATOR_SERVER_H_
#define CONSILIUM_COORDINATOR_SERVICE_COORDINATOR_SERVER_H_

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "coordinator/audit/audit_log.h"
#include "coordinator/home.h"
#include "coordinator/round/federation_driver.h"
#include "coordinator/round/model_registry.h"
#include "coordinator/round/site_registry.h"
#include "coordinator/service/access_gate.h"
#include "coordinator/service/admin_service.h"
#include "coordinator/service/atna_feed.h"
#include "coordinator/service/audit_calls.h"
#include "coordinator/service/enrolment_service.h"
#include "coordinator/service/federation_service.h"
#include "coordinator/service/home_certificates.h"
#include "coordinator/service/operations.h"
#include "coordinator/store/model_store.h"
#include "coordinator/service/witness_calls.h"
#include "coordinator/store/store.h"
#include "grpcpp/grpcpp.h"
#include "proto/base/clock.h"
#include "proto/base/thread_pool.h"

namespace consilium::coordinator {

inline constexpr size_t kServerBytesMax = size_t{512} << 20;  // of gRPC's buffers
inline constexpr int kServerThreadsMax = 1024;  // of calls at work; a held NextTask has none
inline constexpr absl::Duration kHandshakesEvery = absl::Seconds(5);
inline constexpr absl::Duration kCollectEvery = absl::Hours(24);
inline constexpr absl::Duration kTickEvery = absl::Milliseconds(250);

class CoordinatorServer {
 public:
  // `clock` must outlive it.
  static absl::StatusOr<std::unique_ptr<CoordinatorServer>> Start(const std::string& home,
                                                                  const CoordinatorOptions& options,
                                                                  const Clock& clock);
  ~CoordinatorServer();

  // No more tasks; calls in progress have `grace` to end. Idempotent.
  void Shutdown(absl::Duration grace);

  // Signs the audit log up to its last entry.
  absl::Status SignLog() { return log_->Sign(); }
  uint64_t audit_size() const { return store_->AuditSize(); }

  int federation_port() const { return federation_port_; }
  int enrolment_port() const { return enrolment_port_; }
  int http_port() const { return operations_ == nullptr ? 0 : operations_->port(); }

 private:
  CoordinatorServer(std::string home, CoordinatorOptions options, const Clock& clock)
      : home_(std::move(home)), options_(std::move(options)), clock_(clock) {}
  absl::Status OpenLog();
  absl::Status OpenDomain();
  absl::Status Listen();
  void ListenForOperations();
  absl::Status WritePorts() const;
  InvitationTerms Terms() const;
  void TickUntilStopped();
  void ReportHandshakes();
  void CollectUntilStopped();

  const std::string home_;
  const CoordinatorOptions options_;
  const Clock& clock_;
  std::string ca_sha256_;
  std::atomic<int> federation_port_ = 0;  // set once, before anyone can call
  std::atomic<int> enrolment_port_ = 0;

  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<AuditLog> log_;
  std::unique_ptr<ModelStore> weights_;
  std::unique_ptr<SiteRegistry> sites_;
  std::unique_ptr<ModelRegistry> models_;
  std::unique_ptr<FederationDriver> driver_;
  std::unique_ptr<AccessGate> gate_;
  std::unique_ptr<WitnessCalls> witness_calls_;
  std::unique_ptr<AuditCalls> audit_calls_;
  std::unique_ptr<FederationService> federation_;
  std::unique_ptr<EnrolmentService> enrolment_;
  std::unique_ptr<AdminService> admin_;
  std::unique_ptr<HomeCertificates> certificates_;
  std::unique_ptr<grpc::Server> federation_server_;
  std::unique_ptr<grpc::Server> enrolment_server_;
  std::unique_ptr<Operations> operations_;
  absl::Duration handshakes_reported_ = -absl::InfiniteDuration();  // the ticker's
  std::unique_ptr<privacy::AtnaFeed> atna_;  // none: no repository is configured
  absl::Notification stopped_;
  std::unique_ptr<ThreadPool> ticker_;
  std::unique_ptr<ThreadPool> collector_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_COORDINATOR_SERVER_H_
