#include "proto/wire/safetensors.h"

#include <cmath>
#include <cstring>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"

namespace consilium::wire {
namespace {

using testing::HasSubstr;

TensorMap SmallMap() {
  TensorMap map;
  map.layout.tensors = {{"z.weight", {2, 3}}, {"a.bias", {2}}, {"scale", {}}};
  for (int i = 0; i < 9; ++i) map.values.push_back(static_cast<float>(i) * 0.5f);
  return map;
}

std::string FileOf(absl::string_view header, size_t data_bytes) {
  std::string bytes(8, '\0');
  StoreLe64(header.size(), bytes.data());
  return absl::StrCat(bytes, header, std::string(data_bytes, '\0'));
}

absl::Status Decode(absl::string_view header, size_t data_bytes) {
  const std::string file = FileOf(header, data_bytes);
  return DecodeSafetensorsHeader(file, file.size()).status();
}

TEST(SafetensorsTest, FileRoundTripKeepsOrderValuesAndMetadata) {
  auto dir = TempDir::Create("safetensors_test");
  ASSERT_TRUE(dir.ok());
  const std::string path = JoinPath(dir->path(), "m.safetensors");
  ASSERT_TRUE(WriteSafetensors(path, SmallMap(), {{"consilium.version", "x/1"}}).ok());
  const auto back = ReadSafetensors(path);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->map.layout, SmallMap().layout);
  EXPECT_EQ(back->map.values, SmallMap().values);
  EXPECT_EQ(back->metadata.at("consilium.version"), "x/1");
  EXPECT_EQ(back->map.tensor(1)[0], 3.0f);
}

TEST(SafetensorsTest, EncodingIsRepeatableAndAligned) {
  const std::string header = EncodeSafetensorsHeader(SmallMap().layout, {{"k", "v"}});
  EXPECT_EQ(header, EncodeSafetensorsHeader(SmallMap().layout, {{"k", "v"}}));
  EXPECT_EQ(header.size() % 8, 0u);
}

TEST(SafetensorsTest, RefusesEveryWayTheHeaderCanLie) {
  const char* good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  EXPECT_TRUE(Decode(good, 8).ok());
  EXPECT_FALSE(Decode(good, 7).ok()) << "data too short";
  EXPECT_FALSE(Decode(good, 9).ok()) << "data too long";
  EXPECT_FALSE(Decode(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12).ok());
  EXPECT_FALSE(Decode(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4).ok());
  EXPECT_FALSE(Decode(R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", 8).ok());
  EXPECT_FALSE(Decode(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8).ok());
  EXPECT_FALSE(Decode(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", 8).ok());
  EXPECT_FALSE(Decode(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                      R"("b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})", 6).ok());
  EXPECT_FALSE(Decode(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],)"
                      R"("data_offsets":[0,8]}})", 8).ok());
  EXPECT_THAT(std::string(Decode(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                 R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4)
                              .message()),
              HasSubstr("twice"));
  EXPECT_FALSE(Decode(R"({"__metadata__":{"a":1}})", 0).ok());
  EXPECT_FALSE(Decode("[]", 0).ok());
  EXPECT_FALSE(Decode(std::string(100'000, '['), 0).ok());
}

TEST(SafetensorsTest, HeaderLengthBeyondTheFileIsRefusedBeforeAllocating) {
  std::string bytes(8, '\0');
  StoreLe64(UINT64_MAX, bytes.data());
  EXPECT_EQ(DecodeSafetensorsHeader(bytes, 8).status().code(),
            absl::StatusCode::kInvalidArgument);
  StoreLe64(1000, bytes.data());
  EXPECT_EQ(DecodeSafetensorsHeader(bytes, 8).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(TensorMapTest, NamesTheTensorThatIsNotFinite) {
  TensorMap map = SmallMap();
  EXPECT_TRUE(CheckFinite(map).ok());
  map.values[7] = std::nanf("");
  EXPECT_THAT(std::string(CheckFinite(map).message()), HasSubstr("a.bias"));
}

TEST(TensorMapTest, LayoutLimitsHold) {
  EXPECT_FALSE(CheckLayout({{{"a", {1}}, {"a", {1}}}}).ok());
  EXPECT_FALSE(CheckLayout({{{"a\tb", {1}}}}).ok());
  EXPECT_FALSE(CheckLayout({{{"a", {kParametersMax, 2}}}}).ok());
  EXPECT_FALSE(CheckLayout({{{"a", {-1}}}}).ok());
}

}  // namespace
}  // namespace consilium::wire
