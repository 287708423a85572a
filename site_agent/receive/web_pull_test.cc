#include <algorithm>
#include <filesystem>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/deid/dicom_scan.h"
#include "proto/base/file.h"
#include "site_agent/dicomweb/dicom_json.h"
#include "site_agent/dicomweb/test_certificates.h"
#include "site_agent/dicomweb/test_web_server.h"
#include "site_agent/imaging/dicom_header.h"
#include "site_agent/intake/catalog.h"
#include "site_agent/intake/test_archive.h"
#include "site_agent/receive/pull.h"
#include "site_agent/receive/test_orthanc.h"
#include "site_agent/receive/web_retrieve.h"
#include "tests/support/sim_clock.h"

namespace consilium::agent {
namespace {

using dicomweb::TestAnswer;
using dicomweb::TestMultipart;
using dicomweb::TestWebServer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAreArray;

std::string Bytes(const std::string& path) { return ReadFile(path, 1 << 26).value(); }

std::string Dataset(const std::string& path) {
  const std::string bytes = Bytes(path);
  return bytes.substr(privacy::ScanPreamble(bytes)->dataset_offset);
}

class WebPullTest : public ::testing::Test {
 protected:
  WebPullTest() : dir_(TempDir::Create("web_pull_test").value()) {
    config_.quarantine.free_bytes_min = 0;
    DicomPeer peer;
    peer.name = "archive";
    peer.method = RetrieveMethod::kWeb;
    peer.may_send = false;
    peer.attempts = 1;
    config_.peers = {peer};
  }
  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }
  DicomPeer& peer() { return config_.peers[0]; }

  absl::StatusOr<PullReport> Run(const PullRequest& request) {
    return Pull(Path("home"), config_, request,
                {clock_, stop_,
                 [this](absl::Duration pause) {
                   pauses_.push_back(pause);
                   return sleep_;
                 },
                 [](const PatientOutcome&) { return absl::OkStatus(); }, [](int64_t, int64_t) {}});
  }
  // Into the quarantine alone.
  absl::StatusOr<RetrieveCounts> Fetch(const std::string& study) {
    quarantine_.reset();
    quarantine_.emplace(Quarantine::Open(Path("home"), config_.quarantine).value());
    const int inbox = quarantine_->OpenInbox().value();
    const auto counts =
        FetchStudy({"CONSILIUM", peer(), NeedsTls(peer()) ? &*config_.tls : nullptr}, study,
                   *quarantine_, inbox);
    quarantine_->CloseInbox(inbox);
    return counts;
  }
  std::vector<std::string> Waiting() const {
    return FilesBelowFolder(Path("home/quarantine/patients"));
  }
  size_t Cases() const { return LoadCatalog(Path("home"))->cases.size(); }

