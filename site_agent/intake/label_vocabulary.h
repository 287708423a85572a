// What a site calls its labels, in the words of the studies it takes part in.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_LABEL_VOCABULARY_H_
#define CONSILIUM_SITE_AGENT_INTAKE_LABEL_VOCABULARY_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium::agent {

// labels.yaml:
//   names: {ant_hip: Anterior hippocampus, "HC ant": Anterior hippocampus}
//   nifti: {1: Anterior hippocampus, 2: Posterior hippocampus}
//   findings: {"SCT:126851005": Tumour}
struct LabelVocabulary {
  std::map<std::string, std::string> names;  // by the site's name in lower case
  std::map<int64_t, std::string> nifti;      // by value
  std::map<std::string, std::string> findings;  // by scheme designator and code of a report

  // The study's name for one of the site's, letter case ignored; itself where there is none.
  std::string Canonical(absl::string_view name) const;
};

inline constexpr uint64_t kLabelVocabularyBytesMax = 1 << 20;

// INVALID_ARGUMENT naming key and line: unknown keys, names that are empty, longer than 64 bytes or
// with control characters, values outside 1..65535.
absl::StatusOr<LabelVocabulary> ParseLabelVocabulary(absl::string_view yaml);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_LABEL_VOCABULARY_H_
