#include "site_agent/infer.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/imaging/channels.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/imaging/seg_writer.h"
#include "site_agent/intake/cohort.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/intake/sop_class.h"
#include "site_agent/intake/study_index.h"
#include "site_agent/round/segmenter.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kModelFileName = "model.safetensors";
constexpr const char* kSegFileName = "consilium.seg.dcm";
constexpr size_t kUidBytesMax = 64;

std::string ModelFile(const std::string& model) {
  std::error_code ignored;
  return fs::is_directory(model, ignored) ? JoinPath(model, kModelFileName) : model;
}

// A UID becomes a folder's name: anything but digits and dots could lead elsewhere.
bool IsUid(const std::string& uid) {
  if (uid.empty() || uid.size() > kUidBytesMax || uid.front() == '.' || uid.back() == '.') {
    return false;
  }
  return std::all_of(uid.begin(), uid.end(),
                     [](char c) { return c == '.' || (c >= '0' && c <= '9'); });
}

struct Candidate {
  const IndexedSeries* series = nullptr;
  std::string patient;
  std::optional<std::string> refused;  // why it is not taken
  // Its further input series and what is known of each channel's unit, the first included.
  std::vector<const IndexedSeries*> channels = {};
  std::vector<imaging::PetFacts> pets = {};
  bool is_channel = false;  // of another candidate
};

bool IsLocalizer(const imaging::DicomHeader& header) {
  const auto type = header.attributes.find("ImageType");
  return type != header.attributes.end() &&
         std::any_of(type->second.begin(), type->second.end(), [](const std::string& value) {
           return value == "LOCALIZER" || value == "SCOUT";
         });
}

// What intake would not take into a store, a model has not learned from.
std::optional<std::string> IntakeObjection(const IndexedSeries& series) {
  bool is_multi_frame = false;
  for (const imaging::DicomHeader& header : series.files) {
    const SopKind kind = SopKindOf(header.sop_class_uid);
    if (kind == SopKind::kNoImage) return RejectText(RejectReason::kNotAnImage);
    if (kind == SopKind::kMultiFrame) is_multi_frame = true;
    if (kind == SopKind::kOtherImage) return RejectText(RejectReason::kUnsupportedClass);
  }
  if (std::all_of(series.files.begin(), series.files.end(), IsLocalizer)) {
    return RejectText(RejectReason::kLocalizer);
  }
  if (!is_multi_frame &&
      static_cast<int64_t>(series.files.size()) < IngestOptions().slices_min) {
    return RejectText(RejectReason::kTooFewSlices);
  }
  return std::nullopt;
}

std::string NumberedId(size_t number) { return absl::StrFormat("%012d", number); }

std::vector<std::string> PathsOf(const IndexedSeries& series) {
  std::vector<std::string> paths;
  for (const imaging::DicomHeader& header : series.files) paths.push_back(header.path);
  return paths;
}

// What selection goes by, from the headers alone.
CaseRecord RecordOf(const Candidate& candidate, size_t number) {
  const imaging::DicomHeader& header = candidate.series->files.front();
  CaseRecord record;
  record.case_id = NumberedId(number);
  record.patient = candidate.patient;
  record.study = header.study_uid;
  record.frame_of_reference = header.frame_of_reference_uid;
  record.image_files = static_cast<int64_t>(candidate.series->files.size());
  record.modality = header.modality;
  record.attributes = header.attributes;
  if (record.modality == "PT") {
    const auto pet = imaging::ReadPetFacts(PathsOf(*candidate.series));
    record.pet = pet.ok() ? *pet : imaging::PetFacts{"", 0, "its headers cannot be read"};
  }
  return record;
}

// What the plan's rules say of the series that intake would take.
absl::Status Select(const wire::Plan& plan, std::vector<Candidate>& candidates) {
  Catalog catalog;
  std::map<std::string, Candidate*> by_id;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].refused) continue;
    CaseRecord record = RecordOf(candidates[i], i);
    by_id[record.case_id] = &candidates[i];
    catalog.cases.push_back(std::move(record));
  }
  CSL_ASSIGN_OR_RETURN(const Cohort cohort, SelectCohort(catalog, plan));
  for (const RejectedCase& item : cohort.rejected) by_id[item.case_id]->refused = item.reason;
  for (const CohortCase& item : cohort.cases) {
    Candidate& candidate = *by_id[item.record.case_id];
    candidate.pets.push_back(item.record.pet);
    for (const CaseRecord& channel : item.channels) {
      Candidate& further = *by_id[channel.case_id];
      further.is_channel = true;
      candidate.channels.push_back(further.series);
      candidate.pets.push_back(channel.pet);
    }
  }
  return absl::OkStatus();
}

