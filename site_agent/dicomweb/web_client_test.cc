#include "site_agent/dicomweb/web_client.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "httplib.h"
#include "site_agent/dicomweb/test_certificates.h"

namespace consilium::dicomweb {
namespace {

using ::testing::HasSubstr;

// Somebody else's server on the loopback, until it goes.
class Running {
 public:
  explicit Running(httplib::Server& server) : server_(server) {
    port_ = server.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([&server] { server.listen_after_bind(); });
    while (!server.is_running()) std::this_thread::yield();
  }
  ~Running() {
    server_.stop();
    thread_.join();
  }
  WebRoot Root(bool tls) const { return {tls, "127.0.0.1", port_, "/dicom-web"}; }

 private:
  httplib::Server& server_;
  int port_;
  std::thread thread_;
};

absl::StatusOr<std::string> GetJson(const WebClientOptions& options, const std::string& target) {
  auto client = WebClient::Create(options);
  if (!client.ok()) return client.status();
  return (*client)->GetJson(target, 1000);
}

TEST(WebRootTest, ItsParts) {
  const auto root = ParseWebRoot("https://pacs.example:8443/dicom-web//");
  ASSERT_TRUE(root.ok());
  EXPECT_TRUE(root->tls);
  EXPECT_EQ(root->host, "pacs.example");
  EXPECT_EQ(root->port, 8443);
  EXPECT_EQ(root->path, "/dicom-web");
  EXPECT_EQ(ParseWebRoot("https://a")->port, 443);
  EXPECT_EQ(ParseWebRoot("http://a/")->port, 80);
  for (const char* wrong : {"", "pacs", "ftp://a", "https://", "https://a:0", "https://a:70000",
                            "https://a:", "https://user@a/", "https://a/?x=y", "https://a/#x",
                            "https://a/\r\nX: y", "https://[::1]/"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseWebRoot(wrong).status())) << wrong;
  }
}

TEST(PercentEncodeTest, AllThatHasAMeaningOfItsOwn) {
  EXPECT_EQ(PercentEncode("A-z0._~"), "A-z0._~");
  EXPECT_EQ(PercentEncode("a b&c=d%+#;\xc3\xa4^"), "a%20b%26c%3Dd%25%2B%23%3B%C3%A4%5E");
  EXPECT_EQ(PercentEncode("A*?,B"), "A*?,B");
}

TEST(WebClientTest, AnswersAreTold) {
  httplib::Server server;
  std::string encoding_wanted;
  server.Get("/dicom-web/studies", [&](const httplib::Request& request, httplib::Response& out) {
    encoding_wanted = request.get_header_value("Accept-Encoding");
    EXPECT_EQ(request.get_header_value("Accept"), "application/dicom+json");
    EXPECT_EQ(request.get_header_value("Authorization"), "Bearer secret");
    EXPECT_EQ(request.get_param_value("PatientName"), "a^b*&");
    out.set_content("[]", "application/dicom+json; charset=utf-8");
  });
  server.Get(R"(/dicom-web/status/(\d+))",
             [](const httplib::Request& request, httplib::Response& out) {
               out.status = std::stoi(request.matches[1]);
               out.set_content("a patient's name", "text/plain");
               if (out.status == 302) out.set_header("Location", "/dicom-web/studies");
             });
  server.Get("/dicom-web/long", [](const httplib::Request&, httplib::Response& out) {
    out.set_content(std::string(1001, ' '), "application/json");
  });
  server.Get("/dicom-web/html", [](const httplib::Request&, httplib::Response& out) {
    out.set_content("<html>", "text/html");
  });
  server.Get("/dicom-web/gzip", [](const httplib::Request&, httplib::Response& out) {
    out.set_header("Content-Encoding", "gzip");
    out.set_content("\x1f\x8b", "application/json");
  });
  const Running running(server);
  const WebClientOptions options{running.Root(false), {}, "Bearer secret", absl::Seconds(5)};
  EXPECT_EQ(*GetJson(options, "/studies?PatientName=" + PercentEncode("a^b*&")), "[]");
  EXPECT_EQ(encoding_wanted, "identity");
  EXPECT_EQ(*GetJson(options, "/status/204"), "");
  const std::pair<int, absl::StatusCode> codes[] = {
      {400, absl::StatusCode::kFailedPrecondition}, {401, absl::StatusCode::kPermissionDenied},
      {403, absl::StatusCode::kPermissionDenied},   {404, absl::StatusCode::kNotFound},
      {302, absl::StatusCode::kFailedPrecondition}, {429, absl::StatusCode::kUnavailable},
      {500, absl::StatusCode::kUnavailable},        {503, absl::StatusCode::kUnavailable}};
  for (const auto& [http, code] : codes) {
    const absl::Status status = GetJson(options, absl::StrCat("/status/", http)).status();
    EXPECT_EQ(status.code(), code) << http;
    EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat(http)));
    EXPECT_THAT(std::string(status.message()), ::testing::Not(HasSubstr("patient")));
  }
  EXPECT_TRUE(absl::IsResourceExhausted(GetJson(options, "/long").status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(GetJson(options, "/html").status()));
  EXPECT_THAT(std::string(GetJson(options, "/gzip").status().message()), HasSubstr("encoded"));
}

