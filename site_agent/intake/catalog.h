// The cases in a site's store: what may be known of each without its pixels.
//
// HOME/store/<case id>/case.json      CaseRecord
//                     /image/*.dcm    the series, de-identified
//                     /label/seg.dcm  its segmentation, where there is one
// There is no index file that could disagree with the folders: the catalogue is read from them.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_CATALOG_H_
#define CONSILIUM_SITE_AGENT_INTAKE_CATALOG_H_

#include <array>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "site_agent/imaging/pet_facts.h"
#include "site_agent/imaging/series_report.h"
#include "site_agent/imaging/volume.h"

namespace consilium::agent {

// Privacy: read from de-identified files only; safe to show to the site's own people.
struct CaseRecord {
  std::string case_id;   // 12 hex digits, keyed pseudonym of the series
  std::string patient;   // keyed pseudonym of the patient; equal for a patient's cases
  // UIDs of the store, keyed as all of them, so that equal ones stay equal; empty: not known.
  std::string study;
  std::string series;
  std::string frame_of_reference;
  imaging::PetFacts pet;  // modality PT
  std::string modality;
  std::map<std::string, std::vector<std::string>> attributes;  // by DICOM keyword, see DicomHeader
  imaging::Geometry geometry;
  int64_t image_files = 0;
  std::vector<std::string> segment_labels;  // empty: no segmentation
  // Image-level labels: whether the image shows it; what is not there is not known.
  std::map<std::string, bool> image_labels;
  // Millilitres by segment label: as its source describes it, and on the image's grid. Records of
  // before have none.
  std::map<std::string, std::array<double, 2>> segment_ml;
  // How the series was assembled; images_in is 0 in records of before.
  imaging::SeriesReport assembly;
  std::string table_edition;
  bool labelled() const { return !segment_labels.empty(); }
};

std::string CaseToJson(const CaseRecord& record);
// INVALID_ARGUMENT: not the JSON of a case.
absl::StatusOr<CaseRecord> CaseFromJson(absl::string_view text);

struct Catalog {
  std::vector<CaseRecord> cases;      // by case id
  std::vector<std::string> damaged;   // case ids whose record cannot be read
};

// An absent store is an empty catalogue.
absl::StatusOr<Catalog> LoadCatalog(const std::string& home);

std::string StoreFolder(const std::string& home);
std::string CaseFolder(const std::string& home, absl::string_view case_id);
// The image's files, sorted. NOT_FOUND: no such case.
absl::StatusOr<std::vector<std::string>> CaseImagePaths(const std::string& home,
                                                        absl::string_view case_id);
std::string CaseLabelPath(const std::string& home, absl::string_view case_id);

// For `consilium-agent catalog`: rows for FormatTable, and a JSON array.
std::vector<std::vector<std::string>> CatalogTable(const Catalog& catalog);
std::string CatalogToJson(const Catalog& catalog);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_CATALOG_H_
