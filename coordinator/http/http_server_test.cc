#include "coordinator/http/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace consilium::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::vector<HttpRoute> Routes() {
  return {{"/healthz", [](absl::string_view) { return HttpResponse{200, "text/plain", "ok\n"}; }},
          {"/tile/", [](absl::string_view path) {
             return HttpResponse{200, "text/plain", absl::StrCat("tile ", path)};
           }}};
}

int Connect(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return fd;
}

std::string Ask(int port, const std::string& request) {
  const int fd = Connect(port);
  EXPECT_EQ(::send(fd, request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  std::string reply;
  char buffer[4096];
  for (ssize_t n; (n = ::recv(fd, buffer, sizeof buffer, 0)) > 0;) reply.append(buffer, n);
  ::close(fd);
  return reply;
}

std::string Get(int port, const std::string& path) {
  return Ask(port, absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
}

TEST(HttpServerTest, ServesItsPathsAndNothingElse) {
  const auto server = HttpServer::Start("127.0.0.1:0", Routes());
  ASSERT_TRUE(server.ok()) << server.status();
  const int port = (*server)->port();
  EXPECT_THAT(Get(port, "/healthz"), HasSubstr("\r\n\r\nok\n"));
  EXPECT_THAT(Get(port, "/tile/0/001"), HasSubstr("tile /tile/0/001"));
  for (const char* path : {"/", "/healthz/", "/tile", "/../etc/passwd", "/healthzz"}) {
    EXPECT_THAT(Get(port, path), StartsWith("HTTP/1.1 404")) << path;
  }
  EXPECT_THAT(Ask(port, "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
                        "Connection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 404"));
}

TEST(HttpServerTest, OversizedRequestsAreRefusedAndTheServerGoesOn) {
  const auto server = HttpServer::Start("127.0.0.1:0", Routes());
  ASSERT_TRUE(server.ok()) << server.status();
  const int port = (*server)->port();
  EXPECT_THAT(Get(port, "/" + std::string(20'000, 'a')), StartsWith("HTTP/1.1 414"));
  EXPECT_THAT(Ask(port, "\r\n\r\n\0\xff garbage\r\n\r\n"), Not(HasSubstr("200")));
  EXPECT_THAT(Get(port, "/healthz"), StartsWith("HTTP/1.1 200"));
}

TEST(HttpServerTest, MoreConnectionsThanThreadsAreServedInTurn) {
  const auto server = HttpServer::Start("127.0.0.1:0", Routes());
  ASSERT_TRUE(server.ok()) << server.status();
  std::vector<int> idle;  // fewer than the threads, and they say nothing
  for (int i = 0; i + 1 < kHttpThreads; ++i) idle.push_back(Connect((*server)->port()));
  for (int i = 0; i < 40; ++i) {
    EXPECT_THAT(Get((*server)->port(), "/healthz"), StartsWith("HTTP/1.1 200"));
  }
  for (const int fd : idle) ::close(fd);
}

TEST(HttpServerTest, ATakenPortAndAWrongAddressAreErrors) {
  const auto first = HttpServer::Start("127.0.0.1:0", Routes());
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = HttpServer::Start(absl::StrCat("127.0.0.1:", (*first)->port()), Routes());
  EXPECT_TRUE(absl::IsUnavailable(second.status()));
  for (const char* wrong : {"", "localhost", ":1", "localhost:70000", "localhost:x"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(HttpServer::Start(wrong, Routes()).status())) << wrong;
  }
}

}  // namespace
}  // namespace consilium::coordinator
