// Writes what a hospital's archive holds: MR series, segmentations, and the files beside them that
// intake has to turn away. Identities go into every place where real archives have them.
#ifndef CONSILIUM_TESTS_SUPPORT_DICOM_WRITER_H_
#define CONSILIUM_TESTS_SUPPORT_DICOM_WRITER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "site_agent/imaging/volume.h"
#include "tests/support/identity.h"
#include "tests/support/random.h"

namespace consilium::phantom {

enum class TransferSyntax { kExplicitLittleEndian, kImplicitLittleEndian, kRleLossless };
enum class TextEncoding { kUtf8, kLatin1 };

struct DicomStyle {
  TransferSyntax syntax = TransferSyntax::kExplicitLittleEndian;
  TextEncoding encoding = TextEncoding::kUtf8;
};

struct SeriesText {
  std::string description = "T1 3D";
  std::vector<std::string> image_type = {"ORIGINAL", "PRIMARY", "M", "ND"};
  int series_number = 2;
};

// What a segmentation refers to.
struct WrittenSeries {
  std::string series_uid;
  std::vector<std::string> slice_uids;  // SOP instance UIDs, by k
  std::vector<std::string> paths;       // by k
};

// One MR Image Storage instance per slice k, files FOLDER/IM0001.dcm and so on. Columns run along
// axis i of the grid, rows along j. Values are stored as unsigned 16-bit, rounded.
absl::StatusOr<WrittenSeries> WriteMrSeries(const imaging::Volume& volume, const Identity& identity,
                                            const DicomStyle& style, const SeriesText& text,
                                            const std::string& folder, Random& random);

struct Segment {
  int value = 0;      // in the mask, and the segment's number
  std::string label;  // SegmentLabel and code meaning
  std::string code;   // code value of the property type, scheme 99PHANTOM; at most 16 characters
};

// The phantom's two structures, as kOrganName and kTubeName.
const std::vector<Segment>& PhantomSegments();

// One BINARY SEG (PS3.3 A.51) on the series' grid with a frame per slice that a segment touches.
absl::Status WriteSegmentation(const imaging::LabelVolume& mask, const WrittenSeries& series,
                               const std::vector<Segment>& segments, const Identity& identity,
                               const DicomStyle& style, const std::string& path, Random& random);

// A screenshot (Secondary Capture) with a bright box where such pictures show the name.
absl::Status WriteSecondaryCapture(const Identity& identity, const DicomStyle& style,
                                   const std::string& path, Random& random);

// A Basic Text SR whose text names the patient.
absl::Status WriteReport(const Identity& identity, const DicomStyle& style, const std::string& path,
                         Random& random);

}  // namespace consilium::phantom

#endif  // CONSILIUM_TESTS_SUPPORT_DICOM_WRITER_H_
