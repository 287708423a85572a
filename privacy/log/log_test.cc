#include "privacy/log/log.h"

#include <unistd.h>

#include <limits>
#include <thread>
#include <type_traits>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"

namespace consilium::privacy {
namespace {

using Key = LogField::Key;
using nlohmann::json;

// Sends the log into a file for the life of a test.
class LogTest : public testing::Test {
 protected:
  LogTest() {
    EXPECT_NE(file_, nullptr);
    SetLogFile(fileno(file_));
  }
  ~LogTest() override {
    SetLogFile(STDERR_FILENO);
    SetLogLevel(LogLevel::kInfo);
    SetLogProgram("");
    fclose(file_);
  }

  std::string Written() {
    std::string text(1 << 20, '\0');
    const ssize_t size = pread(fileno(file_), text.data(), text.size(), 0);
    text.resize(size < 0 ? 0 : static_cast<size_t>(size));
    return text;
  }

  std::vector<json> Lines() {
    std::vector<json> lines;
    for (const absl::string_view line : absl::StrSplit(Written(), '\n', absl::SkipEmpty())) {
      lines.push_back(json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false));
      EXPECT_TRUE(lines.back().is_object()) << line;
    }
    return lines;
  }

  // The value of the one field of the one line.
  json ValueOf(const LogField& field, const char* key) {
    Log(LogLevel::kInfo, "one field", {field});
    return Lines().back()[key];
  }

 private:
  FILE* const file_ = tmpfile();
};

TEST_F(LogTest, OneLineHoldsTimeLevelMessageProgramAndFields) {
  SetLogProgram("consilium-coordinator");
  Log(LogLevel::kWarning, "update refused",
      {{Key::kSite, "site-a"}, {Key::kRound, 7}, {Key::kLoss, 0.25}, {Key::kBytes, uint64_t{9}}});
  ASSERT_EQ(Lines().size(), 1u);
  const json line = Lines()[0];
  EXPECT_THAT(std::string(line["ts"]), testing::MatchesRegex("....-..-..T..:..:..\\....Z"));
  EXPECT_EQ(line["level"], "warning");
  EXPECT_EQ(line["msg"], "update refused");
  EXPECT_EQ(line["program"], "consilium-coordinator");
  EXPECT_EQ(line["site"], "site-a");
  EXPECT_EQ(line["round"], 7);
  EXPECT_EQ(line["loss"], 0.25);
  EXPECT_EQ(line["bytes"], 9);
  EXPECT_EQ(line.size(), 8u);
}

TEST_F(LogTest, LevelsBelowTheChosenOneAreNotWritten) {
  Log(LogLevel::kDebug, "hidden");
  SetLogLevel(LogLevel::kError);
  Log(LogLevel::kWarning, "hidden");
  Log(LogLevel::kError, "shown");
  EXPECT_EQ(Lines().size(), 1u);
}

TEST_F(LogTest, ReasonCannotStartALineOrAField) {
  constexpr char kAttack[] = "x\",\"site\":\"evil\"}\n{\"msg\":\"forged\"}\r\x1b[2J\x7f\0\\";
  const std::string attack(kAttack, sizeof(kAttack) - 1);
  Log(LogLevel::kInfo, "refused", {{Key::kReason, attack}});
  ASSERT_EQ(Lines().size(), 1u);
  EXPECT_EQ(Lines()[0]["reason"], attack);
  EXPECT_FALSE(Lines()[0].contains("site"));
  std::string written = Written();
  written.pop_back();
  for (const char c : written) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << static_cast<int>(c);
}

TEST_F(LogTest, ForeignBytesBecomePrintableAscii) {
  EXPECT_EQ(ValueOf({Key::kReason, "\xff\xfe"}, "reason"), "\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(ValueOf({Key::kReason, "\xe2\x80\xae right to left"}, "reason"),
            "\xe2\x80\xae right to left");
  for (const char c : Written()) EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f));
}

