// The safetensors file format, float32 only: u64 little-endian header length, JSON header, data.
//
// Format: https://huggingface.co/docs/safetensors (header at most 100 MB there; 16 MiB here). What
// is written here loads in Python's safetensors and in MONAI; tensors keep the layout's order.
#ifndef CONSILIUM_PROTO_WIRE_SAFETENSORS_H_
#define CONSILIUM_PROTO_WIRE_SAFETENSORS_H_

#include <functional>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/wire/tensor_map.h"

namespace consilium::wire {

inline constexpr uint64_t kSafetensorsHeaderBytesMax = 16 * 1024 * 1024;

using Metadata = std::map<std::string, std::string>;

struct SafetensorsHeader {
  TensorLayout layout;   // in the order of the data
  Metadata metadata;     // "__metadata__"
  uint64_t data_offset = 0;  // of the first value in the file
};

// The file's bytes up to the data: length and header, padded so that the data is 8-byte aligned.
// Same layout and metadata: same bytes.
std::string EncodeSafetensorsHeader(const TensorLayout& layout, const Metadata& metadata);

// Strict: wrong JSON, a repeated key, another dtype than F32, holes or overlaps in the data,
// offsets that do not fit `file_bytes` are INVALID_ARGUMENT naming the tensor and the fault.
// `prefix` must hold at least the whole header; OUT_OF_RANGE says how many bytes are needed.
absl::StatusOr<SafetensorsHeader> DecodeSafetensorsHeader(absl::string_view prefix,
                                                          uint64_t file_bytes);

// To wherever the bytes go, in order; the sink's error ends it.
using ByteSink = std::function<absl::Status(absl::string_view)>;
absl::Status WriteSafetensors(const ByteSink& sink, const TensorMap& map, const Metadata& metadata);
// From wherever they are: reads exactly `size` bytes at `offset`.
using ByteSource = std::function<absl::Status(uint64_t offset, char* out, size_t size)>;
struct SafetensorsFile;
absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const ByteSource& source, uint64_t bytes);
absl::StatusOr<SafetensorsFile> ReadSafetensors(const ByteSource& source, uint64_t bytes);

// Whole files. Written atomically.
absl::Status WriteSafetensors(const std::string& path, const TensorMap& map,
                              const Metadata& metadata);

struct SafetensorsFile {
  TensorMap map;
  Metadata metadata;
};
absl::StatusOr<SafetensorsFile> ReadSafetensors(const std::string& path);
absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const std::string& path);

}  // namespace consilium::wire

#endif  // CONSILIUM_PROTO_WIRE_SAFETENSORS_H_
