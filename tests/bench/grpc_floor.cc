// The floor for a round: a bare gRPC program over mutual TLS that moves the same bytes as a round does,
// with no checksum, no disk and no protocol of ours.
//
//   grpc_floor certificates DIR
//   grpc_floor serve DIR                         prints its port; ends when stdin does
//   grpc_floor site DIR PORT DOWN UP             moves so many bytes, prints seconds down and up
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "consilium/v1/federation.grpc.pb.h"
#include "grpcpp/grpcpp.h"
#include "privacy/crypto/certificate.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/wire/chunk_frame.h"
#include "proto/wire/transport.h"
#include "site_agent/uplink/bulk_stream.h"

namespace consilium::bench {
namespace {

constexpr uint64_t kPemBytesMax = 64 * 1024;
constexpr size_t kPiece = wire::kTransferPieceBytes;

double Seconds() { return absl::ToDoubleSeconds(Clock::System().Monotonic()); }

grpc::ByteBuffer Piece() {
  static const std::string& payload = *new std::string(kPiece, 'x');
  const grpc::Slice slices[] = {
      grpc::Slice(wire::UploadChunkHeader("u", 0, 0, payload.size())),
      grpc::Slice(payload.data(), payload.size(), grpc::Slice::STATIC_SLICE)};
  return grpc::ByteBuffer(slices, 2);
}

void Put(const std::string& folder, const std::string& name, absl::string_view text) {
  WriteFileAtomic(JoinPath(folder, name), text, kPrivateFile).IgnoreError();
}

int MakeCertificates(const std::string& folder) {
  MakeDirs(folder).IgnoreError();
  const absl::Time now = Clock::System().Now();
  const auto ca = privacy::MakeRootCa("bench", now - absl::Hours(1), absl::Hours(48));
  if (!ca.ok()) return 1;
  Put(folder, "ca.crt", ca->certificate_pem);
  for (const std::string name : {"server", "site"}) {
    const auto key = privacy::GenerateKeyPem();
    privacy::IssueOptions options;
    options.identity = {"bench", name == "server" ? privacy::Role::kCoordinator
                                                  : privacy::Role::kSite, name};
    if (name == "server") {
      options.dns_names = {"localhost"};
      options.ip_addresses = {"127.0.0.1"};
    }
    options.not_before = now - absl::Minutes(5);
    options.lifetime = absl::Hours(24);
    const auto csr = privacy::MakeCsrPem(*key, name);
    const auto certificate = privacy::IssueCertificate(*ca, *csr, options);
    if (!certificate.ok()) {
      std::fprintf(stderr, "%s\n", certificate.status().ToString().c_str());
      return 1;
    }
    Put(folder, name + ".key", key->view());
    Put(folder, name + ".crt", *certificate);
  }
  return 0;
}

wire::TlsFiles Tls(const std::string& folder, const std::string& name) {
  return {.ca_pem = *ReadFile(JoinPath(folder, "ca.crt"), kPemBytesMax),
          .certificate_pem = *ReadFile(JoinPath(folder, name + ".crt"), kPemBytesMax),
          .key_pem = *ReadFile(JoinPath(folder, name + ".key"), kPemBytesMax)};
}

class Receiver final : public grpc::ServerReadReactor<grpc::ByteBuffer> {
 public:
  explicit Receiver(grpc::ByteBuffer* reply) {
    const grpc::Slice empty;
    *reply = grpc::ByteBuffer(&empty, 1);
    StartRead(&message_);
  }
  void OnReadDone(bool ok) override {
    if (ok) {
      StartRead(&message_);
    } else {
      Finish(grpc::Status::OK);
    }
  }
  void OnDone() override { delete this; }

 private:
  grpc::ByteBuffer message_;
};

class Sender final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  explicit Sender(uint64_t bytes) : left_(bytes) { Next(); }
  void OnWriteDone(bool ok) override {
    if (!ok) left_ = 0;
    Next();
  }
  void OnDone() override { delete this; }

