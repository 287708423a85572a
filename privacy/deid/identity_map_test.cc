#include "privacy/deid/identity_map.h"

#include <set>

#include "gtest/gtest.h"

namespace consilium::privacy {
namespace {

IdentityMap MapWith(char key) { return IdentityMap(SecretBytes(std::string(32, key))); }

TEST(IdentityMapTest, UidsAreStableKeyedAndValid) {
  const IdentityMap map = MapWith('a');
  const std::string mapped = map.Uid("1.3.12.2.1107.5.2");
  EXPECT_EQ(mapped, map.Uid("1.3.12.2.1107.5.2"));
  EXPECT_NE(mapped, MapWith('b').Uid("1.3.12.2.1107.5.2"));
  EXPECT_EQ(mapped.substr(0, 5), "2.25.");
  EXPECT_LE(mapped.size(), 44u);
  EXPECT_EQ(mapped.find_first_not_of("0123456789."), std::string::npos);
  EXPECT_EQ(map.Uid(""), "");
}

TEST(IdentityMapTest, PurposesAndPatientsGetDifferentPseudonyms) {
  const IdentityMap map = MapWith('a');
  EXPECT_NE(map.Hex("patient", "X", 12), map.Hex("series", "X", 12));
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(map.Hex("patient", std::to_string(i), 12));
  EXPECT_EQ(seen.size(), 1000u);
}

TEST(IdentityMapTest, DatesMoveByOneToTenYearsBackForEachPatient) {
  const IdentityMap map = MapWith('a');
  for (int i = 0; i < 1000; ++i) {
    const int days = map.DateShiftDays(std::to_string(i));
    EXPECT_GE(days, -3650);
    EXPECT_LE(days, -365);
  }
}

TEST(ShiftDateTest, KeepsIntervalsAndTimes) {
  EXPECT_EQ(ShiftDate("20200301", -366), "20190301");  // over a leap day
  EXPECT_EQ(ShiftDate("20200229", -365), "20190301");
  EXPECT_EQ(ShiftDate("2020.03.01", -1), "20200229");
  EXPECT_EQ(ShiftDate("20200301101500.25+0100", -1), "20200229101500.25+0100");
}

TEST(ShiftDateTest, EmptiesWhatIsNoFullDate) {
  for (const char* text : {"", "2020", "202003", "20200431", "Smith", "20200301 Smith",
                           "2020030112345678901234567", "00010101"}) {
    EXPECT_EQ(ShiftDate(text, -1000), "") << text;
  }
}

TEST(KeepTimeTest, KeepsTimesOnly) {
  EXPECT_EQ(KeepTime("101500.000"), "101500.000");
  EXPECT_EQ(KeepTime("Smith"), "");
}

}  // namespace
}  // namespace consilium::privacy
