#include "site_agent/imaging/seg_writer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <utility>

#include "absl/strings/str_split.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcostrmb.h"
#include "dcmtk/dcmdata/dctk.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/imaging/derived_uid.h"
#include "site_agent/imaging/dicom_file.h"
#include "site_agent/imaging/dicom_header.h"

namespace consilium::imaging {
namespace {

// PixelData's length has 32 bits; DCMTK's sums of lengths too.
constexpr int64_t kPixelBytesMax = (int64_t{1} << 31) - (int64_t{1} << 28);

// One frame to write: segment `number` (1..) on slice `k`.
struct Frame {
  int number = 1;
  int64_t k = 0;
};

// Lets building read as a list of attributes. An insertion fails only by a mistake of ours.
class Builder {
 public:
  explicit Builder(DcmItem& item) : item_(&item) {}

  Builder& Put(const DcmTagKey& key, const std::string& value) {
    CSL_CHECK(item_->putAndInsertString(key, value.c_str()).good());
    return *this;
  }
  Builder& PutInt(const DcmTagKey& key, int64_t value) { return Put(key, absl::StrCat(value)); }
  Builder& PutTag(const DcmTagKey& key, const DcmTagKey& pointer) {
    CSL_CHECK(item_->putAndInsertTagKey(key, pointer).good());
    return *this;
  }
  Builder& PutUint16(const DcmTagKey& key, uint16_t value) {
    CSL_CHECK(item_->putAndInsertUint16(key, value).good());
    return *this;
  }
  Builder& PutUint32s(const DcmTagKey& key, const std::vector<Uint32>& values) {
    CSL_CHECK(item_->putAndInsertUint32Array(key, values.data(), values.size()).good());
    return *this;
  }
  // A new item at the end of `sequence`.
  Builder Add(const DcmTagKey& sequence) {
    DcmItem* item = nullptr;
    CSL_CHECK(item_->findOrCreateSequenceItem(sequence, item, -2).good());
    return Builder(*item);
  }
  Builder& AddCode(const DcmTagKey& sequence, const char* value, const char* scheme,
                   const std::string& meaning) {
    Add(sequence)
        .Put(DCM_CodeValue, value)
        .Put(DCM_CodingSchemeDesignator, scheme)
        .Put(DCM_CodeMeaning, meaning);
    return *this;
  }
  DcmItem& item() { return *item_; }

 private:
  DcmItem* item_;
};

// Text that every character set of the source shares, within the value's length.
std::string Plain(absl::string_view text, size_t chars_max) {
  std::string plain(text.substr(0, chars_max));
  for (char& c : plain) {
    if (c < ' ' || c > '~' || c == '\\') c = '_';
  }
  return plain;
}

// A number in the 16 characters of a DS, as exactly as they allow.
std::string DecimalString(double value) {
  char text[40];
  if (value == 0) value = 0;  // no "-0"
  for (int precision = 17; precision > 0; --precision) {
    std::snprintf(text, sizeof(text), "%.*g", precision, value);
    if (std::string_view(text).size() <= 16) break;
  }
  return text;
}

template <size_t N>
std::string DecimalStrings(const std::array<double, N>& values) {
  std::string joined;
  for (double value : values) {
    absl::StrAppend(&joined, joined.empty() ? "" : "\\", DecimalString(value));
  }
  return joined;
}

std::string PlanePosition(const Geometry& grid, int64_t k) {
  std::array<double, 3> position = grid.origin_lps_mm;
  for (int row = 0; row < 3; ++row) {
    position[row] += grid.direction[3 * row + 2] * grid.spacing_xyz_mm[2] * static_cast<double>(k);
  }
  return DecimalStrings(position);
}

struct SegmentText {
  std::string name;
  std::string code;
  std::string code_scheme;
};

// What is written, whoever made it.
struct SegContent {
  std::vector<SegmentText> segments;
  std::function<bool(size_t segment, size_t voxel)> inside;
  bool may_overlap = false;
  std::string model_version;  // empty: made by people
  std::string model_digest;
  std::string uid_seed;
  bool by_model() const { return !model_version.empty(); }
};

class SegBuilder {
 public:
  SegBuilder(const AssembledSeries& source, const SegContent& content, DcmDataset& first)
      : source_(source), grid_(source.volume.geometry), content_(content), first_(first) {
    FindFrames();
  }

