#include "site_agent/intake/case_channels.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/base/status.h"
#include "site_agent/imaging/channels.h"
#include "site_agent/imaging/dicom_header.h"
#include "site_agent/intake/series_selector.h"

namespace consilium::agent {
namespace {

using Records = std::vector<const CaseRecord*>;

std::string ChannelName(const std::vector<SeriesSelector>& selectors, size_t channel) {
  return absl::StrCat("channel ", channel + 1, " (", selectors[channel].modality(), ")");
}

class Matcher {
 public:
  Matcher(const wire::Plan& plan, std::vector<SeriesSelector> selectors)
      : plan_(plan), selectors_(std::move(selectors)) {}

  ChannelMatches Match(const std::vector<CaseRecord>& records) {
    for (const CaseRecord& record : records) Sort(record);
    for (const CaseRecord* reference : references_) {
      if (const std::optional<std::string> objection = Complete(*reference)) {
        result_.rejected.push_back({reference->case_id, *objection});
      }
    }
    for (const auto& [key, series] : further_) {
      for (const CaseRecord* record : series) {
        if (used_.contains(record->case_id)) continue;
        result_.rejected.push_back(
            {record->case_id, absl::StrCat(ChannelName(selectors_, key.second), " of no case")});
      }
    }
    return std::move(result_);
  }

 private:
  // To its channel, or to the rejected.
  void Sort(const CaseRecord& record) {
    std::vector<size_t> fits, numbers;
    std::optional<std::string> objection;
    for (size_t c = 0; c < selectors_.size(); ++c) {
      const std::optional<std::string> here = selectors_[c].Objection(record);
      if (!here) {
        fits.push_back(c);
        numbers.push_back(c + 1);
      } else if (!objection && record.modality == selectors_[c].modality()) {
        objection = here;
      }
    }
    if (fits.size() > 1) {
      result_.rejected.push_back(
          {record.case_id, absl::StrCat("fits channels ", absl::StrJoin(numbers, " and "),
                                        ": rules have to tell them apart")});
    } else if (fits.empty()) {
      result_.rejected.push_back({record.case_id, objection.value_or(NoModality())});
    } else if (fits[0] == 0) {
      references_.push_back(&record);
    } else {
      further_[{record.patient, fits[0]}].push_back(&record);
    }
  }

  std::string NoModality() const {
    std::set<std::string> seen;
    std::vector<std::string> modalities;
    for (const SeriesSelector& selector : selectors_) {
      if (seen.insert(selector.modality()).second) modalities.push_back(selector.modality());
    }
    return absl::StrCat("modality is not ", absl::StrJoin(modalities, " or "));
  }

  // Makes a case of a series of the first channel, or says what it lacks.
  std::optional<std::string> Complete(const CaseRecord& reference) {
    ChannelMatch match;
    std::vector<imaging::Geometry> geometries = {reference.geometry};
    for (size_t c = 1; c < selectors_.size(); ++c) {
      Records fitting = further_[{reference.patient, c}];
      const std::string name = ChannelName(selectors_, c);
      if (fitting.empty()) return absl::StrCat(name, ": no series of the patient fits");
      if (reference.frame_of_reference.empty()) {
        return "the frame of reference of channel 1 is not known";
      }
      Keep(fitting, [&](const CaseRecord& record) {
        return record.frame_of_reference == reference.frame_of_reference;
      });
      if (fitting.empty()) {
        return absl::StrCat(name, ": no series in the frame of reference of channel 1");
      }
      if (fitting.size() > 1 && !reference.study.empty()) {
        const Records all = fitting;
        Keep(fitting, [&](const CaseRecord& record) { return record.study == reference.study; });
        if (fitting.empty()) fitting = all;
      }
      if (fitting.size() > 1) {
        return absl::StrCat(name, ": several series fit; rules have to tell them apart");
      }
      geometries.push_back(fitting[0]->geometry);
      match.channels.push_back(*fitting[0]);
    }
    if (const auto objection = LacksCoverage(geometries)) return objection;
    for (const CaseRecord& record : match.channels) used_.insert(record.case_id);
    match.reference = reference;
    result_.cases.push_back(std::move(match));
    return std::nullopt;
  }

  // consilium-infer selects by headers, before a series has a geometry, and checks later.
  std::optional<std::string> LacksCoverage(const std::vector<imaging::Geometry>& channels) const {
    for (const imaging::Geometry& geometry : channels) {
      if (geometry.voxels() == 0) return std::nullopt;
    }
    const absl::Status covered = imaging::CheckCoverage(channels, plan_);
    if (covered.ok()) return std::nullopt;
    return std::string(covered.message());
  }

  template <typename Condition>
  static void Keep(Records& records, Condition condition) {
    std::erase_if(records, [&](const CaseRecord* record) { return !condition(*record); });
  }

  const wire::Plan& plan_;
  const std::vector<SeriesSelector> selectors_;
  Records references_;
  std::map<std::pair<std::string, size_t>, Records> further_;  // by patient and channel
  std::set<std::string> used_;
  ChannelMatches result_;
};

}  // namespace

absl::StatusOr<ChannelMatches> MatchChannels(const Catalog& catalog, const wire::Plan& plan) {
  CSL_ASSIGN_OR_RETURN(std::vector<SeriesSelector> selectors, SelectorsOf(plan));
  return Matcher(plan, std::move(selectors)).Match(catalog.cases);
}

void CompleteRecords(const std::string& home, Catalog& catalog) {
  for (CaseRecord& record : catalog.cases) {
    if (!record.series.empty()) continue;
    const absl::StatusOr<std::vector<std::string>> paths = CaseImagePaths(home, record.case_id);
    if (!paths.ok()) continue;
    const absl::StatusOr<imaging::DicomHeader> header = imaging::ReadDicomHeader(paths->front());
    if (!header.ok()) continue;
    record.study = header->study_uid;
    record.series = header->series_uid;
    record.frame_of_reference = header->frame_of_reference_uid;
  }
}

}  // namespace consilium::agent
