#include "privacy/deid/source_file.h"

#include <mutex>
#include <utility>

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
  CSL_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::Open(path));
  if (mapped.bytes().size() > bytes_max) return absl::InvalidArgumentError("the file is too large");
  SourceFile file(std::move(mapped));
  CSL_RETURN_IF_ERROR(file.Scan());
  return file;
}

absl::Status SourceFile::Scan() {
  const absl::string_view bytes = file_.bytes();
  CSL_ASSIGN_OR_RETURN(const DicomPreamble preamble, ScanPreamble(bytes));
  const DcmXfer syntax(preamble.transfer_syntax_uid.c_str());
  CSL_ASSIGN_OR_RETURN(const DicomEncoding encoding, EncodingOf(syntax));
  offset_ = preamble.dataset_offset;
  syntax_ = syntax.getXfer();
  if (syntax_ == EXS_DeflatedLittleEndianExplicit) {
    CSL_ASSIGN_OR_RETURN(inflated_, InflateDataset(bytes.substr(offset_)));
    deflated_ = true;
    syntax_ = EXS_LittleEndianExplicit;
  }
  CSL_ASSIGN_OR_RETURN(layout_, ScanDataset(dataset(), encoding));
  if (layout_.has_pixels && layout_.encapsulated != DcmXfer(syntax_).isEncapsulated()) {
    return absl::InvalidArgumentError("pixel data that contradicts the transfer syntax");
  }
  hidden_bytes_ = static_cast<int64_t>(dataset().size() - layout_.end);
  for (size_t i = 0; i < 128 && offset_ >= 132; ++i) {
    if (bytes[i] != '\0') ++hidden_bytes_;
  }
  return absl::OkStatus();
}

absl::string_view SourceFile::dataset() const {
  return deflated_ ? absl::string_view(inflated_) : file_.bytes().substr(offset_);
}

bool SourceFile::PixelsCanBeCopied() const {
  return layout_.has_pixels && !layout_.encapsulated && DcmXfer(syntax_).isLittleEndian();
}

absl::StatusOr<std::unique_ptr<DcmDataset>> SourceFile::Parse(Extent extent,
                                                              const Filter& filter) const {
  const absl::string_view all = dataset();
  std::string kept;
  for (size_t i = 0; i < layout_.elements.size(); ++i) {
    const uint64_t end =
        i + 1 < layout_.elements.size() ? layout_.elements[i + 1].begin : layout_.header_bytes;
    if (filter(layout_.elements[i])) {
      kept.append(all.data() + layout_.elements[i].begin, end - layout_.elements[i].begin);
    }
  }
  if (extent == Extent::kWhole) {
    kept.append(all.data() + layout_.header_bytes, layout_.end - layout_.header_bytes);
  }
  auto parsed = std::make_unique<DcmDataset>();
  DcmInputBufferStream stream;
  stream.setBuffer(kept.data(), static_cast<offile_off_t>(kept.size()));
  stream.setEos();
  parsed->transferInit();
  const OFCondition read = parsed->read(stream, syntax_);
  parsed->transferEnd();
  if (read.bad()) return absl::InvalidArgumentError("the data set cannot be parsed");
  // Values that DCMTK has not read yet would be looked for in the buffer that ends here.
  if (parsed->loadAllDataIntoMemory().bad()) {
    return absl::InvalidArgumentError("the data set cannot be parsed");
  }
  return parsed;
}

}  // namespace consilium::privacy