TEST(WebClientTest, AnAnswerThatIsCutShortIsAFaultThatPasses) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(::bind(listener, generic, length), 0);
  ASSERT_EQ(::listen(listener, 4), 0);
  ::getsockname(listener, generic, &length);
  const char* answers[] = {
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[]",
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
      "2\r\n[]\r\n",
      "HTTP/1.1 200 OK\r\nContent-", "", "SSH-2.0-OpenSSH\r\n"};
  std::thread server([&] {
    for (const char* answer : answers) {
      const int fd = ::accept(listener, nullptr, nullptr);
      char request[4096];
      (void)!::read(fd, request, sizeof(request));
      (void)!::write(fd, answer, std::strlen(answer));
      ::close(fd);
    }
  });
  const WebClientOptions options{
      {false, "127.0.0.1", ntohs(address.sin_port), ""}, {}, "", absl::Seconds(5)};
  for (const char* answer : answers) {
    EXPECT_TRUE(absl::IsUnavailable(GetJson(options, "/x").status())) << answer;
  }
  server.join();
  ::close(listener);
  EXPECT_TRUE(absl::IsUnavailable(GetJson(options, "/x").status()));  // nobody is there
}

class WebClientTlsTest : public ::testing::Test {
 protected:
  WebClientTlsTest() : dir_(TempDir::Create("web_client_test").value()) {
    WriteCertificates(dir_.path());
  }
  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }

  absl::Status Ask(const std::string& server_name, const std::string& ca) const {
    httplib::SSLServer server(Path(server_name + ".crt").c_str(),
                              Path(server_name + ".key").c_str(), Path("ca.crt").c_str());
    server.Get(".*", [](const httplib::Request&, httplib::Response& out) {
      out.set_content("[]", "application/json");
    });
    const Running running(server);
    return GetJson({running.Root(true), WebTls{Path(ca), Path("client.crt"), Path("client.key")},
                    "", absl::Seconds(5)},
                   "/studies")
        .status();
  }
  TempDir dir_;
};

TEST_F(WebClientTlsTest, TheServerHasToBeTheOneOfTheUrl) {
  EXPECT_TRUE(Ask("server", "ca.crt").ok()) << Ask("server", "ca.crt");
  const absl::Status other = Ask("elsewhere", "ca.crt");
  EXPECT_TRUE(absl::IsPermissionDenied(other)) << other;
  EXPECT_THAT(std::string(other.message()), HasSubstr("IP address mismatch"));
  const absl::Status stranger = Ask("server", "stranger-ca.crt");
  EXPECT_TRUE(absl::IsPermissionDenied(stranger)) << stranger;
  EXPECT_FALSE(GetJson({{true, "127.0.0.1", 1, ""}, {}, "", absl::Seconds(5)}, "/x").ok());
}

}  // namespace
}  // namespace consilium::dicomweb
