// What de-identification held back, waiting for a person: HOLD/<id>/image.dcm (without identity in its
// header, its pixels as they were), image.png to look at, held.json.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_HELD_QUEUE_H_
#define CONSILIUM_SITE_AGENT_INTAKE_HELD_QUEUE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/deid/deidentifier.h"

namespace consilium::agent {

// Privacy: pseudonyms and words of ours; the pictures themselves may show identity, so the folder is
// 0700 and belongs to the hospital.
struct HeldFile {
  std::string id;       // 12 hex digits, keyed pseudonym of the instance
  std::string patient;  // keyed pseudonym
  std::string reason;
  std::string place;    // where it would lie below the output folder
};

// One process at a time. Thread-compatible; Add is thread-safe for different ids.
class HeldQueue {
 public:
  explicit HeldQueue(std::string folder) : folder_(std::move(folder)) {}

  // Cleans the header of `in_path` and puts it into the queue. Errors as PrepareReview; then nothing
  // is queued.
  absl::Status Add(const privacy::Deidentifier& deidentifier, const std::string& in_path,
                   const HeldFile& held, const privacy::PatientTokens& tokens) const;
  // By id. NOT_FOUND: no such folder.
  absl::StatusOr<std::vector<HeldFile>> List() const;
  // Moves the file to its place below `out` and forgets it. NOT_FOUND: no such id.
  // ALREADY_EXISTS: its place is taken.
  absl::Status Release(absl::string_view id, const std::string& out) const;
  // Deletes the file. NOT_FOUND: no such id.
  absl::Status Reject(absl::string_view id) const;
  // Ids of a patient's files, those with a damaged record too. UNAVAILABLE: the folder cannot be read.
  absl::StatusOr<std::vector<std::string>> OfPatient(absl::string_view patient) const;
  // Deletes what is there of `id`, if anything is.
  absl::Status Forget(absl::string_view id) const;

 private:
  absl::StatusOr<HeldFile> Read(absl::string_view id) const;
  std::string Folder(absl::string_view id) const;
  std::string folder_;
};

// HOME/held_queues.json: the folders of queues whose files have the home's pseudonyms, so that a patient
// can be deleted from them. At most kHeldQueuesMax; RESOURCE_EXHAUSTED after that.
absl::Status RememberQueue(const std::string& home, const std::string& folder);
// Those of them that are there. DATA_LOSS: the file is damaged.
absl::StatusOr<std::vector<std::string>> RememberedQueues(const std::string& home);
inline constexpr size_t kHeldQueuesMax = 256;

std::vector<std::vector<std::string>> HeldTable(const std::vector<HeldFile>& held);
std::string HeldToJson(const std::vector<HeldFile>& held);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_HELD_QUEUE_H_
