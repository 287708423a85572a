#include "privacy/deid/pixel_rules.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "gtest/gtest.h"
#include "privacy/deid/deidentifier.h"
#include "proto/base/file.h"

namespace consilium::privacy {
namespace {

constexpr int kRows = 60, kColumns = 80;

void Put(DcmItem& item, const DcmTagKey& key, const char* value) {
  ASSERT_TRUE(item.putAndInsertString(key, value).good());
}

void PutSonogram(DcmDataset& dataset) {
  for (const auto& [key, value] : std::vector<std::pair<DcmTagKey, const char*>>{
           {DCM_SOPClassUID, UID_UltrasoundImageStorage},
           {DCM_SOPInstanceUID, "2.25.1"},
           {DCM_StudyInstanceUID, "2.25.2"},
           {DCM_SeriesInstanceUID, "2.25.3"},
           {DCM_PatientID, "A6068167"},
           {DCM_Modality, "US"},
           {DCM_Manufacturer, "Acme Medical"},
           {DCM_ManufacturerModelName, "Sono 5 Plus"},
           {DCM_SoftwareVersions, "VE1\\4.0.1"},
           {DCM_ImageType, "ORIGINAL\\PRIMARY\\ABDOMINAL"},
           {DCM_PhotometricInterpretation, "MONOCHROME2"}}) {
    Put(dataset, key, value);
  }
  for (const auto& [key, value] :
       std::vector<std::pair<DcmTagKey, Uint16>>{{DCM_Rows, kRows},
                                                 {DCM_Columns, kColumns},
                                                 {DCM_SamplesPerPixel, 1},
                                                 {DCM_BitsAllocated, 8},
                                                 {DCM_BitsStored, 8},
                                                 {DCM_HighBit, 7},
                                                 {DCM_PixelRepresentation, 0}}) {
    ASSERT_TRUE(dataset.putAndInsertUint16(key, value).good());
  }
  const std::vector<Uint8> pixels(kRows * kColumns, 100);
  ASSERT_TRUE(dataset.putAndInsertUint8Array(DCM_PixelData, pixels.data(), pixels.size()).good());
}

void PutRegion(DcmDataset& dataset, Uint32 left, Uint32 top, Uint32 right, Uint32 bottom) {
  DcmItem* item = nullptr;
  ASSERT_TRUE(dataset.findOrCreateSequenceItem(DCM_SequenceOfUltrasoundRegions, item, -2).good());
  for (const auto& [key, value] :
       std::vector<std::pair<DcmTagKey, Uint32>>{{DCM_RegionLocationMinX0, left},
                                                 {DCM_RegionLocationMinY0, top},
                                                 {DCM_RegionLocationMaxX1, right},
                                                 {DCM_RegionLocationMaxY1, bottom}}) {
    ASSERT_TRUE(item->putAndInsertUint32(key, value).good());
  }
}

// Pixels that the boxes cover, each once.
int Area(const std::vector<PixelBox>& boxes) {
  std::set<std::pair<int, int>> covered;
  for (const PixelBox& box : boxes) {
    for (int row = box.row; row < box.row + box.rows; ++row) {
      for (int column = box.column; column < box.column + box.columns; ++column) {
        covered.insert({row, column});
      }
    }
  }
  return static_cast<int>(covered.size());
}

bool Fits(DcmDataset& dataset, PixelRule rule) {
  rule.name = "r";
  const std::vector<PixelRule> own = {rule};
  const std::vector<const PixelRule*> matching = MatchingPixelRules(dataset, own);
  return !matching.empty() && matching.front() == &own.front();
}

TEST(PixelRulesTest, EveryKeyThatARuleHasMustFit) {
  DcmDataset dataset;
  PutSonogram(dataset);
  for (const PixelRule& rule :
       std::vector<PixelRule>{{.modality = "us"},
                              {.sop_class = UID_UltrasoundImageStorage},
                              {.manufacturer = "acme*"},
                              {.manufacturer = "*MED*al"},
                              {.model = "*plus"},
                              {.modality = "US", .software = "4.*"},
                              {.modality = "US", .image_type = {"PRIMARY", "ABDOMINAL"}},
                              {.modality = "US", .rows = kRows, .columns = kColumns}}) {
    EXPECT_TRUE(Fits(dataset, rule));
  }
  for (const PixelRule& rule :
       std::vector<PixelRule>{{.modality = "CT"},
                              {.manufacturer = "acme"},
                              {.manufacturer = "*medic"},
                              {.model = "sono*5*5*"},
                              {.modality = "US", .software = "5.*"},
                              {.modality = "US", .image_type = {"PRIMARY", "SECONDARY"}},
                              {.modality = "US", .rows = kColumns}}) {
    EXPECT_FALSE(Fits(dataset, rule));
  }
}

TEST(PixelRulesTest, BandsPlacesAndWhatIsKeptBecomeBoxes) {
  const auto area = [](const PixelRule& rule) { return Area(BoxesOf(rule, kRows, kColumns)); };
  EXPECT_EQ(area({.top = 3}), 3 * kColumns);
  EXPECT_EQ(area({.bottom = 4, .right = 5}), 4 * kColumns + 5 * (kRows - 4));
  EXPECT_EQ(BoxesOf({.bottom = 4}, kRows, kColumns)[0], (PixelBox{kRows - 4, 0, 4, kColumns}));
  EXPECT_EQ(area({.blacken = {{1, 2, 3, 4}}}), 12);
  EXPECT_EQ(area({.keep = {{10, 10, 20, 30}, {15, 20, 20, 30}}}),
            kRows * kColumns - (20 * 30 + 20 * 30 - 15 * 20));
  EXPECT_EQ(area({.blacken = {{10, 10, 2, 2}}, .keep = {{10, 10, 20, 30}}}),
            kRows * kColumns - 20 * 30 + 4);
}

TEST(PixelRulesTest, OursAreSoundAndKnowTheirDevices) {
  std::set<std::string> names;
  for (const PixelRule& rule : BuiltInPixelRules()) {
    EXPECT_TRUE(CheckPixelRule(rule).ok()) << rule.name;
    EXPECT_TRUE(names.insert(rule.name).second) << rule.name;
    EXPECT_LT(rule.top, rule.rows / 3) << rule.name;  // a band, not the picture
  }
  EXPECT_GT(names.size(), 40u);
  DcmDataset dataset;
  PutSonogram(dataset);
  EXPECT_TRUE(MatchingPixelRules(dataset, {}).empty());
  Put(dataset, DCM_Manufacturer, "Philips Medical Systems");
  Put(dataset, DCM_ManufacturerModelName, "iU22");
  ASSERT_TRUE(dataset.putAndInsertUint16(DCM_Rows, 600).good());
  const std::vector<const PixelRule*> matching = MatchingPixelRules(dataset, {});
  ASSERT_EQ(matching.size(), 1u);
  EXPECT_EQ(matching[0]->name, "us-philips-iu22-600");
}

TEST(PixelRulesTest, HostileRegionsKeepNothingThatIsNotThere) {
  DcmDataset dataset;
  EXPECT_FALSE(OutsideUltrasoundRegions(dataset, kRows, kColumns).has_value());
  PutRegion(dataset, 0xFFFFFFFF, 0, 0xFFFFFFFF, 10);
  PutRegion(dataset, 20, 30, 10, 40);
  PutRegion(dataset, 10, kRows, 20, kRows + 5);
  EXPECT_EQ(Area(*OutsideUltrasoundRegions(dataset, kRows, kColumns)), kRows * kColumns);
  PutRegion(dataset, 10, 10, 0xFFFFFFFF, 0xFFFFFFFF);
  EXPECT_EQ(Area(*OutsideUltrasoundRegions(dataset, kRows, kColumns)),
            kRows * kColumns - (kRows - 10) * (kColumns - 10));
}

class PixelRulesFileTest : public testing::Test {
 protected:
  absl::StatusOr<DeidReport> Run(DcmFileFormat& file, const DeidProfile& profile) {
    const std::string in = JoinPath(dir_.path(), "in.dcm"), out = JoinPath(dir_.path(), "out.dcm");
    EXPECT_TRUE(file.saveFile(in.c_str(), EXS_LittleEndianExplicit).good());
    const auto deid = Deidentifier::Create(
        {.site_key = SecretBytes(std::string(kSiteKeyBytes, 'k')), .profile = profile});
    const auto report = deid->Deidentify(in, out, PatientTokens());
    if (report.ok()) {
      EXPECT_TRUE(out_.loadFile(out.c_str()).good());
    }
    return report;
  }
  // Of the written picture.
  int Black() {
    const Uint8* pixels = nullptr;
    unsigned long count = 0;
    EXPECT_TRUE(out_.getDataset()->findAndGetUint8Array(DCM_PixelData, pixels, &count).good());
    return static_cast<int>(std::count(pixels, pixels + count, 0));
  }

