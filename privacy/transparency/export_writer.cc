#include "privacy/transparency/export_writer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proto/base/bytes.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

using Json = nlohmann::json;

absl::string_view Bytes(const Hash& hash) {
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

// `text` as a JSON string, or empty: it is not UTF-8.
std::string JsonString(absl::string_view text) {
  try {
    return Json(std::string(text)).dump();
  } catch (const Json::type_error&) {
    return "";
  }
}

std::string Replaced(absl::string_view text) {
  return Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string OpenField(absl::Span<const OpenedCommitment> opened) {
  if (opened.empty()) return "";
  std::string out = ",\"open\":{";
  for (const OpenedCommitment& one : opened) {
    absl::StrAppend(&out, out.back() == '{' ? "" : ",", "\"", one.commitment, "\":{\"salt\":\"",
                    HexEncode(one.salt), "\",\"value\":", Replaced(one.value), "}");
  }
  return out + "}";
}

// The tree over the roots of blocks: its leaf k is the root of block k, of which the last may have fewer
// than 256 entries. It has the shape of the log's own tree from level 8 upwards.
NodeReader BlockReader(uint64_t size, const NodeReader& nodes) {
  return [size, &nodes](int level, uint64_t index) -> absl::StatusOr<Hash> {
    const uint64_t first = index << (level + kExportBlockLevel);
    if (size - first >= uint64_t{1} << (level + kExportBlockLevel)) {
      return nodes(level + kExportBlockLevel, index);
    }
    return RootOf(size - first, [first, &nodes](int inner, uint64_t place) {
      return nodes(inner, (first >> inner) + place);
    });
  };
}

}  // namespace

absl::StatusOr<ExportWriter> ExportWriter::Start(ExportHeader header, NodeReader nodes, Sink sink) {
  if (header.from > header.to || header.to > header.size) {
    return absl::InvalidArgumentError(absl::StrCat("an export needs from <= to <= size, not ",
                                                   header.from, ", ", header.to, ", ",
                                                   header.size));
  }
  ExportWriter writer(std::move(header), std::move(nodes), std::move(sink));
  const ExportHeader& h = writer.header_;
  CSL_RETURN_IF_ERROR(writer.sink_(absl::StrCat(
      "{\"consilium_audit_export\":", kExportVersion, ",\"origin\":", Replaced(h.origin),
      ",\"from\":", h.from, ",\"to\":", h.to, ",\"size\":", h.size, ",\"filter\":",
      Replaced(h.filter), ",\"checkpoint\":", Replaced(h.checkpoint), "}\n")));
  return writer;
}

absl::Status ExportWriter::CoverTo(uint64_t index) {
  while (next_ < index) {
    uint64_t limit = index;
    if (next_ < header_.from) limit = std::min(limit, header_.from);
    if (next_ < header_.to) limit = std::min(limit, header_.to);
    int level = 0;
    while (level < 62 && next_ % (uint64_t{2} << level) == 0 &&
           (uint64_t{2} << level) <= limit - next_) {
      ++level;
    }
    CSL_ASSIGN_OR_RETURN(const Hash node, nodes_(level, next_ >> level));
    const uint64_t count = uint64_t{1} << level;
    CSL_RETURN_IF_ERROR(sink_(absl::StrCat("{\"i\":", next_, ",\"n\":", count, ",\"node\":\"",
                                           HexEncode(Bytes(node)), "\"}\n")));
    next_ += count;
    CSL_RETURN_IF_ERROR(EndBlock());
  }
  return absl::OkStatus();
}

absl::Status ExportWriter::EndBlock() {
  if (next_ % kExportBlock != 0 && next_ != header_.size) return absl::OkStatus();
  if (!std::exchange(block_shows_, false)) return absl::OkStatus();
  const uint64_t block = (next_ - 1) / kExportBlock;
  const uint64_t blocks = (header_.size + kExportBlock - 1) / kExportBlock;
  CSL_ASSIGN_OR_RETURN(const std::vector<Hash> proof,
                       InclusionProof(block, blocks, BlockReader(header_.size, nodes_)));
  std::string line = absl::StrCat("{\"tile\":", block, ",\"proof\":[");
  for (const Hash& hash : proof) {
    absl::StrAppend(&line, line.back() == '[' ? "\"" : ",\"", Base64Encode(Bytes(hash)), "\"");
  }
  return sink_(line + "]}\n");
}

absl::Status ExportWriter::Show(uint64_t index, absl::string_view entry,
                                absl::Span<const OpenedCommitment> opened) {
  if (index < header_.from || index >= header_.to || index < next_ ||
      entry.size() > kAuditEntryBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("entry ", index, " cannot be shown after ", next_, " in [", header_.from, ", ",
                     header_.to, ")"));
  }
  CSL_RETURN_IF_ERROR(CoverTo(index));
  CSL_ASSIGN_OR_RETURN(const Hash leaf, nodes_(0, index));
  std::string text = JsonString(entry);
  text = text.empty() ? absl::StrCat("\"entry64\":\"", Base64Encode(entry), "\"")
                      : absl::StrCat("\"entry\":", text);
  CSL_RETURN_IF_ERROR(sink_(absl::StrCat("{\"i\":", index, ",", text, ",\"leaf\":\"",
                                         HexEncode(Bytes(leaf)), "\"", OpenField(opened), "}\n")));
  ++next_;
  ++shown_;
  block_shows_ = true;
  return EndBlock();
}

absl::Status ExportWriter::Finish() {
  CSL_RETURN_IF_ERROR(CoverTo(header_.size));
  return sink_(absl::StrCat("{\"end\":true,\"shown\":", shown_, ",\"withheld\":",
                            header_.to - header_.from - shown_, "}\n"));
}

}  // namespace consilium::privacy
