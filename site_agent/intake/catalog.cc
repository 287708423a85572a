#include "site_agent/intake/catalog.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"
#include "proto/base/ids.h"
#include "proto/base/status.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kFormat = 1;
constexpr uint64_t kRecordBytesMax = 1 << 20;

Json GeometryToJson(const imaging::Geometry& g) {
  return {{"size_xyz", g.size_xyz},
          {"spacing_xyz_mm", g.spacing_xyz_mm},
          {"origin_lps_mm", g.origin_lps_mm},
          {"direction", g.direction}};
}

bool IsSound(const imaging::Geometry& g) {
  for (size_t axis = 0; axis < 3; ++axis) {
    if (g.size_xyz[axis] < 1 || !(g.spacing_xyz_mm[axis] > 0)) return false;
    if (!std::isfinite(g.spacing_xyz_mm[axis])) return false;
  }
  return true;
}

Json ToJson(const imaging::SeriesReport& report) {
  Json aside = Json::array();
  for (const imaging::SetAside& entry : report.set_aside) {
    aside.push_back({{"images", entry.images}, {"reason", entry.reason}});
  }
  return {{"part", report.part},
          {"images_in", report.images_in},
          {"images_used", report.images_used},
          {"set_aside", aside},
          {"split_by", report.split_by},
          {"step_mm", report.step_mm},
          {"step_spread_mm", report.step_spread_mm},
          {"direction_determinant", report.direction_determinant},
          {"matrix", report.matrix},
          {"bits_stored", report.bits_stored},
          {"photometric", report.photometric},
          {"slope_range", report.slope_range},
          {"intercept_range", report.intercept_range},
          {"transfer_syntaxes", report.transfer_syntaxes}};
}

imaging::SeriesReport ReportFrom(const Json& json) {
  imaging::SeriesReport report;
  json.at("part").get_to(report.part);
  json.at("images_in").get_to(report.images_in);
  json.at("images_used").get_to(report.images_used);
  for (const Json& entry : json.at("set_aside")) {
    report.set_aside.push_back(
        {entry.at("images").get<int64_t>(), entry.at("reason").get<std::string>()});
  }
  json.at("split_by").get_to(report.split_by);
  json.at("step_mm").get_to(report.step_mm);
  json.at("step_spread_mm").get_to(report.step_spread_mm);
  json.at("direction_determinant").get_to(report.direction_determinant);
  json.at("matrix").get_to(report.matrix);
  json.at("bits_stored").get_to(report.bits_stored);
  json.at("photometric").get_to(report.photometric);
  json.at("slope_range").get_to(report.slope_range);
  json.at("intercept_range").get_to(report.intercept_range);
  json.at("transfer_syntaxes").get_to(report.transfer_syntaxes);
  return report;
}

Json ToJson(const imaging::PetFacts& pet) {
  return {{"units", pet.units}, {"suv_factor", pet.suv_factor}, {"suv_refusal", pet.suv_refusal}};
}

imaging::PetFacts PetFrom(const Json& json) {
  imaging::PetFacts pet;
  json.at("units").get_to(pet.units);
  json.at("suv_factor").get_to(pet.suv_factor);
  json.at("suv_refusal").get_to(pet.suv_refusal);
  return pet;
}

Json ToJson(const CaseRecord& record) {
  Json json = {{"format", kFormat},
          {"case_id", record.case_id},
          {"patient", record.patient},
          {"modality", record.modality},
          {"attributes", record.attributes},
          {"geometry", GeometryToJson(record.geometry)},
          {"image_files", record.image_files},
          {"segment_labels", record.segment_labels},
          {"table_edition", record.table_edition}};
  // Only where there is something, so that records of before keep their text, which the cache of
  // prepared cases goes by.
  if (!record.segment_ml.empty()) json["segment_ml"] = record.segment_ml;
  if (!record.study.empty()) json["study"] = record.study;
  if (!record.series.empty()) json["series"] = record.series;
  if (!record.frame_of_reference.empty()) json["frame_of_reference"] = record.frame_of_reference;
  if (!record.image_labels.empty()) json["image_labels"] = record.image_labels;
  if (!(record.pet == imaging::PetFacts())) json["pet"] = ToJson(record.pet);
  if (record.assembly.images_in > 0) json["assembly"] = ToJson(record.assembly);
  return json;
}

