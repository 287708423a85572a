#include "privacy/deid/header_rewriter.h"

#include <algorithm>
#include <map>
#include <memory>

#include "absl/strings/str_cat.h"
#include "privacy/deid/element_text.h"
#include "proto/base/status.h"

namespace consilium::privacy {
namespace {

constexpr uint32_t kSopClassUid = 0x00080016;
constexpr uint32_t kSopInstanceUid = 0x00080018;
constexpr uint32_t kCharacterSet = 0x00080005;
constexpr uint32_t kPatientName = 0x00100010;
constexpr uint32_t kPatientId = 0x00100020;
// Stands for the marks in the memo; no attribute has these bytes.
constexpr absl::string_view kMarks = "marks";

// Set by DatasetRewriter::Mark, whatever the file had.
bool IsMark(uint32_t tag) {
  switch (tag) {
    case kCharacterSet:
    case kPatientName:
    case kPatientId:
    case 0x00120062:  // PatientIdentityRemoved
    case 0x00120063:  // DeidentificationMethod
    case 0x00120064:  // DeidentificationMethodCodeSequence
    case 0x00280303:  // LongitudinalTemporalInformationModified
      return true;
    default:
      return false;
  }
}

// Of an encoded element with a 16-bit length, as UIDs have.
std::string UidIn(absl::string_view element) {
  constexpr size_t kHeaderBytes = 8;
  if (element.size() < kHeaderBytes) return "";
  absl::string_view value = element.substr(kHeaderBytes);
  while (!value.empty() && (value.back() == '\0' || value.back() == ' ')) value.remove_suffix(1);
  return std::string(value);
}

}  // namespace

absl::StatusOr<EncodedHeader> HeaderRewriter::Rewrite(const SourceFile& source,
                                                      const SourceFile::Filter& filter,
                                                      DeidReport& report) {
  if (source.syntax() != EXS_LittleEndianExplicit) return RewriteWhole(source, filter, report);
  std::map<uint32_t, std::string> private_groups;
  Parts parts;
  const std::vector<TopElement>& elements = source.layout().elements;
  for (size_t i = 0; i < elements.size(); ++i) {
    const uint32_t tag = elements[i].tag;
    if (tag == kCharacterSet) charset_ = source.ElementBytes(i);
    if (tag == kPatientName || tag == kPatientId) ++report.replaced;
    if (IsMark(tag) || !filter(elements[i])) continue;
    if ((tag >> 16) % 2 == 1) {
      absl::StrAppend(&private_groups[tag & 0xFFFF0000u], source.ElementBytes(i));
    } else {
      parts.emplace_back(tag, source.ElementBytes(i));
    }
  }
  for (const auto& [group, bytes] : private_groups) parts.emplace_back(group, bytes);
  std::sort(parts.begin(), parts.end());  // the standard's order, which not every file keeps
  memo_terms_ = absl::StrCat(terms_.pseudonym, ":", terms_.shift_days, ":", charset_);
  return Join(parts, report);
}

absl::StatusOr<EncodedHeader> HeaderRewriter::RewriteWhole(const SourceFile& source,
                                                           const SourceFile::Filter& filter,
                                                           DeidReport& report) {
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<DcmDataset> dataset,
                       source.Parse(SourceFile::Extent::kHeader, filter));
  DatasetRewriter rewriter(rules_.identities, rules_.tokens, rules_.profile, report);
  CSL_RETURN_IF_ERROR(rewriter.Rewrite(*dataset, PixelsCleaned::kNo));
  return EncodeHeader(*dataset);
}

absl::StatusOr<EncodedHeader> HeaderRewriter::Join(const Parts& parts, DeidReport& report) {
  CSL_ASSIGN_OR_RETURN(const HeaderMemo::Part marks, Remembered(kMarks));
  CSL_ASSIGN_OR_RETURN(const DicomLayout layout,
                       ScanDataset(marks->bytes, DicomEncoding::kExplicitLittle));
  EncodedHeader header;
  uint64_t marked = 0;  // bytes of the marks that are in the header
  auto next = layout.elements.begin();
  const auto add_marks_before = [&](uint32_t tag) {
    while (next != layout.elements.end() && next->tag < tag) ++next;
    const uint64_t end = next == layout.elements.end() ? marks->bytes.size() : next->begin;
    header.bytes.append(marks->bytes, marked, end - marked);
    marked = end;
  };
  for (const auto& [tag, bytes] : parts) {
    add_marks_before(tag);
    CSL_ASSIGN_OR_RETURN(const HeaderMemo::Part part, Remembered(bytes));
    if (tag == kSopClassUid) header.sop_class_uid = UidIn(part->bytes);
    if (tag == kSopInstanceUid) header.sop_instance_uid = UidIn(part->bytes);
    header.bytes += part->bytes;
    report.Add(part->report);
  }
  add_marks_before(~uint32_t{0});
  return header;
}

absl::StatusOr<HeaderMemo::Part> HeaderRewriter::Remembered(absl::string_view part) {
  if (memo_ != nullptr) {
    if (HeaderMemo::Part known = memo_->Find(memo_terms_, part); known != nullptr) return known;
  }
  CSL_ASSIGN_OR_RETURN(RewrittenPart made, part == kMarks ? MakeMarks() : RewritePart(part));
  auto shared = std::make_shared<const RewrittenPart>(std::move(made));
  if (memo_ != nullptr) memo_->Add(memo_terms_, part, shared);
  return HeaderMemo::Part(std::move(shared));
}

absl::StatusOr<RewrittenPart> HeaderRewriter::RewritePart(absl::string_view part) const {
  const std::string with_charset = IsAscii(part) ? "" : absl::StrCat(charset_, part);
  CSL_ASSIGN_OR_RETURN(const std::unique_ptr<DcmDataset> dataset,
                       SourceFile::ParseElements(with_charset.empty() ? part : with_charset,
                                                 EXS_LittleEndianExplicit));
  RewrittenPart made;
  DatasetRewriter rewriter(rules_.identities, rules_.tokens, rules_.profile, made.report);
  CSL_RETURN_IF_ERROR(rewriter.RewritePart(*dataset, terms_));
  CSL_ASSIGN_OR_RETURN(EncodedHeader encoded, EncodeHeader(*dataset));
  made.bytes = std::move(encoded.bytes);
  return made;
}

absl::StatusOr<RewrittenPart> HeaderRewriter::MakeMarks() const {
  DcmDataset dataset;
  RewrittenPart made;
  DatasetRewriter rewriter(rules_.identities, rules_.tokens, rules_.profile, made.report);
  CSL_RETURN_IF_ERROR(rewriter.Mark(dataset, terms_, PixelsCleaned::kNo));
  CSL_ASSIGN_OR_RETURN(EncodedHeader encoded, EncodeHeader(dataset));
  made.bytes = std::move(encoded.bytes);
  return made;
}

}  // namespace consilium::privacy
