#include "site_agent/uplink/bulk_stream.h"

#include "absl/strings/str_cat.h"
#include "proto/wire/transport.h"

namespace consilium::agent {

BulkStream::BulkStream(const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext* context,
                       const std::string& method, absl::Duration idle)
    : context_(context),
      idle_(idle),
      stub_(channel),
      call_(stub_.PrepareCall(context, method, &queue_)) {}

BulkStream::~BulkStream() {
  if (!finished_) {
    context_->TryCancel();
    Finish().IgnoreError();
  }
  queue_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
  }
}

// There is never more than one operation under way, so the next event is its end.
bool BulkStream::Wait() {
  void* tag = nullptr;
  bool ok = false;
  if (!idled_) {
    const auto event = queue_.AsyncNext(&tag, &ok, wire::DeadlineIn(idle_));
    if (event != grpc::CompletionQueue::TIMEOUT) return ok;
    idled_ = true;
    context_->TryCancel();
  }
  return queue_.Next(&tag, &ok) && ok && !idled_;
}

bool BulkStream::Start() {
  call_->StartCall(this);
  return Wait();
}

void BulkStream::BeginWrite(const grpc::ByteBuffer& message) { call_->Write(message, this); }

bool BulkStream::EndWrite() { return Wait(); }

bool BulkStream::WritesDone() {
  call_->WritesDone(this);
  return Wait();
}

bool BulkStream::Read(grpc::ByteBuffer* message) {
  call_->Read(message, this);
  return Wait();
}

absl::Status BulkStream::Finish() {
  finished_ = true;
  grpc::Status status;
  call_->Finish(&status, this);
  Wait();
  if (idled_) {
    return absl::DeadlineExceededError(
        absl::StrCat("no byte moved for ", absl::FormatDuration(idle_)));
  }
  return wire::FromGrpc(status);
}

}  // namespace consilium::agent
