#include "privacy/deid/dicom_writer.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcostrmb.h"
#include "dcmtk/dcmdata/dctk.h"
#include "privacy/deid/element_text.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

// A UID of ours (PS3.5 B.2), so that files say which program wrote them.
constexpr const char* kImplementationUid = "2.25.163276915437108274219548831265920174655";
constexpr const char* kImplementationVersion = "CONSILIUM_1";
constexpr size_t kHeaderPieceBytes = 16 << 10;
constexpr size_t kPixelPieceBytes = 64 << 10;

void AppendUint(uint64_t value, int bytes, std::string& out) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

// Of a value representation with a 16-bit length.
void AppendMeta(uint16_t element, const char* vr, std::string value, std::string& out) {
  if (value.size() % 2 != 0) value += absl::string_view(vr) == "UI" ? '\0' : ' ';
  AppendUint(2, 2, out);
  AppendUint(element, 2, out);
  absl::StrAppend(&out, vr);
  AppendUint(value.size(), 2, out);
  out += value;
}

std::string FileHead(const std::string& sop_class_uid, const std::string& sop_instance_uid,
                     E_TransferSyntax syntax) {
  std::string meta("\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01", 14);  // FileMetaInformationVersion
  AppendMeta(0x0002, "UI", sop_class_uid, meta);
  AppendMeta(0x0003, "UI", sop_instance_uid, meta);
  AppendMeta(0x0010, "UI", DcmXfer(syntax).getXferID(), meta);
  AppendMeta(0x0012, "UI", kImplementationUid, meta);
  AppendMeta(0x0013, "SH", kImplementationVersion, meta);
  std::string head(128, '\0');
  head += "DICM";
  std::string length;
  AppendUint(meta.size(), 4, length);
  AppendMeta(0x0000, "UL", length, head);
  return head + meta;
}

// Gathers what is small, so that a usual image is written in two calls of the system.
class Output {
 public:
  explicit Output(File file) : file_(std::move(file)) {}

  absl::Status Append(absl::string_view bytes) {
    if (bytes.size() < kHeaderPieceBytes && gathered_.size() < kPixelPieceBytes) {
      gathered_.append(bytes.data(), bytes.size());
      return absl::OkStatus();
    }
    const absl::string_view pieces[] = {gathered_, bytes};
    CSL_RETURN_IF_ERROR(file_.WriteAt(offset_, pieces));
    offset_ += gathered_.size() + bytes.size();
    gathered_.clear();
    return absl::OkStatus();
  }
  absl::Status Finish() {
    return gathered_.empty() ? absl::OkStatus() : file_.WriteAt(offset_, gathered_);
  }

 private:
  File file_;
  uint64_t offset_ = 0;
  std::string gathered_;
};

// Piece by piece: a decoded image is larger than its header.
template <typename Take>
absl::Status EncodeDataset(DcmDataset& dataset, E_TransferSyntax syntax, const Take& take) {
  char buffer[kHeaderPieceBytes];
  DcmOutputBufferStream stream(buffer, sizeof(buffer));
  dataset.transferInit();
  OFCondition written;
  do {
    written = dataset.write(stream, syntax, EET_ExplicitLength, nullptr, EGL_withoutGL);
    void* bytes = nullptr;
    offile_off_t length = 0;
    stream.flushBuffer(bytes, length);
    CSL_RETURN_IF_ERROR(
        take(absl::string_view(static_cast<const char*>(bytes), static_cast<size_t>(length))));
  } while (written == EC_StreamNotifyClient);
  dataset.transferEnd();
  if (written.bad()) return absl::InvalidArgumentError("the data set cannot be written");
  return absl::OkStatus();
}

absl::Status AppendPixels(const SourceFile& source, const PixelShape& shape, Output& out) {
  const uint64_t padded = shape.bytes + shape.bytes % 2;
  if (padded > 0xFFFFFFFEu) return absl::InvalidArgumentError("the image is too large");
  std::string head("\xE0\x7F\x10\x00", 4);
  absl::StrAppend(&head, shape.allocated > 8 ? "OW" : "OB");
  AppendUint(0, 2, head);
  AppendUint(padded, 4, head);
  CSL_RETURN_IF_ERROR(out.Append(head));
  const auto read = std::make_unique_for_overwrite<char[]>(kPixelPieceBytes);
  std::string cleared;
  for (uint64_t begin = 0; begin < shape.bytes; begin += kPixelPieceBytes) {
    const uint64_t length = std::min<uint64_t>(kPixelPieceBytes, shape.bytes - begin);
    CSL_ASSIGN_OR_RETURN(const absl::string_view piece, source.Pixels(begin, length, read.get()));
    CSL_RETURN_IF_ERROR(out.Append(WithoutUnstored(shape, begin, piece, cleared)));
  }
  return padded > shape.bytes ? out.Append(absl::string_view("\0", 1)) : absl::OkStatus();
}

// `append` gives the file its content.
template <typename Append>
absl::Status WriteWhole(const std::string& path, const Append& append) {
  const std::string part = absl::StrCat(path, ".part");
  ::unlink(part.c_str());  // what a crash left would be longer than what is written now
  absl::StatusOr<File> file = File::Open(part, File::Mode::kReadWriteCreate, kPrivateFile);
  if (!file.ok()) return absl::UnavailableError("the output file cannot be made");
  Output out(*std::move(file));
  absl::Status status = append(out);
  if (status.ok()) status = out.Finish();
  if (status.ok() && std::rename(part.c_str(), path.c_str()) == 0) return status;
  ::unlink(part.c_str());
  if (absl::IsInvalidArgument(status)) return status;
  return absl::UnavailableError("the output file cannot be written");
}

}  // namespace

absl::StatusOr<EncodedHeader> EncodeHeader(DcmDataset& dataset) {
  EncodedHeader header{TextOf(dataset, DCM_SOPClassUID), TextOf(dataset, DCM_SOPInstanceUID), {}};
  CSL_RETURN_IF_ERROR(
      EncodeDataset(dataset, EXS_LittleEndianExplicit, [&](absl::string_view bytes) {
        absl::StrAppend(&header.bytes, bytes);
        return absl::OkStatus();
      }));
  return header;
}

absl::Status WriteDicom(DcmDataset& dataset, const std::string& path) {
  const E_TransferSyntax current = dataset.getCurrentXfer();
  const E_TransferSyntax syntax =
      DcmXfer(current).isEncapsulated() ? current : EXS_LittleEndianExplicit;
  return WriteWhole(path, [&](Output& out) {
    CSL_RETURN_IF_ERROR(out.Append(
        FileHead(TextOf(dataset, DCM_SOPClassUID), TextOf(dataset, DCM_SOPInstanceUID), syntax)));
    return EncodeDataset(dataset, syntax,
                         [&](absl::string_view bytes) { return out.Append(bytes); });
  });
}

absl::Status WriteDicom(const EncodedHeader& header, const SourceFile& source,
                        const PixelShape& shape, const std::string& path) {
  return WriteWhole(path, [&](Output& out) {
    CSL_RETURN_IF_ERROR(out.Append(
        FileHead(header.sop_class_uid, header.sop_instance_uid, EXS_LittleEndianExplicit)));
    CSL_RETURN_IF_ERROR(out.Append(header.bytes));
    return AppendPixels(source, shape, out);
  });
}

}  // namespace consilium::privacy
