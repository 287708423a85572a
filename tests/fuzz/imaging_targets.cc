// Readers of DICOM and NIfTI labels. They take files, so each run has one in memory.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "proto/base/check.h"
#include "site_agent/imaging/coded_findings.h"
#include "site_agent/imaging/dicom_header.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/imaging/label_reader.h"
#include "site_agent/imaging/nifti_label.h"
#include "site_agent/imaging/pet_facts.h"
#include "site_agent/imaging/structure_set.h"
#include "tests/fuzz/target.h"

namespace consilium::fuzz {
namespace {

// Where the seeds' labels lie.
const imaging::Geometry kGrid = {{4, 3, 2}, {1, 1, 2}, {0, 0, 0}, {1, 0, 0, 0, 1, 0, 0, 0, 1}};

class MemoryFile {
 public:
  explicit MemoryFile(absl::string_view bytes) : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    CSL_CHECK(fd_ >= 0);
    CSL_CHECK(::write(fd_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }
  MemoryFile(const MemoryFile&) = delete;
  ~MemoryFile() { ::close(fd_); }
  std::string path() const { return absl::StrCat("/proc/self/fd/", fd_); }

 private:
  const int fd_;
};

// What every reader promises of what it accepts.
void CheckSegments(const std::vector<imaging::LabelSegment>& segments) {
  CSL_CHECK(!segments.empty() && segments.size() <= imaging::kSegmentsMax);
  for (const imaging::LabelSegment& segment : segments) {
    CSL_CHECK(static_cast<int64_t>(segment.mask.size()) == kGrid.voxels());
    const auto voxels = std::count(segment.mask.begin(), segment.mask.end(), true);
    const double ml = static_cast<double>(voxels) * imaging::VoxelMl(kGrid);
    CSL_CHECK(std::abs(segment.grid_ml - ml) < 1e-9);
    CSL_CHECK(segment.source_ml >= 0);
  }
}

void RunSegmentation(absl::string_view bytes) {
  const MemoryFile file(bytes);
  const auto segments = imaging::ReadSegments(file.path(), kGrid);
  if (segments.ok()) CheckSegments(*segments);
  const auto labels =
      imaging::ReadSegmentation(file.path(), kGrid, {{.value = 9, .name = "Liver", .code = ""}});
  if (!labels.ok()) return;
  for (const uint8_t voxel : labels->voxels) CSL_CHECK(voxel == 0 || voxel == 9);
}

void RunStructureSet(absl::string_view bytes) {
  const MemoryFile file(bytes);
  const auto set = imaging::ReadStructureSet(file.path(), kGrid);
  if (set.ok()) CheckSegments(set->segments);
}

void RunNifti(absl::string_view bytes) {
  const MemoryFile file(bytes);
  const auto segments = imaging::ReadNiftiLabels(file.path(), kGrid, {{1, "Liver"}});
  if (segments.ok()) CheckSegments(*segments);
}

void RunSeries(absl::string_view bytes) {
  const MemoryFile file(bytes);
  (void)imaging::ReadDicomHeader(file.path());
  if (const auto said = imaging::ReadCodedFindings(file.path()); said.ok()) {
    CSL_CHECK(said->not_plain >= 0 && !said->study_uid.empty());
  }
  if (const auto pet = imaging::ReadPetFacts({file.path()}); pet.ok()) {
    CSL_CHECK(std::isfinite(pet->suv_factor) && pet->suv_factor >= 0);
    CSL_CHECK((pet->suv_factor > 0) == pet->suv_refusal.empty());
  }
  const auto volumes = imaging::SortSeries({file.path()});
  if (!volumes.ok()) return;
  for (const imaging::SortedVolume& volume : *volumes) {
    CSL_CHECK(volume.report.images_used <= volume.report.images_in);
    CSL_CHECK(std::abs(volume.report.direction_determinant - 1) < 1e-6);
    if (volume.geometry.voxels() > (1 << 24)) continue;
    (void)imaging::ReadVolume(volume);
  }
}

// Explicit VR little endian, by hand: what a mutation changes is then a known field.
std::string Element(uint16_t group, uint16_t element, const char* vr, std::string value) {
  if (value.size() % 2 == 1) value += std::strcmp(vr, "UI") == 0 ? '\0' : ' ';
  std::string out;
  const auto put16 = [&](size_t number) {
    out += static_cast<char>(number & 0xFF);
    out += static_cast<char>(number >> 8 & 0xFF);
  };
  put16(group);
  put16(element);
  out += vr;
  if (std::strcmp(vr, "SQ") == 0 || std::strcmp(vr, "OB") == 0 || std::strcmp(vr, "OW") == 0) {
    put16(0);
    put16(value.size());
    put16(value.size() >> 16);
  } else {
    put16(value.size());
  }
  return out + value;
}

std::string Short(uint16_t group, uint16_t element, uint16_t value) {
  return Element(group, element, "US",
                 {static_cast<char>(value & 0xFF), static_cast<char>(value >> 8)});
}

std::string Items(uint16_t group, uint16_t element, const std::vector<std::string>& items) {
  std::string value;
  for (const std::string& item : items) {
    const auto size = static_cast<uint32_t>(item.size());
    value += std::string("\xFE\xFF\x00\xE0", 4);
    for (int shift = 0; shift < 32; shift += 8) value += static_cast<char>(size >> shift & 0xFF);
    value += item;
  }
  return Element(group, element, "SQ", value);
}

std::string File(const std::string& sop_class, const std::string& dataset) {
  const std::string syntax = Element(2, 0x10, "UI", "1.2.840.10008.1.2.1");
  return std::string(128, '\0') + "DICM" +
         Element(2, 0, "UL", {static_cast<char>(syntax.size()), 0, 0, 0}) + syntax +
         Element(8, 0x16, "UI", sop_class) + Element(8, 0x18, "UI", "2.25.1") + dataset;
}

std::string Place(const char* position) {
  return Items(0x20, 0x9113, {Element(0x20, 0x32, "DS", position)});
}

std::string SegDataset(const char* type, uint16_t bits, const std::string& pixels) {
  const std::string of_segment = Items(0x62, 0xA, {Short(0x62, 0xB, 1)});
  return Element(0x20, 0xE, "UI", "2.25.2") + Element(0x28, 0x8, "IS", "2") + Short(0x28, 0x10, 3) +
         Short(0x28, 0x11, 4) + Short(0x28, 0x100, bits) + Element(0x62, 1, "CS", type) +
         Items(0x62, 2, {Short(0x62, 4, 1) + Element(0x62, 5, "LO", "Liver")}) +
         Items(0x5200, 0x9229,
               {Items(0x20, 0x9116, {Element(0x20, 0x37, "DS", "1\\0\\0\\0\\1\\0")}) +
                Items(0x28, 0x9110, {Element(0x28, 0x30, "DS", "1\\1")})}) +
         Items(0x5200, 0x9230, {Place("0\\0\\0") + of_segment, Place("0\\0\\2") + of_segment}) +
         Element(0x7FE0, 0x10, "OB", pixels);
}

std::vector<std::string> SegmentationSeeds() {
  return {File(imaging::kSegmentationStorageUid, SegDataset("BINARY", 1, "\x5A\x3C\x0F\x01")),
          File(imaging::kSegmentationStorageUid,
               SegDataset("FRACTIONAL", 8, std::string(12, '\xC0') + std::string(12, '\x10'))),
          File(imaging::kLabelMapStorageUid,
               SegDataset("LABELMAP", 8, std::string(12, '\1') + std::string(12, '\0'))),
          File(imaging::kLabelMapStorageUid, SegDataset("LABELMAP", 16, std::string(48, '\1')))};
}

std::string Contour(const char* points) {
  return Element(0x3006, 0x42, "CS", "CLOSED_PLANAR") + Element(0x3006, 0x46, "IS", "4") +
         Element(0x3006, 0x50, "DS", points);
}

std::vector<std::string> StructureSetSeeds() {
  const auto file = [](const std::vector<std::string>& contours) {
    return File(
        imaging::kStructureSetStorageUid,
        Element(0x20, 0xE, "UI", "2.25.2") +
            Items(0x3006, 0x20,
                  {Element(0x3006, 0x22, "IS", "1") + Element(0x3006, 0x24, "UI", "2.25.3") +
                   Element(0x3006, 0x26, "LO", "Liver")}) +
            Items(0x3006, 0x39,
                  {Items(0x3006, 0x40, contours) + Element(0x3006, 0x84, "IS", "1")}));
  };
  const std::string outer = Contour("-0.5\\-0.5\\2\\3.5\\-0.5\\2\\3.5\\2.5\\2\\-0.5\\2.5\\2");
  return {file({outer}), file({outer, Contour("1\\1\\2\\2\\1\\2\\2\\2\\2\\1\\2\\2")}),
          file({Contour("0\\1\\0\\3\\1\\0\\3\\1\\2\\0\\1\\2")}),
          file({Contour("1\\0\\2\\2\\5\\2\\2\\2\\2\\1\\3\\2"),
                Contour("1\\1\\2\\2\\5\\2\\2\\2\\2\\1\\3\\2")})};
}

std::vector<std::string> NiftiSeeds() {
  std::string one(352 + 24, '\0');
  const auto put = [](std::string& file, size_t at, auto value) {
    std::memcpy(&file[at], &value, sizeof(value));
  };
  put(one, 0, int32_t{348});
  const int16_t dim[] = {3, 4, 3, 2, 1, 1, 1, 1};
  for (size_t i = 0; i < 8; ++i) put(one, 40 + 2 * i, dim[i]);
  put(one, 70, int16_t{2});
  put(one, 108, 352.0f);
  put(one, 254, int16_t{1});
  const float srow[] = {-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 2, 0};
  for (size_t i = 0; i < 12; ++i) put(one, 280 + 4 * i, srow[i]);
  std::memcpy(&one[344], "n+1", 4);
  one[352 + 5] = 1;
  one[352 + 6] = 2;
  std::string quaternion = one;
  put(quaternion, 254, int16_t{0});
  put(quaternion, 252, int16_t{1});
  const float pixdim[] = {1, 1, 1, 2};
  for (size_t i = 0; i < 4; ++i) put(quaternion, 76 + 4 * i, pixdim[i]);
  put(quaternion, 264, 1.0f);
  std::string two(544 + 24, '\0');
  put(two, 0, int32_t{540});
  std::memcpy(&two[4], "n+2", 4);
  put(two, 12, int16_t{2});
  for (size_t i = 0; i < 8; ++i) put(two, 16 + 8 * i, int64_t{dim[i]});
  put(two, 168, int64_t{544});
  put(two, 348, int32_t{1});
  for (size_t i = 0; i < 12; ++i) put(two, 400 + 8 * i, double{srow[i]});
  two[544 + 7] = 1;
  return {one, quaternion, two, "\x1F\x8B\x08"};
}

std::vector<std::string> SeriesSeeds() {
  const std::string image =
      Element(8, 0x60, "CS", "MR") + Element(0x20, 0xE, "UI", "2.25.2") + Short(0x28, 2, 1) +
      Element(0x28, 4, "CS", "MONOCHROME2") + Element(0x28, 8, "IS", "2") + Short(0x28, 0x10, 3) +
      Short(0x28, 0x11, 4) + Short(0x28, 0x100, 16) + Short(0x28, 0x101, 12) +
      Short(0x28, 0x102, 11) + Short(0x28, 0x103, 1) +
      Items(0x5200, 0x9229,
            {Items(0x20, 0x9116, {Element(0x20, 0x37, "DS", "1\\0\\0\\0\\1\\0")}) +
             Items(0x28, 0x9110, {Element(0x28, 0x30, "DS", "1\\1")})}) +
      Items(0x5200, 0x9230, {Place("0\\0\\0"), Place("0\\0\\2")}) +
      Element(0x7FE0, 0x10, "OW", std::string(48, '\7'));
  return {File("1.2.840.10008.5.1.4.1.1.4.1", image)};
}

}  // namespace

std::vector<Target> ImagingTargets() {
  return {{"segmentation", RunSegmentation, SegmentationSeeds},
          {"structure_set", RunStructureSet, StructureSetSeeds},
          {"nifti", RunNifti, NiftiSeeds},
          {"series", RunSeries, SeriesSeeds}};
}

}  // namespace consilium::fuzz
