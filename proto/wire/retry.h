// When to come back after a refusal that passes, as a payload of an absl::Status. Between two programs
// it travels as google.rpc.RetryInfo in gRPC's status details (transport.cc, consilium/v1/retry.proto).
//
// Functions are pure. What a peer says is a wish: it is bounded here, so that no coordinator can park a
// site for ever.
#ifndef CONSILIUM_PROTO_WIRE_RETRY_H_
#define CONSILIUM_PROTO_WIRE_RETRY_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace consilium::wire {

inline constexpr absl::Duration kRetryAfterMax = absl::Minutes(5);

// `status` with the wish that the caller come back after `delay`, within 0..kRetryAfterMax. An OK
// status stays as it is.
absl::Status WithRetryAfter(absl::Status status, absl::Duration delay);
// What the status says; nullopt: nothing.
std::optional<absl::Duration> RetryAfter(const absl::Status& status);

}  // namespace consilium::wire

#endif  // CONSILIUM_PROTO_WIRE_RETRY_H_
