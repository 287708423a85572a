#include "site_agent/dicomweb/web_client.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "httplib.h"
#include "privacy/crypto/tls_context.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/dicomweb/media_type.h"

namespace consilium::dicomweb {
namespace {

constexpr absl::Duration kConnectMax = absl::Seconds(20);
constexpr uint64_t kPemBytesMax = 1 << 20;
constexpr size_t kHostBytesMax = 253;
constexpr size_t kPathBytesMax = 512;

bool IsUnreserved(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' || c == '_' ||
         c == '~';
}

bool IsHost(absl::string_view text) {
  for (const char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '.') return false;
  }
  return !text.empty() && text.size() <= kHostBytesMax;
}

bool IsPath(absl::string_view text) {
  for (const char c : text) {
    if (!IsUnreserved(c) && c != '/' && c != '%') return false;
  }
  return text.size() <= kPathBytesMax;
}

absl::Status FromHttpStatus(int code) {
  // 206: not all of it. What is missing is seen by whoever asked.
  if (code == 200 || code == 204 || code == 206) return absl::OkStatus();
  const std::string words = absl::StrCat("the archive answers with HTTP status ", code);
  if (code == 401 || code == 403) return absl::PermissionDeniedError(words);
  if (code == 404 || code == 410) return absl::NotFoundError(words);
  if (code == 408 || code == 429 || code >= 500) return absl::UnavailableError(words);
  return absl::FailedPreconditionError(words);
}

absl::Status UseTls(httplib::SSLClient& client, const WebRoot& root, const WebTls& files) {
  CSL_ASSIGN_OR_RETURN(const std::string certificate, ReadFile(files.certificate, kPemBytesMax));
  CSL_ASSIGN_OR_RETURN(std::string key, ReadFile(files.key, kPemBytesMax));
  const privacy::SecretBytes key_pem(key);
  key.assign(key.size(), '\0');
  SSL_CTX* context = client.ssl_context();
  privacy::DemandBcp195(context);
  privacy::DemandServerName(context, root.host);
  // Given to httplib by name, or it would trust the system's roots as well.
  client.set_ca_cert_path(files.ca);
  client.enable_server_certificate_verification(true);
  return privacy::SetIdentity(context, certificate, key_pem);
}

}  // namespace

absl::StatusOr<WebRoot> ParseWebRoot(absl::string_view url) {
  const absl::Status wrong =
      absl::InvalidArgumentError("must be the service root, such as https://pacs:8443/dicom-web");
  WebRoot root;
  root.tls = absl::ConsumePrefix(&url, "https://");
  if (!root.tls && !absl::ConsumePrefix(&url, "http://")) return wrong;
  const size_t slash = std::min(url.find('/'), url.size());
  root.path = std::string(url.substr(slash));
  while (absl::EndsWith(root.path, "/")) root.path.pop_back();
  const absl::string_view authority = url.substr(0, slash);
  const size_t colon = std::min(authority.find(':'), authority.size());
  root.host = std::string(authority.substr(0, colon));
  root.port = root.tls ? 443 : 80;
  if (colon < authority.size() && (!absl::SimpleAtoi(authority.substr(colon + 1), &root.port) ||
                                   root.port < 1 || root.port > 65535)) {
    return wrong;
  }
  if (!IsHost(root.host) || !IsPath(root.path)) return wrong;
  return root;
}

