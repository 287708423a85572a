#include "site_agent/dicomweb/web_server.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "httplib.h"
#include "proto/base/clock.h"

namespace consilium::dicomweb {
namespace {

constexpr size_t kBufferBytes = 16 * 1024;
constexpr size_t kReadToEndBytesMax = size_t{4} << 20;
constexpr absl::Duration kReadToEndMax = absl::Seconds(2);

// A TLS stream as httplib wants it. It reads a head byte by byte and without a bound; both are
// looked after here.
class TlsStream final : public httplib::Stream {
 public:
  TlsStream(privacy::TlsServer& tls, absl::Duration silence) : tls_(tls), silence_(silence) {}

  void BeginHead() {
    head_bytes_left_ = kHeadBytesMax;
    head_end_ = Clock::System().Monotonic() + silence_;
    in_head_ = true;
  }
  void EndHead() { in_head_ = false; }
  // So that an answer is not lost because the client is still sending.
  void ReadToEnd() {
    in_head_ = false;
    const absl::Duration end = Clock::System().Monotonic() + kReadToEndMax;
    char dropped[kBufferBytes];
    for (size_t left = kReadToEndBytesMax; left > 0;) {
      const absl::Duration time = end - Clock::System().Monotonic();
      const absl::StatusOr<size_t> got = tls_.Read(dropped, std::min(sizeof(dropped), left), time);
      if (!got.ok() || *got == 0) return;
      left -= *got;
    }
  }

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  ssize_t read(char* out, size_t size) override {
    if (in_head_) {
      size = std::min(size, head_bytes_left_);
      head_bytes_left_ -= size;
      if (size == 0) return -1;
    }
    if (begin_ == buffer_.size() && !Fill()) return -1;
    size = std::min(size, buffer_.size() - begin_);
    std::copy_n(buffer_.data() + begin_, size, out);
    begin_ += size;
    return static_cast<ssize_t>(size);
  }
  ssize_t write(const char* data, size_t size) override {
    const absl::Status written = tls_.Write(absl::string_view(data, size), silence_);
    return written.ok() ? static_cast<ssize_t>(size) : -1;
  }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return 0; }  // only compared with FD_SETSIZE

 private:
  bool Fill() {
    buffer_.resize(kBufferBytes);
    begin_ = 0;
    const absl::Duration time =
        in_head_ ? std::min(silence_, head_end_ - Clock::System().Monotonic()) : silence_;
    const absl::StatusOr<size_t> got = tls_.Read(buffer_.data(), buffer_.size(), time);
    buffer_.resize(got.ok() ? *got : 0);
    return !buffer_.empty();
  }

  privacy::TlsServer& tls_;
  const absl::Duration silence_;
  std::string buffer_;
  size_t begin_ = 0;
  bool in_head_ = false;
  size_t head_bytes_left_ = 0;
  absl::Duration head_end_;
};

WebRequest FromHttplib(const httplib::Request& request) {
  WebRequest out{request.method, request.path, {}};
  for (const auto& [name, value] : request.headers) {
    out.fields.emplace(absl::AsciiStrToLower(name), value);
  }
  return out;
}

void ToHttplib(const WebResponse& answer, httplib::Response& response) {
  response.status = answer.status;
  for (const auto& [name, value] : answer.fields) response.set_header(name, value);
  if (!answer.content_type.empty()) response.set_content(answer.body, answer.content_type);
}

WebResponse Plain(int status) { return {.status = status}; }

class Connection final : public httplib::Server {
 public:
  Connection(TlsStream& stream, WebHandler& handler) : stream_(stream), handler_(handler) {
    set_default_headers({{"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}});
    // Everything is looked at here first, so that httplib gathers no body of its own.
    set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      const bool refused = Refuse(request, response);
      return refused ? HandlerResponse::Handled : HandlerResponse::Unhandled;
    });
    set_expect_100_continue_handler(
        [this](const httplib::Request& request, httplib::Response& response) {
          return Refuse(request, response) ? response.status : 100;
        });
    httplib::Server::Post(
        ".*", [this](const httplib::Request& request, httplib::Response& response,
                     const httplib::ContentReader& content) { Take(request, response, content); });
  }

  // Whether a further request may come.
  bool ServeOne() {
    may_go_on_ = false;  // unless a request ends where it says
    bool closed = false;
    stream_.BeginHead();
    const bool served = process_request(stream_, /*close_connection=*/false, closed,
                                        [this](httplib::Request&) { stream_.EndHead(); });
    if (served && !may_go_on_) stream_.ReadToEnd();
    return served && may_go_on_ && !closed;
  }

 private:
  bool Refuse(const httplib::Request& request, httplib::Response& response) {
    std::optional<WebResponse> refusal = handler_.Refuse(FromHttplib(request));
    if (!refusal && request.method != "POST") refusal = Plain(405);
    // Nobody is asked for an encoded body: it could be small and become large.
    if (!refusal && request.has_header("Content-Encoding")) refusal = Plain(415);
    if (!refusal && !request.has_header("Content-Length") &&
        !absl::EqualsIgnoreCase(request.get_header_value("Transfer-Encoding"), "chunked")) {
      refusal = Plain(411);
    }
    // Both at once: two readers would find two different ends (RFC 7230 3.3.3).
    if (!refusal && request.has_header("Content-Length") &&
        (request.has_header("Transfer-Encoding") ||
         request.get_header_value_count("Content-Length") > 1)) {
      refusal = Plain(400);
    }
    if (!refusal) return false;
    ToHttplib(*refusal, response);
    response.set_header("Connection", "close");
    return true;
  }

  void Take(const httplib::Request& request, httplib::Response& response,
            const httplib::ContentReader& content) {
    bool whole = false;
    const WebHandler::ReadBody body = [&](const WebHandler::Take& take) {
      absl::Status status;
      whole = content([&](const char* data, size_t size) {
        status = take(absl::string_view(data, size));
        return status.ok();
      });
      if (status.ok() && !whole) return absl::UnavailableError("the connection broke");
      return status;
    };
    const WebResponse answer = handler_.Post(FromHttplib(request), body);
    ToHttplib(answer, response);
    may_go_on_ = whole;
    if (!whole) response.set_header("Connection", "close");
  }

  TlsStream& stream_;
  WebHandler& handler_;
  bool may_go_on_ = false;
};

}  // namespace

std::string WebRequest::Field(const std::string& name) const {
  const auto found = fields.find(name);
  return found == fields.end() ? "" : found->second;
}

void ServeHttp(privacy::TlsServer& tls, WebHandler& handler, absl::Duration silence) {
  TlsStream stream(tls, silence);
  Connection connection(stream, handler);
  while (connection.ServeOne()) {
  }
}

}  // namespace consilium::dicomweb