  TempDir dir_;
  DicomConfig config_;
  consilium::testing::SimClock clock_;
  std::atomic<bool> stop_{false};
  std::vector<absl::Duration> pauses_;
  bool sleep_ = true;
  std::optional<Quarantine> quarantine_;
};

class OrthancWebPullTest : public WebPullTest {
 protected:
  void SetUp() override {
    if (!HasOrthancWeb()) {
      GTEST_SKIP() << "Debian's packages orthanc, orthanc-dicomweb and curl are not all installed";
    }
  }
};

TEST_F(OrthancWebPullTest, RealImagesComeBackByteForByte) {
  const std::string corpus = CONSILIUM_SHARED_DIR "/data/dicom-corpus/";
  if (!PathExists(corpus)) GTEST_SKIP() << "no shared corpus";
  const OrthancWeb orthanc(Path("orthanc"), OrthancWeb::Access::kOpen);
  peer().web_root = orthanc.root();
  // Native, JPEG lossless and JPEG 2000.
  std::map<std::string, std::vector<std::string>> studies;
  for (const char* folder : {"mr/series-t1post-siemens", "ct/series-3slice-ge",
                             "mr/siemens-mosaic-jpegll", "mr/IM-0001-0001.dcm"}) {
    const std::string path = corpus + folder;
    const auto files = absl::EndsWith(path, ".dcm") ? std::vector{path} : FilesBelowFolder(path);
    for (const std::string& file : files) {
      ASSERT_TRUE(orthanc.Store(file)) << folder;
      studies[imaging::ReadDicomHeader(file)->study_uid].push_back(Dataset(file));
    }
  }
  std::vector<std::string> went, came;
  for (const auto& [study, objects] : studies) {
    const auto counts = Fetch(study);
    ASSERT_TRUE(counts.ok()) << counts.status();
    EXPECT_EQ(counts->completed, static_cast<int64_t>(objects.size()));
    EXPECT_EQ(counts->failed + counts->refused_here, 0) << counts->why_refused;
    went.insert(went.end(), objects.begin(), objects.end());
  }
  for (const std::string& path : Waiting()) came.push_back(Dataset(path));
  ASSERT_EQ(came.size(), went.size());
  std::sort(came.begin(), came.end());
  std::sort(went.begin(), went.end());
  EXPECT_TRUE(came == went);
}

TEST_F(OrthancWebPullTest, WhatAQueryFindsBecomesCases) {
  const OrthancWeb orthanc(Path("orthanc"), OrthancWeb::Access::kOpen);
  peer().web_root = orthanc.root();
  const auto images = WriteSeries(Path("one"));
  WriteLabel(images, Path("one"));
  WriteOtherPatient(Path("two"));
  for (const char* folder : {"one", "two"}) {
    for (const std::string& file : FilesBelowFolder(Path(folder))) {
      ASSERT_TRUE(orthanc.Store(file));
    }
  }
  EXPECT_TRUE(CheckWeb({"CONSILIUM", peer(), nullptr}).ok());
  PullRequest request{.peer = "archive", .query = {{"PatientID", "PHANTOM*"}}, .count_only = true};
  EXPECT_EQ(Run(request)->found, 2);
  request.query = {{"PatientID", "PHANTOM-1"}, {"ModalitiesInStudy", "MR"}};
  EXPECT_EQ(Run(request)->found, 1);
  request = {.peer = "archive", .query = {{"PatientID", "PHANTOM*"}}};
  auto report = Run(request);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->fetched, 2) << PullToJson(*report);
  EXPECT_EQ(report->objects, 13);
  EXPECT_EQ(Cases(), 2u);
  report = Run(request);
  EXPECT_EQ(report->fetched_before, 2);
  const std::string all = BytesBelowFolder(Path("home"));
  for (const char* planted : {"PHANTOM-", "Phantom", "Mahoney"}) {
    EXPECT_FALSE(absl::StrContains(all, planted)) << planted;
  }
  EXPECT_TRUE(
      absl::IsNotFound(Run({.peer = "archive", .query = {{"PatientID", "NOBODY"}}}).status()));
  report = Run({.peer = "archive", .studies = {"1.2.3.4.5"}});
  ASSERT_EQ(report->faults.size(), 1u);
  EXPECT_THAT(PullToJson(*report), ::testing::Not(HasSubstr("1.2.3.4.5")));
}

TEST_F(OrthancWebPullTest, WhatIsThereIsNotFetchedAgain) {
  const OrthancWeb orthanc(Path("orthanc"), OrthancWeb::Access::kOpen);
  peer().web_root = orthanc.root();
  const auto images = WriteSeries(Path("one"));
  for (const std::string& file : images) ASSERT_TRUE(orthanc.Store(file));
  ASSERT_EQ(Fetch("2.25.11")->completed, 6);
  const auto waiting = Waiting();
  ASSERT_EQ(waiting.size(), 6u);
  ASSERT_TRUE(std::filesystem::remove(waiting[1]));
  ASSERT_TRUE(std::filesystem::remove(waiting[4]));
  const auto counts = Fetch("2.25.11");
  EXPECT_EQ(counts->there_before, 4);
  EXPECT_EQ(counts->completed, 2);
  EXPECT_EQ(Waiting(), waiting);
}