std::string PercentEncode(absl::string_view text) {
  std::string out;
  for (const char c : text) {
    if (IsUnreserved(c) || absl::StrContains("*?,:/@", absl::string_view(&c, 1))) {
      out.push_back(c);
    } else {
      absl::StrAppendFormat(&out, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return out;
}

struct WebClient::Rep {
  // What httplib could not do, in our words.
  absl::Status Fault(httplib::Error error) const {
    switch (error) {
      case httplib::Error::Connection:
      case httplib::Error::ConnectionTimeout:
        return absl::UnavailableError("no connection with the archive");
      case httplib::Error::SSLLoadingCerts:
        return absl::InvalidArgumentError("TLS: the file of tls.ca cannot be used");
      case httplib::Error::SSLServerVerification:
        return absl::PermissionDeniedError(absl::StrCat(
            "the archive's certificate: ",
            privacy::VerificationWords(
                static_cast<httplib::SSLClient&>(*client).get_openssl_verify_result())));
      case httplib::Error::SSLConnection:
        return absl::UnavailableError("the TLS handshake with the archive failed");
      default:
        return absl::UnavailableError("the connection with the archive broke");
    }
  }

  std::unique_ptr<httplib::ClientImpl> client;
  std::string path;
  std::string authorization;
};

WebClient::WebClient() : rep_(std::make_unique<Rep>()) {}
WebClient::~WebClient() = default;

absl::StatusOr<std::unique_ptr<WebClient>> WebClient::Create(const WebClientOptions& options) {
  const WebRoot& root = options.root;
  std::unique_ptr<WebClient> self(new WebClient);
  Rep& rep = *self->rep_;
  if (root.tls) {
    if (!options.tls) return absl::InvalidArgumentError("https needs the files of tls");
    auto client = std::make_unique<httplib::SSLClient>(root.host, root.port);
    CSL_RETURN_IF_ERROR(UseTls(*client, root, *options.tls));
    rep.client = std::move(client);
  } else {
    rep.client = std::make_unique<httplib::ClientImpl>(root.host, root.port);
  }
  rep.path = root.path;
  rep.authorization = options.authorization;
  rep.client->set_keep_alive(true);
  rep.client->set_tcp_nodelay(true);
  rep.client->set_url_encode(false);
  // What comes encoded is seen as such, and refused: a small answer must not become a large one.
  rep.client->set_decompress(false);
  rep.client->set_connection_timeout(absl::ToInt64Seconds(kConnectMax));
  rep.client->set_read_timeout(absl::ToInt64Seconds(options.silence));
  rep.client->set_write_timeout(absl::ToInt64Seconds(kConnectMax));
  return self;
}

absl::Status WebClient::Get(const std::string& target, const std::string& accept,
                            const Begin& begin, const Take& take) {
  httplib::Headers headers = {{"Accept", accept}, {"Accept-Encoding", "identity"}};
  if (!rep_->authorization.empty()) headers.emplace("Authorization", rep_->authorization);
  absl::Status status;
  const httplib::Result result = rep_->client->Get(
      rep_->path + target, headers,
      [&](const httplib::Response& response) {
        status = FromHttpStatus(response.status);
        const std::string encoding = response.get_header_value("Content-Encoding");
        if (status.ok() && !encoding.empty() && encoding != "identity") {
          status = absl::FailedPreconditionError("the answer is encoded, which nobody asked for");
        }
        if (status.ok() && response.status != 204) {
          status = begin(response.get_header_value("Content-Type"));
        }
        return status.ok();
      },
      [&](const char* data, size_t size) {
        status = take(absl::string_view(data, size));
        return status.ok();
      });
  CSL_RETURN_IF_ERROR(status);
  return result ? absl::OkStatus() : rep_->Fault(result.error());
}

absl::StatusOr<std::string> WebClient::GetJson(const std::string& target, size_t bytes_max) {
  std::string text;
  const auto begin = [](absl::string_view content_type) {
    const absl::StatusOr<MediaType> media = ParseMediaType(content_type);
    // Older servers say application/json.
    if (media.ok() && (media->type == kDicomJsonType || media->type == "application/json")) {
      return absl::OkStatus();
    }
    return absl::FailedPreconditionError("the answer is not DICOM JSON");
  };
  const auto take = [&](absl::string_view bytes) {
    if (text.size() + bytes.size() > bytes_max) {
      return absl::ResourceExhaustedError("the answer is too long");
    }
    text.append(bytes.data(), bytes.size());
    return absl::OkStatus();
  };
  CSL_RETURN_IF_ERROR(Get(target, kDicomJsonType, begin, take));
  return text;
}

}  // namespace consilium::dicomweb