// By series UID. Applies the same rules as the training's cohort.
absl::StatusOr<std::vector<Candidate>> Candidates(const StudyIndex& index,
                                                  const wire::Plan& plan) {
  std::vector<Candidate> candidates;
  for (size_t p = 0; p < index.patients.size(); ++p) {
    for (const IndexedSeries& series : index.patients[p].series) {
      candidates.push_back({&series, NumberedId(p), IntakeObjection(series)});
    }
  }
  std::stable_sort(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) {
    return a.series->series_uid < b.series->series_uid;
  });
  CSL_RETURN_IF_ERROR(Select(plan, candidates));
  std::set<std::string> seen;
  for (Candidate& candidate : candidates) {
    if (!candidate.refused && !seen.insert(candidate.series->series_uid).second) {
      candidate.refused = "another patient's series has the same UID";
    }
  }
  return candidates;
}

std::vector<StructureFound> Structures(const imaging::LabelVolume& mask,
                                       const std::vector<wire::PlanLabel>& labels) {
  std::vector<int64_t> counts(256, 0);
  for (const uint8_t value : mask.voxels) ++counts[value];
  const auto& spacing = mask.geometry.spacing_xyz_mm;
  const double voxel_ml = spacing[0] * spacing[1] * spacing[2] / 1000.0;
  std::vector<StructureFound> found;
  for (const wire::PlanLabel& label : labels) {
    const int64_t voxels = counts[static_cast<size_t>(label.value)];
    found.push_back({label.value, label.name, voxels, static_cast<double>(voxels) * voxel_ml});
  }
  return found;
}

// As a word: the file "1" is not meant by "12 mm".
bool Names(absl::string_view text, absl::string_view name) {
  const auto inside = [&](size_t at) {
    return at < text.size() && absl::ascii_isalnum(static_cast<unsigned char>(text[at]));
  };
  for (size_t at = text.find(name); at != text.npos; at = text.find(name, at + 1)) {
    if (!(at > 0 && inside(at - 1)) && !inside(at + name.size())) return true;
  }
  return false;
}

// Of the first series everything but its voxels; `volumes` gets those of every channel.
absl::StatusOr<imaging::AssembledSeries> ReadChannels(const Candidate& candidate,
                                                      const wire::Plan& plan,
                                                      std::vector<imaging::Volume>& volumes) {
  CSL_ASSIGN_OR_RETURN(imaging::AssembledSeries first,
                       imaging::AssembleSeries(PathsOf(*candidate.series)));
  volumes.push_back(std::move(first.volume));
  first.volume = {volumes[0].geometry, {}};
  for (const IndexedSeries* series : candidate.channels) {
    CSL_ASSIGN_OR_RETURN(imaging::AssembledSeries further,
                         imaging::AssembleSeries(PathsOf(*series)));
    volumes.push_back(std::move(further.volume));
  }
  for (size_t c = 0; c < volumes.size(); ++c) {
    CSL_RETURN_IF_ERROR(imaging::ConvertUnit(plan, c, candidate.pets[c], volumes[c]));
  }
  return first;
}

absl::StatusOr<std::vector<StructureFound>> SegmentSeries(const Candidate& candidate,
                                                          const std::string& output,
                                                          Segmenter& model) {
  const IndexedSeries& series = *candidate.series;
  std::vector<imaging::Volume> volumes;
  CSL_ASSIGN_OR_RETURN(const imaging::AssembledSeries source,
                       ReadChannels(candidate, model.plan(), volumes));
  CSL_ASSIGN_OR_RETURN(const imaging::LabelVolume mask, model.Segment(volumes));
  const std::string folder = JoinPath(output, series.series_uid);
  std::error_code error;
  fs::create_directories(folder, error);  // by the umask: whoever runs us may want to delete it
  if (error) return absl::PermissionDeniedError("the output folder cannot be written");
  imaging::SegDescription description;
  description.model_version = model.version();
  description.model_digest = model.sha256();
  description.labels = model.plan().labels;
  description.uid_seed = model.sha256();
  CSL_RETURN_IF_ERROR(imaging::WriteSegmentation(source, mask, description,
                                                 JoinPath(folder, kSegFileName)));
  return Structures(mask, model.plan().labels);
}

