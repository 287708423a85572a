// The section of a study file that says which series a site takes: `series`, one selector or, where
// a case has several input channels, an ordered list of them (docs/study.md).
//
// Faults as in study_terms.h. YAML::Exception passes through to ParseStudy.
#ifndef CONSILIUM_COORDINATOR_ROUND_STUDY_SERIES_H_
#define CONSILIUM_COORDINATOR_ROUND_STUDY_SERIES_H_

#include <string>

#include "absl/status/status.h"
#include "coordinator/round/study.h"
#include "coordinator/round/yaml_reader.h"

namespace consilium::coordinator {

// A mapping gives modality and rules. A list gives the channels, each with a normalisation of its
// own; the first one's goes to spec.plan.normalisation.
absl::Status ReadSeries(const YAML::Node& node, const std::string& path, StudySpec& spec);

// The keys `normalisation` and `coverage_min` of `plan`, which has been read as far as it is in
// `spec`; `series` must have been read.
void ReadChannelKeys(YamlReader& plan, StudySpec& spec);

void EmitSeries(YAML::Emitter& out, const StudySpec& spec);
// What ReadChannelKeys reads.
void EmitChannelKeys(YAML::Emitter& out, const StudySpec& spec);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_STUDY_SERIES_H_
