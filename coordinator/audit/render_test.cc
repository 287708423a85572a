#include "coordinator/audit/render.h"

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "coordinator/audit/csv.h"
#include "coordinator/audit/export_verifier.h"
#include "coordinator/audit/pdf.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/file.h"
#include "tests/support/signed_log.h"

namespace consilium::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing::SignedLog;

TEST(CsvTest, QuotesAsRfc4180AndDisarmsFormulas) {
  EXPECT_EQ(CsvCell("plain"), "plain");
  EXPECT_EQ(CsvCell("a,b"), "\"a,b\"");
  EXPECT_EQ(CsvCell("say \"x\""), "\"say \"\"x\"\"\"");
  EXPECT_EQ(CsvCell("two\nlines"), "\"two\nlines\"");
  for (const char* formula : {"=1+1", "+1", "-1", "@SUM(A1)", "\tx"}) {
    EXPECT_EQ(CsvCell(formula), absl::StrCat("'", formula));
  }
  EXPECT_EQ(CsvCell("\r=x"), "\"'\r=x\"");
  EXPECT_EQ(CsvLine({"a", "=b,c"}), "a,\"'=b,c\"\r\n");
}

class RenderTest : public ::testing::Test {
 protected:
  RenderTest() : dir_(*TempDir::Create("render")) {
    log_.AddEvent("site.approve", 1'700'000'000'000'000, "=cmd|' /C calc'!A0");
    log_.AddEvent("site.revoke", 1'700'000'001'000'000, "Schl\u00fcssel verloren \u4e2d");
    log_.Fill(200);
    const std::string text =
        log_.Export(0, 200, "all but one", [](uint64_t i) { return i != 100; });
    job_ = {.jsonl_path = JoinPath(dir_.path(), "a.jsonl"),
            .jsonl_sha256 = privacy::Sha256Hex(text),
            .out_path = JoinPath(dir_.path(), "out"),
            .made = absl::FromUnixSeconds(1'800'000'000),
            .on_entry = {}};
    EXPECT_TRUE(WriteFileAtomic(job_.jsonl_path, text).ok());
    report_ = *VerifyExport(TextSource(text), *privacy::Policy::Parse(log_.Policy(2)), "");
  }
  std::string Out() { return *ReadFile(job_.out_path, 10 << 20); }

  TempDir dir_;
  SignedLog log_;
  RenderJob job_;
  AuditReport report_;
};

TEST_F(RenderTest, CsvHasARowForEachEntryAndNamesItsSource) {
  ASSERT_TRUE(RenderCsv(job_, report_).ok());
  const std::string csv = Out();
  EXPECT_THAT(csv, StartsWith("index,time,actor,action,outcome,about,detail,entry\r\n0,2023-11-"));
  EXPECT_THAT(csv, HasSubstr(",'=cmd|' /C calc'!A0,"));
  EXPECT_THAT(csv, HasSubstr(job_.jsonl_sha256));
  EXPECT_THAT(csv, HasSubstr("199 shown, 1 withheld"));
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\r'), 199 + 2);
}

TEST_F(RenderTest, PdfIsReadableAndNamesItsSourceOnEveryPage) {
  ASSERT_TRUE(RenderPdf(job_, report_).ok());
  const std::string pdf = Out();
  EXPECT_THAT(pdf, StartsWith("%PDF-"));
  EXPECT_THAT(pdf, HasSubstr("%%EOF"));
  if (std::system("command -v pdftotext >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "no pdftotext: the text of the PDF is not checked";
  }
  const std::string text_path = JoinPath(dir_.path(), "text");
  ASSERT_EQ(std::system(absl::StrCat("pdftotext -layout ", job_.out_path, " ", text_path).c_str()),
            0);
  const std::string text = *ReadFile(text_path, 10 << 20);
  const auto count = [&text](const std::string& word) {
    int found = 0;
    for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++found;
    return found;
  };
  const int pages = static_cast<int>(std::count(text.begin(), text.end(), '\f'));
  EXPECT_GT(pages, 2);
  EXPECT_EQ(count(job_.jsonl_sha256), pages);
  EXPECT_EQ(count(report_.root), pages);
  EXPECT_EQ(count(absl::StrCat(" of ", pages)), pages);
  EXPECT_EQ(count("round.commit"), 197);
  EXPECT_THAT(text, HasSubstr("Schl\u00fcssel verloren ?"));
  EXPECT_THAT(text, HasSubstr("1 withheld"));
}

TEST_F(RenderTest, DamagedSourceLeavesNoFile) {
  ASSERT_TRUE(WriteFileAtomic(job_.jsonl_path, "{\"consilium\n").ok());
  EXPECT_FALSE(RenderCsv(job_, report_).ok());
  EXPECT_FALSE(RenderPdf(job_, report_).ok());
  EXPECT_FALSE(PathExists(job_.out_path));
}

}  // namespace
}  // namespace consilium::coordinator