TEST_F(OrthancWebPullTest, ALoginFromAFileThatNobodyElseReads) {
  const OrthancWeb orthanc(Path("orthanc"), OrthancWeb::Access::kLogin);
  peer().web_root = orthanc.root();
  for (const std::string& file : WriteSeries(Path("one"))) ASSERT_TRUE(orthanc.Store(file));
  const PullRequest request{.peer = "archive", .studies = {"2.25.11"}};
  EXPECT_THAT(Run(request)->faults.at(0).why, HasSubstr("HTTP status 401"));
  peer().web_credentials = {WebCredentials::Kind::kLogin, Path("login")};
  ASSERT_TRUE(WriteFileAtomic(Path("login"), "user:a-password-of-16\n", kPublicFile).ok());
  EXPECT_THAT(Run(request)->faults.at(0).why, HasSubstr("chmod 600"));
  ASSERT_TRUE(WriteFileAtomic(Path("login"), "user:a-password-of-16\n", kPrivateFile).ok());
  const auto report = Run(request);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->fetched, 1) << PullToJson(*report);
  EXPECT_EQ(Cases(), 1u);
}

// An archive with one study of one series that answers as it likes.
class OddArchiveTest : public WebPullTest {
 protected:
  OddArchiveTest() : images_(WriteSeries(Path("one"))) {
    for (const std::string& path : images_) objects_.push_back(Bytes(path));
    series_uid_ = imaging::ReadDicomHeader(images_[0])->series_uid;
    odd_ = [](const std::string&) { return std::nullopt; };
    server_.emplace([this](const std::string& target) {
      const std::optional<TestAnswer> odd = odd_(target);
      return odd ? *odd : Usual(target);
    });
    peer().web_root = absl::StrCat("http://127.0.0.1:", server_->port(), "/wado");
  }

  static std::string Rows(const char* tag, const std::vector<std::string>& uids) {
    std::string json = "[";
    for (const std::string& uid : uids) {
      absl::StrAppend(&json, json.size() > 1 ? "," : "", "{\"", tag,
                      "\":{\"vr\":\"UI\",\"Value\":[\"", uid, "\"]}}");
    }
    return json + "]";
  }
  static TestAnswer Json(const std::string& text) {
    return {.content_type = "application/dicom+json", .body = text};
  }
  static TestAnswer Objects(const std::vector<std::string>& objects) {
    return {.content_type = dicomweb::kTestMultipart, .body = TestMultipart(objects)};
  }
  std::vector<std::string> Instances() const {
    std::vector<std::string> uids;
    for (const std::string& path : images_) {
      uids.push_back(imaging::ReadDicomHeader(path)->sop_instance_uid);
    }
    return uids;
  }
  TestAnswer Usual(const std::string& target) const {
    const bool first = absl::StrContains(target, "offset=0");
    if (absl::StartsWith(target, "/wado/studies/2.25.11/series?")) {
      return Json(first ? Rows(dicomweb::kSeriesInstanceUidTag, {series_uid_}) : "[]");
    }
    if (absl::StrContains(target, "/instances?")) {
      return Json(first ? Rows(dicomweb::kSopInstanceUidTag, Instances()) : "[]");
    }
    for (size_t i = 0; i < images_.size(); ++i) {
      if (absl::EndsWith(target, "/instances/" + Instances()[i])) return Objects({objects_[i]});
    }
    if (absl::EndsWith(target, "/series/" + series_uid_)) return Objects(objects_);
    return {.status = 404};
  }
  static bool IsRetrieval(const std::string& target) { return !absl::StrContains(target, '?'); }

  std::vector<std::string> images_;
  std::vector<std::string> objects_;
  std::string series_uid_;
  std::function<std::optional<TestAnswer>(const std::string&)> odd_;
  std::optional<TestWebServer> server_;
};

TEST_F(OddArchiveTest, ABreakIsRepairedFromWhereItWas) {
  peer().attempts = 4;
  std::atomic<int> retrievals = 0;
  odd_ = [&](const std::string& target) -> std::optional<TestAnswer> {
    if (!IsRetrieval(target) || ++retrievals > 2) return std::nullopt;
    if (retrievals == 1) return TestAnswer{.status = 503};
    TestAnswer cut = Objects(objects_);  // three objects and a half
    cut.cut_after = cut.body.size() * 7 / 12;
    return cut;
  };
  const auto report = Run({.peer = "archive", .studies = {"2.25.11"}});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->fetched, 1) << PullToJson(*report);
  EXPECT_EQ(report->objects, 6);
  EXPECT_EQ(Cases(), 1u);
  EXPECT_THAT(pauses_, ElementsAre(absl::Seconds(2), absl::Seconds(4)));
  // Three single instances at the end, not the series again.
  std::vector<std::string> asked;
  for (const std::string& target : server_->asked()) {
    if (IsRetrieval(target)) asked.push_back(target);
  }
  ASSERT_EQ(asked.size(), 5u);
  for (size_t i = 2; i < asked.size(); ++i) EXPECT_THAT(asked[i], HasSubstr("/instances/"));
}

