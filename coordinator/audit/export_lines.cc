#include "coordinator/audit/export_lines.h"

#include <algorithm>
#include <cstring>

#include "absl/numeric/bits.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

using Json = nlohmann::json;
using privacy::Hash;
using privacy::OpenedCommitment;

absl::Status Wrong(absl::string_view key, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("`", key, "`: ", why));
}

// What a line's keys can hold: a number, a text, a list of texts (`proof`), commitments (`open`).
// One pass without a tree of values, so that a hostile line costs no more than its length, and so that
// a repeated key is seen.
class LineHandler : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return Ignore(); }
  bool boolean(bool value) override { return number_unsigned(value ? 1 : 0); }
  bool number_integer(number_integer_t) override { return Ignore(); }
  bool number_unsigned(number_unsigned_t value) override {
    if (depth_ == 1) numbers_.push_back({key_, value});
    return true;
  }
  bool number_float(number_float_t, const string_t&) override { return Ignore(); }
  bool binary(binary_t&) override { return false; }
  bool string(string_t& value) override {
    if (depth_ == 1) {
      texts_.push_back({key_, std::move(value)});
    } else if (depth_ == 2 && top_ == "proof") {
      proof_.push_back(std::move(value));
    } else if (depth_ == 3 && top_ == "open" && !opened_.empty()) {
      if (key_ == "salt") opened_.back().salt = std::move(value);
      if (key_ == "value") opened_.back().value = std::move(value);
    }
    return true;
  }
  bool start_object(size_t) override {
    if (depth_ == 2 && top_ == "open") opened_.push_back({key_, "", ""});
    return Deeper();
  }
  bool start_array(size_t) override { return depth_ > 0 && Deeper(); }
  bool end_object() override { return Shallower(); }
  bool end_array() override { return Shallower(); }
  bool key(string_t& value) override {
    key_ = std::move(value);
    if (depth_ != 1) return true;
    top_ = key_;
    if (std::find(keys_.begin(), keys_.end(), key_) != keys_.end()) {
      fault_ = Wrong(key_, "repeated");
      return false;
    }
    keys_.push_back(key_);
    return keys_.size() <= 64;
  }
  bool parse_error(size_t position, const std::string&, const Json::exception&) override {
    fault_ = absl::InvalidArgumentError(absl::StrCat("not JSON at byte ", position));
    return false;
  }

  const absl::Status& fault() const { return fault_; }
  bool Has(absl::string_view name) const {
    return std::find(keys_.begin(), keys_.end(), name) != keys_.end();
  }
  absl::StatusOr<uint64_t> Number(absl::string_view name) const {
    for (const auto& [key, value] : numbers_) {
      if (key == name) return value;
    }
    return Wrong(name, "a whole number is needed");
  }
  absl::StatusOr<std::string> Text(absl::string_view name) {
    for (auto& [key, value] : texts_) {
      if (key == name) return std::move(value);
    }
    return Wrong(name, "a text is needed");
  }
  absl::StatusOr<Hash> HexHash(absl::string_view name) {
    CSL_ASSIGN_OR_RETURN(const std::string text, Text(name));
    const absl::StatusOr<std::string> bytes = HexDecode(text);
    if (!bytes.ok() || bytes->size() != privacy::kHashBytes) {
      return Wrong(name, "not 64 hexadecimal digits");
    }
    return privacy::HashFromBytes(*bytes);
  }
  const std::vector<std::string>& proof() const { return proof_; }
  std::vector<OpenedCommitment>& opened() { return opened_; }

 private:
  bool Ignore() { return depth_ > 0; }
  bool Deeper() { return ++depth_ <= 16; }
  bool Shallower() {
    --depth_;
    return true;
  }

  int depth_ = 0;
  std::string key_;
  std::string top_;  // the key at depth 1
  std::vector<std::string> keys_;
  std::vector<std::pair<std::string, uint64_t>> numbers_;
  std::vector<std::pair<std::string, std::string>> texts_;
  std::vector<std::string> proof_;
  std::vector<OpenedCommitment> opened_;
  absl::Status fault_;
};

