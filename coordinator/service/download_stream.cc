#include "coordinator/service/download_stream.h"

#include <optional>
#include <string>
#include <utility>

#include "consilium/v1/federation.pb.h"
#include "coordinator/store/chunk_store.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"
#include "proto/wire/chunk_frame.h"
#include "proto/wire/transport.h"

namespace consilium::coordinator {
namespace {

// A slice of a chunk's memory, which stays as long as the slice does.
grpc::Slice SliceOf(const ChunkPtr& chunk, absl::string_view part) {
  return grpc::Slice(const_cast<char*>(part.data()), part.size(),
                     [](void* held) { delete static_cast<ChunkPtr*>(held); },
                     new ChunkPtr(chunk));
}

absl::StatusOr<v1::DownloadModelRequest> Parse(const grpc::ByteBuffer& message) {
  v1::DownloadModelRequest request;
  grpc::Slice slice;
  if (!message.DumpToSingleSlice(&slice).ok() ||
      !request.ParseFromArray(slice.begin(), static_cast<int>(slice.size()))) {
    return absl::InvalidArgumentError("the message is not a request for a model");
  }
  return request;
}

class DownloadStream final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  DownloadStream(const TransferParts& parts, grpc::CallbackServerContext* context)
      : parts_(parts), call_(parts.gate, parts.sites, context, "model.download") {}

  void Start(const grpc::ByteBuffer& message) {
    absl::StatusOr<v1::DownloadModelRequest> request = Parse(message);
    if (!call_.admitted().ok() || !request.ok()) {
      Finish(call_.End(call_.admitted().ok() ? request.status() : call_.admitted()));
      return;
    }
    parts_.workers.Schedule([this, request = *std::move(request)] {
      if (const absl::Status opened = Open(request); !opened.ok()) {
        End(opened);
      } else {
        SendNext();
      }
    });
  }

  void OnWriteDone(bool ok) override {
    parts_.workers.Schedule([this, ok] {
      if (ok) {
        SendNext();
      } else {
        End(absl::CancelledError("the caller went"));
      }
    });
  }

  void OnDone() override { delete this; }

 private:
  absl::Status Open(const v1::DownloadModelRequest& request) {
    CSL_ASSIGN_OR_RETURN(ModelReader model, parts_.driver.OpenModel(request.sha256()));
    if (request.offset() > model.bytes()) {
      return absl::OutOfRangeError("the offset is beyond the model");
    }
    from_ = at_ = request.offset();
    model_.emplace(std::move(model));
    return absl::OkStatus();
  }

  void SendNext() {
    if (at_ == model_->bytes()) {
      End(absl::OkStatus());
      return;
    }
    const auto index = static_cast<size_t>(at_ / kChunkFileBytes);
    if (chunk_ == nullptr || index != index_) {
      chunk_ = nullptr;
      absl::StatusOr<ChunkPtr> chunk = model_->Chunk(index);
      if (!chunk.ok()) {
        End(chunk.status());
        return;
      }
      chunk_ = *std::move(chunk);
      index_ = index;
    }
    const absl::string_view part =
        chunk_->view().substr(at_ % kChunkFileBytes, wire::kTransferPieceBytes);
    const grpc::Slice slices[] = {grpc::Slice(wire::ChunkHeader(at_, Crc32c(part), part.size())),
                                  SliceOf(chunk_, part)};
    message_ = grpc::ByteBuffer(slices, 2);
    at_ += part.size();
    StartWrite(&message_);
  }

  void End(const absl::Status& status) {
    if (model_) parts_.driver.CountBytes(call_.site(), 0, static_cast<int64_t>(at_ - from_));
    chunk_ = nullptr;
    Finish(call_.End(status));
  }

  const TransferParts parts_;
  SiteCall call_;
  // Of one step at a time.
  std::optional<ModelReader> model_;
  ChunkPtr chunk_;
  size_t index_ = 0;
  uint64_t from_ = 0;
  uint64_t at_ = 0;
  grpc::ByteBuffer message_;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* SendModel(const TransferParts& parts,
                                                      grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer& request) {
  auto* stream = new DownloadStream(parts, context);
  stream->Start(request);
  return stream;
}

}  // namespace consilium::coordinator