SeriesReport ReportOn(const Candidate& candidate, const std::string& output, Segmenter& model,
                      const Clock& clock) {
  SeriesReport report;
  report.series_uid = candidate.series->series_uid;
  if (!IsUid(report.series_uid)) {
    report.series_uid = "";
    report.reason = "the series UID is not a UID";
    return report;
  }
  if (candidate.refused) {
    report.status = SeriesStatus::kNotEligible;
    report.reason = *candidate.refused;
    return report;
  }
  if (candidate.is_channel) {
    report.status = SeriesStatus::kUsed;
    return report;
  }
  std::vector<std::string> paths = PathsOf(*candidate.series);
  for (const IndexedSeries* channel : candidate.channels) {
    report.channel_uids.push_back(IsUid(channel->series_uid) ? channel->series_uid : "");
    for (std::string& path : PathsOf(*channel)) paths.push_back(std::move(path));
  }
  const absl::Duration started = clock.Monotonic();
  auto structures = SegmentSeries(candidate, output, model);
  report.seconds = absl::ToDoubleSeconds(clock.Monotonic() - started);
  if (structures.ok()) {
    report.status = SeriesStatus::kSegmented;
    report.structures = *std::move(structures);
  } else {
    report.reason = ReasonWithoutFileNames(structures.status().message(), paths);
  }
  return report;
}

Json SeriesJson(const SeriesReport& series, Timings timings) {
  Json json;
  json["series_uid"] = series.series_uid;
  json["status"] = SeriesStatusName(series.status);
  if (!series.reason.empty()) json["reason"] = series.reason;
  if (!series.channel_uids.empty()) json["channels"] = series.channel_uids;
  if (series.status == SeriesStatus::kSegmented) {
    json["file"] = absl::StrCat(series.series_uid, "/", kSegFileName);
    json["structures"] = Json::array();
    for (const StructureFound& item : series.structures) {
      json["structures"].push_back({{"label", item.label},
                                    {"name", item.name},
                                    {"voxels", item.voxels},
                                    {"volume_ml", item.volume_ml}});
    }
    if (timings == Timings::kInclude) json["seconds"] = series.seconds;
  }
  return json;
}

}  // namespace

const char* SeriesStatusName(SeriesStatus status) {
  switch (status) {
    case SeriesStatus::kSegmented:
      return "segmented";
    case SeriesStatus::kNotEligible:
      return "not-eligible";
    case SeriesStatus::kUsed:
      return "used-as-channel";
    case SeriesStatus::kFailed:
      break;
  }
  return "failed";
}

std::string ReasonWithoutFileNames(absl::string_view message,
                                   const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    if (absl::ConsumePrefix(&message, absl::StrCat(BaseName(path), ": "))) break;
  }
  for (const std::string& path : paths) {
    if (Names(message, BaseName(path))) return "the series cannot be read or segmented";
  }
  return std::string(message);
}

int64_t InferReport::count(SeriesStatus status) const {
  return std::count_if(series.begin(), series.end(),
                       [status](const SeriesReport& item) { return item.status == status; });
}

std::string InferReportToJson(const InferReport& report, Timings timings) {
  Json json;
  json["model"] = {{"study", report.study},
                   {"version", report.model_version},
                   {"sha256", report.model_sha256}};
  json["files"] = {{"seen", report.files_seen}, {"unreadable", report.files_unreadable}};
  json["series"] = Json::array();
  for (const SeriesReport& item : report.series) {
    json["series"].push_back(SeriesJson(item, timings));
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string SeriesReportToJson(const SeriesReport& report, Timings timings) {
  return SeriesJson(report, timings).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<std::vector<std::string>> InferTable(const InferReport& report) {
  std::vector<std::vector<std::string>> rows = {{"SERIES", "STATUS", "STRUCTURE", "ML"}};
  for (const SeriesReport& series : report.series) {
    const std::string status = SeriesStatusName(series.status);
    if (series.structures.empty()) rows.push_back({series.series_uid, status, series.reason, ""});
    for (const StructureFound& item : series.structures) {
      rows.push_back({series.series_uid, status, item.name,
                      absl::StrFormat("%.2f", item.volume_ml)});
    }
  }
  return rows;
}

absl::StatusOr<InferReport> Infer(const InferOptions& options, const Clock& clock,
                                  const SeriesProgress& progress, const std::atomic<bool>& stop) {
  CSL_ASSIGN_OR_RETURN(Segmenter model,
                       Segmenter::Load(ModelFile(options.model), options.compute));
  CSL_ASSIGN_OR_RETURN(const StudyIndex index,
                       BuildStudyIndex({options.input}, IndexOptions(), {}, &stop));
  CSL_ASSIGN_OR_RETURN(const std::vector<Candidate> candidates, Candidates(index, model.plan()));
  std::error_code error;
  fs::create_directories(options.output, error);
  if (error) return absl::PermissionDeniedError("the output folder cannot be made");
  InferReport report;
  report.study = model.plan().study;
  report.model_version = model.version();
  report.model_sha256 = model.sha256();
  report.files_seen = index.files_seen;
  report.files_unreadable = index.files_unreadable;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (stop) return absl::CancelledError("stopped; the series segmented so far are written");
    if (progress) progress(static_cast<int64_t>(i), static_cast<int64_t>(candidates.size()));
    report.series.push_back(ReportOn(candidates[i], options.output, model, clock));
  }
  return report;
}

}  // namespace consilium::agent