TEST_F(LogTest, TextIsCutTo200Bytes) {
  EXPECT_EQ(std::string(ValueOf({Key::kReason, std::string(5000, 'a')}, "reason")).size(), 200u);
  EXPECT_EQ(std::string(ValueOf({Key::kDigest, std::string(5000, 'a')}, "digest")).size(), 200u);
  // The cut falls inside the two bytes of a letter.
  const std::string split = std::string(199, 'a') + "\xc3\xa4";
  EXPECT_EQ(ValueOf({Key::kReason, split}, "reason"), std::string(199, 'a') + "\xef\xbf\xbd");
}

TEST_F(LogTest, NamesHoldWhatNamesHold) {
  EXPECT_EQ(ValueOf({Key::kPeer, "ipv6:[::1]:7443"}, "peer"), "ipv6:[::1]:7443");
  EXPECT_EQ(ValueOf({Key::kCase, "case-0007"}, "case"), "case-0007");
  EXPECT_EQ(ValueOf({Key::kCase, "DOE^JANE"}, "case"), "[refused]");
  EXPECT_EQ(ValueOf({Key::kCase, "Jane Doe"}, "case"), "[refused]");
  EXPECT_EQ(ValueOf({Key::kSite, "a\nb"}, "site"), "[refused]");
  EXPECT_EQ(ValueOf({Key::kSite, "M\xc3\xbcnchen"}, "site"), "[refused]");
}

TEST_F(LogTest, ValuesOfTheWrongKindAreRefused) {
  EXPECT_EQ(ValueOf({Key::kCount, "Jane"}, "count"), "[refused]");
  EXPECT_EQ(ValueOf({Key::kCase, 4711}, "case"), "[refused]");
  EXPECT_EQ(ValueOf({Key::kReason, 1.5}, "reason"), "[refused]");
  EXPECT_EQ(ValueOf({Key::kVersion, 12}, "version"), 12);
  EXPECT_EQ(ValueOf({Key::kVersion, "v12"}, "version"), "v12");
  EXPECT_EQ(ValueOf({Key::kCode, "INVALID_ARGUMENT"}, "code"), "INVALID_ARGUMENT");
}

TEST_F(LogTest, NumbersOutsideJsonKeepTheLineValid) {
  EXPECT_EQ(ValueOf({Key::kLoss, std::numeric_limits<double>::quiet_NaN()}, "loss"), "nan");
  EXPECT_EQ(ValueOf({Key::kLoss, -std::numeric_limits<double>::infinity()}, "loss"), "-inf");
  EXPECT_EQ(ValueOf({Key::kLoss, 1e300}, "loss"), 1e300);
  EXPECT_EQ(ValueOf({Key::kLoss, 0.5f}, "loss"), 0.5);
  EXPECT_EQ(ValueOf({Key::kCount, std::numeric_limits<int64_t>::min()}, "count"),
            std::numeric_limits<int64_t>::min());
  EXPECT_EQ(ValueOf({Key::kBytes, std::numeric_limits<uint64_t>::max()}, "bytes"),
            std::numeric_limits<int64_t>::max());
}

TEST_F(LogTest, ProgramFieldStandsForTheOwnName) {
  SetLogProgram("consilium-agent");
  Log(LogLevel::kInfo, "peer", {{Key::kProgram, "consilium-coordinator"}});
  EXPECT_EQ(Written().find("consilium-agent"), std::string::npos);
  EXPECT_EQ(Lines()[0]["program"], "consilium-coordinator");
}

TEST_F(LogTest, LinesOfManyThreadsStayWhole) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 250; ++i) {
        Log(LogLevel::kInfo, "from a thread", {{Key::kStep, i}, {Key::kTask, t}});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Lines().size(), 1000u);
}

TEST_F(LogTest, LineThatCannotBeWrittenIsLost) {
  SetLogFile(-1);
  Log(LogLevel::kError, "nowhere to go");
  EXPECT_EQ(Written(), "");
}

// The literal is what the type allows; none of these may compile.
static_assert(!std::is_constructible_v<LogMessage, std::string>);
static_assert(!std::is_constructible_v<LogMessage, const char*>);
static_assert(!std::is_constructible_v<LogField, Key, bool>);

}  // namespace
}  // namespace consilium::privacy
