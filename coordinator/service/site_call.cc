#include "coordinator/service/site_call.h"

#include "privacy/log/log.h"
#include "proto/wire/retry.h"
#include "proto/wire/transport.h"

namespace consilium::coordinator {
namespace {

// When a site may come back: room takes a while to come, trouble passes or the connection is lost.
constexpr absl::Duration kRetryWhenFull = absl::Seconds(10);
constexpr absl::Duration kRetryWhenAway = absl::Seconds(2);

}  // namespace

SiteCall::SiteCall(AccessGate& gate, SiteRegistry& sites, grpc::ServerContextBase* context,
                   absl::string_view action)
    : gate_(gate), sites_(sites), action_(action) {
  const absl::StatusOr<Peer> peer = PeerOf(*context->auth_context());
  if (!peer.ok()) {
    admitted_ = peer.status();
    return;
  }
  site_ = peer->identity.name;
  // Registered before it is admitted, so that a revocation in between still ends it.
  open_.emplace(gate_, site_, context);
  admitted_ = gate_.Authorise(*peer, privacy::Role::kSite);
  if (!admitted_.ok()) return;
  const auto& metadata = context->client_metadata();
  const auto it = metadata.find(wire::kIncarnationMetadata);
  const absl::string_view incarnation =
      it == metadata.end() ? "" : absl::string_view(it->second.data(), it->second.size());
  admitted_ = sites_.AdmitProcess(site_, incarnation,
                                  action_ == kHelloAction ? SiteRegistry::ProcessCall::kHello
                                                          : SiteRegistry::ProcessCall::kOther);
  if (!admitted_.ok()) return;
  sites_.Seen(site_);
  // What cannot be recorded does not happen: the site goes on with both keys.
  if (const absl::Status used = sites_.KeyUsed(site_, peer->key_sha256); !used.ok()) {
    privacy::Log(privacy::LogLevel::kError, "the first use of a renewed key could not be recorded",
                 {{privacy::LogField::Key::kSite, site_},
                  {privacy::LogField::Key::kReason, used.message()}});
  }
}

grpc::Status SiteCall::End(const absl::Status& status) {
  if (admitted_.ok()) sites_.Seen(site_);
  if (!status.ok()) gate_.Refused(site_, action_, status);
  if (wire::RetryAfter(status)) return wire::ToGrpc(status);  // whoever refused knew when
  if (absl::IsResourceExhausted(status)) {
    return wire::ToGrpc(wire::WithRetryAfter(status, kRetryWhenFull));
  }
  if (absl::IsUnavailable(status)) {
    return wire::ToGrpc(wire::WithRetryAfter(status, kRetryWhenAway));
  }
  return wire::ToGrpc(status);
}

}  // namespace consilium::coordinator
