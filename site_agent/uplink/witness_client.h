// The site as a witness of the coordinator's audit log: tells it so in Hello, and after each question
// for a task looks whether the log has grown, checks that it only grew, and cosigns.
//
// Thread-safe; no lock is held during a call.
#ifndef CONSILIUM_SITE_AGENT_UPLINK_WITNESS_CLIENT_H_
#define CONSILIUM_SITE_AGENT_UPLINK_WITNESS_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "consilium/v1/federation.pb.h"
#include "privacy/transparency/witness.h"
#include "proto/base/clock.h"
#include "site_agent/round/site_log.h"

namespace consilium::agent {

class WitnessClient {
 public:
  // The two calls that it needs, as the connection makes them.
  struct Calls {
    std::function<absl::StatusOr<v1::GetCheckpointReply>(const v1::GetCheckpointRequest&)> get;
    std::function<absl::Status(const v1::SubmitCosignatureRequest&)> submit;
  };

  // `record` takes what belongs into the site's own log; may be empty. `clock` must outlive this.
  WitnessClient(privacy::Witness witness, const Clock& clock, EventRecorder record);

  // Fills in what the site's Hello says of its witness.
  void Introduce(v1::HelloRequest& request) const;
  // Pins the log's key at first sight. FAILED_PRECONDITION: another key than the pinned one, or
  // there is evidence of a fork. OK without a key: that coordinator has no signed log.
  absl::Status OnHello(const v1::HelloReply& reply);
  // After a NextTask. An error means that this coordinator's log cannot be vouched for, and that the
  // site does no work for it: FAILED_PRECONDITION with the remedy for a fork, earlier or now, and for
  // a log that was rolled back; INVALID_ARGUMENT or PERMISSION_DENIED for a checkpoint that does not
  // hold. A coordinator that cannot be reached, or gives no checkpoint, is no error: it is asked
  // again next time, and what lacks this site's cosignature shows there.
  absl::Status OnNextTask(uint64_t checkpoint_size, const Calls& calls);

 private:
  absl::Status Refuse(const absl::Status& status);
  absl::Status Cosign(const v1::GetCheckpointReply& reply, const Calls& calls);

  const Clock& clock_;
  const EventRecorder record_;
  mutable absl::Mutex mutex_;
  privacy::Witness witness_ ABSL_GUARDED_BY(mutex_);
  uint64_t handed_in_ ABSL_GUARDED_BY(mutex_) = 0;  // size whose cosignature the coordinator has
  std::string last_refusal_ ABSL_GUARDED_BY(mutex_);  // recorded once, not at each question
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_UPLINK_WITNESS_CLIENT_H_