  absl::Status Build(DcmDataset& out) {
    if (static_cast<int64_t>(frames_.size()) > kPixelBytesMax * 8 / plane()) {
      return absl::ResourceExhaustedError("a segmentation too large for one DICOM object");
    }
    PutPatientAndStudy(out);
    PutSeriesAndEquipment(out);
    PutImage(out);
    PutSegments(out);
    PutDimensions(out);
    PutSharedGroups(out);
    for (const Frame& frame : frames_) PutFrame(out, frame);
    PutReferences(out);
    PutPixels(out);
    return absl::OkStatus();
  }

 private:
  // Everything that decides the object's content decides its identity.
  std::string Uid(absl::string_view role) const {
    return DerivedUid(content_.uid_seed,
                      absl::StrCat(role, "\n", source_.series_uid, "\n", content_.model_version,
                                   "\n", content_.model_digest));
  }

  int64_t plane() const { return grid_.size_xyz[0] * grid_.size_xyz[1]; }

  bool IsEmpty(size_t segment, int64_t k) const {
    const auto from = static_cast<size_t>(k * plane()), to = from + static_cast<size_t>(plane());
    for (size_t voxel = from; voxel < to; ++voxel) {
      if (content_.inside(segment, voxel)) return false;
    }
    return true;
  }

  void FindFrames() {
    for (size_t i = 0; i < content_.segments.size(); ++i) {
      for (int64_t k = 0; k < grid_.size_xyz[2]; ++k) {
        if (!IsEmpty(i, k)) frames_.push_back({static_cast<int>(i) + 1, k});
      }
    }
    // The object needs a frame even when nothing was found.
    if (frames_.empty()) frames_.push_back({1, 0});
  }

  // Foreign text: what DCMTK does not take stays empty.
  void Copy(DcmItem& out, const DcmTagKey& key) {
    if (out.putAndInsertString(key, Text(first_, key).c_str()).bad()) out.insertEmptyElement(key);
  }
  void CopyIfThere(DcmItem& out, const DcmTagKey& key) {
    if (!Text(first_, key).empty()) Copy(out, key);
  }

  void PutPatientAndStudy(DcmDataset& out) {
    CopyIfThere(out, DCM_SpecificCharacterSet);
    for (const DcmTagKey& key : {DCM_PatientName, DCM_PatientID, DCM_PatientBirthDate,
                                 DCM_PatientSex, DCM_StudyInstanceUID, DCM_StudyDate, DCM_StudyTime,
                                 DCM_ReferringPhysicianName, DCM_StudyID, DCM_AccessionNumber}) {
      Copy(out, key);
    }
    for (const DcmTagKey& key :
         {DCM_IssuerOfPatientID, DCM_PatientAge, DCM_PatientSize, DCM_PatientWeight,
          DCM_StudyDescription, DCM_PatientIdentityRemoved, DCM_DeidentificationMethod,
          DCM_BodyPartExamined}) {
      CopyIfThere(out, key);
    }
  }

  void PutSeriesAndEquipment(DcmDataset& out) {
    Builder builder(out);
    const std::string date = FirstOf({DCM_ContentDate, DCM_SeriesDate, DCM_StudyDate}, "19000101");
    const std::string time = FirstOf({DCM_ContentTime, DCM_SeriesTime, DCM_StudyTime}, "000000");
    builder.Put(DCM_Modality, "SEG")
        .Put(DCM_SeriesInstanceUID, Uid("series"))
        .Put(DCM_SeriesNumber, "1001")
        .Put(DCM_SeriesDescription, content_.by_model()
                                        ? Plain("Segmentation " + content_.model_version, 64)
                                        : "Reference labels")
        .Put(DCM_SeriesDate, date)
        .Put(DCM_SeriesTime, time)
        .Put(DCM_ContentDate, date)
        .Put(DCM_ContentTime, time)
        .Put(DCM_FrameOfReferenceUID, source_.frame_of_reference_uid.empty()
                                          ? Uid("frame of reference")
                                          : source_.frame_of_reference_uid)
        .Put(DCM_PositionReferenceIndicator, Text(first_, DCM_PositionReferenceIndicator))
        .Put(DCM_Manufacturer, "Consilium")
        .Put(DCM_ManufacturerModelName, content_.by_model() ? "consilium-infer" : "consilium-agent")
        .Put(DCM_DeviceSerialNumber, "1")
        .Put(DCM_SoftwareVersions, content_.by_model() ? Plain(content_.model_version, 64) : "1")
        .Put(DCM_SOPClassUID, kSegmentationStorageUid)
        .Put(DCM_SOPInstanceUID, Uid("instance"));
  }

  std::string FirstOf(std::initializer_list<DcmTagKey> keys, const char* fallback) {
    for (const DcmTagKey& key : keys) {
      const std::string text = Text(first_, key);
      if (!text.empty()) return text;
    }
    return fallback;
  }

