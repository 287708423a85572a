// Work that reads a stranger's bytes with a library that might not survive them, in a process of
// its own: what it can break is itself.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_APART_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_APART_H_

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace consilium::agent {

// Forks a process that runs `work`, ends without running destructors of the caller's, writes no
// core file, has at most a gigabyte more memory than now, and dies with the thread that made it.
// Call it while no other thread of this process holds a lock that `work` may need. UNAVAILABLE: no
// process can be made.
absl::StatusOr<pid_t> ForkApart(const std::function<void()>& work);

// Runs `work` apart and gives its result. ABORTED: it died. CANCELLED: `stop` became true.
// RESOURCE_EXHAUSTED: the result has more than 64 MiB.
absl::StatusOr<std::string> RunApart(const std::function<absl::StatusOr<std::string>()>& work,
                                     const std::atomic<bool>& stop);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_APART_H_
