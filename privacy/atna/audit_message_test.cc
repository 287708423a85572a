#include "privacy/atna/audit_message.h"

#include <cstdlib>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/atna/atna_events.h"
#include "privacy/atna/syslog_frame.h"
#include "privacy/atna/test_events.h"
#include "proto/base/file.h"

namespace consilium::privacy {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const absl::Time kTime = absl::FromUnixMillis(1'700'000'000'123);
const AtnaSource kSource = {"test-federation", "north"};

TEST(AuditMessageTest, SaysWhoDidWhatToWhat) {
  EXPECT_EQ(
      EncodeAuditMessage(
          Transferred({AtnaTransfer::kUpdate, AtnaDirection::kExport, "north", "coordinator",
                       "hippo", 3, "abc"}),
          kSource, kTime),
      "<AuditMessage><EventIdentification EventActionCode=\"R\" "
      "EventDateTime=\"2023-11-14T22:13:20.123Z\" EventOutcomeIndicator=\"0\">"
      "<EventID csd-code=\"110106\" codeSystemName=\"DCM\" originalText=\"Export\"/>"
      "<EventTypeCode csd-code=\"model-update\" codeSystemName=\"99CONSILIUM\" "
      "originalText=\"Model update of one site\"/></EventIdentification>"
      "<ActiveParticipant UserID=\"north\" UserIsRequestor=\"true\">"
      "<RoleIDCode csd-code=\"110153\" codeSystemName=\"DCM\" originalText=\"Source Role ID\"/>"
      "</ActiveParticipant>"
      "<ActiveParticipant UserID=\"coordinator\" UserIsRequestor=\"false\">"
      "<RoleIDCode csd-code=\"110152\" codeSystemName=\"DCM\" originalText=\"Destination Role ID\"/>"
      "</ActiveParticipant>"
      "<AuditSourceIdentification AuditEnterpriseSiteID=\"test-federation\" "
      "AuditSourceID=\"north\"><AuditSourceTypeCode csd-code=\"4\"/></AuditSourceIdentification>"
      "<ParticipantObjectIdentification ParticipantObjectID=\"urn:sha256:abc\" "
      "ParticipantObjectTypeCode=\"2\" ParticipantObjectTypeCodeRole=\"4\" "
      "ParticipantObjectDataLifeCycle=\"8\">"
      "<ParticipantObjectIDTypeCode csd-code=\"12\" codeSystemName=\"RFC-3881\" "
      "originalText=\"URI\"/><ParticipantObjectName>update</ParticipantObjectName>"
      "<ParticipantObjectDetail type=\"Study\" value=\"aGlwcG8=\"/>"
      "<ParticipantObjectDetail type=\"Round\" value=\"Mw==\"/>"
      "<ParticipantObjectDescription><ParticipantObjectContainsStudy/>"
      "</ParticipantObjectDescription></ParticipantObjectIdentification></AuditMessage>");
}

TEST(AuditMessageTest, HostileTextsStayTexts) {
  const std::string evil = "a\"><x/>&'\n\r\t \x01\xff\xc3\xa9" + std::string(10'000, 'z');
  const std::string xml = EncodeAuditMessage(NodeRefused(evil, evil, evil), {evil, evil}, kTime);
  EXPECT_THAT(xml, HasSubstr("a&quot;&gt;&lt;x/&gt;&amp;&apos; ????z"));
  for (const char c : xml) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << static_cast<int>(c);
  EXPECT_LT(xml.size(), kAtnaMessageBytesMax);
}

TEST(AuditMessageTest, AMessageHasRoomInWhatRepositoriesTake) {
  AtnaEvent event = ApplicationActivity(AtnaLife::kStart, std::string(300, '&'));
  event.description = std::string(300, '<');
  for (int i = 0; i < 20; ++i) {
    AtnaObject object;
    object.id = object.name = std::string(300, '"');
    object.id_type = {"1", "DCM", "x"};
    for (int j = 0; j < 20; ++j) object.details.emplace_back("t", std::string(300, 'v'));
    event.objects.push_back(object);
    event.participants.push_back({std::string(300, '>'), AtnaRequestor::kNo, std::nullopt, ""});
  }
  const std::string xml = EncodeAuditMessage(event, kSource, kTime);
  EXPECT_LE(xml.size(), kAtnaMessageBytesMax);
  EXPECT_TRUE(absl::EndsWith(xml, "</AuditMessage>"));
}

TEST(SyslogFrameTest, CountsOctetsAndFollowsTheOutcome) {
  const SyslogHeader header = {"host 1", "consilium-agent", 42};
  const std::string frame = SyslogFrame(header, AtnaOutcome::kSuccess, kTime, "<x/>");
  EXPECT_EQ(frame,
            "78 <85>1 2023-11-14T22:13:20.123Z host1 consilium-agent 42 IHE+RFC-3881 - "
            "\xEF\xBB\xBF<x/>");
  EXPECT_THAT(SyslogFrame(header, AtnaOutcome::kMinorFailure, kTime, "x"), HasSubstr("<84>1"));
  EXPECT_THAT(SyslogFrame(header, AtnaOutcome::kSeriousFailure, kTime, "x"), HasSubstr("<83>1"));
  EXPECT_THAT(SyslogFrame(header, AtnaOutcome::kMajorFailure, kTime, "x"), HasSubstr("<82>1"));
  EXPECT_THAT(SyslogFrame({"", "", 1, ""}, AtnaOutcome::kSuccess, kTime, "x"),
              HasSubstr("Z - - 1 - - \xEF\xBB\xBFx"));
}

TEST(AuditMessageTest, EveryEventIsValid) {
  if (std::system("command -v xmllint >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "xmllint (package libxml2-utils) is not installed";
  }
  const auto folder = TempDir::Create("atna");
  ASSERT_TRUE(folder.ok());
  std::vector<AtnaEvent> events = EveryEvent();
  events.push_back(NodeRefused("", "", ""));
  events.push_back(NodeRefused("<&>", "\"", std::string(500, '\n')));
  std::string files;
  for (size_t i = 0; i < events.size(); ++i) {
    const std::string path = JoinPath(folder->path(), absl::StrCat(i, ".xml"));
    ASSERT_TRUE(WriteFileAtomic(path, EncodeAuditMessage(events[i], kSource, kTime)).ok());
    absl::StrAppend(&files, " ", path);
  }
  EXPECT_EQ(std::system(absl::StrCat("xmllint --noout --schema ", CONSILIUM_SOURCE_DIR,
                                     "/privacy/atna/audit_message.xsd", files, " 2>&1")
                            .c_str()),
            0);
}

}  // namespace
}  // namespace consilium::privacy
