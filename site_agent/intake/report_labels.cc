#include "site_agent/intake/report_labels.h"

#include "site_agent/imaging/coded_findings.h"

namespace consilium::agent {
namespace {

void TakeReport(const imaging::CodedFindings& report, const LabelVocabulary& vocabulary,
                const privacy::Deidentifier& deidentifier, ImageLabelTable& table) {
  const std::string study = deidentifier.MapUid(report.study_uid);
  for (const imaging::CodedFinding& finding : report.findings) {
    const auto name = vocabulary.findings.find(finding.code);
    if (name == vocabulary.findings.end()) continue;
    table.Add(study, {{name->second, finding.present}});
  }
}

}  // namespace

ImageLabelTable ReadReportLabels(const StudyIndex& index, const LabelVocabulary& vocabulary,
                                 const privacy::Deidentifier& deidentifier, ReportCount& count) {
  ImageLabelTable table;
  table.level = ImageLabelTable::Level::kStudy;
  for (const IndexedPatient& patient : index.patients) {
    for (const IndexedSeries& series : patient.series) {
      for (const imaging::DicomHeader& file : series.files) {
        if (!imaging::IsReportClass(file.sop_class_uid)) continue;
        const absl::StatusOr<imaging::CodedFindings> report = imaging::ReadCodedFindings(file.path);
        if (!report.ok()) {
          ++count.set_aside[std::string(report.status().message())];
          continue;
        }
        ++count.reports;
        count.not_plain += report->not_plain;
        TakeReport(*report, vocabulary, deidentifier, table);
      }
    }
  }
  return table;
}

}  // namespace consilium::agent
