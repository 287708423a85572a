// What a verifier trusts (C2SP tlog-policy): the logs, the witnesses, and how many of which have to
// have cosigned a checkpoint before it counts.
//
//   log <vkey> [<url>]
//   witness <name> <vkey> [<url>]
//   group <name> <k | any | all> <witness or group>...
//   quorum <name | none>
//
// Thread-safety: values are thread-compatible, functions thread-safe.
#ifndef CONSILIUM_PRIVACY_TRANSPARENCY_POLICY_H_
#define CONSILIUM_PRIVACY_TRANSPARENCY_POLICY_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "privacy/transparency/checkpoint.h"
#include "privacy/transparency/note.h"

namespace consilium::privacy {

inline constexpr size_t kPolicyBytesMax = size_t{1} << 20;
inline constexpr size_t kPolicyNamesMax = 1024;  // logs, witnesses and groups together

struct Policy {
  struct Log {
    VerifierKey key;
    std::string url;  // may be empty
  };
  struct Witness {
    std::string name;  // within the policy only
    VerifierKey key;
    std::string url;
  };
  struct Group {
    std::string name;
    size_t threshold = 1;
    std::vector<std::string> members;  // defined before it
  };
  std::vector<Log> logs;
  std::vector<Witness> witnesses;
  std::vector<Group> groups;  // in the order of their definition
  std::string quorum = "none";

  // INVALID_ARGUMENT, naming the line: anything that the format forbids. RESOURCE_EXHAUSTED: over
  // the limits above. Keys of an unknown algorithm are taken; they never count.
  static absl::StatusOr<Policy> Parse(absl::string_view text);
  std::string ToString() const;
};

struct Cosigner {
  std::string name;  // of the policy
  absl::Time time;
};

// What a note that holds says, and who vouches for it.
struct PolicyVerdict {
  Checkpoint checkpoint;
  VerifierKey log;
  std::vector<Cosigner> cosigned;
  std::vector<std::string> absent;   // witnesses that did not cosign
  std::vector<std::string> unknown;  // witnesses whose algorithm is not known here: never counted
};

// That one of the policy's logs signed the checkpoint and the quorum is reached. PERMISSION_DENIED:
// no log of the policy did, a signature by a key of the policy does not verify, or too few witnesses
// (the message names who cosigned and who did not). FAILED_PRECONDITION: the policy names no log.
// Otherwise the errors of OpenCheckpoint.
absl::StatusOr<PolicyVerdict> CheckPolicy(absl::string_view note, const Policy& policy);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_TRANSPARENCY_POLICY_H_
