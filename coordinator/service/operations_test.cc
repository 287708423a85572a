#include "coordinator/service/operations.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "coordinator/service/test_federation.h"
#include "gmock/gmock.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "privacy/transparency/tile.h"
#include "proto/base/bytes.h"

namespace consilium::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Reply {
  std::string head;
  std::string body;
};

Reply Get(int port, const std::string& path) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const std::string request =
      absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  EXPECT_GT(::send(fd, request.data(), request.size(), MSG_NOSIGNAL), 0);
  std::string all;
  char buffer[4096];
  for (ssize_t n; (n = ::recv(fd, buffer, sizeof buffer, 0)) > 0;) {
    all.append(buffer, static_cast<size_t>(n));
  }
  ::close(fd);
  const size_t end = all.find("\r\n\r\n");
  EXPECT_NE(end, std::string::npos) << path;
  return {all.substr(0, end), all.substr(end + 4)};
}

std::string Metrics(TestFederation& federation) {
  return Get(federation.server().http_port(), "/metrics").body;
}

TEST(OperationsTest, MetricsShowWhatHappened) {
  TestFederation federation;
  std::vector<std::unique_ptr<TestSite>> sites;
  for (const char* name : {"north", "south"}) sites.push_back(federation.AddSite(name));
  federation.CreateAndStart(TestStudy(2, 1));
  for (auto& site : sites) {
    ASSERT_TRUE(site->Prepare(site->Await(v1::Task::PREPARE), 10, 10, 0).ok());
  }
  MakeFirstWeights(sites, 0.0f);
  for (auto& site : sites) {
    EXPECT_TRUE(site->Train(site->Await(v1::Task::TRAIN), 1.0f, 10).accepted());
  }
  Eventually([&] { return federation.Study("hippo").latest_version() == "hippo/1"; }, "version 1");
  TestSite pending(federation.Invite("west"), federation.folder());
  v1::Task task;
  EXPECT_EQ(pending.NextTask(task).error_code(), grpc::StatusCode::PERMISSION_DENIED);

  const std::string text = Metrics(federation);
  for (const char* line : {
           "consilium_rounds_total{outcome=\"committed\"} 2",  // the first weights, and round 1
           "consilium_round_duration_seconds_count 2",
           "consilium_aggregation_duration_seconds_count 2",
           "consilium_submission_bytes_total{site=\"north\"} ",
           "consilium_site_last_seen_timestamp_seconds{site=\"south\"} ",
           "consilium_sites{state=\"approved\"} 2",
           "consilium_cert_expiry_timestamp_seconds{certificate=\"server\"} ",
           "consilium_site_cert_expiry_timestamp_seconds{site=\"north\"} ",
           "consilium_calls_refused_total{code=\"PERMISSION_DENIED\"} 1",
           "consilium_uploads_in_flight 0",
           "consilium_ready{check=\"store\"} 1",
           "consilium_disk_free_bytes ",
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_FALSE(absl::StrContains(text, "hippo")) << "no study's name in a label";

  if (std::system("command -v promtool >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "promtool (package prometheus) is not installed";
  }
  const std::string path = JoinPath(federation.folder(), "metrics.txt");
  ASSERT_TRUE(WriteFileAtomic(path, text).ok());
  EXPECT_EQ(std::system(("promtool check metrics < " + path).c_str()), 0) << text;
}

// What a monitor does that knows the log's key and nothing else.
TEST(OperationsTest, AMonitorRebuildsTheLogsTreeFromItsTiles) {
  TestFederation federation;
  for (int i = 0; i < 300; ++i) {  // more than one tile
    federation.Invite(absl::StrCat("site-", i));
  }
  const int port = federation.server().http_port();
  const Reply note = Get(port, "/log/checkpoint");
  EXPECT_THAT(note.head, StartsWith("HTTP/1.1 200"));
  const std::vector<std::string> lines = absl::StrSplit(note.body, '\n');
  ASSERT_GT(lines.size(), 4u) << note.body;
  uint64_t size = 0;
  ASSERT_TRUE(absl::SimpleAtoi(lines[1], &size));
  ASSERT_GT(size, 256u);
  std::vector<privacy::Hash> leaves;
  for (uint64_t n = 0; n * privacy::kTileWidth < size; ++n) {
    const int width = privacy::TileWidthAt(0, n, size);
    const Reply tile = Get(port, absl::StrCat("/log/", privacy::TilePath(0, n, width)));
    EXPECT_THAT(tile.head, StartsWith("HTTP/1.1 200"));
    ASSERT_EQ(tile.body.size(), static_cast<size_t>(width) * sizeof(privacy::Hash));
    for (int i = 0; i < width; ++i) {
      leaves.emplace_back();
      std::memcpy(leaves.back().data(), tile.body.data() + i * sizeof(privacy::Hash),
                  sizeof(privacy::Hash));
    }
  }
  privacy::Frontier tree;
  for (const privacy::Hash& leaf : leaves) tree.Append(leaf);
  EXPECT_EQ(
      Base64Encode({reinterpret_cast<const char*>(tree.Root().data()), sizeof(privacy::Hash)}),
      lines[2]);
  for (const char* path : {"/log/tile/0/001", "/log/tile/9/000", "/log/tile/entries/000",
                           "/log/tile/0/../../x", "/log/tile/"}) {
    EXPECT_THAT(Get(port, path).head, StartsWith("HTTP/1.1 404")) << path;
  }
}

TEST(OperationsTest, ReadinessNamesEachCheck) {
  TestFederation federation;
  Reply reply = Get(federation.server().http_port(), "/readyz");
  EXPECT_THAT(reply.head, StartsWith("HTTP/1.1 200")) << reply.body;
  nlohmann::json json = nlohmann::json::parse(reply.body);
  EXPECT_TRUE(json["ready"]);
  for (const char* check : {"store", "disk", "serving"}) EXPECT_EQ(json["checks"][check], "ok");
  EXPECT_THAT(Get(federation.server().http_port(), "/healthz").head, StartsWith("HTTP/1.1 200"));

  federation.Stop();
  federation.options().disk_floor_bytes = uint64_t{1} << 60;
  federation.Start();
  reply = Get(federation.server().http_port(), "/readyz");
  EXPECT_THAT(reply.head, StartsWith("HTTP/1.1 503"));
  json = nlohmann::json::parse(reply.body);
  EXPECT_FALSE(json["ready"]);
  EXPECT_THAT(json["checks"]["disk"].get<std::string>(), HasSubstr("the floor is"));
  EXPECT_THAT(Get(federation.server().http_port(), "/healthz").head, StartsWith("HTTP/1.1 200"))
      << "a full disk is no reason to restart";
}

TEST(OperationsTest, APortThatIsTakenCostsTheMetricsOnly) {
  TestFederation first, second;
  second.Stop();
  second.options().http_listen = absl::StrCat("127.0.0.1:", first.server().http_port());
  second.Start();
  EXPECT_EQ(second.server().http_port(), 0);
  EXPECT_EQ(second.SetState("nobody", "approved").error_code(), grpc::StatusCode::NOT_FOUND);
}

// grpc.health.v1.Health/Watch by hand: HealthCheckResponse {status = 1}; 1 SERVING, 2 NOT_SERVING.
TEST(OperationsTest, GrpcHealthTurnsWhenTheDrainBegins) {
  TestFederation federation;
  grpc::GenericStub stub(
      wire::ConnectTls(federation.address(), federation.admin_tls(), "localhost"));
  grpc::ClientContext context;
  context.set_deadline(wire::DeadlineIn(kTestPatience));
  grpc::CompletionQueue queue;
  void* tag = nullptr;
  bool ok = false;
  auto call = stub.PrepareCall(&context, "/grpc.health.v1.Health/Watch", &queue);
  call->StartCall(nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok) && ok);
  const grpc::Slice nothing;
  call->WriteLast(grpc::ByteBuffer(&nothing, 1), grpc::WriteOptions(), nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok) && ok);
  const auto status = [&]() -> std::string {
    grpc::ByteBuffer buffer;
    call->Read(&buffer, nullptr);
    std::vector<grpc::Slice> slices;
    if (!queue.Next(&tag, &ok) || !ok || !buffer.Dump(&slices).ok()) return "";
    std::string bytes;
    for (const grpc::Slice& slice : slices) {
      bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    return bytes;
  };
  EXPECT_EQ(status(), "\x08\x01");
  federation.server().Shutdown(absl::Seconds(1));
  EXPECT_EQ(status(), "\x08\x02");
  grpc::Status end;
  call->Finish(&end, nullptr);
  queue.Next(&tag, &ok);
}

}  // namespace
}  // namespace consilium::coordinator