absl::Status ReadHeader(LineHandler& line, ExportLine& out) {
  out.kind = ExportLine::Kind::kHeader;
  CSL_ASSIGN_OR_RETURN(const uint64_t version, line.Number("consilium_audit_export"));
  if (version != privacy::kExportVersion) {
    return Wrong("consilium_audit_export",
                 absl::StrCat("form ", version, ", this program reads ", privacy::kExportVersion));
  }
  CSL_ASSIGN_OR_RETURN(out.header.origin, line.Text("origin"));
  CSL_ASSIGN_OR_RETURN(out.header.from, line.Number("from"));
  CSL_ASSIGN_OR_RETURN(out.header.to, line.Number("to"));
  CSL_ASSIGN_OR_RETURN(out.header.size, line.Number("size"));
  CSL_ASSIGN_OR_RETURN(out.header.filter, line.Text("filter"));
  CSL_ASSIGN_OR_RETURN(out.header.checkpoint, line.Text("checkpoint"));
  if (out.header.from > out.header.to || out.header.to > out.header.size ||
      out.header.size > uint64_t{1} << 62) {
    return Wrong("from", "not from <= to <= size");
  }
  return absl::OkStatus();
}

absl::Status ReadEntry(LineHandler& line, ExportLine& out) {
  out.kind = ExportLine::Kind::kEntry;
  CSL_ASSIGN_OR_RETURN(out.index, line.Number("i"));
  if (line.Has("entry64")) {
    CSL_ASSIGN_OR_RETURN(const std::string text, line.Text("entry64"));
    absl::StatusOr<std::string> bytes = Base64Decode(text);
    if (!bytes.ok()) return Wrong("entry64", "not base64");
    out.entry = *std::move(bytes);
  } else {
    CSL_ASSIGN_OR_RETURN(out.entry, line.Text("entry"));
  }
  if (out.entry.size() > privacy::kAuditEntryBytesMax) return Wrong("entry", "too long");
  CSL_ASSIGN_OR_RETURN(out.hash, line.HexHash("leaf"));
  out.opened = std::move(line.opened());
  for (OpenedCommitment& one : out.opened) {
    absl::StatusOr<std::string> salt = HexDecode(one.salt);
    if (!salt.ok() || one.commitment.size() != 64) return Wrong("open", "no salt or commitment");
    one.salt = *std::move(salt);
  }
  return absl::OkStatus();
}

absl::Status ReadNode(LineHandler& line, ExportLine& out) {
  out.kind = ExportLine::Kind::kNode;
  CSL_ASSIGN_OR_RETURN(out.index, line.Number("i"));
  CSL_ASSIGN_OR_RETURN(const uint64_t count, line.Number("n"));
  if (count == 0 || !absl::has_single_bit(count) || out.index % count != 0 ||
      count > uint64_t{1} << 62) {
    return Wrong("n", "not a power of two that divides `i`");
  }
  out.level = absl::countr_zero(count);
  CSL_ASSIGN_OR_RETURN(out.hash, line.HexHash("node"));
  return absl::OkStatus();
}

absl::Status ReadTile(LineHandler& line, ExportLine& out) {
  out.kind = ExportLine::Kind::kTile;
  CSL_ASSIGN_OR_RETURN(out.index, line.Number("tile"));
  if (!line.Has("proof")) return Wrong("proof", "missing");
  if (line.proof().size() > privacy::kProofHashesMax) return Wrong("proof", "too long");
  for (const std::string& text : line.proof()) {
    const absl::StatusOr<std::string> bytes = Base64Decode(text);
    if (!bytes.ok() || bytes->size() != privacy::kHashBytes) {
      return Wrong("proof", "not a hash of 32 bytes in base64");
    }
    out.proof.push_back(*privacy::HashFromBytes(*bytes));
  }
  return absl::OkStatus();
}

