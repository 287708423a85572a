#include "coordinator/service/coordinator_server.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grpcpp/health_check_service_interface.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/certificate.h"
#include "privacy/crypto/hpke.h"
#include "privacy/log/log.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "proto/wire/handshake_log.h"
#include "proto/wire/transport.h"

namespace consilium::coordinator {
namespace {

constexpr uint64_t kPemBytesMax = 64 * 1024;
constexpr int kPingIntervalMinMs = 20'000;  // clients ping each 30 s
constexpr int kKeepaliveMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;

// "host:0" with the port that was bound; anything else as it is.
std::string WithPort(const std::string& address, int port) {
  return absl::EndsWith(address, ":0") ? absl::StrCat(address.substr(0, address.size() - 1), port)
                                       : address;
}

// grpc.health.v1 on the federation's port, for whoever has a certificate.
enum class Serving { kYes, kNo };
void SetServing(grpc::Server& server, Serving serving) {
  grpc::HealthCheckServiceInterface* health = server.GetHealthCheckService();
  if (health != nullptr) health->SetServingStatus(serving == Serving::kYes);
}

void Prepare(grpc::ServerBuilder& builder, const std::string& name) {
  grpc::ResourceQuota quota(name);
  quota.Resize(kServerBytesMax);
  quota.SetMaxThreads(kServerThreadsMax);
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(wire::kMessageBytesMax);
  builder.SetMaxSendMessageSize(wire::kMessageBytesMax);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kPingIntervalMinMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  // Two coordinators on one port would share its calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

absl::StatusOr<privacy::HpkeKeyPair> ReadSealingKey(const std::string& path) {
  CSL_ASSIGN_OR_RETURN(std::string bytes, ReadFile(path, kPemBytesMax));
  absl::StatusOr<privacy::HpkeKeyPair> key = privacy::HpkeKeyPairFromPrivate(bytes);
  std::fill(bytes.begin(), bytes.end(), '\0');
  return key;
}

AuditFacts LifeFacts(absl::string_view action) {
  AuditFacts facts;
  facts.actor = facts.role = "coordinator";
  facts.action = std::string(action);
  return facts;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CoordinatorServer>> CoordinatorServer::Start(
    const std::string& home, const CoordinatorOptions& options, const Clock& clock) {
  auto server = std::unique_ptr<CoordinatorServer>(new CoordinatorServer(home, options, clock));
  CSL_RETURN_IF_ERROR(server->OpenDomain());
  CSL_RETURN_IF_ERROR(server->Listen());
  server->ListenForOperations();
  CSL_RETURN_IF_ERROR(server->WritePorts());
  server->collector_ = std::make_unique<ThreadPool>(1);
  server->collector_->Schedule([raw = server.get()] { raw->CollectUntilStopped(); });
  server->ticker_ = std::make_unique<ThreadPool>(1);
  server->ticker_->Schedule([raw = server.get()] { raw->TickUntilStopped(); });
  return server;
}

CoordinatorServer::~CoordinatorServer() { Shutdown(absl::ZeroDuration()); }

// The store, and what was signed of its audit log. Nothing is committed before they agree.
absl::Status CoordinatorServer::OpenLog() {
  StoreOptions store;
  store.path = JoinPath(home_, "store");
  store.ballast_path = JoinPath(home_, "ballast");
  store.software = CONSILIUM_VERSION;
  CSL_ASSIGN_OR_RETURN(store_, Store::Open(store));
  AuditLogOptions log;
  log.federation = options_.federation;
  log.key_path = JoinPath(home_, "audit.key");
  log.evidence_folder = JoinPath(home_, "audit/evidence");
  log.checkpoint_path = options_.checkpoint_file.empty() ? JoinPath(home_, "audit/checkpoint")
                                                         : options_.checkpoint_file;
  CSL_ASSIGN_OR_RETURN(
      log_, AuditLog::Open(std::move(log), *store_, clock_, [this](const std::string& site) {
        if (sites_ == nullptr) return false;
        const absl::StatusOr<SiteStatus> status = sites_->Get(site);
        return status.ok() && status->record.state == SiteState::kApproved;
      }));
  log_->Start();
  return absl::OkStatus();
}

absl::Status CoordinatorServer::OpenDomain() {
  CSL_ASSIGN_OR_RETURN(privacy::HpkeKeyPair sealing,
                       ReadSealingKey(JoinPath(home_, "sealing.key")));
  metrics_ = std::make_unique<Metrics>(CONSILIUM_VERSION);
  CSL_RETURN_IF_ERROR(OpenLog());
  CSL_ASSIGN_OR_RETURN(certificates_,
                       HomeCertificates::Open(home_, options_.federation, *store_, clock_));
  CSL_ASSIGN_OR_RETURN(ca_sha256_, privacy::CertificateSha256Hex(certificates_->ca_pem()));
  CSL_ASSIGN_OR_RETURN(
      sites_, SiteRegistry::Create({.federation = options_.federation,
                                    .site_certificate_lifetime =
                                        absl::Hours(24) * options_.site_certificate_days},
                                   *store_, clock_));
  const std::string admin_certificate = JoinPath(home_, "admin/client.crt");
  if (PathExists(admin_certificate)) {
    CSL_ASSIGN_OR_RETURN(const std::string pem, ReadFile(admin_certificate, kPemBytesMax));
    CSL_RETURN_IF_ERROR(sites_->EnrolFirstAdmin(pem));
  }
  // Before the first entry, so that the start is reported too.
  CSL_ASSIGN_OR_RETURN(atna_, OpenAtnaFeed(home_, options_, *store_, *metrics_, clock_));
  Batch batch;
  batch.Audit(LifeFacts("coordinator.start"));
  CSL_RETURN_IF_ERROR(store_->Commit(batch, clock_.Now()).status());
  if (atna_ != nullptr) atna_->Start();
  weights_ = std::make_unique<ModelStore>(*store_, JoinPath(home_, "chunks"));
  CSL_RETURN_IF_ERROR(weights_->Prepare(JoinPath(home_, "models"), clock_.Now()));
  CSL_ASSIGN_OR_RETURN(
      driver_, FederationDriver::Create({.federation = options_.federation,
                                         .staging_folder = JoinPath(home_, "staging"),
                                         .upload_bytes_max = options_.upload_bytes_max,
                                         .uploads_in_flight_bytes_max =
                                             options_.uploads_in_flight_bytes_max,
                                         .disk_floor_bytes = options_.disk_floor_bytes,
                                         .metrics = metrics_.get()},
                                        std::move(sealing), *store_, *weights_, *sites_, clock_));
  models_ = std::make_unique<ModelRegistry>(*store_, *weights_, clock_,
                                            options_.retention_versions);
  gate_ = std::make_unique<AccessGate>(*sites_, *store_, *metrics_, clock_);
  witness_calls_ = std::make_unique<WitnessCalls>(*log_);
  audit_calls_ = std::make_unique<AuditCalls>(*log_, *store_, clock_);
  federation_ = std::make_unique<FederationService>(options_.federation, JoinPath(home_, "ca"),
                                                    *driver_, *sites_, *gate_, *witness_calls_);
  enrolment_ =
      std::make_unique<EnrolmentService>(JoinPath(home_, "ca"), *driver_, *sites_, *gate_);
  admin_ = std::make_unique<AdminService>(
      AdminService::Parts{*driver_, *sites_, *models_, *store_, *weights_, *gate_, *audit_calls_,
                          home_},
      [this] { return Terms(); });
  operations_ = std::make_unique<Operations>(
      home_, Operations::Parts{*driver_, *sites_, *store_, *log_, *metrics_, clock_});
  return absl::OkStatus();
}

absl::Status CoordinatorServer::Listen() {
  wire::ServerIdentity& server = certificates_->server();
  const auto cannot = [](const std::string& address) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address, "; is another coordinator running?"));
  };
  grpc::EnableDefaultHealthCheckService(true);
  wire::WatchHandshakes();
  // Enrolment first: once the federation's port answers, an invitation's addresses are known.
  int port = 0;
  grpc::ServerBuilder enrolment;
  Prepare(enrolment, "enrolment");
  enrolment.AddListeningPort(options_.enrolment_listen,
                             wire::ServerTls(server, wire::PeerCertificate::kNone), &port);
  enrolment.RegisterService(enrolment_.get());
  enrolment_server_ = enrolment.BuildAndStart();
  if (enrolment_server_ == nullptr || port == 0) return cannot(options_.enrolment_listen);
  enrolment_port_ = port;

