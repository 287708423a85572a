// The calls of administrators on the home itself: backup and doctor.
#include "absl/strings/str_cat.h"
#include "coordinator/service/admin_service.h"
#include "coordinator/upkeep/backup.h"
#include "coordinator/upkeep/doctor.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

constexpr size_t kFolderBytesMax = 4096;

}  // namespace

grpc::Status AdminService::CreateBackup(grpc::ServerContext* context,
                                        const v1::CreateBackupRequest* request,
                                        v1::CreateBackupReply* reply) {
  return Serve(context, "backup.create", [&](const std::string& admin) -> absl::Status {
    if (request->folder().empty() || request->folder().size() > kFolderBytesMax) {
      return absl::InvalidArgumentError("folder: must be an absolute path");
    }
    CSL_ASSIGN_OR_RETURN(
        const BackupReport report,
        coordinator::CreateBackup({store_, weights_, models_, home_}, request->folder(), admin,
                                  Clock::System()));
    reply->set_name(report.name);
    reply->set_bytes(report.bytes);
    reply->set_chunks(report.chunks);
    reply->set_chunks_copied(report.chunks_copied);
    reply->set_audit_size(report.audit_size);
    return absl::OkStatus();
  });
}

grpc::Status AdminService::RunDoctor(grpc::ServerContext* context,
                                     const v1::RunDoctorRequest* request,
                                     v1::RunDoctorReply* reply) {
  return Serve(context, "doctor.run", [&](const std::string&) -> absl::Status {
    const Diagnosis diagnosis =
        ExamineRunning(store_, weights_.chunks(), home_,
                       request->quick() ? DoctorMode::kQuick : DoctorMode::kFull, Clock::System());
    for (const HomeFinding& finding : diagnosis.findings) {
      v1::Finding& out = *reply->add_findings();
      out.set_severity(finding.severity == Severity::kError ? "error" : "warning");
      out.set_what(finding.what);
      out.set_remedy(finding.remedy);
    }
    reply->set_records_checked(diagnosis.records);
    reply->set_chunks_checked(diagnosis.chunks);
    return absl::OkStatus();
  });
}

}  // namespace consilium::coordinator
