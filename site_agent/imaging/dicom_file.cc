#include "site_agent/imaging/dicom_file.h"

#include <cmath>
#include <utility>

#include "absl/base/call_once.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcistrmb.h"
#include "dcmtk/dcmdata/dcrledrg.h"
#include "dcmtk/dcmdata/dctk.h"
#include "dcmtk/dcmjpeg/djdecode.h"
#include "dcmtk/dcmjpls/djdecode.h"
#include "dcmtk/oflog/oflog.h"
#include "privacy/deid/inflate.h"
#include "proto/base/status.h"

namespace consilium::imaging {
namespace {

constexpr const char* kImplicitLittleUid = "1.2.840.10008.1.2";
constexpr const char* kExplicitLittleUid = "1.2.840.10008.1.2.1";
constexpr const char* kDeflatedUid = "1.2.840.10008.1.2.1.99";
constexpr const char* kExplicitBigUid = "1.2.840.10008.1.2.2";
constexpr absl::string_view kStandardRoot = "1.2.840.10008.1.2";

}  // namespace

void PrepareDcmtk() {
  static absl::once_flag once;
  absl::call_once(once, [] {
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);
    DcmRLEDecoderRegistration::registerCodecs();
    DJDecoderRegistration::registerCodecs();
    DJLSDecoderRegistration::registerCodecs();
  });
}

DicomFile::DicomFile(DicomFile&&) noexcept = default;
DicomFile::~DicomFile() = default;

absl::StatusOr<DicomFile> DicomFile::Open(const std::string& path) {
  PrepareDcmtk();
  CSL_ASSIGN_OR_RETURN(privacy::MappedFile mapped, privacy::MappedFile::Open(path));
  DicomFile file(std::move(mapped));
  CSL_RETURN_IF_ERROR(file.Scan());
  return file;
}

absl::Status DicomFile::Scan() {
  CSL_ASSIGN_OR_RETURN(const privacy::DicomPreamble preamble, privacy::ScanPreamble(file_.bytes()));
  transfer_syntax_uid_ = preamble.transfer_syntax_uid;
  dataset_offset_ = preamble.dataset_offset;
  if (!absl::StartsWith(transfer_syntax_uid_, kStandardRoot)) {
    return absl::InvalidArgumentError("a transfer syntax that is not in the standard");
  }
  if (transfer_syntax_uid_ == kImplicitLittleUid)
    encoding_ = privacy::DicomEncoding::kImplicitLittle;
  if (transfer_syntax_uid_ == kExplicitBigUid) encoding_ = privacy::DicomEncoding::kExplicitBig;
  if (transfer_syntax_uid_ == kDeflatedUid) {
    CSL_ASSIGN_OR_RETURN(inflated_, privacy::InflateDataset(file_.bytes().substr(dataset_offset_)));
    deflated_ = true;
  }
  CSL_ASSIGN_OR_RETURN(layout_, privacy::ScanDataset(dataset(), encoding_));
  const bool native = encoding_ != privacy::DicomEncoding::kExplicitLittle || deflated_ ||
                      transfer_syntax_uid_ == kExplicitLittleUid;
  if (layout_.has_pixels && layout_.encapsulated == native) {
    return absl::InvalidArgumentError("pixel data that contradicts the transfer syntax");
  }
  return absl::OkStatus();
}

absl::string_view DicomFile::dataset() const {
  return deflated_ ? absl::string_view(inflated_) : file_.bytes().substr(dataset_offset_);
}

absl::Status DicomFile::Fault(absl::string_view words) const {
  return absl::InvalidArgumentError(words);
}

absl::StatusOr<std::unique_ptr<DcmDataset>> DicomFile::Parse(absl::string_view elements,
                                                             int xfer) const {
  DcmInputBufferStream stream;
  stream.setBuffer(elements.data(), static_cast<offile_off_t>(elements.size()));
  stream.setEos();
  auto parsed = std::make_unique<DcmDataset>();
  parsed->transferInit();
  const OFCondition read = parsed->read(stream, static_cast<E_TransferSyntax>(xfer));
  parsed->transferEnd();
  if (read.bad()) return Fault("the data set cannot be parsed");
  return parsed;
}

