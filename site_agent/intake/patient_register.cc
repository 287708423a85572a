#include "site_agent/intake/patient_register.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/intake/leftovers.h"

namespace consilium::agent {
namespace {

using Json = nlohmann::json;

constexpr int kFormat = 1;
constexpr uint64_t kRegisterBytesMax = uint64_t{256} << 20;
constexpr size_t kPatientIdBytesMax = 64 * 4;  // 64 characters in UTF-8
constexpr PatientMark kMarks[] = {PatientMark::kOptedOut, PatientMark::kConsented,
                                  PatientMark::kForgotten};

constexpr const char* kRegister = "patients.json";

std::string RegisterPath(const std::string& home) { return JoinPath(home, kRegister); }

absl::Status Damaged() {
  return absl::DataLossError(
      "patients.json is damaged: nobody may be used until it is restored from a backup");
}

// Ties the register to the key that its pseudonyms were made with.
absl::StatusOr<std::string> KeyCheck(const std::string& home) {
  CSL_ASSIGN_OR_RETURN(const privacy::Deidentifier names, SiteNames(home));
  return names.Pseudonym("register", "patients.json");
}

absl::StatusOr<PatientMark> MarkFrom(const Json& json) {
  if (!json.is_string()) return Damaged();
  const auto* mark = std::find_if(std::begin(kMarks), std::end(kMarks), [&](PatientMark m) {
    return json.get_ref<const std::string&>() == MarkName(m);
  });
  if (mark == std::end(kMarks)) return Damaged();
  return *mark;
}

// One writer at a time, in all processes.
class RegisterLock {
 public:
  static absl::StatusOr<RegisterLock> Take(const std::string& home) {
    CSL_RETURN_IF_ERROR(MakeDirs(home));
    const int fd =
        ::open(JoinPath(home, "patients.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kPrivateFile);
    if (fd < 0) return absl::UnavailableError("the register of patients cannot be locked");
    RegisterLock lock(fd);
    if (::flock(fd, LOCK_EX) != 0) {
      return absl::UnavailableError("the register of patients cannot be locked");
    }
    return lock;
  }
  RegisterLock(RegisterLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  RegisterLock& operator=(RegisterLock&&) = delete;
  ~RegisterLock() {
    if (fd_ >= 0) ::close(fd_);
  }

 private:
  explicit RegisterLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace

const char* MarkName(PatientMark mark) {
  switch (mark) {
    case PatientMark::kOptedOut:
      return "opted_out";
    case PatientMark::kConsented:
      return "consented";
    case PatientMark::kForgotten:
      return "forgotten";
  }
  return "unknown";
}

const char* PolicyName(PatientPolicy policy) {
  return policy == PatientPolicy::kAll ? "all" : "consented";
}

const char* WithheldText(Withheld withheld) {
  switch (withheld) {
    case Withheld::kOptedOut:
      return "the patient has opted out";
    case Withheld::kNoConsent:
      return "no consent of the patient";
    case Withheld::kForgotten:
      return "the patient was deleted here";
  }
  return "unknown";
}

absl::StatusOr<PatientRegister> PatientRegister::Read(const std::string& home) {
  const std::string path = RegisterPath(home);
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) {
    if (PathExists(path)) return absl::UnavailableError("patients.json cannot be read");
    return PatientRegister();
  }
  if ((info.st_mode & 077) != 0) {
    return absl::FailedPreconditionError("patients.json: others may read it; chmod 600");
  }
  CSL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kRegisterBytesMax));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto text_of = [&](const char* key) {
    const bool there = json.is_object() && json.contains(key) && json[key].is_string();
    return there ? json[key].get<std::string>() : std::string();
  };
  if (!json.is_object() || json.value("format", Json()) != kFormat || !json.contains("patients") ||
      !json["patients"].is_object()) {
    return Damaged();
  }
  CSL_ASSIGN_OR_RETURN(const std::string key_check, KeyCheck(home));
  if (text_of("key_check") != key_check) {
    return absl::FailedPreconditionError(
        "patients.json was made with another site.key: restore that key, or remove the file and "
        "give the lists of patients again");
  }
  PatientRegister result;
  const std::string policy = text_of("policy");
  if (policy != "all" && policy != "consented") return Damaged();
  result.policy_ = policy == "all" ? PatientPolicy::kAll : PatientPolicy::kConsented;
  for (const auto& [patient, mark] : json["patients"].items()) {
    if (!IsPatientPseudonym(patient)) return Damaged();
    CSL_ASSIGN_OR_RETURN(result.patients_[patient], MarkFrom(mark));
  }
  return result;
}

std::string PatientRegister::ToJson(absl::string_view key_check) const {
  Json patients = Json::object();
  for (const auto& [patient, mark] : patients_) patients[patient] = MarkName(mark);
  return Json({{"format", kFormat},
               {"key_check", std::string(key_check)},
               {"policy", PolicyName(policy_)},
               {"patients", std::move(patients)}})
      .dump();
}

std::optional<Withheld> PatientRegister::Objection(absl::string_view patient) const {
  const auto found = patients_.find(std::string(patient));
  if (found == patients_.end()) {
    if (policy_ == PatientPolicy::kConsented) return Withheld::kNoConsent;
    return std::nullopt;
  }
  switch (found->second) {
    case PatientMark::kOptedOut:
      return Withheld::kOptedOut;
    case PatientMark::kForgotten:
      return Withheld::kForgotten;
    case PatientMark::kConsented:
      break;
  }
  return std::nullopt;
}

absl::Status UpdateRegister(const std::string& home,
                            const std::function<absl::Status(PatientRegister&)>& change) {
  CSL_ASSIGN_OR_RETURN(const RegisterLock lock, RegisterLock::Take(home));
  CSL_RETURN_IF_ERROR(RemoveLeftovers(home, kRegister));
  CSL_ASSIGN_OR_RETURN(PatientRegister patients, PatientRegister::Read(home));
  CSL_RETURN_IF_ERROR(change(patients));
  CSL_ASSIGN_OR_RETURN(const std::string key_check, KeyCheck(home));
  return WriteFileAtomic(RegisterPath(home), patients.ToJson(key_check), kPrivateFile);
}

absl::StatusOr<RegisterView> RegisterView::Open(const std::string& home) {
  RegisterView view(home);
  CSL_RETURN_IF_ERROR(view.Objection("").status());
  return view;
}

absl::StatusOr<std::optional<Withheld>> RegisterView::Objection(absl::string_view patient) {
  struct stat info;
  std::string stamp = "none";
  // A writer replaces the file, so another content is another file.
  if (::stat(RegisterPath(home_).c_str(), &info) == 0) {
    stamp = absl::StrCat(info.st_ino, " ", info.st_size, " ", info.st_mtim.tv_sec, " ",
                         info.st_mtim.tv_nsec);
  }
  if (stamp != stamp_) {
    CSL_ASSIGN_OR_RETURN(register_, PatientRegister::Read(home_));
    stamp_ = std::move(stamp);
  }
  return register_.Objection(patient);
}

absl::StatusOr<privacy::Deidentifier> SiteNames(const std::string& home) {
  CSL_ASSIGN_OR_RETURN(privacy::SecretBytes key, LoadOrCreateSiteKey(home));
  return privacy::Deidentifier::Create({.site_key = std::move(key)});
}

absl::StatusOr<std::vector<ListedPatient>> ParsePatientList(absl::string_view text) {
  std::vector<ListedPatient> patients;
  int64_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line.front() == '#') continue;
    const std::vector<absl::string_view> parts = absl::StrSplit(line, '\t');
    ListedPatient patient{std::string(absl::StripAsciiWhitespace(parts[0])), ""};
    if (parts.size() == 2) patient.issuer = std::string(absl::StripAsciiWhitespace(parts[1]));
    const bool plain = std::none_of(patient.id.begin(), patient.id.end(), [](char c) {
      return c == '\\' || absl::ascii_iscntrl(static_cast<unsigned char>(c));
    });
    if (parts.size() > 2 || !plain || patient.id.size() > kPatientIdBytesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("list of patients, line ", number, ": not a PatientID"));
    }
    patients.push_back(std::move(patient));
  }
  return patients;
}

bool IsPatientPseudonym(absl::string_view text) {
  return text.size() == 13 && text.front() == 'C' &&
         text.find_first_not_of("0123456789abcdef", 1) == absl::string_view::npos;
}

std::vector<std::vector<std::string>> RegisterTable(const PatientRegister& patients) {
  std::vector<std::vector<std::string>> rows = {{"patient", "mark"}};
  rows.push_back({"(others)", patients.policy() == PatientPolicy::kAll ? "used" : "not used"});
  for (const auto& [patient, mark] : patients.patients()) {
    rows.push_back({patient, MarkName(mark)});
  }
  return rows;
}

std::string RegisterToJson(const PatientRegister& patients) {
  Json marks = Json::object();
  for (const auto& [patient, mark] : patients.patients()) marks[patient] = MarkName(mark);
  return Json({{"policy", PolicyName(patients.policy())}, {"patients", marks}}).dump();
}

}  // namespace consilium::agent
