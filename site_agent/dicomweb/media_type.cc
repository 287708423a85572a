#include "site_agent/dicomweb/media_type.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "proto/base/status.h"

namespace consilium::dicomweb {
namespace {

constexpr size_t kTextBytesMax = 1024;
// RFC 2046 has 70; orthanc-dicomweb 1.7 sends 73.
constexpr size_t kBoundaryBytesMax = 128;

absl::Status Malformed() { return absl::InvalidArgumentError("not a media type"); }

bool IsTokenCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
         absl::StrContains("!#$%&'*+-.^_`|~", absl::string_view(&c, 1));
}

bool IsToken(absl::string_view text) {
  for (const char c : text) {
    if (!IsTokenCharacter(c)) return false;
  }
  return !text.empty();
}

// RFC 2046 5.1.1, bchars, but for the length.
bool IsBoundary(absl::string_view text) {
  if (text.empty() || text.size() > kBoundaryBytesMax || text.back() == ' ') return false;
  for (const char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) &&
        !absl::StrContains("'()+_,-./:=? ", absl::string_view(&c, 1))) {
      return false;
    }
  }
  return true;
}

void SkipBlanks(absl::string_view& text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
}

absl::string_view TakeToken(absl::string_view& text) {
  size_t size = 0;
  while (size < text.size() && IsTokenCharacter(text[size])) ++size;
  const absl::string_view token = text.substr(0, size);
  text.remove_prefix(size);
  return token;
}

// A quoted string whose opening quote is the first character.
absl::StatusOr<std::string> TakeQuoted(absl::string_view& text) {
  std::string value;
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') {
      text.remove_prefix(i + 1);
      return value;
    }
    if (text[i] == '\\' && ++i == text.size()) break;
    value.push_back(text[i]);
  }
  return Malformed();
}

// Boundaries are often written without the quotes that their characters need.
std::string TakeBare(absl::string_view& text) {
  const size_t end = text.find(';');
  const std::string value(absl::StripAsciiWhitespace(text.substr(0, end)));
  text.remove_prefix(std::min(end, text.size()));
  return value;
}

absl::Status TakeParameter(absl::string_view& text, MediaType& out) {
  std::string name = absl::AsciiStrToLower(TakeToken(text));
  if (name.empty() || text.empty() || text.front() != '=') return Malformed();
  text.remove_prefix(1);
  std::string value;
  if (!text.empty() && text.front() == '"') {
    CSL_ASSIGN_OR_RETURN(value, TakeQuoted(text));
  } else {
    value = TakeBare(text);
    if (value.empty() || absl::StrContains(value, '"')) return Malformed();
  }
  if (!out.parameters.emplace(std::move(name), std::move(value)).second) return Malformed();
  SkipBlanks(text);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<MediaType> ParseMediaType(absl::string_view text) {
  if (text.size() > kTextBytesMax) return Malformed();
  for (const char c : text) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c)) && c != '\t') return Malformed();
  }
  text = absl::StripAsciiWhitespace(text);
  const size_t end = text.find(';');
  MediaType out;
  out.type = absl::AsciiStrToLower(absl::StripAsciiWhitespace(text.substr(0, end)));
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(out.type, absl::MaxSplits('/', 1));
  if (!IsToken(parts.first) || !IsToken(parts.second)) return Malformed();
  text.remove_prefix(std::min(end, text.size()));
  while (absl::ConsumePrefix(&text, ";")) {
    SkipBlanks(text);
    if (!text.empty()) CSL_RETURN_IF_ERROR(TakeParameter(text, out));
  }
  if (!text.empty()) return Malformed();
  return out;
}

absl::StatusOr<std::string> DicomBoundary(absl::string_view content_type) {
  CSL_ASSIGN_OR_RETURN(const MediaType media, ParseMediaType(content_type));
  if (media.type != kMultipartType) {
    return absl::UnimplementedError("the body is not multipart/related");
  }
  const auto type = media.parameters.find("type");
  if (type == media.parameters.end() || !absl::EqualsIgnoreCase(type->second, kDicomType)) {
    return absl::UnimplementedError("the body's parts are not said to be application/dicom");
  }
  const auto boundary = media.parameters.find("boundary");
  if (boundary == media.parameters.end() || !IsBoundary(boundary->second)) {
    return absl::InvalidArgumentError("the multipart body has no usable boundary");
  }
  return boundary->second;
}

bool AcceptsDicomJson(absl::string_view accept) {
  if (absl::StripAsciiWhitespace(accept).empty()) return true;
  for (const absl::string_view one : absl::StrSplit(accept, ',')) {
    const absl::StatusOr<MediaType> media = ParseMediaType(one);
    if (!media.ok()) continue;
    for (const char* fits : {kDicomJsonType, "application/json", "application/*", "*/*"}) {
      if (media->type == fits) return true;
    }
  }
  return false;
}

}  // namespace consilium::dicomweb