  TempDir dir_ = TempDir::Create("pixel_rules").value();
  DcmFileFormat out_;
};

TEST_F(PixelRulesFileTest, BlackensByRuleAndCountsByName) {
  DcmFileFormat file;
  PutSonogram(*file.getDataset());
  PutRegion(*file.getDataset(), 0, 10, kColumns - 1, kRows - 1);
  DeidProfile profile;
  profile.pixels = PixelPolicy::kBlackout;
  profile.pixel_regions = {{.name = "foot", .modality = "US", .rows = kRows, .bottom = 7},
                           {.name = "other", .modality = "CT", .rows = kRows, .bottom = 9}};
  const auto report = Run(file, profile);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->pixel_rules,
            (std::map<std::string, int64_t>{{"foot", 1}, {"ultrasound-regions", 1}}));
  EXPECT_EQ(report->pictures_blackened, 1);
  EXPECT_EQ(Black(), (10 + 7) * kColumns);
  DeidReport sum = *report;
  sum.Add(*report);
  EXPECT_EQ(sum.pixel_rules["foot"], 2);
}

TEST_F(PixelRulesFileTest, RulesSeeAllTheyAskForWhenAFileIsJudged) {
  DcmFileFormat file;
  PutSonogram(*file.getDataset());
  Put(*file.getDataset(), DCM_SOPClassUID, UID_CTImageStorage);
  for (const PixelRule& rule :
       std::vector<PixelRule>{{.modality = "US"},
                              {.sop_class = UID_CTImageStorage},
                              {.manufacturer = "acme*"},
                              {.model = "sono*"},
                              {.modality = "US", .software = "VE1"},
                              {.modality = "US", .image_type = {"PRIMARY"}}}) {
    DeidProfile profile;
    profile.pixel_regions = {rule};
    EXPECT_TRUE(absl::IsFailedPrecondition(Run(file, profile).status()));
  }
}

TEST_F(PixelRulesFileTest, ADeviceThatWritesIntoItsScansIsNoLongerTaken) {
  DcmFileFormat file;
  PutSonogram(*file.getDataset());
  Put(*file.getDataset(), DCM_SOPClassUID, UID_CTImageStorage);
  Put(*file.getDataset(), DCM_Modality, "CT");
  DeidProfile profile;
  ASSERT_TRUE(Run(file, profile).ok());
  profile.pixel_regions = {{.name = "corner",
                            .modality = "CT",
                            .rows = kRows,
                            .columns = kColumns,
                            .blacken = {{0, 0, 5, 6}}}};
  EXPECT_TRUE(absl::IsFailedPrecondition(Run(file, profile).status()));
  profile.pixels = PixelPolicy::kBlackout;
  ASSERT_TRUE(Run(file, profile).ok());
  EXPECT_EQ(Black(), 30);
}

}  // namespace
}  // namespace consilium::privacy
