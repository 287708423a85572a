// Tells systemd how the program stands, by the datagram protocol of sd_notify(3), so that units can
// say Type=notify and WatchdogSec. Without NOTIFY_SOCKET in the environment everything is a no-op.
//
// Thread-safe. Errors are dropped: a service manager that does not listen is no reason to stop.
#ifndef CONSILIUM_PROTO_BASE_SUPERVISOR_H_
#define CONSILIUM_PROTO_BASE_SUPERVISOR_H_

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace consilium {

inline constexpr absl::string_view kSupervisorReady = "READY=1";
inline constexpr absl::string_view kSupervisorStopping = "STOPPING=1";
inline constexpr absl::string_view kSupervisorAlive = "WATCHDOG=1";

void NotifySupervisor(absl::string_view state);

// How often at least kSupervisorAlive is to be sent: half of what the unit's WatchdogSec allows.
// Infinite: nobody waits for it. Sent from the loop whose life it vouches for, never from a timer
// of its own.
absl::Duration SupervisorInterval();

}  // namespace consilium

#endif  // CONSILIUM_PROTO_BASE_SUPERVISOR_H_