int DicomFile::HeaderSyntax() const {
  switch (encoding_) {
    case privacy::DicomEncoding::kImplicitLittle:
      return EXS_LittleEndianImplicit;
    case privacy::DicomEncoding::kExplicitBig:
      return EXS_BigEndianExplicit;
    case privacy::DicomEncoding::kExplicitLittle:
      break;
  }
  return EXS_LittleEndianExplicit;
}

absl::StatusOr<std::unique_ptr<DcmDataset>> DicomFile::ParseHeader() const {
  return Parse(dataset().substr(0, layout_.header_bytes), HeaderSyntax());
}

absl::StatusOr<std::unique_ptr<DcmDataset>> DicomFile::ParseHeader(
    const std::function<bool(uint32_t tag)>& takes) const {
  std::string taken;
  for (size_t i = 0; i < layout_.elements.size(); ++i) {
    if (!takes(layout_.elements[i].tag)) continue;
    const uint64_t begin = layout_.elements[i].begin;
    const uint64_t end =
        i + 1 < layout_.elements.size() ? layout_.elements[i + 1].begin : layout_.header_bytes;
    absl::StrAppend(&taken, dataset().substr(begin, end - begin));
  }
  CSL_ASSIGN_OR_RETURN(std::unique_ptr<DcmDataset> parsed, Parse(taken, HeaderSyntax()));
  // Values that DCMTK has not read yet would be looked for in the buffer that ends here.
  if (parsed->loadAllDataIntoMemory().bad()) return Fault("the data set cannot be parsed");
  return parsed;
}

absl::StatusOr<std::unique_ptr<DcmDataset>> DicomFile::ParseWithPixels() const {
  const E_TransferSyntax xfer = DcmXfer(transfer_syntax_uid_.c_str()).getXfer();
  if (xfer == EXS_Unknown || deflated_) return Fault("a compression that is not supported");
  return Parse(dataset().substr(0, layout_.end), xfer);
}

std::string Text(DcmItem& item, const DcmTagKey& key) {
  OFString value;
  if (item.findAndGetOFStringArray(key, value).bad()) return "";
  std::string text(value.c_str(), value.size());
  const size_t nul = text.find('\0');
  if (nul != std::string::npos) text.resize(nul);
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

std::vector<std::string> Texts(DcmItem& item, const DcmTagKey& key) {
  const std::string whole = Text(item, key);
  if (whole.empty()) return {};
  std::vector<std::string> values;
  for (absl::string_view value : absl::StrSplit(whole, '\\')) {
    values.emplace_back(absl::StripAsciiWhitespace(value));
  }
  return values;
}

std::vector<double> Numbers(DcmItem& item, const DcmTagKey& key) {
  std::vector<double> numbers;
  for (const std::string& text : Texts(item, key)) {
    double number = 0;
    if (!absl::SimpleAtod(text, &number) || !std::isfinite(number)) return {};
    numbers.push_back(number);
  }
  return numbers;
}

std::optional<double> Number(DcmItem& item, const DcmTagKey& key) {
  const std::vector<double> numbers = Numbers(item, key);
  if (numbers.empty()) return std::nullopt;
  return numbers.front();
}

std::vector<DcmItem*> SequenceItems(DcmItem& item, const DcmTagKey& sequence) {
  DcmSequenceOfItems* found = nullptr;
  if (item.findAndGetSequence(sequence, found).bad() || found == nullptr) return {};
  std::vector<DcmItem*> items;
  items.reserve(found->card());
  // Not getItem(n), which walks the list from its start each time.
  for (DcmObject* object = found->nextInContainer(nullptr); object != nullptr;
       object = found->nextInContainer(object)) {
    items.push_back(static_cast<DcmItem*>(object));
  }
  return items;
}

DcmItem* SequenceItem(DcmItem& item, const DcmTagKey& sequence) {
  const std::vector<DcmItem*> items = SequenceItems(item, sequence);
  return items.empty() ? nullptr : items.front();
}

}  // namespace consilium::imaging
