#include "proto/wire/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::wire {
namespace {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

static_assert(std::endian::native == std::endian::little,
              "values are written as they lie in memory; the format is little-endian");

constexpr size_t kLengthBytes = 8;
constexpr size_t kAlignment = 8;
constexpr int kJsonDepthMax = 3;

absl::Status Refuse(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("safetensors: ", what));
}

// nlohmann keeps the last of two equal keys and recurses as deep as the text does; the format
// forbids the first and we bound the second, so both are watched while parsing.
absl::StatusOr<Json> ParseHeader(absl::string_view text) {
  std::vector<std::set<std::string>> keys;
  absl::Status fault;
  const Json::parser_callback_t watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kJsonDepthMax) {
      fault = Refuse("header is nested too deep");
      return false;
    }
    switch (event) {
      case Json::parse_event_t::object_start:
        keys.emplace_back();
        break;
      case Json::parse_event_t::object_end:
        keys.pop_back();
        break;
      case Json::parse_event_t::key:
        if (!keys.back().insert(parsed.get<std::string>()).second) {
          fault = Refuse("a key of the header is there twice");
        }
        break;
      default:
        break;
    }
    return true;
  };
  Json json = Json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
  CSL_RETURN_IF_ERROR(fault);
  if (json.is_discarded() || !json.is_object()) return Refuse("header is not a JSON object");
  return json;
}

struct Entry {
  TensorSpec spec;
  uint64_t begin = 0;
  uint64_t end = 0;
};

absl::StatusOr<Entry> ParseEntry(const std::string& name, const Json& json) {
  const auto refuse = [&](absl::string_view what) {
    return Refuse(absl::StrCat("tensor ", name.substr(0, kTensorNameBytesMax), ": ", what));
  };
  if (!json.is_object() || json.size() != 3 || !json.contains("dtype") || !json.contains("shape") ||
      !json.contains("data_offsets")) {
    return refuse("needs exactly dtype, shape and data_offsets");
  }
  if (json["dtype"] != "F32") return refuse("only dtype F32 is supported");
  const Json& shape = json["shape"];
  const Json& offsets = json["data_offsets"];
  if (!shape.is_array() || shape.size() > kTensorRankMax) return refuse("bad shape");
  Entry entry;
  entry.spec.name = name;
  for (const Json& size : shape) {
    if (!size.is_number_unsigned() || size.get<uint64_t>() > uint64_t{kParametersMax}) {
      return refuse("bad shape");
    }
    entry.spec.shape.push_back(size.get<int64_t>());
  }
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    return refuse("bad data_offsets");
  }
  entry.begin = offsets[0].get<uint64_t>();
  entry.end = offsets[1].get<uint64_t>();
  return entry;
}

absl::StatusOr<uint64_t> HeaderBytes(absl::string_view prefix, uint64_t file_bytes) {
  if (prefix.size() < kLengthBytes) return absl::OutOfRangeError(absl::StrCat(kLengthBytes));
  const uint64_t length = LoadLe64(prefix.data());
  if (length > kSafetensorsHeaderBytesMax) return Refuse("header is too long");
  if (file_bytes < kLengthBytes || length > file_bytes - kLengthBytes) {
    return Refuse("file is shorter than its header");
  }
  return length;
}

}  // namespace

std::string EncodeSafetensorsHeader(const TensorLayout& layout, const Metadata& metadata) {
  OrderedJson json = OrderedJson::object();
  if (!metadata.empty()) json["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const TensorSpec& tensor : layout.tensors) {
    const uint64_t end = offset + static_cast<uint64_t>(tensor.elements()) * sizeof(float);
    json[tensor.name] = {
        {"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  text.resize((text.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  std::string bytes(kLengthBytes, '\0');
  StoreLe64(text.size(), bytes.data());
  return bytes + text;
}

absl::StatusOr<SafetensorsHeader> DecodeSafetensorsHeader(absl::string_view prefix,
                                                          uint64_t file_bytes) {
  CSL_ASSIGN_OR_RETURN(const uint64_t length, HeaderBytes(prefix, file_bytes));
  if (prefix.size() < kLengthBytes + length) {
    return absl::OutOfRangeError(absl::StrCat(kLengthBytes + length));
  }
  CSL_ASSIGN_OR_RETURN(const Json json, ParseHeader(prefix.substr(kLengthBytes, length)));
  SafetensorsHeader header;
  header.data_offset = kLengthBytes + length;
  std::vector<Entry> entries;
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") {
      if (!value.is_object()) return Refuse("__metadata__ is not an object");
      for (const auto& [key, text] : value.items()) {
        if (!text.is_string()) return Refuse("__metadata__ holds a value that is not text");
        header.metadata[key] = text.get<std::string>();
      }
      continue;
    }
    CSL_ASSIGN_OR_RETURN(Entry entry, ParseEntry(name, value));
    entries.push_back(std::move(entry));
  }
  // Stable order for empty tensors that share an offset: by offset, then by name.
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.spec.name) < std::tie(b.begin, b.end, b.spec.name);
  });
  for (const Entry& entry : entries) header.layout.tensors.push_back(entry.spec);
  CSL_RETURN_IF_ERROR(Annotate(CheckLayout(header.layout), "safetensors"));
  uint64_t expected = 0;
  for (const Entry& entry : entries) {
    const uint64_t bytes = static_cast<uint64_t>(entry.spec.elements()) * sizeof(float);
    if (entry.begin != expected || entry.end != entry.begin + bytes) {
      return Refuse(absl::StrCat("tensor ", entry.spec.name,
                                 ": data_offsets leave a hole, overlap, or do not fit its shape"));
    }
    expected = entry.end;
  }
  if (file_bytes - header.data_offset != expected) {
    return Refuse(absl::StrCat("the data has ", file_bytes - header.data_offset,
                               " bytes where the header describes ", expected));
  }
  return header;
}

