#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/file.h"
#include "proto/base/status.h"
#include "site_agent/imaging/dicom_header.h"
#include "site_agent/receive/handing_over.h"
#include "site_agent/receive/quarantine.h"

namespace consilium::agent {
namespace {

// A folder may be taken away between its making and the move of a file into it.
constexpr int kPlaceAttempts = 5;

absl::Status DiskFault() {
  return absl::UnavailableError("the quarantine's disk cannot be written");
}

// As the de-identifier names them: files without a patient ID are kept apart by study.
const std::string& PatientKey(const imaging::DicomHeader& header) {
  return header.patient_id.empty() ? header.study_uid : header.patient_id;
}

bool Differs(const std::string& claimed, const std::string& found) {
  return !claimed.empty() && claimed != found;
}

uint64_t SizeOf(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

}  // namespace

absl::StatusOr<InboundObject> InboundObject::Begin(Quarantine& quarantine, int inbox) {
  const std::string folder = quarantine.InboxFolder(inbox);
  struct statvfs disk;
  if (::statvfs(folder.c_str(), &disk) != 0) return DiskFault();
  if (uint64_t{disk.f_bavail} * disk.f_frsize < quarantine.limits_.free_bytes_min) {
    return absl::ResourceExhaustedError("the disk has too little space left");
  }
  std::string path = JoinPath(folder, "XXXXXX");
  const int fd = ::mkostemp(path.data(), O_CLOEXEC);  // 0600
  if (fd < 0) return DiskFault();
  return InboundObject(quarantine, inbox, std::move(path), fd);
}

InboundObject::InboundObject(Quarantine& quarantine, int inbox, std::string path, int fd)
    : quarantine_(&quarantine), inbox_(inbox), path_(std::move(path)), fd_(fd) {}

InboundObject::InboundObject(InboundObject&& other) noexcept
    : quarantine_(other.quarantine_),
      inbox_(other.inbox_),
      path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      bytes_(std::exchange(other.bytes_, 0)),
      identity_(std::move(other.identity_)),
      status_(std::move(other.status_)) {
  other.path_.clear();
}

InboundObject::~InboundObject() { Drop(); }

void InboundObject::Drop() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  if (path_.empty()) return;
  ::unlink(path_.c_str());
  path_.clear();
  quarantine_->GiveBack(inbox_, std::exchange(bytes_, 0));
}

absl::Status InboundObject::Write(absl::string_view bytes) {
  if (!status_.ok()) return status_;
  if (bytes_ + bytes.size() > quarantine_->limits_.object_bytes_max) {
    status_ = absl::ResourceExhaustedError("the object is too large");
  } else {
    status_ = quarantine_->Reserve(inbox_, bytes.size());
  }
  if (status_.ok()) bytes_ += bytes.size();
  while (status_.ok() && !bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written > 0) {
      bytes.remove_prefix(static_cast<size_t>(written));
    } else if (written < 0 && errno == ENOSPC) {
      status_ = absl::ResourceExhaustedError("the disk is full");
    } else if (written == 0 || errno != EINTR) {
      status_ = DiskFault();
    }
  }
  if (!status_.ok()) Drop();
  return status_;
}

absl::Status InboundObject::Admit(const Claim& claim) {
  if (!status_.ok()) return status_;
  if (::close(std::exchange(fd_, -1)) != 0) {
    status_ = DiskFault();
  } else {
    status_ = CheckAndPlace(claim);
  }
  if (!status_.ok()) Drop();
  return status_;
}

absl::Status InboundObject::CheckAndPlace(const Claim& claim) {
  CSL_ASSIGN_OR_RETURN(const imaging::DicomHeader header, imaging::ReadDicomHeader(path_));
  identity_ = {header.sop_class_uid, header.sop_instance_uid, header.study_uid};
  if (Differs(claim.sop_class_uid, identity_.sop_class_uid) ||
      Differs(claim.sop_instance_uid, identity_.sop_instance_uid)) {
    return absl::FailedPreconditionError("the data set is of another object than the command");
  }
  if (Differs(claim.study_uid, identity_.study_uid)) {
    return absl::FailedPreconditionError("the object is of another study than the request");
  }
  if (header.study_uid.empty() || header.series_uid.empty()) {
    return absl::InvalidArgumentError("no study or series instance UID");
  }
  const std::string patient = quarantine_->Pseudonym("patient", PatientKey(header));
  const std::string study = quarantine_->Pseudonym("study", header.study_uid);
  const std::string instance = quarantine_->Pseudonym("instance", header.sop_instance_uid);
  // No patient is set apart between the mark and the object's coming.
  const HandingOver::Pause pause(quarantine_->lock_);
  CSL_RETURN_IF_ERROR(quarantine_->MarkOpen(inbox_, patient));
  return Place(absl::StrCat(quarantine_->home_, "/patients/", patient, "/", study),
               absl::StrCat(instance, ".dcm"));
}

absl::Status InboundObject::Place(const std::string& folder, const std::string& name) {
  const std::string to = JoinPath(folder, name);
  for (int attempt = 0; attempt < kPlaceAttempts; ++attempt) {
    CSL_RETURN_IF_ERROR(MakeDirs(folder));
    const uint64_t replaced = SizeOf(to);
    if (::rename(path_.c_str(), to.c_str()) == 0) {
      path_.clear();
      quarantine_->Keep(inbox_, bytes_, replaced);
      return absl::OkStatus();
    }
    if (errno != ENOENT) break;
  }
  return DiskFault();
}

}  // namespace consilium::agent