absl::Status ReadEnd(LineHandler& line, ExportLine& out) {
  out.kind = ExportLine::Kind::kEnd;
  CSL_ASSIGN_OR_RETURN(out.shown, line.Number("shown"));
  CSL_ASSIGN_OR_RETURN(out.withheld, line.Number("withheld"));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ExportLine> ParseExportLine(absl::string_view text) {
  LineHandler handler;
  if (text.empty() || text.front() != '{') return absl::InvalidArgumentError("not a JSON object");
  if (!Json::sax_parse(text.begin(), text.end(), &handler)) {
    if (!handler.fault().ok()) return handler.fault();
    return absl::InvalidArgumentError("more keys or deeper than any line of an export");
  }
  ExportLine line;
  if (handler.Has("entry") || handler.Has("entry64")) {
    CSL_RETURN_IF_ERROR(ReadEntry(handler, line));
  } else if (handler.Has("node")) {
    CSL_RETURN_IF_ERROR(ReadNode(handler, line));
  } else if (handler.Has("tile")) {
    CSL_RETURN_IF_ERROR(ReadTile(handler, line));
  } else if (handler.Has("end")) {
    CSL_RETURN_IF_ERROR(ReadEnd(handler, line));
  } else if (handler.Has("consilium_audit_export")) {
    CSL_RETURN_IF_ERROR(ReadHeader(handler, line));
  } else {
    return absl::InvalidArgumentError("none of the lines of an export");
  }
  return line;
}

LineReader::LineReader(ByteSource source) : source_(std::move(source)) {
  buffer_.resize(64 * 1024);
}

absl::StatusOr<absl::string_view> LineReader::Next() {
  size_t searched = 0;
  for (;;) {
    const char* from = buffer_.data() + begin_ + searched;
    const void* found = std::memchr(from, '\n', end_ - begin_ - searched);
    if (found != nullptr) {
      const size_t length = static_cast<const char*>(found) - (buffer_.data() + begin_);
      const absl::string_view line(buffer_.data() + begin_, length);
      begin_ += length + 1;
      return line;
    }
    searched = end_ - begin_;
    if (searched > privacy::kExportLineBytesMax) {
      return absl::InvalidArgumentError("a line of more than 1 MiB");
    }
    if (begin_ > 0) std::memmove(buffer_.data(), buffer_.data() + begin_, searched);
    begin_ = 0;
    end_ = searched;
    if (end_ == buffer_.size()) buffer_.resize(2 * buffer_.size());
    CSL_ASSIGN_OR_RETURN(const size_t got, source_(buffer_.data() + end_, buffer_.size() - end_));
    if (got == 0) {
      if (searched == 0) return absl::OutOfRangeError("no more lines");
      begin_ = end_;
      return absl::InvalidArgumentError("cut within the last line");
    }
    end_ += got;
  }
}

absl::StatusOr<ByteSource> FileSource(const std::string& path) {
  std::shared_ptr<FILE> file(std::fopen(path.c_str(), "rb"), [](FILE* open) {
    if (open != nullptr) std::fclose(open);
  });
  if (file == nullptr) {
    return absl::NotFoundError(absl::StrCat(BaseName(path), " cannot be opened"));
  }
  return [file](char* out, size_t size) -> absl::StatusOr<size_t> {
    const size_t got = std::fread(out, 1, size, file.get());
    if (got == 0 && std::ferror(file.get()) != 0) return absl::DataLossError("cannot be read");
    return got;
  };
}

ByteSource TextSource(absl::string_view text) {
  return [text](char* out, size_t size) mutable -> absl::StatusOr<size_t> {
    const size_t count = std::min(size, text.size());
    std::memcpy(out, text.data(), count);
    text.remove_prefix(count);
    return count;
  };
}

}  // namespace consilium::coordinator
