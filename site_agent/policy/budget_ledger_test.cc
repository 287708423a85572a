#include "site_agent/policy/budget_ledger.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"
#include "site_agent/policy/judge.h"
#include "tests/support/sim_clock.h"

namespace consilium::agent {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// One unit a step, whatever else: what is counted, not how, is tested here.
double Compose(const std::vector<BudgetPart>& parts, double) {
  double sum = 0;
  for (const BudgetPart& part : parts) sum += static_cast<double>(part.steps);
  return sum;
}

const std::vector<std::string> kPatients = {"pseudonym-anna", "pseudonym-ben"};
const PatientBudget kTwenty = {.epsilon = 20, .delta = 1e-5};
const PatientBudget kUnlimited = {};

Charge ChargeOf(const std::string& study, int64_t steps) {
  return {study, 1, "train/1", {Mechanism::kGaussian, 0.5, 1.5, steps}, 1e-5};
}

class BudgetLedgerTest : public ::testing::Test {
 protected:
  std::unique_ptr<BudgetLedger> Open() {
    auto ledger = BudgetLedger::Open(home(), Compose, clock_);
    EXPECT_TRUE(ledger.ok()) << ledger.status();
    return ledger.ok() ? *std::move(ledger) : nullptr;
  }
  absl::Status OpenError() { return BudgetLedger::Open(home(), Compose, clock_).status(); }
  absl::Status ReadError() { return BudgetLedger::OpenToRead(home(), Compose, clock_).status(); }
  std::string Path(const std::string& name) const { return JoinPath(home(), "policy/" + name); }
  void Copy(const std::string& from, const std::string& to) {
    fs::remove_all(to);
    fs::copy(from, to, fs::copy_options::recursive);
  }
  std::string home() const { return dir_.path(); }
  TempDir dir_ = *TempDir::Create("budget");
  TempDir aside_ = *TempDir::Create("budget-aside");
  testing::SimClock clock_;
};

TEST_F(BudgetLedgerTest, WhatWasReservedIsSpentUntilItIsSettledOverRestarts) {
  uint64_t reservation = 0;
  {
    auto ledger = Open();
    const auto reserved = ledger->Reserve(kPatients, ChargeOf("liver", 10), kTwenty);
    ASSERT_TRUE(reserved.ok()) << reserved.status();
    reservation = *reserved;
    EXPECT_EQ(ledger->SpentBy(kPatients, 1e-5), 10);
  }
  {
    auto ledger = Open();  // it was killed: all that it reserved counts
    EXPECT_EQ(ledger->SpentBy(kPatients, 1e-5), 10);
    ASSERT_TRUE(ledger->Settle(reservation, 4).ok());
    EXPECT_TRUE(ledger->Settle(reservation, 4).ok());
    EXPECT_TRUE(absl::IsAlreadyExists(ledger->Settle(reservation, 3)));
    EXPECT_TRUE(absl::IsNotFound(ledger->Settle(99, 3)));
    EXPECT_EQ(ledger->SpentBy(kPatients, 1e-5), 4);
  }
  EXPECT_EQ(Open()->SpentBy(kPatients, 1e-5), 4);
}

TEST_F(BudgetLedgerTest, ATrainingBegunAgainIsCountedAgain) {
  auto ledger = Open();
  ASSERT_TRUE(ledger->Reserve(kPatients, ChargeOf("liver", 10), kTwenty).ok());
  ASSERT_TRUE(ledger->Reserve(kPatients, ChargeOf("liver", 10), kTwenty).ok());
  EXPECT_EQ(ledger->SpentBy(kPatients, 1e-5), 20);
}

TEST_F(BudgetLedgerTest, TheBudgetIsAHardStopAcrossStudies) {
  auto ledger = Open();
  ASSERT_TRUE(ledger->Reserve({"a", "b"}, ChargeOf("liver", 15), kTwenty).ok());
  const auto before = ReadFile(Path("ledger/checkpoint"), 1 << 20);
  const auto refused = ledger->Reserve({"b", "c"}, ChargeOf("heart", 6), kTwenty);
  const auto refusal = RefusalIn(refused.status());
  ASSERT_TRUE(refusal) << refused.status();
  EXPECT_EQ(
      refusal->text,
      "site policy (budget.epsilon): wants at most 20 of a patient (delta 1e-05); got 21.000; "
      "spent so far: 15.000");
  EXPECT_FALSE(refusal->retry_at);
  EXPECT_EQ(*ReadFile(Path("ledger/checkpoint"), 1 << 20), *before);  // nothing was written
  EXPECT_EQ(ledger->SpentBy({"c"}, 1e-5), 0);
  EXPECT_TRUE(
      ledger->Reserve({"b", "c"}, ChargeOf("heart", 5), kTwenty).ok());  // to the last digit
  EXPECT_TRUE(ledger->Reserve({"c"}, ChargeOf("heart", 6), kTwenty).ok());
}

TEST_F(BudgetLedgerTest, SaysWhatIsStillAffordable) {
  auto ledger = Open();
  ASSERT_TRUE(ledger->Reserve({"a"}, ChargeOf("liver", 15), kTwenty).ok());
  const BudgetPart part = ChargeOf("heart", 100).part;
  EXPECT_EQ(ledger->AffordableSteps({"a", "b"}, part, kTwenty), 5);
  EXPECT_EQ(ledger->AffordableSteps({"b"}, part, kTwenty), 20);
  EXPECT_EQ(ledger->AffordableSteps({"a"}, part, kUnlimited), 100);
  EXPECT_EQ(ledger->AffordableSteps({"a"}, part, {.epsilon = 15}), 0);
  EXPECT_THAT(ledger->WithinBudget({"b", "a", "c"}, ChargeOf("heart", 6).part, kTwenty),
              ElementsAre("b", "c"));
}

TEST_F(BudgetLedgerTest, WithoutALimitItStillCounts) {
  auto ledger = Open();
  ASSERT_TRUE(ledger->Reserve({"a"}, ChargeOf("liver", 1'000'000), kUnlimited).ok());
  EXPECT_EQ(ledger->SpentBy({"a"}, 1e-5), 1'000'000);
}

TEST_F(BudgetLedgerTest, NoPseudonymIsInAnyFileAndNoFileOpenToOthers) {
  {
    auto ledger = Open();
    ASSERT_TRUE(ledger->Reserve(kPatients, ChargeOf("liver", 10), kTwenty).ok());
    const std::string report = BudgetToJson(ledger->Report(kTwenty));
    EXPECT_FALSE(absl::StrContains(report, "pseudonym"));
  }
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(home())) {
    if (!entry.is_regular_file()) continue;
    ++files;
    EXPECT_FALSE(absl::StrContains(*ReadFile(entry.path(), 1 << 20), "pseudonym"));
  }
  EXPECT_GE(files, 6);
  struct stat info;
  ASSERT_EQ(::stat(Path("patients.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 077, 0u);
  ::chmod(Path("patients.key").c_str(), 0644);
  EXPECT_TRUE(absl::IsFailedPrecondition(OpenError()));
}

TEST_F(BudgetLedgerTest, TagsDifferBetweenHomes) {
  const TempDir other = *TempDir::Create("budget-other");
  std::set<std::string> cohorts;
  for (const std::string& at : {home(), other.path()}) {
    auto ledger = *BudgetLedger::Open(at, Compose, clock_);
    ASSERT_TRUE(ledger->Reserve({"a"}, ChargeOf("liver", 1), kUnlimited).ok());
    const auto log = *privacy::FileLog::OpenToRead(JoinPath(at, "policy/ledger"));
    const auto json = nlohmann::json::parse(*log->Entry(1));
    cohorts.insert(json["cohort"].get<std::string>());
    cohorts.insert(json["patients"].get<std::string>());
  }
  EXPECT_EQ(cohorts.size(), 4u);
}

TEST_F(BudgetLedgerTest, ALedgerThatWasSetBackIsRefused) {
  {
    auto ledger = Open();
    ASSERT_TRUE(ledger->Reserve(kPatients, ChargeOf("liver", 10), kTwenty).ok());
  }
  Copy(Path("ledger"), aside_.path() + "/old");
  ASSERT_TRUE(Open()->Reserve(kPatients, ChargeOf("liver", 5), kTwenty).ok());
  Copy(Path("ledger"), aside_.path() + "/new");

  Copy(aside_.path() + "/old", Path("ledger"));
  const absl::Status back = OpenError();
  EXPECT_TRUE(absl::IsDataLoss(back)) << back;
  EXPECT_THAT(std::string(back.message()),
              HasSubstr("it has 3 entries and had 4: it was rolled back"));
  EXPECT_TRUE(absl::IsDataLoss(ReadError()));

  fs::remove_all(Path("ledger"));
  EXPECT_THAT(std::string(OpenError().message()), HasSubstr("its entries are gone"));
  EXPECT_TRUE(absl::IsDataLoss(ReadError()));
  EXPECT_FALSE(PathExists(Path("ledger")));  // no new one in its place

  Copy(aside_.path() + "/new", Path("ledger"));
  EXPECT_EQ(Open()->SpentBy(kPatients, 1e-5), 15);
}

TEST_F(BudgetLedgerTest, ALedgerThatGrewDifferentlyIsRefused) {
  ASSERT_TRUE(Open()->Reserve(kPatients, ChargeOf("liver", 10), kTwenty).ok());
  Copy(Path("ledger"), aside_.path() + "/old");
  const std::string old_head = *ReadFile(Path("ledger.head"), 1 << 20);
  ASSERT_TRUE(Open()->Reserve(kPatients, ChargeOf("liver", 5), kTwenty).ok());
  const std::string new_head = *ReadFile(Path("ledger.head"), 1 << 20);
  // The other branch: from the old one, something cheaper, and longer than what was.
  Copy(aside_.path() + "/old", Path("ledger"));
  ASSERT_TRUE(WriteFileAtomic(Path("ledger.head"), old_head).ok());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Open()->Reserve(kPatients, ChargeOf("liver", 1), kTwenty).ok());
  }
  ASSERT_TRUE(WriteFileAtomic(Path("ledger.head"), new_head).ok());
  EXPECT_THAT(std::string(OpenError().message()),
              HasSubstr("its entries are not those that ledger.head signed"));
}

TEST_F(BudgetLedgerTest, AHeadThatIsMissingForeignOrBehindIsJudged) {
  ASSERT_TRUE(Open()->Reserve(kPatients, ChargeOf("liver", 10), kTwenty).ok());
  const std::string head = *ReadFile(Path("ledger.head"), 1 << 20);
  fs::remove(Path("ledger.head"));
  EXPECT_THAT(std::string(OpenError().message()), HasSubstr("ledger.head is missing"));
  EXPECT_TRUE(absl::IsDataLoss(ReadError()));
  ASSERT_TRUE(WriteFileAtomic(Path("ledger.head"), "x\n").ok());
  EXPECT_THAT(std::string(OpenError().message()), HasSubstr("is not of this ledger"));
  // A crash between entry and head: the head is behind, which it may be, and follows.
  ASSERT_TRUE(WriteFileAtomic(Path("ledger.head"), head).ok());
  ASSERT_TRUE(Open()->Reserve(kPatients, ChargeOf("liver", 1), kTwenty).ok());
  ASSERT_TRUE(WriteFileAtomic(Path("ledger.head"), head).ok());
  EXPECT_EQ(Open()->SpentBy(kPatients, 1e-5), 11);
  EXPECT_EQ(*ReadFile(Path("ledger.head"), 1 << 20), *ReadFile(Path("ledger/checkpoint"), 1 << 20));
}

TEST_F(BudgetLedgerTest, AnotherKeyWouldMakeEverybodyNewSoItIsRefused) {
  ASSERT_TRUE(Open()->Reserve(kPatients, ChargeOf("liver", 10), kTwenty).ok());
  ASSERT_TRUE(WriteFileAtomic(Path("patients.key"), std::string(32, 'k'), kPrivateFile).ok());
  EXPECT_THAT(std::string(OpenError().message()), HasSubstr("patients.key is not the one"));
  fs::remove(Path("patients.key"));
  EXPECT_THAT(std::string(OpenError().message()), HasSubstr("patients.key is missing"));
  EXPECT_FALSE(PathExists(Path("patients.key")));
}

TEST_F(BudgetLedgerTest, AnAlteredEntryIsFound) {
  ASSERT_TRUE(Open()->Reserve(kPatients, ChargeOf("liver", 777), kUnlimited).ok());
  const std::string path = Path("ledger/tile/entries/000");
  std::string bytes = *ReadFile(path, 1 << 20);
  const size_t at = bytes.find("\"steps\":777");
  ASSERT_NE(at, std::string::npos);
  bytes[at + 8] = '1';
  std::ofstream(path, std::ios::binary) << bytes;
  EXPECT_TRUE(absl::IsDataLoss(OpenError()));
  EXPECT_TRUE(absl::IsDataLoss(ReadError()));
}

TEST_F(BudgetLedgerTest, LargeCohortsAreWrittenOnceInPieces) {
  std::vector<std::string> many;
  for (int i = 0; i < 5000; ++i) many.push_back(absl::StrCat("p", i));
  {
    auto ledger = Open();
    ASSERT_TRUE(ledger->Reserve(many, ChargeOf("liver", 1), kTwenty).ok());
    const uint64_t entries = ledger->Report(kTwenty).entries;
    EXPECT_EQ(entries, 1u + 3u + 1u);
    ASSERT_TRUE(ledger->Reserve(many, ChargeOf("liver", 1), kTwenty).ok());
    EXPECT_EQ(ledger->Report(kTwenty).entries, entries + 1);
  }
  auto ledger = Open();
  EXPECT_EQ(ledger->Report(kTwenty).patients, 5000);
  EXPECT_EQ(ledger->SpentBy({"p4999"}, 1e-5), 2);
}

TEST_F(BudgetLedgerTest, PiecesThatACrashLeftAreWrittenAgain) {
  std::vector<std::string> many;
  for (int i = 0; i < 3000; ++i) many.push_back(absl::StrCat("p", i));
  ASSERT_TRUE(Open()->Reserve({"x"}, ChargeOf("liver", 1), kTwenty).ok());
  // What stands on disk when the append of 2 pieces and the charge was cut after the first piece.
  const std::string ledger_folder = Path("ledger");
  Copy(ledger_folder, aside_.path() + "/before");
  const std::string head = *ReadFile(Path("ledger.head"), 1 << 20);
  ASSERT_TRUE(Open()->Reserve(many, ChargeOf("liver", 1), kTwenty).ok());
  ASSERT_TRUE(WriteFileAtomic(Path("ledger.head"), head).ok());
  fs::copy_file(aside_.path() + "/before/checkpoint", JoinPath(ledger_folder, "checkpoint"),
                fs::copy_options::overwrite_existing);
  fs::resize_file(JoinPath(ledger_folder, "leaves"), 4 * 32);
  auto ledger = Open();
  EXPECT_EQ(ledger->Report(kTwenty).entries, 4u);
  EXPECT_EQ(ledger->Report(kTwenty).patients, 1);
  ASSERT_TRUE(ledger->Reserve(many, ChargeOf("liver", 2), kTwenty).ok());
  ledger.reset();
  EXPECT_EQ(Open()->SpentBy(many, 1e-5), 2);
}

TEST_F(BudgetLedgerTest, ASecondWriterIsStoppedBeforeItCountsWrong) {
  auto first = Open(), second = Open();
  ASSERT_TRUE(first->Reserve(kPatients, ChargeOf("liver", 15), kTwenty).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(
      second->Reserve(kPatients, ChargeOf("liver", 15), kTwenty).status()));
  EXPECT_EQ(Open()->SpentBy(kPatients, 1e-5), 15);
}

TEST_F(BudgetLedgerTest, ReadersChangeNothing) {
  EXPECT_TRUE(absl::IsNotFound(ReadError()));
  EXPECT_FALSE(PathExists(Path("ledger")));
  ASSERT_TRUE(Open()->Reserve(kPatients, ChargeOf("liver", 15), kTwenty).ok());
  const auto reader = BudgetLedger::OpenToRead(home(), Compose, clock_);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->SpentBy(kPatients, 1e-5), 15);
  EXPECT_TRUE(absl::IsFailedPrecondition(
      (*reader)->Reserve(kPatients, ChargeOf("liver", 1), kTwenty).status()));
}