 private:
  void Next() {
    if (left_ == 0) {
      Finish(grpc::Status::OK);
      return;
    }
    left_ -= std::min<uint64_t>(left_, kPiece);
    StartWrite(&message_);
  }
  uint64_t left_;
  grpc::ByteBuffer message_ = Piece();
};

using Methods = v1::Federation::WithRawCallbackMethod_UploadChunks<
    v1::Federation::WithRawCallbackMethod_DownloadModel<v1::Federation::Service>>;
class Floor final : public Methods {
 public:
  grpc::ServerReadReactor<grpc::ByteBuffer>* UploadChunks(grpc::CallbackServerContext*,
                                                          grpc::ByteBuffer* reply) override {
    return new Receiver(reply);
  }
  grpc::ServerWriteReactor<grpc::ByteBuffer>* DownloadModel(
      grpc::CallbackServerContext*, const grpc::ByteBuffer* request) override {
    grpc::Slice slice;
    v1::DownloadModelRequest message;
    if (request->DumpToSingleSlice(&slice).ok()) {
      message.ParseFromArray(slice.begin(), static_cast<int>(slice.size()));
    }
    return new Sender(message.offset());  // here: how many bytes
  }
};

int Serve(const std::string& folder) {
  Floor floor;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(
      "127.0.0.1:0", wire::ServerTls(Tls(folder, "server"), wire::PeerCertificate::kRequired),
      &port);
  builder.SetMaxReceiveMessageSize(wire::kMessageBytesMax);
  builder.RegisterService(&floor);
  const auto server = builder.BuildAndStart();
  std::printf("%d\n", port);
  std::fflush(stdout);
  std::cin.get();
  server->Shutdown(wire::DeadlineIn(absl::ZeroDuration()));
  return 0;
}

bool Download(const std::shared_ptr<grpc::Channel>& channel, uint64_t bytes) {
  grpc::ClientContext context;
  agent::BulkStream stream(channel, &context, "/consilium.v1.Federation/DownloadModel",
                           absl::Seconds(60));
  v1::DownloadModelRequest request;
  request.set_offset(bytes);
  const grpc::Slice slice(request.SerializeAsString());
  if (!stream.Start()) return false;
  stream.BeginWrite(grpc::ByteBuffer(&slice, 1));
  if (!stream.EndWrite() || !stream.WritesDone()) return false;
  grpc::ByteBuffer message;
  while (stream.Read(&message)) {
  }
  return stream.Finish().ok();
}

bool Upload(const std::shared_ptr<grpc::Channel>& channel, uint64_t bytes) {
  grpc::ClientContext context;
  agent::BulkStream stream(channel, &context, "/consilium.v1.Federation/UploadChunks",
                           absl::Seconds(60));
  if (!stream.Start()) return false;
  const grpc::ByteBuffer message = Piece();
  for (uint64_t sent = 0; sent < bytes; sent += kPiece) {
    stream.BeginWrite(message);
    if (!stream.EndWrite()) return false;
  }
  grpc::ByteBuffer reply;
  return stream.WritesDone() && stream.Read(&reply) && stream.Finish().ok();
}

int Site(const std::string& folder, const std::string& port, uint64_t down, uint64_t up) {
  const auto channel = wire::ConnectTls(absl::StrCat("127.0.0.1:", port), Tls(folder, "site"),
                                        "localhost", wire::Connection::kOwn);
  const double started = Seconds();
  if (down > 0 && !Download(channel, down)) return 1;
  const double downloaded = Seconds();
  if (up > 0 && !Upload(channel, up)) return 1;
  std::printf("%.4f %.4f\n", downloaded - started, Seconds() - downloaded);
  return 0;
}

int Main(int argc, char** argv) {
  const std::string mode = argc > 2 ? argv[1] : "";
  uint64_t down = 0, up = 0;
  if (mode == "certificates" && argc == 3) return MakeCertificates(argv[2]);
  if (mode == "serve" && argc == 3) return Serve(argv[2]);
  if (mode == "site" && argc == 6 && absl::SimpleAtoi(argv[4], &down) &&
      absl::SimpleAtoi(argv[5], &up)) {
    return Site(argv[2], argv[3], down, up);
  }
  std::fprintf(stderr, "usage: grpc_floor certificates|serve|site DIR [PORT DOWN UP]\n");
  return 2;
}

}  // namespace
}  // namespace consilium::bench

int main(int argc, char** argv) {
  consilium::wire::RequireTls13();
  return consilium::bench::Main(argc, argv);
}