// "Cyst, no Tumour"
std::string ImageLabelText(const CaseRecord& record) {
  std::vector<std::string> words;
  for (const auto& [name, present] : record.image_labels) {
    words.push_back(absl::StrCat(present ? "" : "no ", name));
  }
  return absl::StrJoin(words, ", ");
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string CaseToJson(const CaseRecord& record) { return Dump(ToJson(record)); }

absl::StatusOr<CaseRecord> CaseFromJson(absl::string_view text) {
  const absl::Status fault = absl::InvalidArgumentError("not the record of a case");
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return fault;
  CaseRecord record;
  // nlohmann reports a missing key or a wrong type by exception; there is no other interface that
  // reads nested arrays in one call.
  try {
    if (json.at("format").get<int>() != kFormat) return fault;
    json.at("case_id").get_to(record.case_id);
    json.at("patient").get_to(record.patient);
    json.at("modality").get_to(record.modality);
    json.at("attributes").get_to(record.attributes);
    const Json& geometry = json.at("geometry");
    geometry.at("size_xyz").get_to(record.geometry.size_xyz);
    geometry.at("spacing_xyz_mm").get_to(record.geometry.spacing_xyz_mm);
    geometry.at("origin_lps_mm").get_to(record.geometry.origin_lps_mm);
    geometry.at("direction").get_to(record.geometry.direction);
    json.at("image_files").get_to(record.image_files);
    json.at("segment_labels").get_to(record.segment_labels);
    json.at("table_edition").get_to(record.table_edition);
    if (json.contains("segment_ml")) json["segment_ml"].get_to(record.segment_ml);
    record.study = json.value("study", "");
    record.series = json.value("series", "");
    record.frame_of_reference = json.value("frame_of_reference", "");
    if (json.contains("image_labels")) json["image_labels"].get_to(record.image_labels);
    if (json.contains("pet")) record.pet = PetFrom(json["pet"]);
    if (json.contains("assembly")) record.assembly = ReportFrom(json["assembly"]);
  } catch (const Json::exception&) {
    return fault;
  }
  if (!CheckName("case", record.case_id).ok() || !IsSound(record.geometry)) return fault;
  return record;
}

absl::StatusOr<Catalog> LoadCatalog(const std::string& home) {
  Catalog catalog;
  std::error_code error;
  fs::directory_iterator entries(StoreFolder(home), error);
  if (error == std::errc::no_such_file_or_directory) return catalog;
  if (error) return absl::UnavailableError("the store's folder cannot be read");
  for (; entries != fs::directory_iterator(); entries.increment(error)) {
    const std::string case_id = entries->path().filename().string();
    // Dot names are what an ingest is working on.
    if (case_id.front() == '.' || !CheckName("case", case_id).ok()) continue;
    const absl::StatusOr<std::string> text =
        ReadFile(JoinPath(entries->path().string(), "case.json"), kRecordBytesMax);
    absl::StatusOr<CaseRecord> record =
        text.ok() ? CaseFromJson(*text) : absl::StatusOr<CaseRecord>(text.status());
    if (record.ok() && record->case_id == case_id) {
      catalog.cases.push_back(*std::move(record));
    } else {
      catalog.damaged.push_back(case_id);
    }
  }
  if (error) return absl::UnavailableError("the store's folder cannot be read to its end");
  std::sort(catalog.cases.begin(), catalog.cases.end(),
            [](const CaseRecord& a, const CaseRecord& b) { return a.case_id < b.case_id; });
  std::sort(catalog.damaged.begin(), catalog.damaged.end());
  return catalog;
}

std::string StoreFolder(const std::string& home) { return JoinPath(home, "store"); }

std::string CaseFolder(const std::string& home, absl::string_view case_id) {
  return JoinPath(StoreFolder(home), case_id);
}

absl::StatusOr<std::vector<std::string>> CaseImagePaths(const std::string& home,
                                                        absl::string_view case_id) {
  std::vector<std::string> paths;
  std::error_code error;
  fs::directory_iterator entries(JoinPath(CaseFolder(home, case_id), "image"), error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    paths.push_back(entries->path().string());
  }
  if (error || paths.empty()) {
    return absl::NotFoundError(absl::StrCat("case ", case_id, " is not in the store"));
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string CaseLabelPath(const std::string& home, absl::string_view case_id) {
  return JoinPath(CaseFolder(home, case_id), "label/seg.dcm");
}

std::vector<std::vector<std::string>> CatalogTable(const Catalog& catalog) {
  std::vector<std::vector<std::string>> rows = {
      {"case", "patient", "modality", "size", "spacing mm", "labels", "image labels"}};
  for (const CaseRecord& record : catalog.cases) {
    const auto& g = record.geometry;
    rows.push_back({record.case_id, record.patient, record.modality,
                    absl::StrJoin(g.size_xyz, "x"),
                    absl::StrFormat("%.3gx%.3gx%.3g", g.spacing_xyz_mm[0], g.spacing_xyz_mm[1],
                                    g.spacing_xyz_mm[2]),
                    record.labelled() ? absl::StrJoin(record.segment_labels, ", ") : "none",
                    ImageLabelText(record)});
  }
  for (const std::string& case_id : catalog.damaged) {
    rows.push_back({case_id, "", "", "", "", "damaged", ""});
  }
  return rows;
}

std::string CatalogToJson(const Catalog& catalog) {
  Json cases = Json::array();
  for (const CaseRecord& record : catalog.cases) cases.push_back(ToJson(record));
  return Dump({{"cases", cases}, {"damaged", catalog.damaged}});
}

}  // namespace consilium::agent
