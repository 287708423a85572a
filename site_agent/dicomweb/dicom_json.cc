#include "site_agent/dicomweb/dicom_json.h"

#include <utility>

#include "nlohmann/json.hpp"

namespace consilium::dicomweb {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kDepthMax = 64;
// [ {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}} ]
constexpr int kDatasetDepth = 2;
constexpr int kAttributeDepth = 3;
constexpr int kValuesDepth = 4;

// Follows the text without making a tree of it: memory is that of the values kept.
class ValueCollector final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit ValueCollector(const char* tag) : tag_(tag) {}
  std::vector<std::string>& values() { return values_; }

  bool null() override { return Scalar(); }
  bool boolean(bool) override { return Scalar(); }
  bool number_integer(number_integer_t) override { return Scalar(); }
  bool number_unsigned(number_unsigned_t) override { return Scalar(); }
  bool number_float(number_float_t, const string_t&) override { return Scalar(); }
  bool binary(binary_t&) override { return Scalar(); }
  bool string(string_t& text) override {
    if (depth_ == kValuesDepth && in_attribute_ && in_value_ && !taken_) {
      values_.push_back(std::move(text));
      taken_ = true;
    }
    return Scalar();
  }
  bool start_object(size_t) override {
    if (depth_ == 0) return false;
    if (++depth_ == kDatasetDepth) taken_ = false;
    return depth_ <= kDepthMax;
  }
  bool end_object() override { return Leave(); }
  bool start_array(size_t) override { return ++depth_ <= kDepthMax; }
  bool end_array() override { return Leave(); }
  bool key(string_t& name) override {
    if (depth_ == kDatasetDepth) in_attribute_ = name == tag_;
    if (depth_ == kAttributeDepth) in_value_ = name == "Value";
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  // What is no list at all is no answer to a search; what is in the list has to be a data set.
  bool Scalar() const { return depth_ >= kDatasetDepth; }
  bool Leave() {
    --depth_;
    return true;
  }

  const char* tag_;
  int depth_ = 0;
  bool in_attribute_ = false;
  bool in_value_ = false;
  bool taken_ = false;  // of this data set
  std::vector<std::string> values_;
};

Json Attribute(const char* vr, Json value) {
  return {{"vr", vr}, {"Value", Json::array({std::move(value)})}};
}

Json Reference(const StoredObject& object) {
  return {{"00081150", Attribute("UI", object.sop_class_uid)},
          {"00081155", Attribute("UI", object.sop_instance_uid)}};
}

void PutSequence(Json& response, const char* tag, Json items) {
  if (!items.empty()) response[tag] = {{"vr", "SQ"}, {"Value", std::move(items)}};
}

}  // namespace

absl::StatusOr<std::vector<std::string>> FirstValues(absl::string_view json, const char* tag) {
  ValueCollector collector(tag);
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &collector)) {
    return absl::InvalidArgumentError("the answer to the search is not DICOM JSON");
  }
  return std::move(collector.values());
}

std::string StoreResponse(const std::vector<StoredObject>& objects) {
  Json failed = Json::array(), unknown = Json::array(), stored = Json::array();
  for (const StoredObject& object : objects) {
    if (object.failure == 0) {
      // We give nothing back, so there is no URL to retrieve from: of type 2, hence empty.
      Json item = Reference(object);
      item["00081190"] = {{"vr", "UR"}};
      stored.push_back(std::move(item));
    } else if (object.sop_class_uid.empty() || object.sop_instance_uid.empty()) {
      unknown.push_back({{"00081197", Attribute("US", object.failure)}});
    } else {
      Json item = Reference(object);
      item["00081197"] = Attribute("US", object.failure);
      failed.push_back(std::move(item));
    }
  }
  Json response = Json::object();
  response["00081190"] = {{"vr", "UR"}};
  PutSequence(response, "00081198", std::move(failed));   // Failed SOP Sequence
  PutSequence(response, "00081199", std::move(stored));   // Referenced SOP Sequence
  PutSequence(response, "0008119A", std::move(unknown));  // Other Failures Sequence
  // What a data set holds need not be UTF-8.
  return response.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace consilium::dicomweb