  void PutImage(DcmDataset& out) {
    Builder builder(out);
    builder.Put(DCM_ImageType, "DERIVED\\PRIMARY")
        .Put(DCM_InstanceNumber, "1")
        .Put(DCM_ContentLabel, "SEGMENTATION")
        .Put(DCM_ContentDescription, "")
        .Put(DCM_ContentCreatorName, "Consilium^")
        .PutUint16(DCM_SamplesPerPixel, 1)
        .Put(DCM_PhotometricInterpretation, "MONOCHROME2")
        .PutUint16(DCM_Rows, static_cast<uint16_t>(grid_.size_xyz[1]))
        .PutUint16(DCM_Columns, static_cast<uint16_t>(grid_.size_xyz[0]))
        .PutUint16(DCM_BitsAllocated, 1)
        .PutUint16(DCM_BitsStored, 1)
        .PutUint16(DCM_HighBit, 0)
        .PutUint16(DCM_PixelRepresentation, 0)
        .PutInt(DCM_NumberOfFrames, static_cast<int64_t>(frames_.size()))
        .Put(DCM_LossyImageCompression, "00")
        .Put(DCM_BurnedInAnnotation, "NO")
        .Put(DCM_SegmentationType, "BINARY")
        .Put(DCM_SegmentsOverlap, content_.may_overlap ? "UNDEFINED" : "NO");
  }

  void PutSegments(DcmDataset& out) {
    for (size_t i = 0; i < content_.segments.size(); ++i) {
      const SegmentText& text = content_.segments[i];
      Builder segment = Builder(out).Add(DCM_SegmentSequence);
      segment.PutUint16(DCM_SegmentNumber, static_cast<uint16_t>(i + 1))
          .Put(DCM_SegmentLabel, Plain(text.name, 64))
          .AddCode(DCM_SegmentedPropertyCategoryCodeSequence, "123037004", "SCT",
                   "Anatomical Structure");
      PutMaker(segment);
      // CodeValue holds 16 characters only.
      segment.Add(DCM_SegmentedPropertyTypeCodeSequence)
          .Put(text.code.size() <= 16 ? DCM_CodeValue : DCM_LongCodeValue, Plain(text.code, 1024))
          .Put(DCM_CodingSchemeDesignator, Plain(text.code_scheme, 16))
          .Put(DCM_CodeMeaning, Plain(text.name, 64));
    }
  }

  void PutMaker(Builder& segment) {
    if (!content_.by_model()) {
      segment.Put(DCM_SegmentAlgorithmType, "MANUAL");
      return;
    }
    const std::vector<std::string> version = absl::StrSplit(content_.model_version, '/');
    segment.Put(DCM_SegmentAlgorithmType, "AUTOMATIC")
        .Put(DCM_SegmentAlgorithmName, Plain(content_.model_version, 64));
    Builder algorithm = segment.Add(DCM_SegmentationAlgorithmIdentificationSequence);
    algorithm.AddCode(DCM_AlgorithmFamilyCodeSequence, "123110", "DCM", "Artificial Intelligence")
        .Put(DCM_AlgorithmName, Plain(version.front(), 64))
        .Put(DCM_AlgorithmVersion, Plain(version.back(), 64))
        .Put(DCM_AlgorithmParameters, Plain("weights sha256 " + content_.model_digest, 1024));
  }

  void PutDimensions(DcmDataset& out) {
    const std::string organisation = Uid("dimensions");
    Builder builder(out);
    builder.Add(DCM_DimensionOrganizationSequence).Put(DCM_DimensionOrganizationUID, organisation);
    const std::pair<DcmTagKey, DcmTagKey> indices[] = {
        {DCM_ReferencedSegmentNumber, DCM_SegmentIdentificationSequence},
        {DCM_ImagePositionPatient, DCM_PlanePositionSequence}};
    for (const auto& [pointer, group] : indices) {
      builder.Add(DCM_DimensionIndexSequence)
          .Put(DCM_DimensionOrganizationUID, organisation)
          .PutTag(DCM_DimensionIndexPointer, pointer)
          .PutTag(DCM_FunctionalGroupPointer, group);
    }
  }

  void PutSharedGroups(DcmDataset& out) {
    const Geometry& grid = grid_;
    const std::string thickness = DecimalString(grid.spacing_xyz_mm[2]);
    Builder shared = Builder(out).Add(DCM_SharedFunctionalGroupsSequence);
    shared.Add(DCM_PixelMeasuresSequence)
        .Put(DCM_PixelSpacing, DecimalStrings<2>({grid.spacing_xyz_mm[1], grid.spacing_xyz_mm[0]}))
        .Put(DCM_SliceThickness, thickness)
        .Put(DCM_SpacingBetweenSlices, thickness);
    const auto& d = grid.direction;
    shared.Add(DCM_PlaneOrientationSequence)
        .Put(DCM_ImageOrientationPatient, DecimalStrings<6>({d[0], d[3], d[6], d[1], d[4], d[7]}));
  }

