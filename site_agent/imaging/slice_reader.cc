#include "site_agent/imaging/slice_reader.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/imaging/dicom_file.h"
#include "site_agent/imaging/pixel_reader.h"

namespace consilium::imaging {
namespace {

// Segmentation Storage is .4, Label Map Segmentation Storage .7; the others are no images either.
constexpr const char* kAnySegmentationUid = "1.2.840.10008.5.1.4.1.1.66.";
// Times 32 bits of stored value this still fits a float.
constexpr double kRescaleMax = 1e24;

template <size_t N>
std::optional<std::array<double, N>> Vector(DcmItem& item, const DcmTagKey& key) {
  const std::vector<double> numbers = Numbers(item, key);
  if (numbers.size() != N) return std::nullopt;
  std::array<double, N> out = {};
  std::copy(numbers.begin(), numbers.end(), out.begin());
  return out;
}

// Where an attribute of one frame may stand: its own functional groups, the shared ones, and for
// classic objects the data set itself (PS3.3 C.7.6.16).
class FrameScope {
 public:
  FrameScope(DcmItem& dataset, DcmItem* shared, DcmItem* own)
      : dataset_(dataset), shared_(shared), own_(own) {}

  DcmItem& Group(const DcmTagKey& macro) const {
    for (DcmItem* groups : {own_, shared_}) {
      if (groups == nullptr) continue;
      if (DcmItem* found = SequenceItem(*groups, macro)) return *found;
    }
    return dataset_;
  }

