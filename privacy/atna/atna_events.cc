#include "privacy/atna/atna_events.h"

#include "absl/strings/str_cat.h"

namespace consilium::privacy {
namespace {

AtnaCode Dcm(const char* code, const char* text) { return {code, "DCM", text}; }
AtnaCode Ours(const char* code, const char* text) { return {code, "99CONSILIUM", text}; }
AtnaCode Uri() { return {"12", "RFC-3881", "URI"}; }

AtnaEvent Event(AtnaCode id, AtnaAction action, absl::string_view by) {
  AtnaEvent event;
  event.id = std::move(id);
  event.action = action;
  event.participants.push_back({std::string(by), AtnaRequestor::kYes, std::nullopt, ""});
  return event;
}

AtnaObject Object(std::string id, AtnaCode type, std::string name) {
  AtnaObject object;
  object.id = std::move(id);
  object.id_type = std::move(type);
  object.name = std::move(name);
  return object;
}

AtnaEvent Alert(AtnaCode type, absl::string_view by) {
  AtnaEvent event = Event(Dcm("110113", "Security Alert"), AtnaAction::kExecute, by);
  event.types.push_back(std::move(type));
  return event;
}

AtnaObject Study(absl::string_view batch, int64_t instances) {
  const bool is_uid = batch.find_first_not_of("0123456789.") == absl::string_view::npos;
  AtnaObject study = Object(std::string(batch),
                            is_uid ? Dcm("110180", "Study Instance UID") : Uri(), "study");
  study.role = 3;  // report
  study.details.emplace_back("Instances", absl::StrCat(instances));
  return study;
}

}  // namespace

AtnaEvent ApplicationActivity(AtnaLife life, absl::string_view program) {
  AtnaEvent event = Event(Dcm("110100", "Application Activity"), AtnaAction::kExecute, program);
  event.types.push_back(life == AtnaLife::kStart ? Dcm("110120", "Application Start")
                                                 : Dcm("110121", "Application Stop"));
  event.participants[0].requestor = AtnaRequestor::kNo;
  event.participants[0].role = Dcm("110150", "Application");
  event.participants.push_back(
      {"service manager", AtnaRequestor::kYes, Dcm("110151", "Application Launcher"), ""});
  return event;
}

AtnaEvent InstancesTakenIn(absl::string_view by, absl::string_view batch, int64_t instances) {
  AtnaEvent event =
      Event(Dcm("110104", "DICOM Instances Transferred"), AtnaAction::kCreate, "archive");
  event.participants[0].role = Dcm("110153", "Source Role ID");
  event.participants.push_back(
      {std::string(by), AtnaRequestor::kNo, Dcm("110152", "Destination Role ID"), ""});
  event.objects.push_back(Study(batch, instances));
  return event;
}

AtnaEvent DeidentifiedCopies(absl::string_view by, absl::string_view batch, int64_t instances) {
  AtnaEvent event = Event(Dcm("110103", "DICOM Instances Accessed"), AtnaAction::kCreate, by);
  AtnaObject study = Study(batch, instances);
  study.life_cycle = 7;  // de-identification
  study.anonymized = true;
  event.objects.push_back(std::move(study));
  return event;
}

AtnaEvent CasesUsed(absl::string_view by, absl::string_view study, absl::string_view purpose,
                    int64_t cases) {
  AtnaEvent event = Event(Dcm("110103", "DICOM Instances Accessed"), AtnaAction::kRead, by);
  AtnaObject used = Study(study, cases);
  used.life_cycle = 6;  // access or use
  used.anonymized = true;
  used.details.emplace_back("Purpose", std::string(purpose));
  event.objects.push_back(std::move(used));
  return event;
}

AtnaEvent Transferred(const AtnaTransferred& what) {
  const bool update = what.what == AtnaTransfer::kUpdate;
  const bool leaves = what.direction == AtnaDirection::kExport;
  AtnaEvent event = leaves ? Event(Dcm("110106", "Export"), AtnaAction::kRead, what.by)
                           : Event(Dcm("110107", "Import"), AtnaAction::kCreate, what.by);
  event.types.push_back(update ? Ours("model-update", "Model update of one site")
                               : Ours("global-model", "Model of a federated study"));
  event.participants[0].role = leaves ? Dcm("110153", "Source Role ID")
                                      : Dcm("110152", "Destination Role ID");
  event.participants.push_back({what.peer, AtnaRequestor::kNo,
                                leaves ? Dcm("110152", "Destination Role ID")
                                       : Dcm("110153", "Source Role ID"),
                                ""});
  AtnaObject object =
      Object(absl::StrCat("urn:sha256:", what.sha256), Uri(), update ? "update" : "model");
  object.role = 4;        // resource
  object.life_cycle = 8;  // aggregation, summarisation, derivation
  object.details = {{"Study", what.study}, {"Round", absl::StrCat(what.round)}};
  event.objects.push_back(std::move(object));
  return event;
}

AtnaEvent NodeRefused(absl::string_view by, absl::string_view who, absl::string_view reason) {
  AtnaEvent event = Alert(Dcm("110126", "Node Authentication"), by);
  event.outcome = AtnaOutcome::kMinorFailure;
  event.description = std::string(reason);
  AtnaObject node = Object(std::string(who), Dcm("110182", "Node ID"), std::string(who));
  node.role = 13;  // security resource
  event.objects.push_back(std::move(node));
  return event;
}

AtnaEvent RestrictedUse(absl::string_view by, absl::string_view what, absl::string_view reason) {
  AtnaEvent event = Alert(Dcm("110132", "Use of Restricted Function"), by);
  event.outcome = AtnaOutcome::kMinorFailure;
  event.description = std::string(reason);
  AtnaObject object = Object(std::string(what), Uri(), std::string(what));
  object.role = 13;
  event.objects.push_back(std::move(object));
  return event;
}

AtnaEvent SecurityChange(AtnaChange change, absl::string_view by, absl::string_view subject,
                         absl::string_view description) {
  AtnaEvent event = Alert(change == AtnaChange::kConfiguration
                              ? Dcm("110131", "Software Configuration")
                          : change == AtnaChange::kKeys ? Dcm("110129", "Security Configuration")
                                                        : Dcm("110136", "Security Roles Changed"),
                          by);
  AtnaObject object = Object(std::string(subject), Uri(), std::string(subject));
  object.role = 13;
  object.details.emplace_back("Alert Description", std::string(description));
  event.objects.push_back(std::move(object));
  return event;
}

AtnaEvent AuditLogUsed(absl::string_view by) {
  AtnaEvent event = Event(Dcm("110101", "Audit Log Used"), AtnaAction::kRead, by);
  AtnaObject log = Object("urn:consilium:audit-log", Uri(), "Security Audit Log");
  log.role = 13;
  event.objects.push_back(std::move(log));
  return event;
}

AtnaEvent RecordingStopped(absl::string_view by, uint64_t dropped) {
  AtnaEvent event = Alert(Dcm("110133", "Audit Recording Stopped"), by);
  event.outcome = AtnaOutcome::kSeriousFailure;
  event.description = absl::StrCat("the spool was full; ", dropped, " messages are missing here");
  return event;
}

AtnaEvent RecordingStarted(absl::string_view by) {
  return Alert(Dcm("110134", "Audit Recording Started"), by);
}

}  // namespace consilium::privacy
