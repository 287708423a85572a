#include "site_agent/receive/stow.h"

#include <unistd.h>

#include <csignal>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/crypto/tls_context.h"
#include "privacy/crypto/tls_server.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/dicomweb/dicom_json.h"
#include "site_agent/dicomweb/media_type.h"
#include "site_agent/receive/part_taker.h"
#include "site_agent/receive/query_retrieve.h"
#include "site_agent/receive/web_secret.h"

namespace consilium::agent {
namespace {

using dicomweb::WebRequest;
using dicomweb::WebResponse;

constexpr uint64_t kPemBytesMax = 1 << 20;
constexpr const char* kStudies = "/studies";
// Until intake may have made room.
constexpr const char* kRetrySeconds = "300";

// The study that a path names; empty for all of them. Nothing where it is another resource.
std::optional<std::string> StudyOf(absl::string_view path) {
  if (!absl::ConsumePrefix(&path, kStudies)) return std::nullopt;
  absl::ConsumeSuffix(&path, "/");
  if (path.empty()) return "";
  if (!absl::ConsumePrefix(&path, "/") || !IsUid(path)) return std::nullopt;
  return std::string(path);
}

bool HasToken(const WebRequest& request, const std::string& token) {
  const std::string field = request.Field("authorization");
  absl::string_view value = field;
  if (token.empty() || !absl::StartsWithIgnoreCase(value, "bearer ")) return false;
  value.remove_prefix(7);
  return privacy::SecretsEqual(absl::StripAsciiWhitespace(value), token);
}

// What the client claims to send, where it says so.
uint64_t ContentLength(const WebRequest& request) {
  uint64_t bytes = 0;
  return absl::SimpleAtoi(request.Field("content-length"), &bytes) ? bytes : 0;
}

// Table 10.5.3-1.
int HttpStatus(int64_t stored, int64_t refused, bool for_want_of_space) {
  if (refused == 0) return stored > 0 ? 200 : 400;
  if (stored > 0) return 202;
  return for_want_of_space ? 503 : 409;
}

WebResponse Answer(const PartTaker& taker, const absl::Status& read) {
  std::vector<dicomweb::StoredObject> objects;
  int64_t stored = 0;
  bool for_want_of_space = true;
  for (const PartTaker::Outcome& outcome : taker.outcomes()) {
    // The answer goes to whoever wrote these; what is no UID is not said back.
    dicomweb::StoredObject object;
    if (IsUid(outcome.object.sop_class_uid) && IsUid(outcome.object.sop_instance_uid)) {
      object = {outcome.object.sop_class_uid, outcome.object.sop_instance_uid, 0};
    }
    object.failure = StoreStatus(outcome.status);
    objects.push_back(std::move(object));
    stored += outcome.status.ok() ? 1 : 0;
    if (!outcome.status.ok()) {
      for_want_of_space = for_want_of_space && absl::IsResourceExhausted(outcome.status);
    }
  }
  if (!read.ok() && !absl::IsOutOfRange(read)) {
    objects.push_back({"", "", StoreStatus(absl::InvalidArgumentError(""))});
    for_want_of_space = false;
    if (taker.outcomes().empty()) return {.status = 400};
  }
  const auto refused = static_cast<int64_t>(objects.size()) - stored;
  WebResponse response{.status = HttpStatus(stored, refused, for_want_of_space)};
  if (response.status == 400) return response;
  if (response.status == 503) response.fields["Retry-After"] = kRetrySeconds;
  response.content_type = dicomweb::kDicomJsonType;
  response.body = dicomweb::StoreResponse(objects);
  return response;
}

// Whether the certificate is one of a peer at the address: of any, where one is given by address.
bool IsOfAPeer(const std::string& certificate, const std::vector<DicomPeer>& peers) {
  for (const DicomPeer& peer : peers) {
    if (!IsHostName(peer.host) || privacy::CertificateNames(certificate, peer.host)) return true;
  }
  return false;
}

absl::StatusOr<privacy::TlsServerOptions> TlsOptions(const StowOptions& options) {
  privacy::TlsServerOptions tls;
  CSL_ASSIGN_OR_RETURN(tls.ca_pem, ReadFile(options.tls.ca, kPemBytesMax));
  CSL_ASSIGN_OR_RETURN(tls.certificate_pem, ReadFile(options.tls.certificate, kPemBytesMax));
  CSL_ASSIGN_OR_RETURN(std::string key, ReadFile(options.tls.key, kPemBytesMax));
  tls.key_pem = privacy::SecretBytes(key);
  key.assign(key.size(), '\0');
  if (!options.token_file.empty()) {
    tls.client = privacy::TlsServerOptions::ClientCertificate::kOptional;
  }
  return tls;
}

}  // namespace

StowHandler::StowHandler(StowClient client, Quarantine& quarantine, int inbox, Load load)
    : client_(std::move(client)), quarantine_(quarantine), inbox_(inbox), load_(load) {}

std::optional<WebResponse> StowHandler::Refuse(const WebRequest& request) {
  if (!client_.has_certificate && !HasToken(request, client_.token)) {
    return WebResponse{.status = 401, .fields = {{"WWW-Authenticate", "Bearer"}}};
  }
  if (!StudyOf(request.path)) return WebResponse{.status = 404};
  if (request.method != "POST") return WebResponse{.status = 405, .fields = {{"Allow", "POST"}}};
  if (load_ == Load::kBusy) {
    return WebResponse{.status = 503, .fields = {{"Retry-After", kRetrySeconds}}};
  }
  if (!dicomweb::AcceptsDicomJson(request.Field("accept"))) return WebResponse{.status = 406};
  const absl::Status boundary = dicomweb::DicomBoundary(request.Field("content-type")).status();
  if (absl::IsUnimplemented(boundary)) return WebResponse{.status = 415};
  if (!boundary.ok()) return WebResponse{.status = 400};
  if (ContentLength(request) > quarantine_.limits().bytes_max) return WebResponse{.status = 413};
  return std::nullopt;
}

WebResponse StowHandler::Post(const WebRequest& request, const ReadBody& body) {
  const std::optional<std::string> study = StudyOf(request.path);
  const auto boundary = dicomweb::DicomBoundary(request.Field("content-type"));
  if (!study || !boundary.ok()) return {.status = 400};  // Refuse has seen to it
  PartTaker taker(quarantine_, inbox_, *study);
  dicomweb::MultipartReader reader(*boundary, taker);
  absl::Status read = body([&](absl::string_view bytes) { return reader.Feed(bytes); });
  if (read.ok()) read = reader.Finish();
  for (const PartTaker::Outcome& outcome : taker.outcomes()) {
    if (outcome.status.ok()) {
      ++counts_.stored;
      counts_.bytes += outcome.bytes;
    } else {
      ++counts_.refused;
      counts_.why = std::string(outcome.status.message());
    }
  }
  if (!read.ok()) counts_.why = std::string(read.message());
  return Answer(taker, read);
}

absl::Status ServeStow(int socket, const StowOptions& options, Quarantine& quarantine, int inbox,
                       StowHandler::Load load, StoreCounts& counts) {
  std::signal(SIGPIPE, SIG_IGN);  // of a client that hangs up while we write
  StowClient client;
  if (!options.token_file.empty()) {
    CSL_ASSIGN_OR_RETURN(client.token, ReadToken(options.token_file));
  }
  CSL_ASSIGN_OR_RETURN(const privacy::TlsServerOptions tls, TlsOptions(options));
  // Its own copy, as the stream closes what it is given.
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<privacy::TlsServer> stream,
                       privacy::TlsServer::Accept(::dup(socket), tls, kHandshakeMax));
  const std::string& certificate = stream->client_certificate();
  client.has_certificate = !certificate.empty();
  if (client.has_certificate && !IsOfAPeer(certificate, options.peers)) {
    return absl::PermissionDeniedError("the client's certificate does not name its host");
  }
  StowHandler handler(std::move(client), quarantine, inbox, load);
  dicomweb::ServeHttp(*stream, handler, kSilenceMax);
  counts = handler.counts();
  return absl::OkStatus();
}

}  // namespace consilium::agent
