// How long who waits for whom. A transfer has no limit as a whole: it lives as long as bytes move.
#ifndef CONSILIUM_PROTO_WIRE_TIMEOUTS_H_
#define CONSILIUM_PROTO_WIRE_TIMEOUTS_H_

#include "absl/time/time.h"

namespace consilium::wire {

// Of a call that is answered at once.
inline constexpr absl::Duration kCallTimeout = absl::Seconds(20);
// Without a byte in either direction, a transfer is given up; it resumes where it was.
inline constexpr absl::Duration kTransferIdle = absl::Seconds(60);
// The check of an update that is there: the coordinator opens and reads it.
inline constexpr absl::Duration kCommitTimeout = absl::Minutes(10);
// An idle connection is probed this often, and given up when the probe is not answered.
inline constexpr absl::Duration kKeepalive = absl::Seconds(30);
inline constexpr absl::Duration kKeepaliveAnswer = absl::Seconds(10);

}  // namespace consilium::wire

#endif  // CONSILIUM_PROTO_WIRE_TIMEOUTS_H_
