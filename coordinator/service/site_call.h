// One call of a site, from the door to its end: admitted by the access gate, ended when the site is
// suspended or revoked, its refusal recorded. For handlers of every kind, with or without a thread.
//
// Order: make it first, look at admitted(), do the work, End with the outcome. Thread-compatible.
#ifndef CONSILIUM_COORDINATOR_SERVICE_SITE_CALL_H_
#define CONSILIUM_COORDINATOR_SERVICE_SITE_CALL_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "coordinator/round/site_registry.h"
#include "coordinator/service/access_gate.h"
#include "grpcpp/grpcpp.h"

namespace consilium::coordinator {

inline constexpr absl::string_view kHelloAction = "site.hello";

class SiteCall {
 public:
  // `action` is ours ("task.next") and a literal. All must outlive it. A call of a process that
  // another one of its site has superseded is not admitted.
  SiteCall(AccessGate& gate, SiteRegistry& sites, grpc::ServerContextBase* context,
           absl::string_view action);

  const absl::Status& admitted() const { return admitted_; }
  const std::string& site() const { return site_; }
  // Records a refusal; what the caller is told. RESOURCE_EXHAUSTED and UNAVAILABLE say when to come
  // back.
  grpc::Status End(const absl::Status& status);

 private:
  AccessGate& gate_;
  SiteRegistry& sites_;
  const absl::string_view action_;
  std::string site_ = "unknown";
  std::optional<AccessGate::OpenCall> open_;
  absl::Status admitted_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_SERVICE_SITE_CALL_H_