TEST_F(OddArchiveTest, WhatAStopHasCutIsKeptAsideAndGoesOnThere) {
  peer().attempts = 2;
  odd_ = [&](const std::string& target) -> std::optional<TestAnswer> {
    if (!IsRetrieval(target)) return std::nullopt;
    TestAnswer cut = Objects(objects_);
    cut.cut_after = cut.body.size() * 7 / 12;
    return cut;
  };
  const PullRequest request{.peer = "archive", .studies = {"2.25.11"}};
  sleep_ = false;  // somebody stops us in the pause
  EXPECT_TRUE(absl::IsCancelled(Run(request).status()));
  EXPECT_EQ(Waiting().size(), 3u);
  {
    // Neither a listener that starts now nor a pull of something else takes the half.
    Quarantine quarantine = Quarantine::Open(Path("home"), config_.quarantine).value();
    const auto sink = [](const PatientOutcome&) { return absl::OkStatus(); };
    ASSERT_TRUE(TakeSettled(Path("home"), quarantine, absl::InfiniteFuture(), sink, nullptr).ok());
  }
  EXPECT_EQ(Waiting().size(), 3u);
  odd_ = [](const std::string&) { return std::nullopt; };
  sleep_ = true;
  const size_t asked_before = server_->asked().size();
  const auto report = Run(request);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->fetched, 1) << PullToJson(*report);
  const std::vector<std::string> asked = server_->asked();
  EXPECT_EQ(
      std::count_if(asked.begin() + static_cast<ptrdiff_t>(asked_before), asked.end(), IsRetrieval),
      3);
  EXPECT_EQ(Cases(), 1u);
}

TEST_F(OddArchiveTest, APartialAnswerIsAskedForAgain) {
  peer().attempts = 2;
  std::atomic<int> retrievals = 0;
  odd_ = [&](const std::string& target) -> std::optional<TestAnswer> {
    if (!IsRetrieval(target) || ++retrievals > 1) return std::nullopt;
    TestAnswer some = Objects({objects_[0], objects_[4]});
    some.status = 206;
    return some;
  };
  const auto report = Run({.peer = "archive", .studies = {"2.25.11"}});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->fetched, 1) << PullToJson(*report);
  EXPECT_EQ(retrievals, 5);
}

TEST_F(OddArchiveTest, TlsWithOurCertificateAndAToken) {
  ASSERT_TRUE(MakeDirs(Path("tls")).ok());
  dicomweb::WriteCertificates(Path("tls"));
  const TestWebServer server([this](const std::string& target) { return Usual(target); },
                             Path("tls"), "Bearer a-token-of-some-length");
  peer().web_root = absl::StrCat("https://127.0.0.1:", server.port(), "/wado");
  peer().web_credentials = {WebCredentials::Kind::kToken, Path("token")};
  ASSERT_TRUE(WriteFileAtomic(Path("token"), "a-token-of-some-length\n", kPrivateFile).ok());
  const PullRequest request{.peer = "archive", .studies = {"2.25.11"}};
  const auto why = [&] { return Run(request)->faults.at(0).why; };
  config_.tls = {Path("tls/client.crt"), Path("tls/client.key"), Path("tls/stranger-ca.crt")};
  EXPECT_THAT(why(), HasSubstr("the archive's certificate"));
  EXPECT_TRUE(server.asked().empty());  // not a word to a stranger
  config_.tls->ca = Path("tls/ca.crt");
  peer().web_root = absl::StrCat("https://localhost:", server.port(), "/wado");
  EXPECT_THAT(why(), HasSubstr("the archive's certificate"));
  EXPECT_TRUE(server.asked().empty());
  peer().web_root = absl::StrCat("https://127.0.0.1:", server.port(), "/wado");
  const auto report = Run(request);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->fetched, 1) << PullToJson(*report);
  EXPECT_EQ(Cases(), 1u);
}

