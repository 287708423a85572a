// The door that every call of a certificate's holder goes through: who is it, may it, and a record of
// each refusal.
//
// Identity is the certificate's URI SAN, as gRPC reports it and as the certificate itself says; both
// must agree. The key's digest is checked against the enrolled keys on every call.
//
// Thread-safe. Refusals are logged each, and audited at most once in kAuditEvery for the same caller,
// action and code; the next entry counts those in between, so a broken client cannot fill the log.
#ifndef CONSILIUM_COORDINATOR_SERVICE_ACCESS_GATE_H_
#define CONSILIUM_COORDINATOR_SERVICE_ACCESS_GATE_H_

#include <map>
#include <set>
#include <string>
#include <tuple>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/metrics/metrics.h"
#include "coordinator/round/site_registry.h"
#include "coordinator/store/store.h"
#include "grpcpp/grpcpp.h"
#include "privacy/crypto/certificate.h"
#include "proto/base/clock.h"

namespace consilium::coordinator {

inline constexpr absl::Duration kAuditEvery = absl::Minutes(1);
inline constexpr size_t kRefusalKeysMax = 1024;

struct Peer {
  privacy::Identity identity;
  std::string key_sha256;
};
// UNAUTHENTICATED: no certificate, or not one of ours.
absl::StatusOr<Peer> PeerOf(const grpc::AuthContext& context);

class AccessGate {
 public:
  // All must outlive it.
  AccessGate(SiteRegistry& sites, Store& store, Metrics& metrics, const Clock& clock)
      : sites_(sites), store_(store), metrics_(metrics), clock_(clock) {}

  // A call of `peer` in progress, which Cut can end. Lives as long as the call.
  class OpenCall {
   public:
    OpenCall(AccessGate& gate, std::string name, grpc::ServerContextBase* context);
    ~OpenCall();
    OpenCall(const OpenCall&) = delete;
    OpenCall& operator=(const OpenCall&) = delete;

   private:
    AccessGate& gate_;
    const std::string name_;
    grpc::ServerContextBase* const context_;
  };

  absl::Status Authorise(const Peer& peer, privacy::Role role) const;
  // Ends every open call of the site.
  void Cut(absl::string_view site);
  // Logs a refusal, and audits it within the limit. `action` is ours ("task.next").
  void Refused(absl::string_view caller, absl::string_view action, const absl::Status& status);

 private:
  struct Seen {
    absl::Duration audited;
    int64_t since = 0;
  };
  SiteRegistry& sites_;
  Store& store_;
  Metrics& metrics_;
  const Clock& clock_;
  absl::Mutex mutex_;
  std::map<std::string, std::set<grpc::ServerContextBase*>, std::less<>> calls_
      ABSL_GUARDED_BY(mutex_);
  std::map<std::tuple<std::string, std::string, int>, Seen> refusals_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_ACCESS_GATE_H_
