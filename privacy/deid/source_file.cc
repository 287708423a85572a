#include "privacy/deid/source_file.h"

#include <mutex>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "dcmtk/dcmdata/dcistrmb.h"
#include "dcmtk/dcmdata/dcrledrg.h"
#include "dcmtk/dcmjpeg/djdecode.h"
#include "dcmtk/dcmjpls/djdecode.h"
#include "dcmtk/oflog/oflog.h"
#include "privacy/deid/inflate.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

absl::StatusOr<DicomEncoding> EncodingOf(const DcmXfer& syntax) {
  if (syntax.getXfer() == EXS_Unknown) return absl::UnimplementedError("unknown transfer syntax");
  if (syntax.isImplicitVR()) return DicomEncoding::kImplicitLittle;
  return syntax.isLittleEndian() ? DicomEncoding::kExplicitLittle : DicomEncoding::kExplicitBig;
}

// DCMTK 3.6.7 has no name for high-throughput JPEG 2000 (PS3.5 A.4.10), whose files are laid out like
// those of JPEG 2000.
const char* NameForDcmtk(const std::string& uid) {
  if (uid == "1.2.840.10008.1.2.4.201" || uid == "1.2.840.10008.1.2.4.202") {
    return UID_JPEG2000LosslessOnlyTransferSyntax;
  }
  return uid == "1.2.840.10008.1.2.4.203" ? UID_JPEG2000TransferSyntax : uid.c_str();
}

}  // namespace

void PrepareDcmtk() {
  static std::once_flag once;
  std::call_once(once, [] {
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);
    DcmRLEDecoderRegistration::registerCodecs();
    DJDecoderRegistration::registerCodecs();
    DJLSDecoderRegistration::registerCodecs();
  });
}

absl::StatusOr<SourceFile> SourceFile::Open(const std::string& path, uint64_t bytes_max) {
  CSL_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::OpenHead(path));
  if (mapped.size() > bytes_max) return absl::InvalidArgumentError("the file is too large");
  SourceFile file(std::move(mapped));
  CSL_RETURN_IF_ERROR(file.Scan());
  return file;
}

absl::Status SourceFile::LoadAll() { return file_.MapAll(); }

absl::Status SourceFile::Scan() {
  std::optional<DicomLayout> layout;
  absl::StatusOr<DicomEncoding> encoding = ReadPreamble();
  if (encoding.ok() && syntax_ != EXS_DeflatedLittleEndianExplicit) {
    layout = ScanHead(dataset(), file_.size() - file_.bytes().size(), *encoding);
  }
  if (!layout.has_value()) {
    CSL_RETURN_IF_ERROR(LoadAll());
    CSL_ASSIGN_OR_RETURN(encoding, ReadPreamble());
    if (syntax_ == EXS_DeflatedLittleEndianExplicit) CSL_RETURN_IF_ERROR(Inflate());
    CSL_ASSIGN_OR_RETURN(layout, ScanDataset(dataset(), *encoding));
  }
  layout_ = *std::move(layout);
  if (layout_.has_pixels && layout_.encapsulated != DcmXfer(syntax_).isEncapsulated()) {
    return absl::InvalidArgumentError("pixel data that contradicts the transfer syntax");
  }
  const uint64_t dataset_bytes = deflated_ ? inflated_.size() : file_.size() - offset_;
  hidden_bytes_ = static_cast<int64_t>(dataset_bytes - layout_.end);
  for (size_t i = 0; i < 128 && offset_ >= 132; ++i) {
    if (file_.bytes()[i] != '\0') ++hidden_bytes_;
  }
  return absl::OkStatus();
}

absl::StatusOr<DicomEncoding> SourceFile::ReadPreamble() {
  CSL_ASSIGN_OR_RETURN(const DicomPreamble preamble, ScanPreamble(file_.bytes()));
  const DcmXfer syntax(NameForDcmtk(preamble.transfer_syntax_uid));
  offset_ = preamble.dataset_offset;
  syntax_ = syntax.getXfer();
  return EncodingOf(syntax);
}

absl::Status SourceFile::Inflate() {
  CSL_ASSIGN_OR_RETURN(inflated_, InflateDataset(file_.bytes().substr(offset_)));
  deflated_ = true;
  syntax_ = EXS_LittleEndianExplicit;
  return absl::OkStatus();
}

absl::string_view SourceFile::dataset() const {
  return deflated_ ? absl::string_view(inflated_) : file_.bytes().substr(offset_);
}

bool SourceFile::PixelsCanBeCopied() const {
  return layout_.has_pixels && !layout_.encapsulated && DcmXfer(syntax_).isLittleEndian();
}

absl::StatusOr<absl::string_view> SourceFile::Pixels(uint64_t offset, uint64_t length,
                                                     char* room) const {
  if (offset > layout_.pixel_bytes || length > layout_.pixel_bytes - offset) {
    return absl::InvalidArgumentError("the pixel data is shorter than the image");
  }
  const uint64_t begin = layout_.pixel_offset + offset;
  return deflated_ ? dataset().substr(begin, length) : file_.Read(offset_ + begin, length, room);
}

absl::string_view SourceFile::ElementBytes(size_t i) const {
  const uint64_t end =
      i + 1 < layout_.elements.size() ? layout_.elements[i + 1].begin : layout_.header_bytes;
  return dataset().substr(layout_.elements[i].begin, end - layout_.elements[i].begin);
}

std::string SourceFile::ElementBytes(const Filter& filter) const {
  std::string kept;
  for (size_t i = 0; i < layout_.elements.size(); ++i) {
    if (filter(layout_.elements[i])) absl::StrAppend(&kept, ElementBytes(i));
  }
  return kept;
}

absl::StatusOr<std::unique_ptr<DcmDataset>> SourceFile::Parse(Extent extent,
                                                              const Filter& filter) const {
  std::string kept = ElementBytes(filter);
  if (extent == Extent::kWhole) {
    absl::StrAppend(&kept,
                    dataset().substr(layout_.header_bytes, layout_.end - layout_.header_bytes));
  }
  return ParseElements(kept, syntax_);
}

absl::StatusOr<std::unique_ptr<DcmDataset>> SourceFile::ParseElements(absl::string_view elements,
                                                                      E_TransferSyntax syntax) {
  auto parsed = std::make_unique<DcmDataset>();
  DcmInputBufferStream stream;
  stream.setBuffer(elements.data(), static_cast<offile_off_t>(elements.size()));
  stream.setEos();
  parsed->transferInit();
  const OFCondition read = parsed->read(stream, syntax);
  parsed->transferEnd();
  if (read.bad()) return absl::InvalidArgumentError("the data set cannot be parsed");
  // Values that DCMTK has not read yet would be looked for in the buffer that ends here.
  if (parsed->loadAllDataIntoMemory().bad()) {
    return absl::InvalidArgumentError("the data set cannot be parsed");
  }
  return parsed;
}

}  // namespace consilium::privacy