absl::Status WriteSafetensors(const std::string& path, const TensorMap& map,
                              const Metadata& metadata) {
  CSL_RETURN_IF_ERROR(CheckLayout(map.layout));
  CSL_CHECK(static_cast<int64_t>(map.values.size()) == map.layout.parameters());
  const std::string temporary = path + ".writing";
  const std::string header = EncodeSafetensorsHeader(map.layout, metadata);
  {
    CSL_ASSIGN_OR_RETURN(File file,
                         File::Open(temporary, File::Mode::kReadWriteCreate, kPublicFile));
    CSL_RETURN_IF_ERROR(file.Truncate(0));
    CSL_RETURN_IF_ERROR(file.WriteAt(0, header));
    CSL_RETURN_IF_ERROR(file.WriteAt(
        header.size(), absl::string_view(reinterpret_cast<const char*>(map.values.data()),
                                         map.values.size() * sizeof(float))));
    CSL_RETURN_IF_ERROR(file.Sync());
  }
  return RenameDurably(temporary, path);
}

absl::Status WriteSafetensors(const ByteSink& sink, const TensorMap& map,
                              const Metadata& metadata) {
  CSL_RETURN_IF_ERROR(CheckLayout(map.layout));
  CSL_CHECK(static_cast<int64_t>(map.values.size()) == map.layout.parameters());
  CSL_RETURN_IF_ERROR(sink(EncodeSafetensorsHeader(map.layout, metadata)));
  return sink(absl::string_view(reinterpret_cast<const char*>(map.values.data()),
                                map.values.size() * sizeof(float)));
}

absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const ByteSource& source, uint64_t bytes) {
  std::string prefix(std::min<uint64_t>(kLengthBytes, bytes), '\0');
  CSL_RETURN_IF_ERROR(source(0, prefix.data(), prefix.size()));
  if (prefix.size() < kLengthBytes) return Refuse("file is shorter than 8 bytes");
  CSL_ASSIGN_OR_RETURN(const uint64_t length, HeaderBytes(prefix, bytes));
  prefix.resize(kLengthBytes + length);
  CSL_RETURN_IF_ERROR(source(0, prefix.data(), prefix.size()));
  return DecodeSafetensorsHeader(prefix, bytes);
}

absl::StatusOr<SafetensorsFile> ReadSafetensors(const ByteSource& source, uint64_t bytes) {
  CSL_ASSIGN_OR_RETURN(SafetensorsHeader header, ReadSafetensorsHeader(source, bytes));
  SafetensorsFile result;
  result.metadata = std::move(header.metadata);
  result.map.values.resize(static_cast<size_t>(header.layout.parameters()));
  CSL_RETURN_IF_ERROR(source(header.data_offset,
                             reinterpret_cast<char*>(result.map.values.data()),
                             result.map.values.size() * sizeof(float)));
  result.map.layout = std::move(header.layout);
  return result;
}

absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const std::string& path) {
  CSL_ASSIGN_OR_RETURN(const File file, File::Open(path, File::Mode::kRead));
  CSL_ASSIGN_OR_RETURN(const uint64_t bytes, file.Bytes());
  return ReadSafetensorsHeader(
      [&](uint64_t offset, char* out, size_t size) { return file.ReadAt(offset, out, size); },
      bytes);
}

absl::StatusOr<SafetensorsFile> ReadSafetensors(const std::string& path) {
  CSL_ASSIGN_OR_RETURN(const File file, File::Open(path, File::Mode::kRead));
  CSL_ASSIGN_OR_RETURN(const uint64_t bytes, file.Bytes());
  return ReadSafetensors(
      [&](uint64_t offset, char* out, size_t size) { return file.ReadAt(offset, out, size); },
      bytes);
}

}  // namespace consilium::wire