TEST_F(OddArchiveTest, PagesAreFollowedToTheirEnd) {
  const auto page = [](const std::string& target) {
    const size_t at = target.find("offset=") + 7;
    const int offset = std::stoi(target.substr(at));
    std::vector<std::string> uids;
    for (int i = offset; i < std::min(offset + 100, 250); ++i) {
      uids.push_back(absl::StrCat("1.2.", i + 1));
    }
    return uids.empty() ? TestAnswer{.status = 204}
                        : Json(Rows(dicomweb::kStudyInstanceUidTag, uids));
  };
  odd_ = [&](const std::string& target) { return std::optional(page(target)); };
  const Caller caller{"CONSILIUM", peer(), nullptr};
  EXPECT_EQ(SearchStudies(caller, {{"StudyDate", "2024*"}})->size(), 250u);
  EXPECT_THAT(server_->asked()[0], HasSubstr("StudyDate=2024*&limit=500&offset=0"));
  // A server that knows no offset gives the same again.
  odd_ = [&](const std::string&) { return std::optional(page("offset=0")); };
  EXPECT_EQ(SearchStudies(caller, {})->size(), 100u);
  // What is no UID never becomes part of a path.
  odd_ = [&](const std::string& target) {
    const bool first = absl::StrContains(target, "offset=0");
    return std::optional(
        Json(first ? Rows(dicomweb::kStudyInstanceUidTag, {"../../x", "1.2", "1.2?x", ""}) : "[]"));
  };
  EXPECT_THAT(*SearchStudies(caller, {}), ElementsAre("1.2"));
}

TEST_F(OddArchiveTest, WhatIsWrongBecomesNoCase) {
  WriteOtherPatient(Path("two"));
  const std::string other = Bytes(FilesBelowFolder(Path("two"))[0]);
  std::vector<std::string> with_other = objects_;
  with_other[2] = other;
  std::vector<std::string> broken = objects_;
  broken[5].resize(broken[5].size() / 2);
  const std::vector<std::string> fewer(objects_.begin(), objects_.end() - 1);
  TestAnswer gzip = Objects(objects_);
  gzip.fields["Content-Encoding"] = "gzip";
  TestAnswer open = Objects(objects_);
  open.body.resize(open.body.size() - 5);
  TestAnswer lies = Objects(objects_);
  lies.body.replace(lies.body.find("\r\n\r\n"), 4, "\r\nContent-Length: 7\r\n\r\n");
  TestAnswer plain = Objects(objects_);
  plain.content_type = "text/html";
  TestAnswer huge = Objects(objects_);
  huge.body.insert(5, "X: " + std::string(20'000, 'x') + "\r\n");
  const std::pair<TestAnswer, const char*> cases[] = {{Objects(with_other), "another study"},
                                                      {Objects(broken), "not taken"},
                                                      {Objects(fewer), "did not send 1 of 6"},
                                                      {gzip, "encoded"},
                                                      {open, "broke"},
                                                      {lies, "not as long as it says"},
                                                      {plain, "multipart"},
                                                      {huge, "head is too large"}};
  for (const auto& [answer, words] : cases) {
    odd_ = [&answer = answer](const std::string& target) {
      return IsRetrieval(target) ? std::optional(answer) : std::nullopt;
    };
    const auto report = Run({.peer = "archive", .studies = {"2.25.11"}});
    ASSERT_TRUE(report.ok()) << report.status();
    ASSERT_EQ(report->faults.size(), 1u) << words;
    EXPECT_THAT(report->faults[0].why, HasSubstr(words));
    EXPECT_EQ(Waiting().size(), 0u) << words;
    EXPECT_TRUE(FilesBelowFolder(Path("home/quarantine/unfinished")).empty());
  }
  EXPECT_EQ(Cases(), 0u);
}

TEST_F(OddArchiveTest, AnEndlessAnswerDoesNotFillTheDisk) {
  config_.quarantine.bytes_max = 1 << 20;
  config_.quarantine.object_bytes_max = 1 << 20;
  odd_ = [&](const std::string& target) -> std::optional<TestAnswer> {
    if (!IsRetrieval(target)) return std::nullopt;
    return Objects({std::string(50'000'000, 'x')});
  };
  const auto report = Run({.peer = "archive", .studies = {"2.25.11"}});
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->faults.size(), 1u);
  EXPECT_TRUE(FilesBelowFolder(Path("home/quarantine/in")).empty());
}

}  // namespace
}  // namespace consilium::agent
