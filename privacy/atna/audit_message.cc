#include "privacy/atna/audit_message.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace consilium::privacy {
namespace {

// Tokens of XML Schema collapse white space, so it is collapsed here: what is written is what is read.
std::string Clean(absl::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kAtnaTextBytesMax)) {
    const bool blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (blank && (out.empty() || out.back() == ' ')) continue;
    out.push_back(blank ? ' ' : c >= 0x21 && c <= 0x7e ? c : '?');
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out.empty() ? "-" : out;  // an empty token is not valid where one is required
}

std::string Escape(absl::string_view text) {
  std::string out;
  for (const char c : Clean(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&apos;";
        break;
      default:
        out.push_back(c);
    }
  }
  return out;
}

std::string Attribute(absl::string_view name, absl::string_view value) {
  return absl::StrCat(" ", name, "=\"", Escape(value), "\"");
}

std::string Coded(absl::string_view element, const AtnaCode& code) {
  return absl::StrCat("<", element, Attribute("csd-code", code.code),
                      Attribute("codeSystemName", code.system),
                      Attribute("originalText", code.text), "/>");
}

std::string EventXml(const AtnaEvent& event, absl::Time time) {
  std::string out = absl::StrCat(
      "<EventIdentification", Attribute("EventActionCode", std::string(1, char(event.action))),
      Attribute("EventDateTime",
                absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone())),
      Attribute("EventOutcomeIndicator", absl::StrCat(static_cast<int>(event.outcome))), ">",
      Coded("EventID", event.id));
  for (const AtnaCode& type : event.types) out += Coded("EventTypeCode", type);
  if (!event.description.empty()) {
    absl::StrAppend(&out, "<EventOutcomeDescription>", Escape(event.description),
                    "</EventOutcomeDescription>");
  }
  return out + "</EventIdentification>";
}

std::string ParticipantXml(const AtnaParticipant& participant) {
  std::string out = absl::StrCat(
      "<ActiveParticipant", Attribute("UserID", participant.user),
      Attribute("UserIsRequestor",
                participant.requestor == AtnaRequestor::kYes ? "true" : "false"));
  if (!participant.host.empty()) {
    absl::StrAppend(&out, Attribute("NetworkAccessPointID", participant.host),
                    Attribute("NetworkAccessPointTypeCode", "1"));
  }
  if (!participant.role) return out + "/>";
  return absl::StrCat(out, ">", Coded("RoleIDCode", *participant.role), "</ActiveParticipant>");
}

std::string ObjectXml(const AtnaObject& object) {
  std::string out = absl::StrCat("<ParticipantObjectIdentification",
                                 Attribute("ParticipantObjectID", object.id),
                                 Attribute("ParticipantObjectTypeCode", absl::StrCat(object.type)));
  if (object.role != 0) {
    out += Attribute("ParticipantObjectTypeCodeRole", absl::StrCat(object.role));
  }
  if (object.life_cycle != 0) {
    out += Attribute("ParticipantObjectDataLifeCycle", absl::StrCat(object.life_cycle));
  }
  absl::StrAppend(&out, ">", Coded("ParticipantObjectIDTypeCode", object.id_type),
                  "<ParticipantObjectName>", Escape(object.name), "</ParticipantObjectName>");
  for (size_t i = 0; i < std::min(object.details.size(), kAtnaDetailsMax); ++i) {
    const auto& [type, value] = object.details[i];
    absl::StrAppend(&out, "<ParticipantObjectDetail", Attribute("type", type), " value=\"",
                    absl::Base64Escape(Clean(value)), "\"/>");
  }
  // Required by the schema that dcm4che's repository checks with, though nothing is to be said.
  out += "<ParticipantObjectDescription><ParticipantObjectContainsStudy/>";
  if (object.anonymized) {
    absl::StrAppend(&out, "<Anonymized>", *object.anonymized ? "true" : "false", "</Anonymized>");
  }
  return out + "</ParticipantObjectDescription></ParticipantObjectIdentification>";
}

}  // namespace

std::string EncodeAuditMessage(const AtnaEvent& event, const AtnaSource& source, absl::Time time) {
  // A byte order mark and the declaration would push the XML behind the place where some receivers
  // look for it; the frame has the mark, and UTF-8 is XML's default.
  std::string out = absl::StrCat("<AuditMessage>", EventXml(event, time));
  for (size_t i = 0; i < std::min(event.participants.size(), kAtnaParticipantsMax); ++i) {
    out += ParticipantXml(event.participants[i]);
  }
  // 4: application server process.
  absl::StrAppend(&out, "<AuditSourceIdentification",
                  Attribute("AuditEnterpriseSiteID", source.enterprise_site),
                  Attribute("AuditSourceID", source.id),
                  "><AuditSourceTypeCode csd-code=\"4\"/></AuditSourceIdentification>");
  constexpr absl::string_view kEnd = "</AuditMessage>";
  for (size_t i = 0; i < std::min(event.objects.size(), kAtnaObjectsMax); ++i) {
    const std::string object = ObjectXml(event.objects[i]);
    if (out.size() + object.size() + kEnd.size() > kAtnaMessageBytesMax) break;
    out += object;
  }
  return absl::StrCat(out, kEnd);
}

}  // namespace consilium::privacy
