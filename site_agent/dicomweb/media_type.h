// A media type with its parameters (RFC 7231 3.1.1.1), such as
//   multipart/related; type="application/dicom"; boundary=x
#ifndef CONSILIUM_SITE_AGENT_DICOMWEB_MEDIA_TYPE_H_
#define CONSILIUM_SITE_AGENT_DICOMWEB_MEDIA_TYPE_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::dicomweb {

inline constexpr const char* kDicomType = "application/dicom";
inline constexpr const char* kDicomJsonType = "application/dicom+json";
inline constexpr const char* kMultipartType = "multipart/related";

struct MediaType {
  std::string type;                               // lower case, without parameters
  std::map<std::string, std::string> parameters;  // names in lower case, values unquoted
};

// INVALID_ARGUMENT: not of that form, longer than 1024 bytes, or a parameter twice.
absl::StatusOr<MediaType> ParseMediaType(absl::string_view text);

// The boundary of a multipart/related body of DICOM objects (PS3.18 8.7.1). UNIMPLEMENTED: another
// media type. INVALID_ARGUMENT: no boundary, or one of other characters than
// RFC 2046 5.1.1 allows, or of more than 128.
absl::StatusOr<std::string> DicomBoundary(absl::string_view content_type);

// Whether one of the types of an Accept header is DICOM JSON, or a wild card that it matches, or
// the header is empty.
bool AcceptsDicomJson(absl::string_view accept);

}  // namespace consilium::dicomweb

#endif  // CONSILIUM_SITE_AGENT_DICOMWEB_MEDIA_TYPE_H_
