#include "site_agent/dicomweb/multipart.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "proto/base/status.h"

namespace consilium::dicomweb {
namespace {

constexpr absl::string_view kNewLine = "\r\n";
constexpr absl::string_view kHeadEnd = "\r\n\r\n";
constexpr size_t kPaddingMax = 64;  // behind a boundary

struct PartHead {
  std::string content_type;
  std::optional<uint64_t> content_length;
};

absl::Status ReadField(absl::string_view line, PartHead& head) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(line, absl::MaxSplits(':', 1));
  const std::string name = absl::AsciiStrToLower(parts.first);
  const absl::string_view value = absl::StripAsciiWhitespace(parts.second);
  if (name == "content-type") {
    if (!head.content_type.empty()) return absl::InvalidArgumentError("a part has two types");
    head.content_type = std::string(value);
  } else if (name == "content-length") {
    uint64_t length = 0;
    if (head.content_length || !absl::SimpleAtoi(value, &length)) {
      return absl::InvalidArgumentError("a part's length is no number, or there twice");
    }
    head.content_length = length;
  } else if (name == "content-encoding" || name == "content-transfer-encoding") {
    const std::string coding = absl::AsciiStrToLower(value);
    if (coding != "binary" && coding != "identity" && coding != "8bit") {
      return absl::InvalidArgumentError("a part is encoded, and nobody has asked for that");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<PartHead> ReadHead(absl::string_view text) {
  PartHead head;
  for (const absl::string_view line : absl::StrSplit(text, kNewLine, absl::SkipEmpty())) {
    for (const char c : line) {
      if (absl::ascii_iscntrl(static_cast<unsigned char>(c)) && c != '\t') {
        return absl::InvalidArgumentError("a part's head holds control characters");
      }
    }
    const size_t colon = line.find(':');
    // A line that begins with a blank goes on with the one before (obsolete), one with a blank
    // before the colon is read in two ways by two readers.
    if (colon == absl::string_view::npos || colon == 0 ||
        absl::StrContains(line.substr(0, colon), ' ') || line.front() == '\t') {
      return absl::InvalidArgumentError("a part's head is malformed");
    }
    CSL_RETURN_IF_ERROR(ReadField(line, head));
  }
  return head;
}

}  // namespace

// With a line end in front, so that a boundary at the very beginning is found like any other.
MultipartReader::MultipartReader(absl::string_view boundary, PartSink& sink)
    : delimiter_(absl::StrCat(kNewLine, "--", boundary)), sink_(sink), buffer_(kNewLine) {}

absl::Status MultipartReader::Feed(absl::string_view bytes) {
  buffer_.erase(0, std::exchange(begin_, 0));
  buffer_.append(bytes.data(), bytes.size());
  bool stuck = false;
  while (!stuck) CSL_RETURN_IF_ERROR(Step(stuck));
  return absl::OkStatus();
}

absl::Status MultipartReader::Step(bool& stuck) {
  switch (state_) {
    case State::kPreamble:
    case State::kBody:
      return UntilDelimiter(stuck);
    case State::kBoundaryLine:
      return BoundaryLine(stuck);
    case State::kHead:
      return Head(stuck);
    case State::kEpilogue:
      break;
  }
  stuck = true;
  return PassOn(Rest().size());
}

absl::Status MultipartReader::UntilDelimiter(bool& stuck) {
  const absl::string_view rest = Rest();
  const size_t found = rest.find(delimiter_);
  if (found == absl::string_view::npos) {
    stuck = true;
    // The end may be the beginning of a delimiter.
    return PassOn(rest.size() - std::min(rest.size(), delimiter_.size() - 1));
  }
  CSL_RETURN_IF_ERROR(PassOn(found));
  Drop(delimiter_.size());
  if (state_ == State::kBody) CSL_RETURN_IF_ERROR(EndPart());
  state_ = State::kBoundaryLine;
  return absl::OkStatus();
}

absl::Status MultipartReader::BoundaryLine(bool& stuck) {
  const absl::string_view rest = Rest();
  if (absl::StartsWith(rest, "--")) {
    Drop(2);
    state_ = State::kEpilogue;
    return absl::OkStatus();
  }
  const size_t padding = std::min(rest.find_first_not_of(" \t"), rest.size());
  const absl::string_view line_end = rest.substr(padding, kNewLine.size());
  stuck = line_end != kNewLine && absl::StartsWith(kNewLine, line_end);
  if (line_end == kNewLine && padding <= kPaddingMax) {
    // The line end stays: with it a head without fields looks like any other.
    Drop(padding);
    state_ = State::kHead;
    return absl::OkStatus();
  }
  stuck = stuck || rest == "-";
  if (!stuck || padding > kPaddingMax) {
    return absl::InvalidArgumentError("a boundary is followed by something else");
  }
  return absl::OkStatus();
}

absl::Status MultipartReader::Head(bool& stuck) {
  const absl::string_view rest = Rest();
  const size_t end = rest.find(kHeadEnd);
  stuck = end == absl::string_view::npos;
  if ((stuck ? rest.size() - std::min(rest.size(), kHeadEnd.size()) : end) > kPartHeadBytesMax) {
    return absl::InvalidArgumentError("a part's head is too large");
  }
  if (stuck) return absl::OkStatus();
  if (++parts_ > kPartsMax) return absl::ResourceExhaustedError("too many parts");
  CSL_ASSIGN_OR_RETURN(const PartHead head, ReadHead(rest.substr(0, end)));
  Drop(end + kHeadEnd.size());
  part_bytes_ = 0;
  part_bytes_claimed_ = head.content_length;
  state_ = State::kBody;
  return sink_.Begin(head.content_type);
}

absl::Status MultipartReader::PassOn(size_t size) {
  const absl::string_view bytes = Rest().substr(0, size);
  Drop(size);
  if (state_ != State::kBody) {
    around_bytes_ += size;
    if (around_bytes_ > kAroundBytesMax) {
      return absl::InvalidArgumentError("too much around the parts of a multipart body");
    }
    return absl::OkStatus();
  }
  part_bytes_ += size;
  return bytes.empty() ? absl::OkStatus() : sink_.Bytes(bytes);
}

absl::Status MultipartReader::EndPart() {
  if (part_bytes_claimed_ && *part_bytes_claimed_ != part_bytes_) {
    return sink_.End(absl::InvalidArgumentError("a part is not as long as it says"));
  }
  return sink_.End(absl::OkStatus());
}

absl::Status MultipartReader::Finish() const {
  if (state_ == State::kEpilogue) return absl::OkStatus();
  return absl::InvalidArgumentError("the multipart body ends before its final boundary");
}

}  // namespace consilium::dicomweb
