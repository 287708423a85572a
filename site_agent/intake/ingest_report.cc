#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "site_agent/intake/deidentify_folder.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/intake/patient_register.h"

namespace consilium::agent {
namespace {

using Json = nlohmann::json;
using Rows = std::vector<std::vector<std::string>>;

Json DeidToJson(const privacy::DeidReport& deid) {
  return {{"table_edition", privacy::kTableEdition},
          {"files", deid.files},
          {"removed", deid.removed},
          {"emptied", deid.emptied},
          {"replaced", deid.replaced},
          {"uids_mapped", deid.uids_mapped},
          {"dates_shifted", deid.dates_shifted},
          {"private_removed", deid.private_removed},
          {"private_kept", deid.private_kept},
          {"pictures_blackened", deid.pictures_blackened},
          {"pixel_rules", deid.pixel_rules},
          {"unlisted_removed", deid.unlisted_removed},
          {"texts_scrubbed", deid.texts_scrubbed},
          {"hidden_bytes_dropped", deid.hidden_bytes_dropped}};
}

Json ImageLabelsToJson(const ImageLabelReport& labels) {
  Json by_label = Json::object();
  for (const auto& [name, count] : labels.by_label) {
    by_label[name] = {{"absent", count[0]}, {"present", count[1]}};
  }
  return {{"rows", labels.rows},           {"unknown", labels.unknown},
          {"repeated", labels.repeated},   {"conflicts", labels.conflicts},
          {"cases", labels.cases},         {"changed", labels.changed},
          {"labels", std::move(by_label)}};
}

void AddReports(const ReportCount& count, Rows& rows) {
  rows.push_back({"structured reports", "", absl::StrCat(count.reports),
                  absl::StrCat(count.not_plain, " findings that say more than yes or no")});
  for (const auto& [reason, reports] : count.set_aside) {
    rows.push_back({"", "", absl::StrCat(reports), absl::StrCat("  ", reason)});
  }
}

void AddImageLabels(const char* from, const ImageLabelReport& labels, Rows& rows) {
  rows.push_back({from, absl::StrCat(labels.cases), "",
                  absl::StrCat("of ", labels.rows, " rows, ", labels.unknown, " without a case, ",
                               labels.repeated, " repeated, ", labels.conflicts,
                               " contradictions, ", labels.changed, " cases changed")});
  for (const auto& [name, count] : labels.by_label) {
    rows.push_back({"", absl::StrCat(count[0] + count[1]), "",
                    absl::StrCat("  ", name, ": ", count[1], " present, ", count[0], " absent")});
  }
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

const char* RejectName(RejectReason reason) {
  switch (reason) {
    case RejectReason::kUnreadable: return "unreadable";
    case RejectReason::kNotAnImage: return "not_an_image";
    case RejectReason::kUnsupportedClass: return "unsupported_class";
    case RejectReason::kLocalizer: return "localizer";
    case RejectReason::kTooFewSlices: return "too_few_slices";
    case RejectReason::kHeldBack: return "held_back";
    case RejectReason::kNotDeidentified: return "not_deidentified";
    case RejectReason::kNotAVolume: return "not_a_volume";
    case RejectReason::kLabelWithoutImage: return "label_without_image";
    case RejectReason::kLabelNotReadable: return "label_not_readable";
    case RejectReason::kLabelSurplus: return "label_surplus";
    case RejectReason::kOptedOut: return "opted_out";
    case RejectReason::kNoConsent: return "no_consent";
    case RejectReason::kForgotten: return "forgotten";
  }
  return "unknown";
}

RejectReason ReasonOf(Withheld withheld) {
  switch (withheld) {
    case Withheld::kOptedOut: return RejectReason::kOptedOut;
    case Withheld::kNoConsent: return RejectReason::kNoConsent;
    case Withheld::kForgotten: break;
  }
  return RejectReason::kForgotten;
}

const char* RejectText(RejectReason reason) {
  switch (reason) {
    case RejectReason::kUnreadable: return "not DICOM, or broken";
    case RejectReason::kNotAnImage: return "not an image (report, plan, presentation)";
    case RejectReason::kUnsupportedClass: return "kind of image that is not taken in";
    case RejectReason::kLocalizer: return "localizer";
    case RejectReason::kTooFewSlices: return "too few slices for a volume";
    case RejectReason::kHeldBack: return "pixels may show identity: needs a person";
    case RejectReason::kNotDeidentified: return "encoding that cannot be de-identified";
    case RejectReason::kNotAVolume: return "slices do not make one volume";
    case RejectReason::kLabelWithoutImage: return "label without its series";
    case RejectReason::kLabelNotReadable: return "label that does not fit its series";
    case RejectReason::kLabelSurplus: return "further label, or another patient's";
    case RejectReason::kOptedOut: return WithheldText(Withheld::kOptedOut);
    case RejectReason::kNoConsent: return WithheldText(Withheld::kNoConsent);
    case RejectReason::kForgotten: return WithheldText(Withheld::kForgotten);
  }
  return "unknown";
}

Rows IngestTable(const IngestReport& report) {
  Rows rows = {{"outcome", "series", "files", "why"}};
  rows.push_back({"added", absl::StrCat(report.cases_added), "",
                  absl::StrCat(report.cases_added_labelled, " labelled")});
  if (report.labels_added > 0) {
    rows.push_back({"label added", absl::StrCat(report.labels_added), "", ""});
  }
  rows.push_back({"already in store", absl::StrCat(report.already_in_store), "", ""});
  for (const auto& [reason, count] : report.rejected) {
    const std::string series = count.series > 0 ? absl::StrCat(count.series) : "";
    rows.push_back({"rejected", series, absl::StrCat(count.files), RejectText(reason)});
    for (const auto& [detail, times] : count.details) {
      rows.push_back({"", absl::StrCat(times), "", absl::StrCat("  ", detail)});
    }
  }
  if (report.report_labels) {
    AddReports(report.reports, rows);
    AddImageLabels("labels of reports", *report.report_labels, rows);
  }
  if (report.image_labels) AddImageLabels("image labels", *report.image_labels, rows);
  if (report.files_skipped > 0) {
    rows.push_back({"skipped", "", absl::StrCat(report.files_skipped), "links and special files"});
  }
  if (report.truncated) rows.push_back({"incomplete", "", "", "more files than may be read"});
  return rows;
}

std::string IngestToJson(const IngestReport& report) {
  Json rejected = Json::object();
  for (const auto& [reason, count] : report.rejected) {
    rejected[RejectName(reason)] = {
        {"series", count.series}, {"files", count.files}, {"details", count.details}};
  }
  Json json = {{"files_seen", report.files_seen},
               {"files_skipped", report.files_skipped},
               {"truncated", report.truncated},
               {"patients", report.patients},
               {"cases_added", report.cases_added},
               {"cases_added_labelled", report.cases_added_labelled},
               {"labels_added", report.labels_added},
               {"already_in_store", report.already_in_store},
               {"rejected", rejected},
               {"deidentification", DeidToJson(report.deid)}};
  if (report.report_labels) {
    json["report_labels"] = ImageLabelsToJson(*report.report_labels);
    json["reports"] = {{"read", report.reports.reports},
                       {"not_plain", report.reports.not_plain},
                       {"set_aside", report.reports.set_aside}};
  }
  if (report.image_labels) json["image_labels"] = ImageLabelsToJson(*report.image_labels);
  return Dump(json);
}

Rows DeidentifyTable(const DeidentifyReport& report) {
  Rows rows = {{"outcome", "files", "why"}};
  const int64_t blackened = report.deid.pictures_blackened;
  rows.push_back({"written", absl::StrCat(report.files_written),
                  blackened > 0 ? absl::StrCat(blackened, " with text blackened") : ""});
  for (const auto& [reason, files] : report.held_back) {
    rows.push_back({"not written", absl::StrCat(files), RejectText(reason)});
  }
  if (report.files_queued > 0) {
    rows.push_back({"in the queue", absl::StrCat(report.files_queued), "of those for a person"});
  }
  if (report.files_skipped > 0) {
    rows.push_back({"skipped", absl::StrCat(report.files_skipped), "links and special files"});
  }
  if (report.truncated) rows.push_back({"incomplete", "", "more files than may be read"});
  return rows;
}

std::string DeidentifyToJson(const DeidentifyReport& report) {
  Json held_back = Json::object();
  for (const auto& [reason, files] : report.held_back) held_back[RejectName(reason)] = files;
  Json held_files = Json::array();
  for (const HeldFile& file : report.held_files) {
    held_files.push_back({{"id", file.id}, {"patient", file.patient}, {"reason", file.reason}});
  }
  return Dump({{"files_seen", report.files_seen},
               {"files_skipped", report.files_skipped},
               {"files_written", report.files_written},
               {"truncated", report.truncated},
               {"profile", report.profile},
               {"profile_sha256", report.profile_sha256},
               {"held_back", held_back},
               {"reasons", report.details},
               {"held_back_files", held_files},
               {"files_queued", report.files_queued},
               {"deidentification", DeidToJson(report.deid)}});
}

}  // namespace consilium::agent