 private:
  DcmItem& dataset_;
  DcmItem* shared_;
  DcmItem* own_;
};

absl::Status ReadBits(DcmDataset& dataset, const DicomFile& file, PixelFormat& format) {
  const auto integer = [&](const DcmTagKey& key, double fallback) {
    return Number(dataset, key).value_or(fallback);
  };
  const double rows = integer(DCM_Rows, 0), columns = integer(DCM_Columns, 0);
  if (rows < 1 || columns < 1 || rows > 65535 || columns > 65535) {
    return file.Fault("no rows or no columns");
  }
  format.rows = static_cast<int64_t>(rows);
  format.columns = static_cast<int64_t>(columns);
  if (integer(DCM_SamplesPerPixel, 1) != 1) return file.Fault("colour pixels");
  const std::string photometric = Text(dataset, DCM_PhotometricInterpretation);
  if (photometric != "MONOCHROME1" && photometric != "MONOCHROME2") {
    return file.Fault("pixels that are not a grey scale");
  }
  format.darker_is_higher = photometric == "MONOCHROME1";
  const double allocated = integer(DCM_BitsAllocated, 0);
  const double stored = integer(DCM_BitsStored, allocated);
  const double high = integer(DCM_HighBit, stored - 1);
  const bool sound = (allocated == 8 || allocated == 16 || allocated == 32) && stored >= 1 &&
                     stored <= allocated && high < allocated && high + 1 >= stored;
  if (!sound) return file.Fault("bits allocated, stored and high bit that do not fit together");
  format.bits_allocated = static_cast<int>(allocated);
  format.bits_stored = static_cast<int>(stored);
  format.high_bit = static_cast<int>(high);
  format.is_signed = integer(DCM_PixelRepresentation, 0) == 1;
  return absl::OkStatus();
}

void ReadPadding(DcmDataset& dataset, PixelFormat& format) {
  const std::optional<double> value = Number(dataset, DCM_PixelPaddingValue);
  if (!value || std::abs(*value) > 4e9) return;
  const double other = Number(dataset, DCM_PixelPaddingRangeLimit).value_or(*value);
  if (std::abs(other) > 4e9) return;
  std::array<int64_t, 2> range = {static_cast<int64_t>(*value), static_cast<int64_t>(other)};
  // In implicit encoding a negative value is read as unsigned: the dictionary allows both.
  const int64_t wrap = int64_t{1} << format.bits_allocated;
  for (int64_t& end : range) {
    if (format.is_signed && end >= wrap / 2) end -= wrap;
    if (!format.is_signed && end < 0) end += wrap;
  }
  if (range[0] > range[1]) std::swap(range[0], range[1]);
  format.padding = range;
}

bool HasImageType(DcmItem& item, const DcmTagKey& key, absl::string_view wanted) {
  const std::vector<std::string> values = Texts(item, key);
  return std::find(values.begin(), values.end(), wanted) != values.end();
}

// Equal numbers written differently ("90" and "90.0") are the same key.
std::string NumberKey(DcmItem& item, const DcmTagKey& key) {
  const std::optional<double> number = Number(item, key);
  return number ? absl::StrCat(*number) : "";
}

// Several values as one key; empty where none is there, so that "not said" is one value.
std::string Joined(std::initializer_list<std::string> parts) {
  const bool none =
      std::all_of(parts.begin(), parts.end(), [](const std::string& part) { return part.empty(); });
  return none ? "" : absl::StrJoin(parts, "/");
}

std::string FirstText(std::initializer_list<std::string> texts) {
  for (const std::string& text : texts) {
    if (!text.empty()) return text;
  }
  return "";
}

// Classic objects say it in the data set, enhanced ones in their functional groups.
void ReadSplitKeys(DcmDataset& dataset, const FrameScope& scope, Slice& slice) {
  DcmItem& content = scope.Group(DCM_FrameContentSequence);
  DcmItem& diffusion = scope.Group(DCM_MRDiffusionSequence);
  DcmItem* gradient = SequenceItem(diffusion, DCM_DiffusionGradientDirectionSequence);
  const auto put = [&](SplitKey key, std::string value) {
    slice.split_keys[static_cast<size_t>(key)] = std::move(value);
  };
  put(SplitKey::kStack, Text(content, DCM_StackID));
  put(SplitKey::kEcho,
      Joined({NumberKey(dataset, DCM_EchoTime), NumberKey(dataset, DCM_EchoNumbers),
              NumberKey(scope.Group(DCM_MREchoSequence), DCM_EffectiveEchoTime)}));
  put(SplitKey::kTemporalPosition, Joined({NumberKey(dataset, DCM_TemporalPositionIdentifier),
                                           NumberKey(content, DCM_TemporalPositionIndex)}));
  put(SplitKey::kDiffusion, Joined({NumberKey(diffusion, DCM_DiffusionBValue),
                                    Text(gradient == nullptr ? diffusion : *gradient,
                                         DCM_DiffusionGradientOrientation)}));
  put(SplitKey::kImageType,
      FirstText({Text(scope.Group(DCM_MRImageFrameTypeSequence), DCM_FrameType),
                 Text(scope.Group(DCM_CTImageFrameTypeSequence), DCM_FrameType),
                 Text(dataset, DCM_ImageType)}));
  put(SplitKey::kContrast, Text(dataset, DCM_ContrastBolusAgent));
  put(SplitKey::kTriggerTime, FirstText({NumberKey(dataset, DCM_TriggerTime),
                                         NumberKey(scope.Group(DCM_CardiacSynchronizationSequence),
                                                   DCM_NominalCardiacTriggerDelayTime)}));
  put(SplitKey::kAcquisitionNumber, FirstText({NumberKey(dataset, DCM_AcquisitionNumber),
                                               NumberKey(content, DCM_FrameAcquisitionNumber)}));
  put(SplitKey::kInstanceNumber, NumberKey(dataset, DCM_InstanceNumber));
  put(SplitKey::kAcquisitionTime,
      FirstText(
          {Text(content, DCM_FrameAcquisitionDateTime), Text(dataset, DCM_AcquisitionDateTime),
           absl::StrCat(Text(dataset, DCM_AcquisitionDate), Text(dataset, DCM_AcquisitionTime))}));
}

absl::Status ReadFrame(DcmDataset& dataset, const FrameScope& scope, const DicomFile& file,
                       Slice& slice) {
  slice.position_lps_mm =
      Vector<3>(scope.Group(DCM_PlanePositionSequence), DCM_ImagePositionPatient);
  slice.orientation =
      Vector<6>(scope.Group(DCM_PlaneOrientationSequence), DCM_ImageOrientationPatient);
  slice.pixel_spacing_mm = Vector<2>(scope.Group(DCM_PixelMeasuresSequence), DCM_PixelSpacing);
  ReadSplitKeys(dataset, scope, slice);
  DcmItem& transformation = scope.Group(DCM_PixelValueTransformationSequence);
  slice.rescale_slope = Number(transformation, DCM_RescaleSlope).value_or(1);
  slice.rescale_intercept = Number(transformation, DCM_RescaleIntercept).value_or(0);
  if (slice.rescale_slope == 0) return file.Fault("a rescale slope of zero");
  if (std::abs(slice.rescale_slope) > kRescaleMax ||
      std::abs(slice.rescale_intercept) > kRescaleMax) {
    return file.Fault("a rescale that leaves the range of numbers");
  }
  return absl::OkStatus();
}

absl::Status ReadObject(DcmDataset& dataset, const DicomFile& file, Slice& slice) {
  if (absl::StartsWith(Text(dataset, DCM_SOPClassUID), kAnySegmentationUid)) {
    return file.Fault("a segmentation, not an image");
  }
  if (!file.layout().has_pixels) return file.Fault("no pixel data");
  slice.sop_instance_uid = Text(dataset, DCM_SOPInstanceUID);
  slice.series_uid = Text(dataset, DCM_SeriesInstanceUID);
  if (slice.sop_instance_uid.empty() || slice.series_uid.empty()) {
    return file.Fault("no SOP instance or series UID");
  }
  slice.frame_of_reference_uid = Text(dataset, DCM_FrameOfReferenceUID);
  slice.modality = Text(dataset, DCM_Modality);
  slice.photometric = Text(dataset, DCM_PhotometricInterpretation);
  slice.transfer_syntax_uid = file.transfer_syntax_uid();
  slice.is_localizer = HasImageType(dataset, DCM_ImageType, "LOCALIZER");
  if (HasImageType(dataset, DCM_ImageType, "MOSAIC")) {
    return file.Fault("a mosaic of slices, which is not supported");
  }
  CSL_RETURN_IF_ERROR(ReadBits(dataset, file, slice.format));
  ReadPadding(dataset, slice.format);
  return absl::OkStatus();
}

}  // namespace

const char* SplitKeyName(SplitKey key) {
  switch (key) {
    case SplitKey::kStack:
      return "stack";
    case SplitKey::kEcho:
      return "echo";
    case SplitKey::kTemporalPosition:
      return "temporal position";
    case SplitKey::kDiffusion:
      return "b-value or diffusion direction";
    case SplitKey::kImageType:
      return "image type";
    case SplitKey::kContrast:
      return "contrast agent";
    case SplitKey::kTriggerTime:
      return "trigger time";
    case SplitKey::kAcquisitionNumber:
      return "acquisition number";
    case SplitKey::kAcquisitionTime:
      return "acquisition time";
    case SplitKey::kInstanceNumber:
      return "instance number";
  }
  return "unknown";
}

absl::StatusOr<std::vector<Slice>> ReadSlices(const std::string& path) {
  CSL_ASSIGN_OR_RETURN(const DicomFile file, DicomFile::Open(path));
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<DcmDataset> dataset, file.ParseHeader());
  Slice object;
  object.path = path;
  CSL_RETURN_IF_ERROR(ReadObject(*dataset, file, object));

