#include "tests/support/hospital.h"

#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "tests/support/nifti_writer.h"

namespace consilium::phantom {
namespace {

// Every how many cases an archive holds one of these.
constexpr int64_t kLocalizerEvery = 5;
constexpr int64_t kCaptureEvery = 4;
constexpr int64_t kReportEvery = 6;
constexpr int64_t kNoteEvery = 3;

// Patient axis of the columns, rows and slices, and the sign along it.
struct PlaneAxes {
  std::array<int, 3> axis;
  std::array<int, 3> sign;
};

PlaneAxes AxesOf(SlicePlane plane) {
  switch (plane) {
    case SlicePlane::kAxial:
      return {{0, 1, 2}, {1, 1, 1}};
    case SlicePlane::kCoronal:
      return {{0, 2, 1}, {1, -1, 1}};
    case SlicePlane::kSagittal:
      return {{1, 2, 0}, {1, -1, -1}};
  }
  CSL_CHECK(false);
}

absl::Status WriteLocalizer(const Anatomy& anatomy, const Vec3& centre, const Identity& identity,
                            const Protocol& protocol, const std::string& folder, Random& random) {
  Protocol coarse = protocol;
  coarse.plane = SlicePlane::kAxial;
  coarse.slice_mm = 25;
  const Phantom scout =
      Render(anatomy, centre, ProtocolGrid(coarse, centre), coarse.appearance, random);
  return WriteMrSeries(scout.image, identity, protocol.dicom,
                       {"localizer", {"ORIGINAL", "PRIMARY", "LOCALIZER"}, 1}, folder, random)
      .status();
}

absl::Status WriteExtras(int64_t index, const Identity& identity, const DicomStyle& style,
                         const std::string& folder, Random& random) {
  if (index % kCaptureEvery == 1) {
    CSL_RETURN_IF_ERROR(
        WriteSecondaryCapture(identity, style, JoinPath(folder, "SC/SC0001.dcm"), random));
  }
  if (index % kReportEvery == 2) {
    CSL_RETURN_IF_ERROR(WriteReport(identity, style, JoinPath(folder, "SR/SR0001.dcm"), random));
  }
  if (index % kNoteEvery == 2) {
    const std::string note = absl::StrCat("Patient ", identity.patient_name, ", ", identity.address,
                                          ", asked for a copy of the images.\n");
    CSL_RETURN_IF_ERROR(
        WriteFileAtomic(JoinPath(folder, absl::StrCat(identity.family_name(), "_note.txt")), note));
  }
  return absl::OkStatus();
}

nlohmann::ordered_json PhiEntry(const Identity& identity, bool labelled) {
  nlohmann::ordered_json entry;
  for (const auto& [keyword, value] : identity.Identifiers()) entry[keyword] = value;
  entry["labelled"] = labelled;
  return entry;
}

absl::Status WriteCase(const HospitalSpec& spec, int64_t index, const Identity& identity,
                       Random& random, const std::string& root) {
  const Protocol& protocol = spec.protocols[index % spec.protocols.size()];
  const std::string folder = absl::StrCat(root, "/archive/", identity.patient_id, "_",
                                          identity.family_name(), "/", identity.study_date);
  // Nobody lies exactly at the scanner's isocentre.
  const Vec3 centre = {std::round(random.Uniform(-15, 15)), std::round(random.Uniform(-20, 20)),
                       std::round(random.Uniform(-60, 60))};
  const Anatomy anatomy = MakeAnatomy(random);
  const Phantom phantom =
      Render(anatomy, centre, ProtocolGrid(protocol, centre), protocol.appearance, random);
  absl::StatusOr<WrittenSeries> series =
      WriteMrSeries(phantom.image, identity, protocol.dicom, {}, JoinPath(folder, "MR"), random);
  if (!series.ok()) return series.status();
  if (index % kLocalizerEvery == 0) {
    CSL_RETURN_IF_ERROR(
        WriteLocalizer(anatomy, centre, identity, protocol, JoinPath(folder, "LOC"), random));
  }
  if (index < LabelledCases(spec)) {
    CSL_RETURN_IF_ERROR(WriteSegmentation(phantom.truth, *series, PhantomSegments(), identity,
                                          protocol.dicom, JoinPath(folder, "SEG/SEG0001.dcm"),
                                          random));
  }
  CSL_RETURN_IF_ERROR(WriteExtras(index, identity, protocol.dicom, folder, random));
  return WriteNifti(phantom.truth, absl::StrCat(root, "/truth/", identity.patient_id, ".nii.gz"));
}

}  // namespace

std::vector<HospitalSpec> DefaultHospitals() {
  const Protocol axial = {SlicePlane::kAxial,
                          2,
                          2,
                          {.gain = 1200, .bias = 0.15, .noise = 0.04, .contrast_gamma = 1},
                          {TransferSyntax::kExplicitLittleEndian, TextEncoding::kUtf8}};
  const Protocol coronal = {SlicePlane::kCoronal,
                            1.5,
                            3,
                            {.gain = 350, .bias = 0.35, .noise = 0.05, .contrast_gamma = 0.9},
                            {TransferSyntax::kImplicitLittleEndian, TextEncoding::kLatin1}};
  const Protocol sagittal = {SlicePlane::kSagittal,
                             2,
                             2,
                             {.gain = 4000, .bias = 0.2, .noise = 0.05, .contrast_gamma = 1.1},
                             {TransferSyntax::kRleLossless, TextEncoding::kUtf8}};
  return {{"site-a", "St Brigid Hospital", 'A', {axial}, 16, 0.6},
          {"site-b", "Klinikum Nordtal", 'B', {coronal}, 12, 0.3},
          {"site-c", "Hospital da Conceição", 'C', {sagittal}, 10, 0},
          {"validation", "Reference Reading Centre", 'V', {axial, coronal, sagittal}, 8, 1}};
}

imaging::Geometry ProtocolGrid(const Protocol& protocol, const Vec3& centre_lps_mm) {
  const PlaneAxes plane = AxesOf(protocol.plane);
  imaging::Geometry grid;
  grid.direction = {};
  grid.origin_lps_mm = centre_lps_mm;
  for (int a = 0; a < 3; ++a) {
    const int axis = plane.axis[a];
    const double spacing = a == 2 ? protocol.slice_mm : protocol.pixel_mm;
    const auto size = static_cast<int64_t>(std::ceil(kExtentLpsMm[axis] / spacing - 1e-9));
    grid.spacing_xyz_mm[a] = spacing;
    grid.size_xyz[a] = size;
    grid.direction[3 * axis + a] = plane.sign[a];
    grid.origin_lps_mm[axis] -= plane.sign[a] * spacing * static_cast<double>(size - 1) / 2;
  }
  return grid;
}

int64_t LabelledCases(const HospitalSpec& spec) {
  return std::llround(static_cast<double>(spec.cases) * spec.labelled_fraction);
}

absl::Status WriteHospital(const HospitalSpec& spec, uint64_t seed, const std::string& out,
                           const std::function<void(int64_t)>& progress) {
  CSL_CHECK(!spec.protocols.empty());
  const std::string root = JoinPath(out, spec.name);
  CSL_RETURN_IF_ERROR(MakeDirs(JoinPath(root, "archive")));
  CSL_RETURN_IF_ERROR(MakeDirs(JoinPath(root, "truth")));
  nlohmann::ordered_json phi = nlohmann::ordered_json::object();
  std::set<std::string> patient_ids;
  for (int64_t index = 0; index < spec.cases; ++index) {
    // A stream of its own per case: more cases leave the first ones as they were.
    Random random(seed, absl::StrCat(spec.name, "/", index));
    Identity identity = MakeIdentity(spec.institution, spec.id_letter, index, random);
    while (!patient_ids.insert(identity.patient_id).second) {
      identity = MakeIdentity(spec.institution, spec.id_letter, index, random);
    }
    CSL_RETURN_IF_ERROR(WriteCase(spec, index, identity, random, root));
    phi[absl::StrFormat("phantom-%s-%03d", spec.name, index + 1)] =
        PhiEntry(identity, index < LabelledCases(spec));
    if (progress) progress(index + 1);
  }
  return WriteFileAtomic(JoinPath(root, "phi.json"), phi.dump(1) + "\n");
}

}  // namespace consilium::phantom
