// One DICOM file that has passed the structural scan, opened for reading with DCMTK.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_DICOM_FILE_H_
#define CONSILIUM_SITE_AGENT_IMAGING_DICOM_FILE_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/deid/dicom_scan.h"
#include "privacy/deid/mapped_file.h"

class DcmDataset;
class DcmItem;
class DcmTagKey;

namespace consilium::imaging {

// Once per process: DCMTK's own logging off (it prints values), decoders registered.
void PrepareDcmtk();

// Immutable. The view dataset() ends with the object; parsed data sets are copies.
class DicomFile {
 public:
  // NOT_FOUND, or INVALID_ARGUMENT: what ScanPreamble and ScanDataset refuse, an unsupported
  // transfer syntax, a deflated data set that grows beyond its budget. No message names the file:
  // archives have patients' names in file names.
  static absl::StatusOr<DicomFile> Open(const std::string& path);
  DicomFile(DicomFile&&) noexcept;
  ~DicomFile();

  const std::string& transfer_syntax_uid() const { return transfer_syntax_uid_; }
  privacy::DicomEncoding encoding() const { return encoding_; }
  const privacy::DicomLayout& layout() const { return layout_; }
  absl::string_view dataset() const;

  // Everything before PixelData.
  absl::StatusOr<std::unique_ptr<DcmDataset>> ParseHeader() const;
  // Of these, only the attributes (group << 16 | element) that `takes` takes: most of a scanner's header
  // is private.
  absl::StatusOr<std::unique_ptr<DcmDataset>> ParseHeader(
      const std::function<bool(uint32_t tag)>& takes) const;
  // With PixelData, in the file's own transfer syntax, for DCMTK's decoders.
  absl::StatusOr<std::unique_ptr<DcmDataset>> ParseWithPixels() const;

  // INVALID_ARGUMENT with these words, which name neither the file nor a value.
  absl::Status Fault(absl::string_view words) const;

 private:
  explicit DicomFile(privacy::MappedFile file) : file_(std::move(file)) {}
  absl::Status Scan();
  absl::StatusOr<std::unique_ptr<DcmDataset>> Parse(absl::string_view elements, int xfer) const;
  int HeaderSyntax() const;

  privacy::MappedFile file_;
  std::string inflated_;  // the data set, where the file deflates it
  bool deflated_ = false;
  uint64_t dataset_offset_ = 0;
  std::string transfer_syntax_uid_;
  privacy::DicomEncoding encoding_ = privacy::DicomEncoding::kExplicitLittle;
  privacy::DicomLayout layout_;
};

// Values of an element directly inside `item`. Text comes without padding; absent is empty.
std::string Text(DcmItem& item, const DcmTagKey& key);
std::vector<std::string> Texts(DcmItem& item, const DcmTagKey& key);
// Numbers that are not finite or do not parse make the whole value absent (empty).
std::vector<double> Numbers(DcmItem& item, const DcmTagKey& key);
std::optional<double> Number(DcmItem& item, const DcmTagKey& key);
// The items of a sequence, which belong to `item`; absent is empty.
std::vector<DcmItem*> SequenceItems(DcmItem& item, const DcmTagKey& sequence);
// The first of them, or nullptr.
DcmItem* SequenceItem(DcmItem& item, const DcmTagKey& sequence);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_DICOM_FILE_H_
