// Reads the mappings of a study file (proto/yaml/strict_yaml.h). Header-only part of study.cc.
#ifndef CONSILIUM_COORDINATOR_ROUND_YAML_READER_H_
#define CONSILIUM_COORDINATOR_ROUND_YAML_READER_H_

#include "proto/yaml/strict_yaml.h"

namespace consilium::coordinator {

struct StudyDocument {
  static constexpr const char* kName = "study";
  static constexpr const char* kNeededBy = "every study needs it";
};
using YamlReader = StrictYaml<StudyDocument>;

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_YAML_READER_H_
