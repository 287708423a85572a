#include "proto/wire/handshake_log.h"

#include <grpc/support/log.h>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace consilium::wire {
namespace {

// "Handshake failed with fatal error SSL_ERROR_SSL: error:0A000086:SSL routines::REASON."
constexpr absl::string_view kFailed = "Handshake failed";
constexpr absl::string_view kBeforeReason = "::";
constexpr size_t kReasonsMax = 16;
constexpr size_t kReasonBytesMax = 80;

struct Refused {
  absl::Mutex mutex;
  std::map<std::string, int64_t> by_reason ABSL_GUARDED_BY(mutex);
};
Refused& TheRefused() {
  static Refused& refused = *new Refused;
  return refused;
}

void OnLog(gpr_log_func_args* args) {
  const absl::string_view message = args->message;
  if (message.substr(0, kFailed.size()) != kFailed) return;
  const size_t at = message.rfind(kBeforeReason);
  std::string reason = "other";
  if (at != absl::string_view::npos) {
    absl::string_view text = message.substr(at + kBeforeReason.size(), kReasonBytesMax);
    while (!text.empty() && text.back() == '.') text.remove_suffix(1);
    reason = std::string(text);
  }
  Refused& refused = TheRefused();
  absl::MutexLock lock(&refused.mutex);
  const bool known = refused.by_reason.find(reason) != refused.by_reason.end();
  ++refused.by_reason[known || refused.by_reason.size() < kReasonsMax ? reason : "other"];
}

}  // namespace

void WatchHandshakes() {
  gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
  gpr_set_log_function(OnLog);
}

std::map<std::string, int64_t> TakeRefusedHandshakes() {
  Refused& refused = TheRefused();
  absl::MutexLock lock(&refused.mutex);
  std::map<std::string, int64_t> taken;
  taken.swap(refused.by_reason);
  return taken;
}

}  // namespace consilium::wire