  port = 0;
  grpc::ServerBuilder federation;
  Prepare(federation, "federation");
  federation.AddListeningPort(options_.listen,
                              wire::ServerTls(server, wire::PeerCertificate::kRequired), &port);
  federation.RegisterService(federation_.get());
  federation.RegisterService(admin_.get());
  federation_server_ = federation.BuildAndStart();
  if (federation_server_ == nullptr || port == 0) return cannot(options_.listen);
  federation_port_ = port;
  SetServing(*federation_server_, Serving::kYes);
  privacy::Log(privacy::LogLevel::kInfo, "listening",
               {{privacy::LogField::Key::kPeer, WithPort(options_.listen, federation_port_)},
                {privacy::LogField::Key::kPort, int64_t{federation_port_}}});
  privacy::Log(privacy::LogLevel::kInfo, "listening for enrolment",
               {{privacy::LogField::Key::kPeer, WithPort(options_.enrolment_listen, enrolment_port_)},
                {privacy::LogField::Key::kPort, int64_t{enrolment_port_}}});
  return absl::OkStatus();
}

// Rounds matter more than their figures: without this port the coordinator still runs.
void CoordinatorServer::ListenForOperations() {
  const absl::Status status = operations_->Listen(options_.http_listen);
  if (!status.ok()) {
    privacy::Log(privacy::LogLevel::kError, "no metrics and health: set http_listen",
                 {{privacy::LogField::Key::kPeer, options_.http_listen},
                  {privacy::LogField::Key::kReason, status.message()}});
  } else if (operations_->port() != 0) {
    privacy::Log(privacy::LogLevel::kInfo, "listening for metrics and health",
                 {{privacy::LogField::Key::kPeer, WithPort(options_.http_listen, http_port())},
                  {privacy::LogField::Key::kPort, int64_t{http_port()}}});
  }
}

absl::Status CoordinatorServer::WritePorts() const {
  const std::string folder = JoinPath(home_, "run");
  CSL_RETURN_IF_ERROR(MakeDirs(folder));
  const std::string endpoint_path = JoinPath(home_, "admin/endpoint.json");
  if (absl::EndsWith(AdvertisedAddress(options_), ":0") && PathExists(endpoint_path)) {
    CSL_ASSIGN_OR_RETURN(const AdminEndpoint endpoint, ReadAdminEndpoint(JoinPath(home_, "admin")));
    const nlohmann::json json = {
        {"address", WithPort(AdvertisedAddress(options_), federation_port_)},
        {"federation", endpoint.federation},
        {"server_name", endpoint.server_name}};
    CSL_RETURN_IF_ERROR(WriteFileAtomic(endpoint_path, absl::StrCat(json.dump(2), "\n")));
  }
  nlohmann::json ports = {{"enrolment", enrolment_port_.load()},
                          {"federation", federation_port_.load()}};
  if (http_port() != 0) ports["http"] = http_port();
  // Written last: who waits for this file finds everything else in place.
  return WriteFileAtomic(JoinPath(folder, "ports.json"), absl::StrCat(ports.dump(), "\n"));
}

InvitationTerms CoordinatorServer::Terms() const {
  return {.federation = options_.federation,
          .federation_address = WithPort(AdvertisedAddress(options_), federation_port_),
          .enrolment_address = WithPort(AdvertisedEnrolmentAddress(options_), enrolment_port_),
          .ca_pem = certificates_->ca_pem(),
          .ca_sha256 = ca_sha256_};
}

// At start and once a day.
void CoordinatorServer::CollectUntilStopped() {
  do {
    const absl::StatusOr<Garbage> garbage = models_->CollectGarbage(GarbageMode::kRemove, "");
    if (!garbage.ok()) {
      privacy::Log(privacy::LogLevel::kError, "old weights could not be removed",
                   {{privacy::LogField::Key::kReason, garbage.status().message()}});
    } else if (garbage->chunks > 0) {
      privacy::Log(privacy::LogLevel::kInfo, "old weights were removed",
                   {{privacy::LogField::Key::kCount, garbage->chunks},
                    {privacy::LogField::Key::kBytes, garbage->bytes}});
    }
  } while (!stopped_.WaitForNotificationWithTimeout(kCollectEvery));
}

void CoordinatorServer::TickUntilStopped() {
  while (!stopped_.WaitForNotificationWithTimeout(kTickEvery)) {
    driver_->Tick();
    operations_->Ticked();
    ReportHandshakes();
    certificates_->LookAgain();
  }
}

// One line and one entry a reason and interval, however many strangers knock.
void CoordinatorServer::ReportHandshakes() {
  const absl::Duration now = clock_.Monotonic();
  if (now - handshakes_reported_ < kHandshakesEvery) return;
  handshakes_reported_ = now;
  for (const auto& [reason, count] : wire::TakeRefusedHandshakes()) {
    gate_->Refused("unknown", "tls.handshake",
                   absl::UnauthenticatedError(absl::StrCat(reason, ", ", count, " times")));
  }
}

void CoordinatorServer::Shutdown(absl::Duration grace) {
  if (stopped_.HasBeenNotified()) return;
  stopped_.Notify();
  ticker_.reset();
  if (operations_ != nullptr) operations_->SetDraining();
  if (federation_server_ != nullptr) SetServing(*federation_server_, Serving::kNo);
  collector_.reset();
  if (driver_ != nullptr) driver_->Drain();
  const auto deadline = wire::DeadlineIn(grace);
  for (grpc::Server* server : {federation_server_.get(), enrolment_server_.get()}) {
    if (server != nullptr) server->Shutdown(deadline);
  }
  if (driver_ != nullptr) driver_->Drain();  // updates that were accepted in the meantime
  if (federation_server_ == nullptr) return;
  Batch batch;
  batch.Audit(LifeFacts("coordinator.stop"));
  absl::Status written = store_->Commit(batch, clock_.Now()).status();
  if (written.ok()) written = log_->Sign();  // nothing stays unsigned while nobody runs
  if (!written.ok()) {
    privacy::Log(privacy::LogLevel::kError, "the end could not be audited",
                 {{privacy::LogField::Key::kReason, written.message()}});
  }
  if (atna_ != nullptr) atna_->Finish();
}

}  // namespace consilium::coordinator
