// Series that the tests write themselves, with known geometry and voxels.
#ifndef CONSILIUM_SITE_AGENT_IMAGING_TEST_SERIES_H_
#define CONSILIUM_SITE_AGENT_IMAGING_TEST_SERIES_H_

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

class DcmDataset;

namespace consilium::imaging {

struct TestSeries {
  int64_t rows = 5;
  int64_t columns = 7;
  int64_t slices = 6;
  std::array<double, 6> orientation = {1, 0, 0, 0, 1, 0};
  std::array<double, 3> first_position = {-10, 20, 30};
  std::array<double, 3> slice_step = {0, 0, 2};
  double row_spacing_mm = 1.5;  // between rows
  double column_spacing_mm = 0.75;
  std::string transfer_syntax_uid = "1.2.840.10008.1.2.1";  // explicit LE, RLE or JPEG-LS
  // Called on each slice's data set before it is written.
  std::function<void(DcmDataset&, int64_t slice)> change = {};
};

// What voxel (column, row, slice) of a written series holds.
inline int16_t TestVoxel(int64_t column, int64_t row, int64_t slice) {
  return static_cast<int16_t>(column + 10 * row + 100 * slice - 50);
}

// Writes the slices to `folder`, which exists; paths in slice order.
std::vector<std::string> WriteTestSeries(const TestSeries& series, const std::string& folder);

// Makes a slice one of a PET series in BQML: 70 kg, 350 MBq of F-18 an hour before the scan.
void PutPet(DcmDataset& dataset, int64_t slice);

// Sets a text attribute by its DICOM keyword, for tests that have no DCMTK of their own.
void PutText(DcmDataset& dataset, const std::string& keyword, const std::string& value);

// A code item of a structured report; codes are "SCHEME:VALUE".
struct TestFinding {
  std::string concept_code;
  std::string value;
  std::string container = "";  // the code of a container around it; empty: below the root
  std::string modifier = "";   // the code of what modifies it; empty: nothing
};
// Writes a complete and verified report of WriteTestSeries' study.
void WriteTestReport(const std::vector<TestFinding>& findings, const std::string& path,
                     const std::function<void(DcmDataset&)>& change = {});

// All files below `folder`, in the order of their names.
std::vector<std::string> FilesBelow(const std::string& folder);

}  // namespace consilium::imaging

#endif  // CONSILIUM_SITE_AGENT_IMAGING_TEST_SERIES_H_
