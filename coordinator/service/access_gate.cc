#include "coordinator/service/access_gate.h"

#include <utility>
#include <vector>

#include "privacy/log/log.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

using privacy::LogField;
using Key = LogField::Key;

constexpr const char* kPemProperty = "x509_pem_cert";
constexpr const char* kUriProperty = "peer_uri";

absl::Status Unauthenticated() {
  return absl::UnauthenticatedError("the caller's certificate does not name a member");
}

// Told apart from a refusal: the caller did nothing wrong.
bool IsTransient(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsAborted(status) || absl::IsCancelled(status) ||
         absl::IsDeadlineExceeded(status);
}

}  // namespace

absl::StatusOr<Peer> PeerOf(const grpc::AuthContext& context) {
  if (!context.IsPeerAuthenticated()) return Unauthenticated();
  const std::vector<grpc::string_ref> pems = context.FindPropertyValues(kPemProperty);
  const std::vector<grpc::string_ref> uris = context.FindPropertyValues(kUriProperty);
  if (pems.size() != 1 || uris.size() != 1) return Unauthenticated();
  const absl::string_view pem(pems[0].data(), pems[0].size());
  const absl::string_view uri(uris[0].data(), uris[0].size());
  Peer peer;
  const absl::StatusOr<privacy::Identity> identity = privacy::CertificateIdentity(pem);
  const absl::StatusOr<std::string> key = privacy::SpkiSha256Hex(pem);
  if (!identity.ok() || !key.ok() || privacy::IdentityUri(*identity) != uri) {
    return Unauthenticated();
  }
  return Peer{*identity, *key};
}

AccessGate::OpenCall::OpenCall(AccessGate& gate, std::string name, grpc::ServerContextBase* context)
    : gate_(gate), name_(std::move(name)), context_(context) {
  absl::MutexLock lock(&gate_.mutex_);
  gate_.calls_[name_].insert(context_);
}

AccessGate::OpenCall::~OpenCall() {
  absl::MutexLock lock(&gate_.mutex_);
  const auto it = gate_.calls_.find(name_);
  it->second.erase(context_);
  if (it->second.empty()) gate_.calls_.erase(it);
}

absl::Status AccessGate::Authorise(const Peer& peer, privacy::Role role) const {
  return sites_.Authorise(peer.identity, peer.key_sha256, role);
}

void AccessGate::Cut(absl::string_view site) {
  absl::MutexLock lock(&mutex_);
  const auto it = calls_.find(site);
  if (it == calls_.end()) return;
  for (grpc::ServerContextBase* context : it->second) context->TryCancel();
}

void AccessGate::Refused(absl::string_view caller, absl::string_view action,
                         const absl::Status& status) {
  if (IsTransient(status)) return;
  metrics_.CallRefused(absl::StatusCodeToString(status.code()));
  // A name that is not enrolled is foreign text; so is a caller whose certificate says nothing.
  if (absl::IsUnauthenticated(status)) metrics_.PeerRefused();
  privacy::Log(privacy::LogLevel::kWarning, "call refused",
               {{Key::kPeer, caller},
                {Key::kAction, action},
                {Key::kCode, absl::StatusCodeToString(status.code())},
                {Key::kReason, status.message()}});
  AuditFacts facts;
  facts.actor = std::string(caller);
  facts.role = "none";
  // Any other caller may be a person, whose name is only committed to.
  if (sites_.Get(caller).ok()) facts.site = facts.actor;
  facts.action = std::string(action);
  facts.outcome = "refused";
  facts.reason = std::string(status.message());
  {
    absl::MutexLock lock(&mutex_);
    if (refusals_.size() >= kRefusalKeysMax) refusals_.clear();
    const absl::Duration now = clock_.Monotonic();
    const auto [it, is_new] = refusals_.try_emplace(
        {facts.actor, facts.action, static_cast<int>(status.code())}, Seen{now, 0});
    if (!is_new) {
      ++it->second.since;
      if (now - it->second.audited < kAuditEvery) return;
      facts.count = it->second.since;
      it->second = {now, 0};
    }
  }
  Batch batch;
  batch.Audit(std::move(facts));
  const absl::Status written = store_.Commit(batch, clock_.Now()).status();
  if (!written.ok()) {
    privacy::Log(privacy::LogLevel::kError, "a refusal could not be audited",
                 {{Key::kReason, written.message()}});
  }
}

}  // namespace consilium::coordinator
