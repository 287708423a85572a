// Whether a YAML text is one document: YAML::Load reads the first and says nothing of the others.
// Header-only, for a .cc that has yaml-cpp anyway; throws what yaml-cpp throws.
#ifndef CONSILIUM_PROTO_YAML_ONE_DOCUMENT_H_
#define CONSILIUM_PROTO_YAML_ONE_DOCUMENT_H_

#include <sstream>
#include <string>

#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/yaml.h"

namespace consilium {
namespace yaml_internal {

// Takes what a YAML text says and does nothing with it.
class Unheard final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

}  // namespace yaml_internal

// Whether anything follows the first document. Not YAML::LoadAll, which goes on for ever over
// "{,},".
inline bool HasMoreYaml(const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  yaml_internal::Unheard unheard;
  return parser.HandleNextDocument(unheard) && parser.HandleNextDocument(unheard);
}

}  // namespace consilium

#endif  // CONSILIUM_PROTO_YAML_ONE_DOCUMENT_H_
