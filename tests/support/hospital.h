// Whole hospital archives of phantom patients.
//
// Layout under OUT/SITE, the same as for archives made from real volumes:
//   archive/<PatientID>_<family name>/<study date>/{MR,LOC,SEG}/*.dcm, and some {SC,SR}/*.dcm,
//   *.txt phi.json                       every planted identifier, by case truth/<PatientID>.nii.gz
//   the reference mask, whether the archive has a SEG or not
// Only the archive is what a hospital would have; the rest is for checking.
#ifndef CONSILIUM_TESTS_SUPPORT_HOSPITAL_H_
#define CONSILIUM_TESTS_SUPPORT_HOSPITAL_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tests/support/dicom_writer.h"
#include "tests/support/phantom.h"

namespace consilium::phantom {

enum class SlicePlane { kAxial, kCoronal, kSagittal };

// How one scanner at one hospital acquires.
struct Protocol {
  SlicePlane plane = SlicePlane::kAxial;
  double pixel_mm = 2;
  double slice_mm = 2;
  Appearance appearance;
  DicomStyle dicom;
};

struct HospitalSpec {
  std::string name;  // site-a; also the folder
  std::string institution;
  char id_letter = 'A';             // starts its patient identifiers
  std::vector<Protocol> protocols;  // used in turn
  int64_t cases = 0;
  double labelled_fraction = 0;
};

// site-a (axial, plain), site-b (coronal, anisotropic, implicit VR, strong bias), site-c (sagittal,
// RLE, no labels) and `validation` (the three styles mixed, all labelled), with default sizes.
std::vector<HospitalSpec> DefaultHospitals();

// The phantom's box on the slices of `protocol`, centred at `centre_lps_mm`.
imaging::Geometry ProtocolGrid(const Protocol& protocol, const Vec3& centre_lps_mm);

// How many of the first cases have a SEG.
int64_t LabelledCases(const HospitalSpec& spec);

// Writes OUT/NAME. Same seed and spec: same bytes. `progress` is called after each case with how
// many are done; it may be empty.
absl::Status WriteHospital(const HospitalSpec& spec, uint64_t seed, const std::string& out,
                           const std::function<void(int64_t)>& progress);

}  // namespace consilium::phantom

#endif  // CONSILIUM_TESTS_SUPPORT_HOSPITAL_H_
