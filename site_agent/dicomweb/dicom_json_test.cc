#include "site_agent/dicomweb/dicom_json.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace consilium::dicomweb {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(FirstValuesTest, OneOfEachDataSet) {
  const auto values = FirstValues(
      R"([{"00080020":{"vr":"DA","Value":["20240101"]},"0020000D":{"Value":["1.2","9"],"vr":"UI"}},
          {"0020000D":{"vr":"UI"}}, {},
          {"0020000D":{"vr":"UI","Value":["3.4"]},
           "00081140":{"vr":"SQ","Value":[{"0020000D":{"vr":"UI","Value":["5.6"]}}]}}])",
      kStudyInstanceUidTag);
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_THAT(*values, ElementsAre("1.2", "3.4"));
  EXPECT_THAT(*FirstValues("[]", kStudyInstanceUidTag), IsEmpty());
  EXPECT_THAT(
      *FirstValues(R"([{"0020000D":{"Value":[7,{"Alphabetic":"x"},null]}}])", kStudyInstanceUidTag),
      IsEmpty());
}

TEST(FirstValuesTest, WhatIsNoAnswerIsRefused) {
  for (const std::string& text :
       {std::string(), std::string("{}"), std::string("[1]"), std::string("7"), std::string("[{]"),
        std::string("[\"\xff\"]"), std::string("[{\"a\":1e999}]"), std::string("[") + "{\"x\":",
        std::string(100, '[') + std::string(100, ']'), std::string(1'000'000, '[')}) {
    EXPECT_TRUE(absl::IsInvalidArgument(FirstValues(text, kStudyInstanceUidTag).status()))
        << text.substr(0, 40);
  }
}

// PS3.18 Annex I, checked against another reading of it.
TEST(StoreResponseTest, SaysWhatBecameOfEachObject) {
  const auto json = nlohmann::json::parse(
      StoreResponse({{"1.2.840", "1.1", 0}, {"1.2.840", "1.2", 0xA700}, {"", "", 0xC000}}));
  EXPECT_EQ(json, nlohmann::json::parse(R"({
    "00081190": {"vr": "UR"},
    "00081198": {"vr": "SQ", "Value": [{
      "00081150": {"vr": "UI", "Value": ["1.2.840"]},
      "00081155": {"vr": "UI", "Value": ["1.2"]},
      "00081197": {"vr": "US", "Value": [42752]}}]},
    "00081199": {"vr": "SQ", "Value": [{
      "00081150": {"vr": "UI", "Value": ["1.2.840"]},
      "00081155": {"vr": "UI", "Value": ["1.1"]},
      "00081190": {"vr": "UR"}}]},
    "0008119A": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [49152]}}]}})"));
  EXPECT_EQ(nlohmann::json::parse(StoreResponse({})).size(), 1u);
}

}  // namespace
}  // namespace consilium::dicomweb
