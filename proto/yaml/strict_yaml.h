// Reads one YAML mapping key by key and refuses what nobody asked for: what people write by hand (a
// study file, a site's policy) either says what they meant or is an error with its line.
//
// Order: Get/GetWith for each key, then Finish. After the first fault every call does nothing and
// Finish returns that fault. Header-only, for the .cc of one document; throws nothing of its own, but
// yaml-cpp does: load the text and read it inside one try block.
//
// `Document` names the file in messages: kName ("study") starts each, kNeededBy ("every study needs
// it") ends the one on a missing key.
#ifndef CONSILIUM_PROTO_YAML_STRICT_YAML_H_
#define CONSILIUM_PROTO_YAML_STRICT_YAML_H_

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "yaml-cpp/yaml.h"

namespace consilium {

template <typename Document>
class StrictYaml {
 public:
  StrictYaml(YAML::Node node, std::string path) : node_(std::move(node)), path_(std::move(path)) {
    if (!node_.IsMap()) status_ = Refuse(node_, path_, "must be a mapping of keys to values");
  }

  static absl::Status Refuse(const YAML::Node& node, absl::string_view key,
                             absl::string_view what) {
    const std::string where =
        node.IsDefined() && node.Mark().line >= 0 ? absl::StrCat(" (line ", node.Mark().line + 1, ")")
                                                  : "";
    return absl::InvalidArgumentError(
        absl::StrCat(Document::kName, ": ", key.empty() ? "the file" : key, where, ": ", what));
  }

  // Leaves `out` alone when the key is not there. Returns whether it is.
  template <typename T>
  bool Get(const char* key, T& out) {
    return GetWith(key, [&](const YAML::Node& node, const std::string& path) {
      return Read(node, out) ? absl::OkStatus() : Refuse(node, path, TypeName(out));
    });
  }

  template <typename F>
  bool GetWith(const char* key, F read) {
    known_.push_back(key);
    if (!status_.ok()) return false;
    YAML::Node found;
    if (!Find(key, found)) return false;
    status_ = read(found, Path(key));
    return status_.ok();
  }

  void Require(const char* key, bool there) {
    if (!status_.ok() || there) return;
    status_ = Refuse(node_, Path(key), absl::StrCat("is missing; ", Document::kNeededBy));
  }

  absl::Status Finish() {
    if (!status_.ok()) return status_;
    for (const auto& entry : node_) {
      const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "?";
      if (std::find(known_.begin(), known_.end(), key) == known_.end()) {
        return Refuse(entry.first, Path(key),
                      absl::StrCat("is not a known key; remove it or use one of: ",
                                   absl::StrJoin(known_, ", ")));
      }
    }
    return absl::OkStatus();
  }

  std::string Path(absl::string_view key) const {
    return path_.empty() ? std::string(key) : absl::StrCat(path_, ".", key);
  }

  static bool Read(const YAML::Node& node, std::string& out) {
    if (!node.IsScalar()) return false;
    out = node.Scalar();
    return true;
  }
  static bool Read(const YAML::Node& node, bool& out) {
    if (!node.IsScalar() || (node.Scalar() != "true" && node.Scalar() != "false")) return false;
    out = node.Scalar() == "true";
    return true;
  }
  static bool Read(const YAML::Node& node, double& out) {
    return node.IsScalar() && absl::SimpleAtod(node.Scalar(), &out);
  }
  static bool Read(const YAML::Node& node, int64_t& out) {
    return node.IsScalar() && absl::SimpleAtoi(node.Scalar(), &out);
  }
  static bool Read(const YAML::Node& node, uint64_t& out) {
    return node.IsScalar() && absl::SimpleAtoi(node.Scalar(), &out);
  }
  static bool Read(const YAML::Node& node, absl::Duration& out) {
    return node.IsScalar() && absl::ParseDuration(node.Scalar(), &out);
  }
  template <typename T, size_t N>
  static bool Read(const YAML::Node& node, std::array<T, N>& out) {
    if (!node.IsSequence() || node.size() != N) return false;
    for (size_t i = 0; i < N; ++i) {
      if (!Read(node[i], out[i])) return false;
    }
    return true;
  }
  template <typename T>
  static bool Read(const YAML::Node& node, std::vector<T>& out) {
    if (!node.IsSequence()) return false;
    out.clear();
    for (const YAML::Node& item : node) {
      T value;
      if (!Read(item, value)) return false;
      out.push_back(std::move(value));
    }
    return true;
  }

 private:
  static const char* TypeName(const std::string&) { return "must be a text"; }
  static const char* TypeName(bool) { return "must be true or false"; }
  static const char* TypeName(double) { return "must be a number"; }
  static const char* TypeName(int64_t) { return "must be a whole number"; }
  static const char* TypeName(uint64_t) { return "must be a whole number, 0 or more"; }
  static const char* TypeName(absl::Duration) { return "must be a duration such as 90s, 30m or 2h"; }
  template <typename T, size_t N>
  static const char* TypeName(const std::array<T, N>&) {
    return "must be a list of three values, x, y, z";
  }
  template <typename T>
  static const char* TypeName(const std::vector<T>&) {
    return "must be a list";
  }

  bool Find(const std::string& key, YAML::Node& found) {
    int times = 0;
    for (const auto& entry : node_) {
      if (entry.first.IsScalar() && entry.first.Scalar() == key) {
        found.reset(entry.second);
        if (++times == 2) {
          status_ = Refuse(entry.first, Path(key), "is there twice; keep one");
          return false;
        }
      }
    }
    return times == 1;
  }

  const YAML::Node node_;
  const std::string path_;
  absl::Status status_;
  std::vector<std::string> known_;
};

}  // namespace consilium

#endif  // CONSILIUM_PROTO_YAML_STRICT_YAML_H_