  void PutFrame(DcmDataset& out, const Frame& frame) {
    Builder groups = Builder(out).Add(DCM_PerFrameFunctionalGroupsSequence);
    Builder derivation = groups.Add(DCM_DerivationImageSequence);
    derivation.AddCode(DCM_DerivationCodeSequence, "113076", "DCM", "Segmentation");
    Builder image = derivation.Add(DCM_SourceImageSequence);
    PutInstance(image, frame.k);
    if (const int number = SourceFrame(frame.k); number > 0) {
      image.PutInt(DCM_ReferencedFrameNumber, number);
    }
    image.AddCode(DCM_PurposeOfReferenceCodeSequence, "121322", "DCM",
                  "Source image for image processing operation");
    // By position along the normal, like the slices themselves.
    groups.Add(DCM_FrameContentSequence)
        .PutUint32s(DCM_DimensionIndexValues,
                    {static_cast<Uint32>(frame.number), static_cast<Uint32>(frame.k + 1)});
    groups.Add(DCM_PlanePositionSequence)
        .Put(DCM_ImagePositionPatient, PlanePosition(grid_, frame.k));
    groups.Add(DCM_SegmentIdentificationSequence)
        .PutUint16(DCM_ReferencedSegmentNumber, static_cast<uint16_t>(frame.number));
  }

  int SourceFrame(int64_t k) const {
    return source_.slice_frames.empty() ? 0 : source_.slice_frames[static_cast<size_t>(k)];
  }

  void PutInstance(Builder& item, int64_t k) {
    item.Put(DCM_ReferencedSOPClassUID, Text(first_, DCM_SOPClassUID))
        .Put(DCM_ReferencedSOPInstanceUID, source_.slice_uids[static_cast<size_t>(k)]);
  }

  void PutReferences(DcmDataset& out) {
    Builder series = Builder(out).Add(DCM_ReferencedSeriesSequence);
    series.Put(DCM_SeriesInstanceUID, source_.series_uid);
    for (size_t k = 0; k < source_.slice_uids.size(); ++k) {
      // The frames of a multi-frame object stand together, under one UID.
      if (k > 0 && source_.slice_uids[k] == source_.slice_uids[k - 1]) continue;
      Builder instance = series.Add(DCM_ReferencedInstanceSequence);
      PutInstance(instance, static_cast<int64_t>(k));
    }
  }

  // Frames follow each other bit by bit, least significant first (PS3.5 8.1.1).
  void PutPixels(DcmDataset& out) {
    const int64_t bits = static_cast<int64_t>(frames_.size()) * plane();
    std::vector<Uint8> packed(static_cast<size_t>((bits + 15) / 16 * 2));
    int64_t bit = 0;
    for (const Frame& frame : frames_) {
      const auto from = static_cast<size_t>(frame.k * plane());
      for (int64_t i = 0; i < plane(); ++i, ++bit) {
        const auto segment = static_cast<size_t>(frame.number - 1);
        if (!content_.inside(segment, from + static_cast<size_t>(i))) continue;
        packed[static_cast<size_t>(bit / 8)] |= static_cast<Uint8>(1 << (bit % 8));
      }
    }
    auto pixels = std::make_unique<DcmPixelData>(DCM_PixelData);
    pixels->setVR(EVR_OB);
    CSL_CHECK(pixels->putUint8Array(packed.data(), packed.size()).good());
    CSL_CHECK(out.insert(pixels.release()).good());
  }

