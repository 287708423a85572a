#include "privacy/atna/atna_recorder.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "privacy/atna/atna_events.h"
#include "privacy/crypto/tls_client.h"
#include "privacy/log/log.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr uint64_t kPemBytesMax = 256 * 1024;
constexpr size_t kBatch = 64;  // sent before the acknowledgement is waited for
constexpr absl::Duration kAcknowledged = absl::Seconds(10);
// In TLS 1.3 a server that does not like our certificate says so only after our side is done: what is
// written at once may go nowhere. So long the first batch of a stream waits for that.
constexpr absl::Duration kRefusal = absl::Milliseconds(500);
constexpr absl::Duration kLook = absl::Milliseconds(5);
constexpr absl::Duration kIdle = absl::Seconds(1);  // how soon another process' message is seen

absl::StatusOr<TlsClientOptions> ReadTarget(const AtnaTarget& target) {
  TlsClientOptions options;
  options.host = target.host;
  options.port = target.port;
  CSL_ASSIGN_OR_RETURN(options.ca_pem, ReadFile(target.ca_path, kPemBytesMax));
  CSL_ASSIGN_OR_RETURN(options.certificate_pem, ReadFile(target.certificate_path, kPemBytesMax));
  CSL_ASSIGN_OR_RETURN(std::string key, ReadFile(target.key_path, kPemBytesMax));
  options.key_pem = SecretBytes(key);
  std::fill(key.begin(), key.end(), '\0');
  return options;
}

}  // namespace

AtnaRecorder::AtnaRecorder(Options options, const Clock& clock)
    : options_(std::move(options)), clock_(clock) {}

absl::StatusOr<std::unique_ptr<AtnaRecorder>> AtnaRecorder::Create(Options options,
                                                                   const Clock& clock) {
  std::unique_ptr<AtnaRecorder> recorder(new AtnaRecorder(std::move(options), clock));
  const Options& own = recorder->options_;
  if (own.target) {
    const absl::Status read = ReadTarget(*own.target).status();
    if (!read.ok()) return absl::InvalidArgumentError(absl::StrCat("atna: ", read.message()));
  }
  CSL_ASSIGN_OR_RETURN(recorder->spool_, AtnaSpool::Open(own.spool_folder, own.messages_max));
  if (own.target) recorder->sender_ = std::thread([raw = recorder.get()] { raw->Send(); });
  return recorder;
}

AtnaRecorder::~AtnaRecorder() {
  if (!sender_.joinable()) return;
  {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
    wake_.SignalAll();
  }
  sender_.join();
}

absl::Status AtnaRecorder::Spool(const AtnaEvent& event) {
  const absl::Time now = clock_.Now();
  return spool_->Append(SyslogFrame(options_.header, event.outcome, now,
                                    EncodeAuditMessage(event, options_.source, now)),
                        now);
}

absl::Status AtnaRecorder::Record(const AtnaEvent& event) {
  absl::MutexLock lock(&record_mutex_);
  absl::Status status;
  if (const uint64_t dropped = spool_->dropped(); dropped > 0) {
    // The gap is reported before anything that comes after it.
    status = Spool(RecordingStopped(options_.header.app, dropped));
    if (status.ok()) status = spool_->ClearDropped();
    if (status.ok()) status = Spool(RecordingStarted(options_.header.app));
  }
  if (status.ok()) status = Spool(event);
  if (!status.ok()) {
    Log(LogLevel::kError, "an audit message for the repository was dropped",
        {LogField(LogField::Key::kReason, status.message())});
    if (options_.on_dropped) options_.on_dropped();
    return status;
  }
  absl::MutexLock state(&mutex_);
  wake_.SignalAll();
  return absl::OkStatus();
}

uint64_t AtnaRecorder::delivered() const {
  absl::MutexLock lock(&mutex_);
  return delivered_;
}

bool AtnaRecorder::StoppedWithin(absl::Duration duration) {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&stopped_), duration);
}

void AtnaRecorder::AwaitWork() {
  absl::MutexLock lock(&mutex_);
  if (!stopped_) wake_.WaitWithTimeout(&mutex_, kIdle);
}

// One batch: write, wait until the other machine has it, see that the stream still stands, forget.
absl::Status AtnaRecorder::SendBatch(std::unique_ptr<TlsClient>& connected) {
  CSL_ASSIGN_OR_RETURN(const std::vector<std::string> names, spool_->Oldest(kBatch));
  if (names.empty()) return absl::NotFoundError("nothing is spooled");
  const absl::Duration settled =
      clock_.Monotonic() + (connected == nullptr ? kRefusal : absl::ZeroDuration());
  if (connected == nullptr) {
    CSL_ASSIGN_OR_RETURN(TlsClientOptions target, ReadTarget(*options_.target));
    // At the end nobody waits long for a repository that is down.
    if (StoppedWithin(absl::ZeroDuration())) target.timeout = kAtnaFlush;
    CSL_ASSIGN_OR_RETURN(connected, TlsClient::Connect(target));
  }
  TlsClient& stream = *connected;
  CSL_RETURN_IF_ERROR(stream.CheckOpen());
  std::vector<std::string> sent;
  for (const std::string& name : names) {
    const absl::StatusOr<std::string> frame = spool_->Read(name);
    if (frame.ok()) CSL_RETURN_IF_ERROR(stream.Write(*frame));
    sent.push_back(name);
  }
  const absl::Duration until = clock_.Monotonic() + kAcknowledged;
  while (stream.UnacknowledgedBytes() > 0 || clock_.Monotonic() < settled) {
    if (clock_.Monotonic() > until) return absl::UnavailableError("no acknowledgement in time");
    absl::MutexLock lock(&mutex_);
    wake_.WaitWithTimeout(&mutex_, kLook);
  }
  CSL_RETURN_IF_ERROR(stream.CheckOpen());
  for (const std::string& name : sent) spool_->Remove(name);
  absl::MutexLock lock(&mutex_);
  delivered_ += sent.size();
  return absl::OkStatus();
}

void AtnaRecorder::Send() {
  std::unique_ptr<TlsClient> stream;
  absl::Duration pause = options_.retry_min;
  absl::Duration give_up = absl::InfiniteDuration();
  bool told = false;  // of a repository that is down, once
  while (true) {
    const absl::Status status = SendBatch(stream);
    const bool done = absl::IsNotFound(status);
    bool stop = false;
    if (done) {
      AwaitWork();
      // What was recorded in the meantime still goes.
      if (StoppedWithin(absl::ZeroDuration()) && SendBatch(stream).code() != absl::StatusCode::kOk) {
        return;
      }
    } else if (status.ok()) {
      pause = options_.retry_min;
      if (told) Log(LogLevel::kInfo, "the audit repository is reached again");
      told = false;
      stop = StoppedWithin(absl::ZeroDuration());
    } else {
      stream.reset();
      if (!told) {
        Log(LogLevel::kWarning, "the audit repository is not reached; messages are spooled",
            {LogField(LogField::Key::kReason, status.message())});
      }
      told = true;
      if (StoppedWithin(pause)) return;
      pause = std::min(2 * pause, options_.retry_max);
    }
    if (!stop) continue;
    if (clock_.Monotonic() > give_up) return;
    give_up = std::min(give_up, clock_.Monotonic() + kAtnaFlush);
  }
}

}  // namespace consilium::privacy
