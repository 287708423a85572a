#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/base/check.h"
#include "site_agent/dicomweb/dicom_json.h"
#include "site_agent/dicomweb/media_type.h"
#include "site_agent/dicomweb/multipart.h"
#include "tests/fuzz/target.h"

namespace consilium::fuzz {
namespace {

class Parts final : public dicomweb::PartSink {
 public:
  absl::Status Begin(absl::string_view content_type) override {
    CSL_CHECK(!open_);
    open_ = true;
    texts.emplace_back(content_type);
    return absl::OkStatus();
  }
  absl::Status Bytes(absl::string_view bytes) override {
    CSL_CHECK(open_ && !bytes.empty());
    absl::StrAppend(&texts.back(), bytes);
    return absl::OkStatus();
  }
  absl::Status End(const absl::Status& whole) override {
    CSL_CHECK(open_);
    open_ = false;
    texts.back().push_back(whole.ok() ? '+' : '-');
    return absl::OkStatus();
  }
  std::vector<std::string> texts;

 private:
  bool open_ = false;
};

absl::Status Read(absl::string_view body, size_t piece, Parts& parts) {
  dicomweb::MultipartReader reader("b", parts);
  for (; !body.empty(); body.remove_prefix(std::min(piece, body.size()))) {
    const absl::Status fed = reader.Feed(body.substr(0, piece));
    if (!fed.ok()) return fed;
  }
  return reader.Finish();
}

// However the network cuts a body, the same comes out of it; and no part holds a boundary.
void RunMultipart(absl::string_view bytes) {
  Parts whole;
  const absl::Status status = Read(bytes, std::max<size_t>(bytes.size(), 1), whole);
  for (const size_t piece : {size_t{1}, size_t{3}, size_t{64}}) {
    Parts pieces;
    CSL_CHECK(Read(bytes, piece, pieces).code() == status.code());
    if (status.ok()) CSL_CHECK(pieces.texts == whole.texts);
  }
  for (const std::string& text : whole.texts) CSL_CHECK(text.find("\r\n--b") == std::string::npos);
}

std::vector<std::string> MultipartSeeds() {
  return {"--b\r\nContent-Type: application/dicom\r\nContent-Length: 3\r\n\r\nabc\r\n--b--\r\n",
          "preamble\r\n--b\r\n\r\n\r\n--b  \r\nContent-Location: ../x\r\n\r\nabc\r\n--b--epilogue",
          "--b--", "--b\r\nA: b\r\n c\r\n\r\nx\r\n--b--", "--bb\r\n\r\nx\r\n--bb--"};
}

void RunMediaType(absl::string_view bytes) {
  (void)dicomweb::AcceptsDicomJson(bytes);
  const auto boundary = dicomweb::DicomBoundary(bytes);
  if (!boundary.ok()) return;
  CSL_CHECK(!boundary->empty() && boundary->size() <= 128);
  const auto again = dicomweb::DicomBoundary(
      absl::StrCat("multipart/related; type=\"application/dicom\"; boundary=\"", *boundary, "\""));
  CSL_CHECK(again.ok() && *again == *boundary);
}

std::vector<std::string> MediaTypeSeeds() {
  return {"multipart/related; type=\"application/dicom\"; boundary=\"a b\"",
          "multipart/related;boundary=x;type=application/dicom;start=\"<\\\"a>\"",
          "application/dicom+json, */*;q=0.1", "a/b; x=\"y\\"};
}

void RunDicomJson(absl::string_view bytes) {
  const auto values = dicomweb::FirstValues(bytes, dicomweb::kStudyInstanceUidTag);
  if (!values.ok()) return;
  std::vector<dicomweb::StoredObject> objects;
  for (const std::string& value : *values) objects.push_back({value, value, 0xA700});
  // What was read can be said again.
  const std::string response = dicomweb::StoreResponse(objects);
  CSL_CHECK(dicomweb::FirstValues(absl::StrCat("[", response, "]"), "00081190").ok());
}

std::vector<std::string> DicomJsonSeeds() {
  return {R"([{"0020000D":{"vr":"UI","Value":["1.2.3"]}},{"0020000D":{"vr":"UI"}}])",
          R"([{"00081199":{"vr":"SQ","Value":[{"0020000D":{"Value":["1"]}}]}}])", "[]", "[[[[",
          "{}"};
}

}  // namespace

std::vector<Target> WebTargets() {
  return {{"multipart", RunMultipart, MultipartSeeds},
          {"media_type", RunMediaType, MediaTypeSeeds},
          {"dicom_json", RunDicomJson, DicomJsonSeeds}};
}

}  // namespace consilium::fuzz