  const AssembledSeries& source_;
  const Geometry& grid_;
  const SegContent& content_;
  DcmDataset& first_;
  std::vector<Frame> frames_;
};

absl::StatusOr<std::string> Encode(DcmFileFormat& file) {
  const E_TransferSyntax xfer = EXS_LittleEndianExplicit;
  CSL_CHECK(file.validateMetaInfo(xfer).good());
  std::string out(file.calcElementLength(xfer, EET_ExplicitLength) + 4096, '\0');
  DcmOutputBufferStream stream(out.data(), static_cast<offile_off_t>(out.size()));
  file.transferInit();
  const OFCondition written =
      file.write(stream, xfer, EET_ExplicitLength, nullptr, EGL_recalcGL, EPD_withoutPadding);
  file.transferEnd();
  void* buffer = nullptr;
  offile_off_t length = 0;
  stream.flushBuffer(buffer, length);
  if (written.bad()) return absl::InternalError("the segmentation cannot be encoded");
  out.resize(static_cast<size_t>(length));
  return out;
}

absl::Status CheckSource(const AssembledSeries& source) {
  if (static_cast<int64_t>(source.slice_paths.size()) != source.volume.geometry.size_xyz[2] ||
      source.slice_uids.size() != source.slice_paths.size() ||
      (!source.slice_frames.empty() && source.slice_frames.size() != source.slice_paths.size())) {
    return absl::InvalidArgumentError("the series does not name a file for each slice");
  }
  return absl::OkStatus();
}

absl::Status Write(const AssembledSeries& source, const SegContent& content,
                   const std::string& path) {
  CSL_RETURN_IF_ERROR(CheckSource(source));
  CSL_ASSIGN_OR_RETURN(const DicomFile first, DicomFile::Open(source.slice_paths.front()));
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<DcmDataset> header, first.ParseHeader());
  DcmFileFormat file;
  SegBuilder builder(source, content, *header);
  CSL_RETURN_IF_ERROR(builder.Build(*file.getDataset()));
  CSL_ASSIGN_OR_RETURN(const std::string bytes, Encode(file));
  return WriteFileAtomic(path, bytes, kPrivateFile);
}

// Label value to segment, 0-based; -1 where no label has the value.
absl::StatusOr<std::array<int, 256>> SegmentOfValue(const std::vector<wire::PlanLabel>& labels,
                                                    const LabelVolume& mask) {
  std::array<int, 256> segment;
  segment.fill(-1);
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i].value < 1 || labels[i].value > 255) {
      return absl::InvalidArgumentError("a label value outside 1..255");
    }
    segment[static_cast<size_t>(labels[i].value)] = static_cast<int>(i);
  }
  for (const uint8_t voxel : mask.voxels) {
    if (voxel != 0 && segment[voxel] < 0) {
      return absl::InvalidArgumentError("a mask value without a label");
    }
  }
  return segment;
}

}  // namespace

absl::Status WriteSegmentation(const AssembledSeries& source, const LabelVolume& mask,
                               const SegDescription& description, const std::string& path) {
  if (!SameGrid(source.volume.geometry, mask.geometry) ||
      static_cast<int64_t>(mask.voxels.size()) != mask.geometry.voxels()) {
    return absl::InvalidArgumentError("the mask is not on the grid of the series");
  }
  if (description.labels.empty()) return absl::InvalidArgumentError("no labels");
  std::vector<wire::PlanLabel> labels = description.labels;
  std::sort(labels.begin(), labels.end(),
            [](const auto& a, const auto& b) { return a.value < b.value; });
  CSL_ASSIGN_OR_RETURN(const auto segment_of, SegmentOfValue(labels, mask));
  SegContent content;
  for (const wire::PlanLabel& label : labels) {
    // The plan's code is an identifier of the SegDB table.
    const bool coded = !label.code.empty();
    content.segments.push_back({label.name,
                                coded ? label.code : absl::StrCat("LABEL-", label.value),
                                coded ? "99SEGDB" : "99CONSILIUM"});
  }
  content.inside = [&](size_t segment, size_t voxel) {
    return segment_of[mask.voxels[voxel]] == static_cast<int>(segment);
  };
  content.model_version = description.model_version;
  content.model_digest = description.model_digest;
  content.uid_seed = description.uid_seed;
  return Write(source, content, path);
}

absl::Status WriteReferenceLabels(const AssembledSeries& source,
                                  const std::vector<LabelSegment>& segments,
                                  const std::string& uid_seed, const std::string& path) {
  if (segments.empty()) return absl::InvalidArgumentError("no labels");
  SegContent content;
  for (const LabelSegment& segment : segments) {
    if (static_cast<int64_t>(segment.mask.size()) != source.volume.geometry.voxels()) {
      return absl::InvalidArgumentError("the mask is not on the grid of the series");
    }
    const bool coded = !segment.code.empty() && !segment.code_scheme.empty();
    content.segments.push_back(
        {segment.name, coded ? segment.code : absl::StrCat("LABEL-", content.segments.size() + 1),
         coded ? segment.code_scheme : "99CONSILIUM"});
  }
  content.inside = [&](size_t segment, size_t voxel) { return segments[segment].mask[voxel]; };
  content.may_overlap = true;
  content.uid_seed = uid_seed;
  return Write(source, content, path);
}

}  // namespace consilium::imaging
