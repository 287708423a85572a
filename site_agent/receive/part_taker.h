// The parts of a multipart body of DICOM objects, on their way into the quarantine.
//
// What cannot be kept is read to its end and dropped, so that the others come in and the sender can
// be told; past twice the largest object of that, the reading ends (OUT_OF_RANGE).
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_PART_TAKER_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_PART_TAKER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "site_agent/dicomweb/multipart.h"
#include "site_agent/receive/quarantine.h"

namespace consilium::agent {

class PartTaker final : public dicomweb::PartSink {
 public:
  struct Outcome {
    InboundObject::Claim object;  // what it says of itself, as far as it could be read
    absl::Status status;          // as InboundObject's; UNIMPLEMENTED: a part of another type
    uint64_t bytes = 0;
  };

  // All objects have to be of the study, unless it is empty. `quarantine` must outlive it.
  PartTaker(Quarantine& quarantine, int inbox, std::string study_uid);

  absl::Status Begin(absl::string_view content_type) override;
  absl::Status Bytes(absl::string_view bytes) override;
  absl::Status End(const absl::Status& whole) override;

  // Of each part that has ended, or at which the reading has. At most dicomweb::kPartsMax.
  const std::vector<Outcome>& outcomes() const { return outcomes_; }

 private:
  Quarantine& quarantine_;
  const int inbox_;
  const std::string study_uid_;
  std::optional<InboundObject> object_;
  absl::Status status_;  // of the part under way
  uint64_t dropped_bytes_ = 0;
  std::vector<Outcome> outcomes_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_PART_TAKER_H_
