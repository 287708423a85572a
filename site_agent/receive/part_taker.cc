#include "site_agent/receive/part_taker.h"

#include <utility>

#include "site_agent/dicomweb/media_type.h"

namespace consilium::agent {

PartTaker::PartTaker(Quarantine& quarantine, int inbox, std::string study_uid)
    : quarantine_(quarantine), inbox_(inbox), study_uid_(std::move(study_uid)) {}

absl::Status PartTaker::Begin(absl::string_view content_type) {
  object_.reset();
  const auto media = dicomweb::ParseMediaType(content_type);
  if (!content_type.empty() && (!media.ok() || media->type != dicomweb::kDicomType)) {
    status_ = absl::UnimplementedError("a part is not application/dicom");
    return absl::OkStatus();
  }
  absl::StatusOr<InboundObject> begun = InboundObject::Begin(quarantine_, inbox_);
  status_ = begun.status();
  if (begun.ok()) object_.emplace(*std::move(begun));
  return absl::OkStatus();
}

absl::Status PartTaker::Bytes(absl::string_view bytes) {
  if (status_.ok()) status_ = object_->Write(bytes);
  if (status_.ok()) return absl::OkStatus();
  dropped_bytes_ += bytes.size();
  if (dropped_bytes_ / 2 <= quarantine_.limits().object_bytes_max) return absl::OkStatus();
  outcomes_.push_back({{}, status_, 0});
  return absl::OutOfRangeError("too much that cannot be kept");
}

absl::Status PartTaker::End(const absl::Status& whole) {
  if (status_.ok()) status_ = whole;
  Outcome outcome;
  if (status_.ok()) {
    status_ = object_->Admit({.study_uid = study_uid_});
    outcome.object = object_->identity();
    outcome.bytes = object_->bytes();
  }
  outcome.status = status_;
  outcomes_.push_back(std::move(outcome));
  object_.reset();
  return absl::OkStatus();
}

}  // namespace consilium::agent
