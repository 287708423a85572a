// The little of the DICOM JSON model (PS3.18 Annex F) that searching and storing need.
#ifndef CONSILIUM_SITE_AGENT_DICOMWEB_DICOM_JSON_H_
#define CONSILIUM_SITE_AGENT_DICOMWEB_DICOM_JSON_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::dicomweb {

inline constexpr const char* kSopInstanceUidTag = "00080018";
inline constexpr const char* kStudyInstanceUidTag = "0020000D";
inline constexpr const char* kSeriesInstanceUidTag = "0020000E";

// The first value of `tag` in each data set of an answer to a search, where it is a text. Nothing
// else of the answer is kept. INVALID_ARGUMENT: not JSON, no list of data sets, nested deeper than
// 64.
absl::StatusOr<std::vector<std::string>> FirstValues(absl::string_view json, const char* tag);

// PS3.18 Annex I: what became of the objects of one request to store.
struct StoredObject {
  std::string sop_class_uid;  // both empty: the object could not be read so far
  std::string sop_instance_uid;
  uint16_t failure = 0;  // as the status of a C-STORE; 0: stored
};
// The Store Instances Response Module. Deterministic.
std::string StoreResponse(const std::vector<StoredObject>& objects);

}  // namespace consilium::dicomweb

#endif  // CONSILIUM_SITE_AGENT_DICOMWEB_DICOM_JSON_H_
