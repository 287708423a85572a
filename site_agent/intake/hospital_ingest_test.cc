// The made hospitals of the shared data: identified archives and a key of all that identifies.
#include <cstdlib>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "site_agent/imaging/dicom_series.h"
#include "site_agent/imaging/label_reader.h"
#include "site_agent/intake/catalog.h"
#include "site_agent/intake/ingest.h"
#include "site_agent/intake/test_archive.h"

namespace consilium::agent {
namespace {

std::set<std::string> Planted(const std::string& key_path) {
  std::set<std::string> planted;
  const auto key = nlohmann::json::parse(ReadFile(key_path, 1 << 24).value());
  for (const auto& patient : key) {
    for (const auto& [name, value] : patient.items()) {
      if (!value.is_string()) continue;
      planted.insert(value.get<std::string>());
      if (!absl::StrContains(value.get<std::string>(), "^")) continue;
      for (const auto part : absl::StrSplit(value.get<std::string>(), '^')) {
        if (part.size() > 3) planted.insert(std::string(part));
      }
    }
  }
  return planted;
}

std::vector<std::string> Forms(const std::string& text) {
  std::vector<std::string> forms = {text, absl::AsciiStrToUpper(text)};
  std::string little, big;
  for (const char c : text) {
    little += {c, '\0'};
    big += {'\0', c};
  }
  forms.insert(forms.end(), {little, big});
  const std::string encoded = Base64Encode(text);
  if (text.size() >= 6) forms.push_back(encoded.substr(0, text.size() / 3 * 4));
  return forms;
}

class HospitalIngestTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const std::string data = CONSILIUM_SHARED_DIR "/data/hippocampus";
    const std::string tool = CONSILIUM_SHARED_DIR "/tools/make_hospitals.py";
    if (!PathExists(data) || !PathExists(tool)) return;
    dir_ = new TempDir(TempDir::Create("hospital_ingest").value());
    made_ = std::system(("/usr/bin/python3 " + tool + " --data " + data + " --out " + dir_->path() +
                         " --limit 3 > /dev/null 2>&1")
                            .c_str()) == 0;
  }
  static void TearDownTestSuite() { delete dir_; }
  void SetUp() override {
    if (!made_) GTEST_SKIP() << "no shared data, or its tool does not run here";
  }
  static std::string Path(const std::string& name) { return JoinPath(dir_->path(), name); }

  static inline TempDir* dir_ = nullptr;
  static inline bool made_ = false;
};

TEST_F(HospitalIngestTest, NoIdentifierIsLeftAndLabelsAreTheTruth) {
  for (const std::string site : {"site-a", "site-b", "site-c", "validation"}) {
    const std::string home = Path(site + "/home");
    const auto report = Ingest(home, {Path(site + "/archive")}, {}, nullptr, nullptr);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->cases_added, 3) << IngestToJson(*report);
    EXPECT_EQ(report->rejected.at(RejectReason::kLocalizer).series, 1);
    EXPECT_EQ(report->rejected.size(), 1u) << IngestToJson(*report);
    const std::string all = BytesBelowFolder(home);
    for (const std::string& planted : Planted(Path(site + "/phi.json"))) {
      for (const std::string& form : Forms(planted)) {
        EXPECT_FALSE(absl::StrContains(all, form)) << site;
      }
    }
    const Catalog catalog = LoadCatalog(home).value();
    EXPECT_EQ(catalog.cases.size(), 3u);
    for (const CaseRecord& record : catalog.cases) {
      EXPECT_EQ(record.attributes.at("SliceThickness"), std::vector<std::string>{"1"});
    }
  }
}

// The label of each case before and after: the archive's own files are the reference.
TEST_F(HospitalIngestTest, LabelsAreThoseOfTheArchive) {
  const std::vector<wire::PlanLabel> labels = {{1, "Anterior hippocampus", ""},
                                               {2, "Posterior hippocampus", ""}};
  const std::string archive = Path("validation/archive"), home = Path("validation/home2");
  ASSERT_TRUE(Ingest(home, {archive}, {}, nullptr, nullptr).ok());
  std::multiset<std::string> before, after;
  const auto read = [&](const std::vector<std::string>& images, const std::string& seg) {
    const auto series = imaging::AssembleSeries(images);
    EXPECT_TRUE(series.ok()) << series.status();
    const auto label = imaging::ReadSegmentation(seg, series->volume.geometry, labels);
    EXPECT_TRUE(label.ok()) << label.status();
    std::string bytes(label->voxels.begin(), label->voxels.end());
    return bytes.append(reinterpret_cast<const char*>(series->volume.voxels.data()),
                        series->volume.voxels.size() * sizeof(float));
  };
  for (const std::string& path : FilesBelowFolder(archive)) {
    if (!absl::EndsWith(path, "SEG0001.dcm")) continue;
    const std::string study = path.substr(0, path.size() - std::string("SEG/SEG0001.dcm").size());
    before.insert(read(FilesBelowFolder(study + "MR"), path));
  }
  const Catalog catalog = LoadCatalog(home).value();
  for (const CaseRecord& record : catalog.cases) {
    after.insert(read(CaseImagePaths(home, record.case_id).value(),
                      CaseLabelPath(home, record.case_id)));
  }
  EXPECT_EQ(before.size(), 3u);
  EXPECT_TRUE(before == after);
}

}  // namespace
}  // namespace consilium::agent
