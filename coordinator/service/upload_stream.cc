#include "coordinator/service/upload_stream.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "consilium/v1/federation.pb.h"
#include "proto/base/status.h"
#include "proto/wire/chunk_frame.h"

namespace consilium::coordinator {
namespace {

class UploadStream final : public grpc::ServerReadReactor<grpc::ByteBuffer> {
 public:
  UploadStream(const TransferParts& parts, grpc::CallbackServerContext* context,
               grpc::ByteBuffer* reply)
      : parts_(parts),
        context_(context),
        reply_(reply),
        call_(parts.gate, parts.sites, context, "upload.chunks") {}

  void Start() {
    if (call_.admitted().ok()) {
      StartRead(&incoming_);
    } else {
      Finish(call_.End(call_.admitted()));
    }
  }

  void OnReadDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    if (ok) {
      waiting_ = true;
    } else {
      ended_ = true;
    }
    if (working_) return;  // the worker looks again
    working_ = true;
    parts_.workers.Schedule([this] { Work(); });
  }

  void OnDone() override { delete this; }

 private:
  // Takes in what has arrived. One at a time; the last one ends the call, and `this` with it.
  void Work() {
    while (true) {
      grpc::ByteBuffer message;
      {
        absl::MutexLock lock(&mutex_);
        if (!waiting_ && !ended_) {
          working_ = false;
          return;
        }
        if (!waiting_) break;
        waiting_ = false;
        message.Swap(&incoming_);
      }
      StartRead(&incoming_);
      if (const absl::Status taken = Take(message); !taken.ok()) {
        End(taken);
        return;
      }
    }
    End(upload_ == nullptr ? absl::InvalidArgumentError("the stream had no chunk")
                           : absl::OkStatus());
  }

  absl::Status Take(const grpc::ByteBuffer& message) {
    std::vector<grpc::Slice> slices;
    if (!message.Dump(&slices).ok()) return absl::InvalidArgumentError("the message is unreadable");
    std::vector<absl::string_view> pieces;
    pieces.reserve(slices.size());
    for (const grpc::Slice& slice : slices) {
      pieces.emplace_back(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    CSL_ASSIGN_OR_RETURN(const wire::ChunkFrame frame, wire::ParseUploadChunk(pieces));
    if (upload_ == nullptr) {
      CSL_ASSIGN_OR_RETURN(upload_, parts_.driver.FindUpload(call_.site(), frame.upload_id));
      stream_ = upload_->Attach([context = context_] { context->TryCancel(); });
      offset_ = upload_->have_offset();
    } else if (frame.upload_id != upload_->id()) {
      return absl::InvalidArgumentError("one stream carries one upload");
    }
    CSL_RETURN_IF_ERROR(wire::CheckFrame(frame, offset_, upload_->announcement().bytes));
    CSL_RETURN_IF_ERROR(upload_->Append(stream_, frame.offset, frame.data));
    offset_ += frame.bytes;
    received_ += frame.bytes;
    return absl::OkStatus();
  }

  void End(const absl::Status& status) {
    {
      // No read's end may start another worker: the call's end takes `this` away.
      absl::MutexLock lock(&mutex_);
      working_ = true;
    }
    if (upload_ != nullptr) {
      upload_->Detach(stream_);
      parts_.driver.CountBytes(call_.site(), static_cast<int64_t>(received_), 0);
    }
    if (status.ok()) {
      v1::UploadChunksReply reply;
      reply.set_have_offset(upload_->have_offset());
      const std::string bytes = reply.SerializeAsString();
      const grpc::Slice slice(bytes);
      *reply_ = grpc::ByteBuffer(&slice, 1);
    }
    Finish(call_.End(status));
  }

  const TransferParts parts_;
  grpc::CallbackServerContext* const context_;
  grpc::ByteBuffer* const reply_;
  SiteCall call_;

  absl::Mutex mutex_;
  grpc::ByteBuffer incoming_;  // gRPC's while a read is under way, guarded by mutex_ otherwise
  bool waiting_ ABSL_GUARDED_BY(mutex_) = false;  // a message lies in incoming_
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;    // no more will come
  bool working_ ABSL_GUARDED_BY(mutex_) = false;

  // The worker's.
  std::shared_ptr<Upload> upload_;
  uint64_t stream_ = 0;
  uint64_t offset_ = 0;
  uint64_t received_ = 0;
};

}  // namespace

grpc::ServerReadReactor<grpc::ByteBuffer>* ReceiveUpload(const TransferParts& parts,
                                                         grpc::CallbackServerContext* context,
                                                         grpc::ByteBuffer* reply) {
  auto* stream = new UploadStream(parts, context, reply);
  stream->Start();
  return stream;
}

}  // namespace consilium::coordinator
