#include "privacy/deid/patient_tokens.h"

#include "gtest/gtest.h"

namespace consilium::privacy {
namespace {

TEST(PatientTokensTest, KnowsWhatIsLeftOfANameInAscii) {
  PatientTokens tokens;
  tokens.AddName("M\xC3\xBCllerstedt^J\xC3\xB6rg");  // Mu"llerstedt
  for (const char* text : {"Mullerstedt", "Mllerstedt", "Muellerstedt", "M?llerstedt", "Joerg"}) {
    EXPECT_TRUE(tokens.Hits(text)) << text;
  }
  EXPECT_FALSE(tokens.Hits("muller"));
}

TEST(PatientTokensTest, NamesAreFoundWhateverTheirCaseAccentsAndOrder) {
  PatientTokens tokens;
  tokens.AddName("Müller-Lüdenscheidt^Inês^^Dr");
  EXPECT_TRUE(tokens.Hits("scan of MULLER"));
  EXPECT_TRUE(tokens.Hits("ines, left"));
  EXPECT_TRUE(tokens.Hits("xLUDENSCHEIDTx"));
  EXPECT_TRUE(tokens.Hits("M\xFCller"));  // Latin-1 bytes that nobody declared
  EXPECT_FALSE(tokens.Hits("Anterior hippocampus"));
  EXPECT_EQ(tokens.Scrub("head of Inês left"), "head of  left");
  EXPECT_EQ(tokens.Scrub("Anterior hippocampus"), "Anterior hippocampus");
}

TEST(PatientTokensTest, NamesInOtherScripts) {
  PatientTokens tokens;
  tokens.AddName("Yamada^Tarou=山田^太郎=やまだ^たろう");
  tokens.AddName("Кузнецов^Иван");
  EXPECT_TRUE(tokens.Hits("患者山田太郎"));
  EXPECT_TRUE(tokens.Hits("КУЗНЕЦОВ"));
  EXPECT_FALSE(tokens.Hits("海馬"));
}

TEST(PatientTokensTest, IdentifiersAreFoundWithAndWithoutSeparators) {
  PatientTokens tokens;
  tokens.AddIdentifier("+00 555 104675");
  tokens.AddIdentifier("A-6068167");
  tokens.AddIdentifier("1");  // too short to mean anything
  EXPECT_TRUE(tokens.Hits("call 00555104675"));
  EXPECT_TRUE(tokens.Hits("a6068167_2"));
  EXPECT_TRUE(tokens.Hits("A 6068167"));
  EXPECT_EQ(tokens.Scrub("call +00 555 104675 now"), "");
  EXPECT_FALSE(tokens.Hits("1"));
  EXPECT_TRUE(tokens.IsToken("A6068167"));
  EXPECT_FALSE(tokens.IsToken("-10000.25"));
}

TEST(PatientTokensTest, PlacesKeepEverydayWords) {
  PatientTokens tokens;
  tokens.AddPlace("Reference Reading Centre");
  tokens.AddPlace("Klinikum Nordtal");
  EXPECT_FALSE(tokens.Hits("Reference image"));
  EXPECT_TRUE(tokens.Hits("reference reading centre"));
  EXPECT_TRUE(tokens.Hits("Nordtal protocol"));
}

TEST(PatientTokensTest, BytesAreSearchedForLongTokens) {
  PatientTokens tokens;
  tokens.AddName("Okafor^Li");
  EXPECT_TRUE(tokens.HitsBytes(std::string("\0\x01OKAFOR\xff", 9)));
  EXPECT_FALSE(tokens.HitsBytes("ali"));
}

TEST(PatientTokensTest, BytesAreSearchedForAccentsAndSeparatorsAsWritten) {
  PatientTokens of_file, tokens;
  of_file.AddName("Müller^Éva");
  of_file.AddIdentifier("A-606/81");
  tokens.Merge(of_file);
  EXPECT_TRUE(tokens.HitsBytes("\x01 Müller"));
  EXPECT_TRUE(tokens.HitsBytes("MÜLLER"));
  EXPECT_TRUE(tokens.HitsBytes("\xFFM\xFCller\x80"));  // Latin-1
  EXPECT_TRUE(tokens.HitsBytes("M\xDCLLER"));
  EXPECT_TRUE(tokens.HitsBytes("muller"));
  EXPECT_TRUE(tokens.HitsBytes("a-606/81"));
  EXPECT_FALSE(tokens.HitsBytes("M\xFEller"));
}

}  // namespace
}  // namespace consilium::privacy
