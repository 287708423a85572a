// A multipart body (RFC 2046 5.1) that arrives in pieces, taken apart without being held: a part's
// bytes go on as they come.
//
// The boundary alone says where a part ends. A Content-Length of a part is compared with what came,
// and names that a part gives itself (Content-Location, file names) are dropped.
#ifndef CONSILIUM_SITE_AGENT_DICOMWEB_MULTIPART_H_
#define CONSILIUM_SITE_AGENT_DICOMWEB_MULTIPART_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace consilium::dicomweb {

inline constexpr size_t kPartHeadBytesMax = 8192;
// Before the first boundary, and behind the last.
inline constexpr uint64_t kAroundBytesMax = 64 * 1024;
inline constexpr int64_t kPartsMax = 100'000;

// What takes the parts. An error ends the reading, and is what Feed returns.
class PartSink {
 public:
  virtual ~PartSink() = default;
  virtual absl::Status Begin(absl::string_view content_type) = 0;  // empty: the part has none
  virtual absl::Status Bytes(absl::string_view bytes) = 0;
  // The part's end. `whole` is INVALID_ARGUMENT where its Content-Length was another.
  virtual absl::Status End(const absl::Status& whole) = 0;
};

// Memory: the largest piece fed plus kPartHeadBytesMax. Thread-compatible. After an error it is of
// no use.
class MultipartReader {
 public:
  // `boundary` as in DicomBoundary; `sink` must outlive it.
  MultipartReader(absl::string_view boundary, PartSink& sink);

  // INVALID_ARGUMENT: not multipart, encoded parts (base64, gzip), heads too large.
  // RESOURCE_EXHAUSTED: more than kPartsMax parts. Others are the sink's.
  absl::Status Feed(absl::string_view bytes);
  // After the last byte. INVALID_ARGUMENT: the final boundary is missing.
  absl::Status Finish() const;
  int64_t parts() const { return parts_; }

 private:
  enum class State { kPreamble, kBoundaryLine, kHead, kBody, kEpilogue };
  // Each takes what it can from the front of `buffer_`, and says whether it could go on with more.
  absl::Status Step(bool& stuck);
  absl::Status UntilDelimiter(bool& stuck);
  absl::Status BoundaryLine(bool& stuck);
  absl::Status Head(bool& stuck);
  absl::Status PassOn(size_t size);
  absl::Status EndPart();
  void Drop(size_t size) { begin_ += size; }
  absl::string_view Rest() const { return absl::string_view(buffer_).substr(begin_); }

  const std::string delimiter_;  // CRLF, two hyphens, the boundary
  PartSink& sink_;
  State state_ = State::kPreamble;
  std::string buffer_;
  size_t begin_ = 0;  // of what is not consumed yet
  uint64_t around_bytes_ = 0;
  uint64_t part_bytes_ = 0;
  std::optional<uint64_t> part_bytes_claimed_;
  int64_t parts_ = 0;
};

}  // namespace consilium::dicomweb

#endif  // CONSILIUM_SITE_AGENT_DICOMWEB_MULTIPART_H_