  DcmItem* shared = SequenceItem(*dataset, DCM_SharedFunctionalGroupsSequence);
  const std::vector<DcmItem*> per_frame =
      SequenceItems(*dataset, DCM_PerFrameFunctionalGroupsSequence);
  const double frames = Number(*dataset, DCM_NumberOfFrames).value_or(1);
  if (per_frame.empty() && frames == 1) {
    CSL_RETURN_IF_ERROR(CheckPixelBytes(file, static_cast<uint64_t>(object.format.frame_bytes())));
    CSL_RETURN_IF_ERROR(ReadFrame(*dataset, FrameScope(*dataset, shared, nullptr), file, object));
    return std::vector<Slice>{std::move(object)};
  }
  if (per_frame.empty()) return file.Fault("several frames without a position for each");
  if (frames != static_cast<double>(per_frame.size())) {
    return file.Fault("a number of frames that differs from its functional groups");
  }
  object.frames_in_file = static_cast<int64_t>(per_frame.size());
  CSL_RETURN_IF_ERROR(CheckPixelBytes(
      file, static_cast<uint64_t>(object.format.frame_bytes() * object.frames_in_file)));
  std::vector<Slice> slices;
  for (DcmItem* groups : per_frame) {
    Slice slice = object;
    slice.frame = static_cast<int64_t>(slices.size());
    CSL_RETURN_IF_ERROR(ReadFrame(*dataset, FrameScope(*dataset, shared, groups), file, slice));
    slices.push_back(std::move(slice));
  }
  return slices;
}

}  // namespace consilium::imaging
