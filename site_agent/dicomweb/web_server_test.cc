#include "site_agent/dicomweb/web_server.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "httplib.h"
#include "privacy/crypto/tls_client.h"
#include "site_agent/dicomweb/test_certificates.h"

namespace consilium::dicomweb {
namespace {

using privacy::TlsServer;
using privacy::TlsServerOptions;

// Takes what is posted to /here, counts it, and says how much it was.
class Counter final : public WebHandler {
 public:
  std::optional<WebResponse> Refuse(const WebRequest& request) override {
    ++heads;
    if (request.path == "/here") return std::nullopt;
    return WebResponse{.status = 404};
  }
  WebResponse Post(const WebRequest& request, const ReadBody& body) override {
    uint64_t bytes = 0;
    const bool stops = request.Field("x-stop") == "yes";
    const absl::Status status = body([&](absl::string_view piece) {
      bytes += piece.size();
      largest = std::max<size_t>(largest, piece.size());
      return stops ? absl::AbortedError("enough") : absl::OkStatus();
    });
    ++bodies;
    return {.status = status.ok() ? 200 : 409,
            .content_type = "text/plain",
            .body = absl::StrCat(bytes)};
  }
  std::atomic<int> heads = 0;
  std::atomic<int> bodies = 0;
  std::atomic<size_t> largest = 0;
};

class WebServerTest : public ::testing::Test {
 protected:
  WebServerTest() : dir_(TempDir::Create("web_server_test").value()) {
    WriteCertificates(dir_.path());
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), length);
    ::listen(listener_, 8);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
  }
  ~WebServerTest() override { ::close(listener_); }

  std::string Text(const std::string& name) const {
    return ReadFile(JoinPath(dir_.path(), name), 1 << 20).value();
  }
  // Serves one connection with `client`, beside what `work` does.
  void Beside(TlsServerOptions::ClientCertificate client, const std::function<void()>& work) {
    std::thread server([&] {
      const TlsServerOptions options{Text("ca.crt"), Text("server.crt"),
                                     privacy::SecretBytes(Text("server.key")), client};
      auto stream =
          TlsServer::Accept(::accept(listener_, nullptr, nullptr), options, absl::Seconds(5));
      accepted_ = stream.status();
      if (!stream.ok()) return;
      certificate_ = (*stream)->client_certificate();
      ServeHttp(**stream, counter_, absl::Seconds(5));
    });
    work();
    server.join();
  }
  static constexpr auto kRequired = TlsServerOptions::ClientCertificate::kRequired;
  static constexpr auto kOptional = TlsServerOptions::ClientCertificate::kOptional;

  std::unique_ptr<httplib::SSLClient> Client(const std::string& name) const {
    auto client = name.empty() ? std::make_unique<httplib::SSLClient>("127.0.0.1", port_)
                               : std::make_unique<httplib::SSLClient>(
                                     "127.0.0.1", port_, JoinPath(dir_.path(), name + ".crt"),
                                     JoinPath(dir_.path(), name + ".key"));
    client->set_ca_cert_path(JoinPath(dir_.path(), "ca.crt"));
    client->set_read_timeout(5);
    return client;
  }
  // Writes what is no good HTTP; the server hangs up.
  void Raw(const std::string& bytes) {
    Beside(kRequired, [&] {
      auto stream = privacy::TlsClient::Connect(
          {"127.0.0.1", static_cast<uint16_t>(port_), Text("ca.crt"), Text("client.crt"),
           privacy::SecretBytes(Text("client.key")), absl::Seconds(5)});
      ASSERT_TRUE(stream.ok()) << stream.status();
      (void)(*stream)->Write(bytes);
      (*stream)->Close();
    });
  }

  TempDir dir_;
  int listener_;
  int port_;
  Counter counter_;
  absl::Status accepted_;
  std::string certificate_;
};

TEST_F(WebServerTest, BodiesComeInPiecesAndTheConnectionIsKept) {
  Beside(kRequired, [&] {
    const auto client = Client("client");
    client->set_keep_alive(true);
    const std::string large(5'000'000, 'x');
    auto answer = client->Post("/here", large, "a/b");
    ASSERT_TRUE(answer) << answer.error();
    EXPECT_EQ(answer->body, "5000000");
    answer = client->Post(  // chunked
        "/here",
        [&](size_t offset, httplib::DataSink& sink) {
          if (offset < large.size()) return sink.write(large.data(), 100'000);
          sink.done();
          return true;
        },
        "a/b");
    ASSERT_TRUE(answer) << answer.error();
    EXPECT_EQ(answer->body, "5000000");
  });
  EXPECT_EQ(counter_.bodies, 2);
  EXPECT_LE(counter_.largest, 64u * 1024);
  EXPECT_FALSE(certificate_.empty());
}

TEST_F(WebServerTest, WhatIsRefusedIsNotRead) {
  const std::string large(2'000'000, 'x');
  const auto expect = [&](int status, const std::string& path, const httplib::Headers& headers) {
    Beside(kRequired, [&] {
      const auto answer = Client("client")->Post(path, headers, large, "a/b");
      ASSERT_TRUE(answer) << answer.error();
      EXPECT_EQ(answer->status, status);
      EXPECT_EQ(answer->get_header_value("Connection"), "close");
    });
  };
  expect(404, "/there", {});
  expect(404, "/there", {{"Expect", "100-continue"}});
  expect(415, "/here", {{"Content-Encoding", "gzip"}});
  EXPECT_EQ(counter_.bodies, 0);
  expect(409, "/here", {{"X-Stop", "yes"}});
  EXPECT_EQ(counter_.bodies, 1);
  Beside(kRequired, [&] { EXPECT_EQ(Client("client")->Get("/here")->status, 405); });
  EXPECT_EQ(counter_.bodies, 1);
}

TEST_F(WebServerTest, HeadsAreBoundedAndAmbiguousLengthsRefused) {
  Raw("POST /here HTTP/1.1\r\n" + std::string(10'000'000, 'A'));
  Raw(std::string(10'000'000, 'B'));
  std::string many = "POST /here HTTP/1.1\r\n";
  for (int i = 0; i < 100'000; ++i) absl::StrAppend(&many, "X-", i, ": y\r\n");
  Raw(many + "\r\n");
  Raw("POST /here HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  Raw("POST /here HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef");
  Raw("POST /here HTTP/1.1\r\n\r\n");
  Raw(std::string("\0\xff\r\n\r\n", 6));
  EXPECT_EQ(counter_.bodies, 0);
}

TEST_F(WebServerTest, ABodyThatBreaksOffIsSeenAsSuch) {
  Raw("POST /here HTTP/1.1\r\nContent-Length: 500\r\n\r\nabc");
  Raw("POST /here HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  Raw("POST /here HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc");
  EXPECT_EQ(counter_.bodies, 3);  // the handler was told, and answered to nobody
}

TEST_F(WebServerTest, Certificates) {
  Beside(kRequired, [&] { EXPECT_FALSE(Client("")->Post("/here", "x", "a/b")); });
  EXPECT_FALSE(accepted_.ok());
  Beside(kOptional, [&] { EXPECT_EQ(Client("")->Post("/here", "x", "a/b")->status, 200); });
  EXPECT_TRUE(certificate_.empty());
  Beside(kOptional, [&] { EXPECT_EQ(Client("client")->Post("/here", "x", "a/b")->status, 200); });
  EXPECT_FALSE(certificate_.empty());
}

}  // namespace
}  // namespace consilium::dicomweb
