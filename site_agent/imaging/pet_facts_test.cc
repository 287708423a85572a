#include "site_agent/imaging/pet_facts.h"

#include <cmath>
#include <functional>

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "gtest/gtest.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "site_agent/imaging/test_series.h"

namespace consilium::imaging {
namespace {

void Put(DcmItem& item, const DcmTagKey& key, const char* value) {
  CSL_CHECK(item.putAndInsertString(key, value).good());
}

DcmItem& Given(DcmDataset& dataset) {
  DcmItem* item = nullptr;
  CSL_CHECK(
      dataset.findOrCreateSequenceItem(DCM_RadiopharmaceuticalInformationSequence, item).good());
  return *item;
}

PetFacts FactsWith(const std::function<void(DcmDataset&, int64_t)>& change = {}) {
  const TempDir folder = TempDir::Create("pet").value();
  TestSeries series;
  series.change = [&](DcmDataset& dataset, int64_t slice) {
    PutPet(dataset, slice);
    if (change) change(dataset, slice);
  };
  return ReadPetFacts(WriteTestSeries(series, folder.path())).value();
}

TEST(PetFactsTest, SuvIsWeightOverTheDoseThatIsLeft) {
  const PetFacts facts = FactsWith();
  EXPECT_EQ(facts.units, "BQML");
  EXPECT_EQ(facts.suv_refusal, "");
  const double left = 350e6 * std::exp2(-3600 / 6586.2);
  EXPECT_NEAR(facts.suv_factor, 70000 / left, 1e-15);
  EXPECT_NEAR(facts.suv_factor, 2.9212e-4, 1e-7);  // by hand: 350 MBq leave 239.63
}

TEST(PetFactsTest, OtherWaysOfSayingIt) {
  const double wanted = FactsWith().suv_factor;
  // Only the time of day, of a nuclide that is gone the next day.
  EXPECT_EQ(FactsWith([](DcmDataset& d, int64_t) {
              delete Given(d).remove(DCM_RadiopharmaceuticalStartDateTime);
            }).suv_factor,
            wanted);
  EXPECT_EQ(FactsWith([](DcmDataset& d, int64_t) {
              Put(d, DCM_TimezoneOffsetFromUTC, "+0100");
              Put(Given(d), DCM_RadiopharmaceuticalStartDateTime, "20200304103000+0100");
            }).suv_factor,
            wanted);
  EXPECT_EQ(
      FactsWith([](DcmDataset& d, int64_t) { Put(d, DCM_DecayCorrection, "ADMIN"); }).suv_factor,
      70000 / 350e6);
  EXPECT_EQ(FactsWith([](DcmDataset& d, int64_t) { Put(d, DCM_Units, "GML"); }).suv_factor, 1);
}

TEST(PetFactsTest, NothingIsGuessed) {
  const struct {
    const char* refusal;
    std::function<void(DcmDataset&, int64_t)> change;
  } cases[] = {
      {"units that are not BQML", [](auto& d, int64_t) { Put(d, DCM_Units, "CNTS"); }},
      {"SUV of another type than body weight",
       [](auto& d, int64_t) {
         Put(d, DCM_Units, "GML");
         Put(d, DCM_SUVType, "LBM");
       }},
      {"not corrected for attenuation",
       [](auto& d, int64_t) { Put(d, DCM_CorrectedImage, "DECY"); }},
      {"not corrected for decay", [](auto& d, int64_t) { Put(d, DCM_CorrectedImage, "ATTN"); }},
      {"no weight of the patient", [](auto& d, int64_t) { delete d.remove(DCM_PatientWeight); }},
      {"no weight of the patient", [](auto& d, int64_t) { Put(d, DCM_PatientWeight, "0"); }},
      {"not one radiopharmaceutical",
       [](auto& d, int64_t) { delete d.remove(DCM_RadiopharmaceuticalInformationSequence); }},
      {"no total dose in Bq",
       [](auto& d, int64_t) { Put(Given(d), DCM_RadionuclideTotalDose, "350"); }},
      {"no half-life", [](auto& d, int64_t) { delete Given(d).remove(DCM_RadionuclideHalfLife); }},
      {"decay corrected to an unknown moment",
       [](auto& d, int64_t) { Put(d, DCM_DecayCorrection, "NONE"); }},
      {"no time of the injection",
       [](auto& d, int64_t) {
         delete Given(d).remove(DCM_RadiopharmaceuticalStartDateTime);
         delete Given(d).remove(DCM_RadiopharmaceuticalStartTime);
       }},
      {"no date of the injection",  // Zr-89: imaged days later
       [](auto& d, int64_t) {
         delete Given(d).remove(DCM_RadiopharmaceuticalStartDateTime);
         Put(Given(d), DCM_RadionuclideHalfLife, "282240");
       }},
      {"a time of the injection that cannot be read",
       [](auto& d, int64_t) {
         Put(Given(d), DCM_RadiopharmaceuticalStartDateTime, "20201304103000");
       }},
      {"the injection's time is of another time zone",
       [](auto& d, int64_t) {
         Put(Given(d), DCM_RadiopharmaceuticalStartDateTime, "20200304103000+0100");
       }},
      {"an injection after the scan",
       [](auto& d, int64_t) {
         Put(Given(d), DCM_RadiopharmaceuticalStartDateTime, "20200304120000");
       }},
      {"an injection long before the scan",
       [](auto& d, int64_t) {
         Put(Given(d), DCM_RadiopharmaceuticalStartDateTime, "20190304120000");
       }},
      {"the series' time is not that of its acquisition",
       [](auto& d, int64_t) { Put(d, DCM_SeriesTime, "140000"); }},
      {"no date and time of the series", [](auto& d, int64_t) { Put(d, DCM_SeriesDate, ""); }},
      {"images without a time",
       [](auto& d, int64_t slice) {
         if (slice == 2) delete d.remove(DCM_AcquisitionTime);
       }},
      {"images that disagree on unit, dose, weight or time",
       [](auto& d, int64_t slice) {
         if (slice == 4) Put(d, DCM_PatientWeight, "71");
       }},
  };
  for (const auto& c : cases) {
    const PetFacts facts = FactsWith(c.change);
    EXPECT_EQ(facts.suv_factor, 0) << c.refusal;
    EXPECT_EQ(facts.suv_refusal, c.refusal);
  }
}

TEST(PetFactsTest, UnitsOfAStrangerAreNotRepeated) {
  EXPECT_EQ(FactsWith([](auto& d, int64_t) { Put(d, DCM_Units, "DOE^JANE"); }).units, "other");
}

}  // namespace
}  // namespace consilium::imaging
