// Image-level labels from the structured reports of an archive (imaging/coded_findings.h).
#ifndef CONSILIUM_SITE_AGENT_INTAKE_REPORT_LABELS_H_
#define CONSILIUM_SITE_AGENT_INTAKE_REPORT_LABELS_H_

#include <cstdint>
#include <map>
#include <string>

#include "privacy/deid/deidentifier.h"
#include "site_agent/intake/image_labels.h"
#include "site_agent/intake/label_vocabulary.h"
#include "site_agent/intake/study_index.h"

namespace consilium::agent {

// Counts only.
struct ReportCount {
  int64_t reports = 0;    // read, whether or not they say anything that the vocabulary has
  int64_t not_plain = 0;  // findings that say more than present or absent
  std::map<std::string, int64_t> set_aside;  // reports, by the reason
};

// What the archive's reports say of their studies, in the names of vocabulary.findings. Two
// findings that contradict each other leave the label unknown. A report that cannot be taken is
// counted.
ImageLabelTable ReadReportLabels(const StudyIndex& index, const LabelVocabulary& vocabulary,
                                 const privacy::Deidentifier& deidentifier, ReportCount& count);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_REPORT_LABELS_H_
