// One DICOM file to be de-identified: checked bytes, and as much of them parsed as is needed.
#ifndef CONSILIUM_PRIVACY_DEID_SOURCE_FILE_H_
#define CONSILIUM_PRIVACY_DEID_SOURCE_FILE_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "privacy/deid/dicom_scan.h"
#include "privacy/deid/mapped_file.h"

namespace consilium::privacy {

// Registers DCMTK's decoders and silences its log, which prints values. Any number of times.
void PrepareDcmtk();

// Immutable but for LoadAll. Only bytes that the scan has vouched for reach DCMTK; what lies behind
// the pixels never does. Errors carry no name and no value.
class SourceFile {
 public:
  // INVALID_ARGUMENT: no DICOM, broken or hostile. UNIMPLEMENTED: an encoding that is not covered.
  static absl::StatusOr<SourceFile> Open(const std::string& path, uint64_t bytes_max);

  // Before Parse with kWhole. INVALID_ARGUMENT: the file cannot be mapped.
  absl::Status LoadAll();

  enum class Extent { kHeader, kWhole };
  // Whether the element is to be parsed. Elements that need not be are skipped as bytes: most of a
  // scanner's header is private and goes anyway, and parsing it costs more than copying the pixels.
  using Filter = std::function<bool(const TopElement&)>;
  absl::StatusOr<std::unique_ptr<DcmDataset>> Parse(Extent extent, const Filter& filter) const;
  // Whole elements of the data set, one after the other, in its encoding.
  static absl::StatusOr<std::unique_ptr<DcmDataset>> ParseElements(absl::string_view elements,
                                                                   E_TransferSyntax syntax);
  // Header and value of layout().elements[i].
  absl::string_view ElementBytes(size_t i) const;
  // Of those that the filter takes, one after the other.
  std::string ElementBytes(const Filter& filter) const;

  const DicomLayout& layout() const { return layout_; }
  E_TransferSyntax syntax() const { return syntax_; }
  // Pixel values as bytes in the order in which they are to be written: native, little endian.
  bool PixelsCanBeCopied() const;
  // A part of them, perhaps in `room` (`length` bytes). Errors as MappedFile::Read.
  absl::StatusOr<absl::string_view> Pixels(uint64_t offset, uint64_t length, char* room) const;
  // Of the preamble and behind the pixels; what Parse leaves out besides is counted by its caller.
  int64_t hidden_bytes() const { return hidden_bytes_; }

 private:
  explicit SourceFile(MappedFile file) : file_(std::move(file)) {}
  absl::Status Scan();
  absl::StatusOr<DicomEncoding> ReadPreamble();
  absl::Status Inflate();
  absl::string_view dataset() const;

  MappedFile file_;
  std::string inflated_;
  bool deflated_ = false;
  uint64_t offset_ = 0;
  E_TransferSyntax syntax_ = EXS_Unknown;
  DicomLayout layout_;
  int64_t hidden_bytes_ = 0;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_SOURCE_FILE_H_
