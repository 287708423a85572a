#include "site_agent/intake/patient_register.h"

#include <sys/stat.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/random.h"
#include "proto/base/file.h"

namespace consilium::agent {
namespace {

constexpr const char* kAda = "C0123456789ab";
constexpr const char* kBob = "Cba9876543210";

class PatientRegisterTest : public testing::Test {
 protected:
  PatientRegisterTest() : dir_(TempDir::Create("register_test").value()) {}
  const std::string& home() const { return dir_.path(); }
  std::string File() const { return JoinPath(home(), "patients.json"); }
  void Set(const std::string& patient, PatientMark mark) {
    ASSERT_TRUE(UpdateRegister(home(), [&](PatientRegister& patients) {
                  patients.Set(patient, mark);
                  return absl::OkStatus();
                }).ok());
  }

  TempDir dir_;
};

TEST_F(PatientRegisterTest, WithoutAFileEverybodyMayBeUsed) {
  const auto patients = PatientRegister::Read(home());
  ASSERT_TRUE(patients.ok());
  EXPECT_EQ(patients->Objection(kAda), std::nullopt);
}

TEST_F(PatientRegisterTest, MarksAreKeptAndSayWhy) {
  Set(kAda, PatientMark::kForgotten);
  Set(kBob, PatientMark::kOptedOut);
  const auto patients = PatientRegister::Read(home());
  ASSERT_TRUE(patients.ok()) << patients.status();
  EXPECT_EQ(patients->Objection(kAda), Withheld::kForgotten);
  EXPECT_EQ(patients->Objection(kBob), Withheld::kOptedOut);
  struct stat info;
  ASSERT_EQ(::stat(File().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(PatientRegisterTest, OnlyConsentedPatientsWhereTheSiteSaysSo) {
  Set(kAda, PatientMark::kConsented);
  auto patients = PatientRegister::Read(home()).value();
  EXPECT_EQ(patients.Objection(kBob), std::nullopt);
  patients.set_policy(PatientPolicy::kConsented);
  EXPECT_EQ(patients.Objection(kAda), std::nullopt);
  EXPECT_EQ(patients.Objection(kBob), Withheld::kNoConsent);
}

TEST_F(PatientRegisterTest, ADamagedRegisterLetsNobodyThrough) {
  Set(kAda, PatientMark::kOptedOut);
  const std::string whole = ReadFile(File(), 1 << 20).value();
  for (size_t keep = 0; keep < whole.size(); ++keep) {
    ASSERT_TRUE(WriteFileAtomic(File(), whole.substr(0, keep), kPrivateFile).ok());
    EXPECT_EQ(PatientRegister::Read(home()).status().code(), absl::StatusCode::kDataLoss) << keep;
  }
  for (const char* text : {R"({"format":1,"policy":"all"})", R"([])",
                           R"({"format":2,"patients":{},"policy":"all"})"}) {
    ASSERT_TRUE(WriteFileAtomic(File(), text, kPrivateFile).ok());
    EXPECT_TRUE(absl::IsDataLoss(PatientRegister::Read(home()).status())) << text;
  }
}

TEST_F(PatientRegisterTest, AnotherKeyAndOpenRightsAreRefused) {
  Set(kAda, PatientMark::kOptedOut);
  ASSERT_EQ(::chmod(File().c_str(), 0644), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(PatientRegister::Read(home()).status()));
  ASSERT_EQ(::chmod(File().c_str(), 0600), 0);
  EXPECT_TRUE(PatientRegister::Read(home()).ok());
  const std::string key = privacy::RandomBytes(privacy::kSiteKeyBytes);
  ASSERT_TRUE(WriteFileAtomic(JoinPath(home(), "site.key"), key, kPrivateFile).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(PatientRegister::Read(home()).status()));
}

TEST_F(PatientRegisterTest, AnErrorOfTheChangeChangesNothing) {
  Set(kAda, PatientMark::kOptedOut);
  const auto refused = UpdateRegister(home(), [](PatientRegister& patients) {
    patients.Clear(kAda);
    return absl::AbortedError("no");
  });
  EXPECT_TRUE(absl::IsAborted(refused));
  EXPECT_EQ(PatientRegister::Read(home())->Objection(kAda), Withheld::kOptedOut);
}

TEST_F(PatientRegisterTest, AViewSeesWhatChangedMeanwhile) {
  auto view = RegisterView::Open(home());
  ASSERT_TRUE(view.ok());
  EXPECT_EQ(view->Objection(kAda).value(), std::nullopt);
  Set(kAda, PatientMark::kOptedOut);
  EXPECT_EQ(view->Objection(kAda).value(), Withheld::kOptedOut);
  ASSERT_TRUE(UpdateRegister(home(), [](PatientRegister& patients) {
                patients.Clear(kAda);
                return absl::OkStatus();
              }).ok());
  EXPECT_EQ(view->Objection(kAda).value(), std::nullopt);
}

TEST(PatientListTest, TakesWhatStaffWriteAndNamesTheLineOfWhatIsNone) {
  const auto list = ParsePatientList("# opt-outs\n  00123 \r\n\nMuster, A\tKlinik\n");
  ASSERT_TRUE(list.ok());
  ASSERT_EQ(list->size(), 2u);
  EXPECT_EQ((*list)[0].id, "00123");
  EXPECT_EQ((*list)[1].id, "Muster, A");
  EXPECT_EQ((*list)[1].issuer, "Klinik");
  for (const std::string& bad : {std::string("ok\na\\b"), std::string("ok\na\tb\tc"),
                                 std::string("ok\na\x01") + "b", "ok\n" + std::string(257, 'x')}) {
    const absl::Status status = ParsePatientList(bad).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("line 2"));
    EXPECT_FALSE(absl::StrContains(status.message(), "a\\b"));
  }
}

}  // namespace
}  // namespace consilium::agent