TEST_F(BudgetLedgerTest, ChargesThatMeanNothingAreNotTaken) {
  auto ledger = Open();
  EXPECT_TRUE(absl::IsInvalidArgument(ledger->Reserve({}, ChargeOf("liver", 1), kTwenty).status()));
  Charge bad = ChargeOf("liver", 1);
  bad.part.noise_multiplier = std::nan("");
  EXPECT_TRUE(absl::IsInvalidArgument(ledger->Reserve(kPatients, bad, kTwenty).status()));
}

TEST_F(BudgetLedgerTest, ReportSaysWorstPatientAndWhatIsLeft) {
  auto ledger = Open();
  ASSERT_TRUE(ledger->Reserve({"a", "b"}, ChargeOf("liver", 5), kTwenty).ok());
  ASSERT_TRUE(ledger->Reserve({"b", "c"}, ChargeOf("heart", 8), kTwenty).ok());
  auto json = nlohmann::json::parse(BudgetToJson(ledger->Report(kTwenty)));
  EXPECT_EQ(json["epsilon"], 13.0);
  EXPECT_EQ(json["remaining"], 7.0);
  EXPECT_EQ(json["patients"], 3);
  EXPECT_EQ(json["studies"][0]["study"], "heart");
  EXPECT_EQ(json["studies"][0]["epsilon"], 8.0);
  EXPECT_EQ(json["ledger"]["root"].get<std::string>().size(), 64u);
  const auto table = BudgetTable(ledger->Report(kTwenty));
  EXPECT_THAT(table.back(), ElementsAre("all (worst patient)", "2", "3", "13.000", "7.000"));

  const Charge naked{"pilot", 1, "train/9", {Mechanism::kNone, 1, 0, 1}, 0};
  ASSERT_TRUE(ledger->Reserve({"c"}, naked, kUnlimited).ok());
  json = nlohmann::json::parse(BudgetToJson(ledger->Report(kTwenty)));
  EXPECT_TRUE(json["epsilon"].is_null());
  EXPECT_EQ(json["guarantee"], false);
  EXPECT_EQ(json["remaining"], 0.0);
}

}  // namespace
}  // namespace consilium::agent
