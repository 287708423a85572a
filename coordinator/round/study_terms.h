// The sections of a study file that say how updates are protected, added up and made: `protection`,
// `privacy`, `algorithm`, and `rule` and `server_optimizer` of `aggregation` (docs/study.md).
//
// Readers refuse unknown keys, wrong types and keys that belong to another choice with
// INVALID_ARGUMENT, the key, its line and the remedy. They judge one section each; what sections
// mean together is study_checks.h. Emitters write what the readers read back to the same value.
// Pure functions; YAML::Exception passes through to ParseStudy.
#ifndef CONSILIUM_COORDINATOR_ROUND_STUDY_TERMS_H_
#define CONSILIUM_COORDINATOR_ROUND_STUDY_TERMS_H_

#include <string>

#include "absl/status/status.h"
#include "coordinator/round/study.h"
#include "coordinator/round/yaml_reader.h"

namespace consilium::coordinator {

// The shortest decimal text that reads back to the same number.
std::string NumberText(double value);

// The keys `server_optimizer`, `rule`, `hostile` and `root` of `aggregation`.
void ReadRuleAndOptimizer(YamlReader& aggregation, StudySpec& spec);
// The top-level keys `protection`, `privacy`, `algorithm` and `purpose`. Call it when `aggregation`
// has been read: the protection's default depends on it.
void ReadTerms(YamlReader& study, StudySpec& spec);

// The protection of a study that says nothing of it.
std::string DefaultProtection(const StudySpec& spec);

void EmitRuleAndOptimizer(YAML::Emitter& out, const StudySpec& spec);
void EmitTerms(YAML::Emitter& out, const StudySpec& spec);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_STUDY_TERMS_H_
