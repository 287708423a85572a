#include "privacy/deid/deidentifier.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/civil_time.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"

namespace consilium::privacy {
namespace {

constexpr Uint16 kRows = 6, kColumns = 5;

// Everything a file of this test says about its patient.
const std::vector<std::string>& Planted() {
  static const auto* const planted = new std::vector<std::string>{
      "Okafor",      "Amára",        "A6068167",  "19561216",   "20220223",
      "ACC60244592", "Dr^Weissmann", "Lindqvist", "221 Harbor", "104675",
      "Brigid",      "MR92SKY",      "SN853076",  "TechOne",    "2.25.4711"};
  return *planted;
}

void Put(DcmItem& item, const DcmTagKey& key, const std::string& value) {
  ASSERT_TRUE(item.putAndInsertString(key, value.c_str()).good()) << key.toString().c_str();
}

std::string Get(DcmItem& item, const DcmTagKey& key) {
  OFString value;
  (void)item.findAndGetOFStringArray(key, value);
  return value.c_str();
}

void PutPatient(DcmDataset& dataset) {
  Put(dataset, DCM_SpecificCharacterSet, "ISO_IR 192");
  Put(dataset, DCM_PatientName, "Okafor^Amára");
  Put(dataset, DCM_PatientID, "A6068167");
  Put(dataset, DCM_PatientBirthDate, "19561216");
  Put(dataset, DCM_PatientSex, "F");
  Put(dataset, DCM_StudyDate, "20220223");
  Put(dataset, DCM_ContentDate, "20220225");
  Put(dataset, DCM_StudyTime, "101500");
  Put(dataset, DCM_AccessionNumber, "ACC60244592");
  Put(dataset, DCM_ReferringPhysicianName, "Dr^Weissmann");
  Put(dataset, DCM_OperatorsName, "TechOne");
  Put(dataset, DCM_PatientAddress, "221 Harbor Street");
  Put(dataset, DCM_PatientTelephoneNumbers, "+00 555 104675");
  Put(dataset, DCM_InstitutionName, "St Brigid Hospital");
  Put(dataset, DCM_StationName, "MR92SKY");
  Put(dataset, DCM_DeviceSerialNumber, "SN853076");
  Put(dataset, DCM_StudyInstanceUID, "2.25.4711");
  Put(dataset, DCM_SeriesInstanceUID, "2.25.4711.1");
  Put(dataset, DCM_FrameOfReferenceUID, "2.25.4711.2");
  Put(dataset, DCM_Manufacturer, "ACME");
  Put(dataset, DCM_StudyDescription, "brain of Okafor");
  // Free text that no row of the table lists.
  Put(dataset, DCM_AcquisitionDeviceProcessingCode, "OKAFOR");
  Put(dataset, DCM_PatientMotherBirthName, "Lindqvist");
  Put(dataset, DCM_SoftwareVersions, "VE11 okafor");
}

// Three levels down, in a sequence that stays.
void PutNested(DcmDataset& dataset) {
  DcmItem *outer = nullptr, *middle = nullptr, *inner = nullptr;
  ASSERT_TRUE(dataset.findOrCreateSequenceItem(DCM_ProcedureCodeSequence, outer).good());
  Put(*outer, DCM_CodeValue, "P5-0900");
  Put(*outer, DCM_CodeMeaning, "MR for Amára Okafor");
  ASSERT_TRUE(outer->findOrCreateSequenceItem(DCM_SourceImageSequence, middle).good());
  Put(*middle, DCM_ReferencedSOPClassUID, UID_MRImageStorage);
  Put(*middle, DCM_ReferencedSOPInstanceUID, "2.25.4711.100");
  ASSERT_TRUE(middle->findOrCreateSequenceItem(DCM_PurposeOfReferenceCodeSequence, inner).good());
  Put(*inner, DCM_PatientName, "Okafor^Amára");
  Put(*inner, DCM_StudyDate, "20220223");
  Put(*inner, DCM_CodeMeaning, "Source image");
  DcmItem* request = nullptr;
  ASSERT_TRUE(dataset.findOrCreateSequenceItem(DCM_RequestAttributesSequence, request).good());
  Put(*request, DCM_ScheduledProcedureStepID, "ACC60244592");
}

void PutHidden(DcmDataset& dataset) {
  Put(dataset, DcmTag(0x0029, 0x0010, EVR_LO), "ACME HOSPITAL 1.0");
  const std::string owner = "owner=A6068167 ";
  ASSERT_TRUE(dataset
                  .putAndInsertUint8Array(DcmTag(0x0029, 0x1011, EVR_OB),
                                          reinterpret_cast<const Uint8*>(owner.data()),
                                          owner.size() / 2 * 2)
                  .good());
  Put(dataset, DcmTag(0x6000, 0x0022, EVR_LO), "overlay Okafor");
  Put(dataset, DcmTag(0x5000, 0x0022, EVR_LO), "curve Okafor");
  DcmItem* icon = nullptr;
  ASSERT_TRUE(dataset.findOrCreateSequenceItem(DCM_IconImageSequence, icon).good());
  Put(*icon, DCM_ImageComments, "Okafor");
}

void PutPixels(DcmDataset& dataset, const std::string& behind) {
  for (const auto& [key, value] :
       std::vector<std::pair<DcmTagKey, Uint16>>{{DCM_SamplesPerPixel, 1},
                                                 {DCM_Rows, kRows},
                                                 {DCM_Columns, kColumns},
                                                 {DCM_BitsAllocated, 16},
                                                 {DCM_BitsStored, 12},
                                                 {DCM_HighBit, 11},
                                                 {DCM_PixelRepresentation, 0}}) {
    ASSERT_TRUE(dataset.putAndInsertUint16(key, value).good());
  }
  Put(dataset, DCM_PhotometricInterpretation, "MONOCHROME2");
  std::string bytes;
  for (Uint16 i = 0; i < kRows * kColumns; ++i) {
    bytes += static_cast<char>(i);
    bytes += '\xA0';  // the upper four bits are not stored
  }
  bytes += behind;
  std::vector<Uint16> words(bytes.size() / 2);
  std::memcpy(words.data(), bytes.data(), words.size() * 2);
  ASSERT_TRUE(dataset.putAndInsertUint16Array(DCM_PixelData, words.data(), words.size()).good());
}

void WriteImage(const std::string& path, E_TransferSyntax syntax = EXS_LittleEndianExplicit) {
  DcmFileFormat file;
  DcmDataset& dataset = *file.getDataset();
  PutPatient(dataset);
  PutNested(dataset);
  PutHidden(dataset);
  PutPixels(dataset, "tail of Okafor, A6068167");
  Put(dataset, DCM_SOPClassUID, UID_MRImageStorage);
  Put(dataset, DCM_SOPInstanceUID, "2.25.4711.100");
  Put(dataset, DCM_Modality, "MR");
  Put(dataset, DCM_ImageType, "ORIGINAL\\PRIMARY\\M");
  Put(dataset, DCM_SeriesDescription, "T1 Okafor");
  Put(*file.getMetaInfo(), DCM_SourceApplicationEntityTitle, "MR92SKY");
  std::string preamble = "MZ Okafor";
  ASSERT_TRUE(file.saveFile(path.c_str(), syntax, EET_UndefinedLength, EGL_recalcGL).good());
  auto out = File::Open(path, File::Mode::kReadWriteCreate);
  ASSERT_TRUE(out.ok());
  ASSERT_TRUE(out->WriteAt(0, preamble).ok());
  const std::string padding =
      std::string("\xfc\xff\xfc\xff", 4) +
      (syntax == EXS_LittleEndianImplicit ? std::string("\x06\0\0\0", 4)
                                          : std::string("OB\0\0\x06\0\0\0", 8)) +
      "Okafor";
  ASSERT_TRUE(out->WriteAt(out->Bytes().value(), padding).ok());
}

void WriteSeg(const std::string& path) {
  DcmFileFormat file;
  DcmDataset& dataset = *file.getDataset();
  PutPatient(dataset);
  Put(dataset, DCM_SOPClassUID, UID_SegmentationStorage);
  Put(dataset, DCM_SOPInstanceUID, "2.25.4711.200");
  Put(dataset, DCM_Modality, "SEG");
  Put(dataset, DCM_ContentCreatorName, "Dr^Weissmann");
  Put(dataset, DCM_ContentLabel, "OKAFOR");
  for (int i = 0; i < 2; ++i) {
    DcmItem* segment = nullptr;
    ASSERT_TRUE(dataset.findOrCreateSequenceItem(DCM_SegmentSequence, segment, i).good());
    Put(*segment, DCM_SegmentLabel, i == 0 ? "Anterior hippocampus" : "Posterior of Okafor");
    Put(*segment, DCM_TrackingID, "Okafor lesion 1");
    Put(*segment, DCM_TrackingUID, "2.25.4711.300");
  }
  DcmItem *series = nullptr, *instance = nullptr;
  ASSERT_TRUE(dataset.findOrCreateSequenceItem(DCM_ReferencedSeriesSequence, series).good());
  Put(*series, DCM_SeriesInstanceUID, "2.25.4711.1");
  ASSERT_TRUE(series->findOrCreateSequenceItem(DCM_ReferencedInstanceSequence, instance).good());
  Put(*instance, DCM_ReferencedSOPClassUID, UID_MRImageStorage);
  Put(*instance, DCM_ReferencedSOPInstanceUID, "2.25.4711.100");
  for (const auto& [key, value] :
       std::vector<std::pair<DcmTagKey, Uint16>>{{DCM_SamplesPerPixel, 1},
                                                 {DCM_Rows, kRows},
                                                 {DCM_Columns, kColumns},
                                                 {DCM_BitsAllocated, 1},
                                                 {DCM_BitsStored, 1},
                                                 {DCM_HighBit, 0},
                                                 {DCM_PixelRepresentation, 0}}) {
    ASSERT_TRUE(dataset.putAndInsertUint16(key, value).good());
  }
  Put(dataset, DCM_NumberOfFrames, "1");
  Put(dataset, DCM_PhotometricInterpretation, "MONOCHROME2");
  const Uint8 bits[6] = {1, 2, 3, 0xFF, 'O', 'k'};  // 30 bits, then what hides behind
  ASSERT_TRUE(dataset.putAndInsertUint8Array(DCM_PixelData, bits, 6).good());
  ASSERT_TRUE(file.saveFile(path.c_str(), EXS_LittleEndianExplicit).good());
}

// The image of WriteImage with pixels of all ones.
void WriteOnes(const std::string& path, Uint16 allocated, Uint16 stored, Uint16 high_bit) {
  WriteImage(path);
  DcmFileFormat file;
  ASSERT_TRUE(file.loadFile(path.c_str()).good());
  DcmDataset& dataset = *file.getDataset();
  for (const auto& [key, value] : std::vector<std::pair<DcmTagKey, Uint16>>{
           {DCM_BitsAllocated, allocated}, {DCM_BitsStored, stored}, {DCM_HighBit, high_bit}}) {
    ASSERT_TRUE(dataset.putAndInsertUint16(key, value).good());
  }
  const std::vector<Uint16> words(kRows * kColumns, 0xFFFF);
  const std::vector<Uint8> bytes(kRows * kColumns, 0xFF);
  ASSERT_TRUE((allocated == 16
                   ? dataset.putAndInsertUint16Array(DCM_PixelData, words.data(), words.size())
                   : dataset.putAndInsertUint8Array(DCM_PixelData, bytes.data(), bytes.size()))
                  .good());
  ASSERT_TRUE(file.saveFile(path.c_str(), EXS_LittleEndianExplicit).good());
}

// The forms in which a text can lie in a file.
std::vector<std::string> Forms(const std::string& text) {
  std::vector<std::string> forms = {text, absl::AsciiStrToUpper(text), absl::AsciiStrToLower(text)};
  std::string latin1 = text, little, big;
  if (const size_t at = latin1.find("á"); at != std::string::npos) latin1.replace(at, 2, "\xE1");
  for (const char c : latin1) {
    little += {c, '\0'};
    big += {'\0', c};
  }
  forms.insert(forms.end(), {latin1, little, big});
  for (size_t shift = 0; shift < 3; ++shift) {
    // The middle of the encoding does not depend on what stands around.
    const std::string encoded = Base64Encode(std::string(shift, ' ') + text);
    const std::string middle = encoded.substr(shift == 0 ? 0 : 4, (text.size() / 3 - 1) * 4);
    if (middle.size() >= 6) forms.push_back(middle);
  }
  return forms;
}

int CountPlanted(const std::string& path) {
  const std::string bytes = ReadFile(path, 1 << 20).value();
  int found = 0;
  for (const std::string& planted : Planted()) {
    const std::vector<std::string> forms = Forms(planted);
    found += std::any_of(forms.begin(), forms.end(),
                         [&](const std::string& form) { return absl::StrContains(bytes, form); });
  }
  return found;
}

class DeidentifierTest : public testing::Test {
 protected:
  DeidentifierTest()
      : dir_(TempDir::Create("deid_test").value()),
        deid_(Deidentifier::Create({.site_key = SecretBytes(std::string(32, 'k'))}).value()) {}

  std::string Path(const std::string& name) const { return JoinPath(dir_.path(), name); }

  absl::StatusOr<DeidReport> Run(const std::string& in, const std::string& out) {
    PatientTokens tokens;
    const absl::Status collected = deid_.CollectTokens(Path(in), tokens);
    if (!collected.ok()) return collected;
    return deid_.Deidentify(Path(in), Path(out), tokens);
  }

  TempDir dir_;
  Deidentifier deid_;
};

TEST_F(DeidentifierTest, NothingPlantedIsLeftInAnImage) {
  for (const E_TransferSyntax syntax : {EXS_LittleEndianExplicit, EXS_LittleEndianImplicit}) {
    WriteImage(Path("in.dcm"), syntax);
    const auto report = Run("in.dcm", "out.dcm");
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(CountPlanted(Path("in.dcm")), static_cast<int>(Planted().size()));
    EXPECT_EQ(CountPlanted(Path("out.dcm")), 0);
    EXPECT_EQ(report->files, 1);
    EXPECT_GE(report->private_removed, 2);
    EXPECT_GT(report->hidden_bytes_dropped, 24);
    EXPECT_GT(report->uids_mapped, 4);
    EXPECT_GT(report->texts_scrubbed, 1);
  }
}

TEST_F(DeidentifierTest, KeepsPixelsAndIntervalsAndMarksTheFile) {
  WriteImage(Path("in.dcm"));
  ASSERT_TRUE(Run("in.dcm", "out.dcm").ok());
  DcmFileFormat file;
  ASSERT_TRUE(file.loadFile(Path("out.dcm").c_str()).good());
  DcmDataset& dataset = *file.getDataset();
  const Uint16* pixels = nullptr;
  unsigned long count = 0;
  ASSERT_TRUE(dataset.findAndGetUint16Array(DCM_PixelData, pixels, &count).good());
  ASSERT_EQ(count, static_cast<unsigned long>(kRows * kColumns));
  EXPECT_EQ(pixels[3], 3);  // stored bits only
  EXPECT_EQ(Get(dataset, DCM_PatientID), deid_.PatientPseudonym("A6068167"));
  EXPECT_EQ(Get(dataset, DCM_SOPInstanceUID), deid_.MapUid("2.25.4711.100"));
  EXPECT_EQ(Get(*file.getMetaInfo(), DCM_MediaStorageSOPInstanceUID),
            deid_.MapUid("2.25.4711.100"));
  EXPECT_EQ(Get(dataset, DCM_SOPClassUID), UID_MRImageStorage);
  EXPECT_EQ(Get(dataset, DCM_StudyTime), "101500");
  EXPECT_LT(Get(dataset, DCM_StudyDate), "20220223");
  EXPECT_LT(Get(dataset, DCM_StudyDate), Get(dataset, DCM_ContentDate));
  EXPECT_EQ(Get(dataset, DCM_PatientIdentityRemoved), "YES");
  EXPECT_EQ(Get(dataset, DCM_LongitudinalTemporalInformationModified), "MODIFIED");
  EXPECT_EQ(Get(dataset, DCM_SoftwareVersions), "VE11");
  EXPECT_EQ(Get(dataset, DCM_Manufacturer), "ACME");
  DcmItem *code = nullptr, *source = nullptr;
  ASSERT_TRUE(dataset.findAndGetSequenceItem(DCM_ProcedureCodeSequence, code).good());
  EXPECT_EQ(Get(*code, DCM_CodeMeaning), "MR for");
  ASSERT_TRUE(code->findAndGetSequenceItem(DCM_SourceImageSequence, source).good());
  EXPECT_EQ(Get(*source, DCM_ReferencedSOPInstanceUID), deid_.MapUid("2.25.4711.100"));
  ASSERT_TRUE(dataset.findAndGetSequenceItem(DCM_DeidentificationMethodCodeSequence, code).good());
  EXPECT_EQ(Get(*code, DCM_CodeValue), "113100");
  struct stat info;
  ASSERT_EQ(::stat(Path("out.dcm").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_FALSE(PathExists(Path("out.dcm.part")));
}

TEST_F(DeidentifierTest, ASegmentationStillPointsAtItsImages) {
  WriteImage(Path("in.dcm"));
  WriteSeg(Path("seg.dcm"));
  ASSERT_TRUE(Run("in.dcm", "out.dcm").ok());
  const auto report = Run("seg.dcm", "seg_out.dcm");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(CountPlanted(Path("seg_out.dcm")), 0);
  DcmFileFormat image, seg;
  ASSERT_TRUE(image.loadFile(Path("out.dcm").c_str()).good());
  ASSERT_TRUE(seg.loadFile(Path("seg_out.dcm").c_str()).good());
  DcmItem *series = nullptr, *instance = nullptr, *segment = nullptr;
  ASSERT_TRUE(
      seg.getDataset()->findAndGetSequenceItem(DCM_ReferencedSeriesSequence, series).good());
  EXPECT_EQ(Get(*series, DCM_SeriesInstanceUID), Get(*image.getDataset(), DCM_SeriesInstanceUID));
  ASSERT_TRUE(series->findAndGetSequenceItem(DCM_ReferencedInstanceSequence, instance).good());
  EXPECT_EQ(Get(*instance, DCM_ReferencedSOPInstanceUID),
            Get(*image.getDataset(), DCM_SOPInstanceUID));
  EXPECT_EQ(Get(*seg.getDataset(), DCM_StudyDate), Get(*image.getDataset(), DCM_StudyDate));
  ASSERT_TRUE(seg.getDataset()->findAndGetSequenceItem(DCM_SegmentSequence, segment, 0).good());
  EXPECT_EQ(Get(*segment, DCM_SegmentLabel), "Anterior hippocampus");
  ASSERT_TRUE(seg.getDataset()->findAndGetSequenceItem(DCM_SegmentSequence, segment, 1).good());
  EXPECT_EQ(Get(*segment, DCM_SegmentLabel), "Posterior of");
  const Uint8* bits = nullptr;
  unsigned long count = 0;
  ASSERT_TRUE(seg.getDataset()->findAndGetUint8Array(DCM_PixelData, bits, &count).good());
  EXPECT_EQ(std::vector<int>(bits, bits + count), (std::vector<int>{1, 2, 3, 0x3F}));
}

TEST_F(DeidentifierTest, HoldsBackWhatMayShowTextAndRefusesOtherObjects) {
  WriteImage(Path("in.dcm"));
  const auto change = [&](const DcmTagKey& key, const char* value) {
    DcmFileFormat file;
    ASSERT_TRUE(file.loadFile(Path("in.dcm").c_str()).good());
    Put(*file.getDataset(), key, value);
    ASSERT_TRUE(file.saveFile(Path("changed.dcm").c_str()).good());
  };
  change(DCM_BurnedInAnnotation, "YES");
  EXPECT_TRUE(absl::IsFailedPrecondition(Run("changed.dcm", "out.dcm").status()));
  change(DCM_ImageType, "DERIVED\\SECONDARY\\SCREEN SAVE");
  EXPECT_TRUE(absl::IsFailedPrecondition(Run("changed.dcm", "out.dcm").status()));
  change(DCM_PhotometricInterpretation, "RGB");
  EXPECT_TRUE(absl::IsFailedPrecondition(Run("changed.dcm", "out.dcm").status()));
  change(DCM_SOPClassUID, UID_UltrasoundImageStorage);
  EXPECT_TRUE(absl::IsFailedPrecondition(Run("changed.dcm", "out.dcm").status()));
  change(DCM_SOPClassUID, UID_BasicTextSRStorage);
  EXPECT_TRUE(absl::IsPermissionDenied(Run("changed.dcm", "out.dcm").status()));
  change(DCM_SOPClassUID, "1.2.840.10008.5.1.4.1.1.66");  // raw data
  EXPECT_TRUE(absl::IsUnimplemented(Run("changed.dcm", "out.dcm").status()));
  change(DCM_NumberOfFrames, "1000");
  EXPECT_TRUE(absl::IsInvalidArgument(Run("changed.dcm", "out.dcm").status()));
  EXPECT_FALSE(PathExists(Path("out.dcm")));
}

TEST_F(DeidentifierTest, SecondaryImagesAreLookedAtHeldOrAllowedAsTheProfileSays) {
  WriteImage(Path("in.dcm"));
  DcmFileFormat file;
  ASSERT_TRUE(file.loadFile(Path("in.dcm").c_str()).good());
  Put(*file.getDataset(), DCM_ImageType, "DERIVED\\SECONDARY\\MPR");
  ASSERT_TRUE(file.saveFile(Path("in.dcm").c_str()).good());
  EXPECT_TRUE(Run("in.dcm", "out.dcm").ok());  // thirty pixels hold no word
  for (const auto& [choice, written] :
       {std::pair{SecondaryImages::kHoldBack, false}, {SecondaryImages::kAllow, true}}) {
    DeidProfile profile;
    profile.secondary_images = choice;
    deid_ =
        Deidentifier::Create({.site_key = SecretBytes(std::string(32, 'k')), .profile = profile})
            .value();
    EXPECT_EQ(Run("in.dcm", "out.dcm").ok(), written);
  }
}

TEST_F(DeidentifierTest, AFileForReviewSaysThatItIsIdentifiedUntilAPersonReleasesIt) {
  WriteImage(Path("in.dcm"));
  DcmFileFormat file;
  ASSERT_TRUE(file.loadFile(Path("in.dcm").c_str()).good());
  Put(*file.getDataset(), DCM_BurnedInAnnotation, "YES");
  ASSERT_TRUE(file.saveFile(Path("in.dcm").c_str()).good());
  PatientTokens tokens;
  ASSERT_TRUE(deid_.CollectTokens(Path("in.dcm"), tokens).ok());
  ASSERT_TRUE(deid_.PrepareReview(Path("in.dcm"), Path("held.dcm"), Path("held.png"), tokens).ok());
  EXPECT_EQ(CountPlanted(Path("held.dcm")), 0);
  const std::string png = ReadFile(Path("held.png"), 1 << 20).value();
  EXPECT_TRUE(absl::StartsWith(png, "\x89PNG\r\n\x1a\n"));
  DcmFileFormat held, released;
  ASSERT_TRUE(held.loadFile(Path("held.dcm").c_str()).good());
  EXPECT_EQ(Get(*held.getDataset(), DCM_PatientIdentityRemoved), "NO");
  ASSERT_TRUE(Deidentifier::ConfirmReviewed(Path("held.dcm"), Path("out.dcm")).ok());
  ASSERT_TRUE(released.loadFile(Path("out.dcm").c_str()).good());
  EXPECT_EQ(Get(*released.getDataset(), DCM_PatientIdentityRemoved), "YES");
  EXPECT_FALSE(Deidentifier::ConfirmReviewed(Path("in.dcm"), Path("x.dcm")).ok());
}

TEST_F(DeidentifierTest, KeepsNumbersOfKnownMakersAndNothingElseThatIsPrivate) {
  WriteImage(Path("in.dcm"));
  DcmFileFormat file;
  ASSERT_TRUE(file.loadFile(Path("in.dcm").c_str()).good());
  DcmDataset& in = *file.getDataset();
  ASSERT_TRUE(in.putAndInsertString(DcmTag(0x0019, 0x0010, EVR_LO), "SIEMENS MR HEADER").good());
  ASSERT_TRUE(in.putAndInsertString(DcmTag(0x0019, 0x100C, EVR_IS), "800").good());  // B value
  ASSERT_TRUE(
      in.putAndInsertString(DcmTag(0x0019, 0x1008, EVR_LO), "Okafor").good());  // not in the table
  ASSERT_TRUE(in.putAndInsertString(DcmTag(0x0019, 0x0011, EVR_LO), "OKAFOR INC").good());
  ASSERT_TRUE(in.putAndInsertString(DcmTag(0x0019, 0x110C, EVR_IS), "800")
                  .good());  // the same place, another creator's
  ASSERT_TRUE(file.saveFile(Path("in.dcm").c_str(), EXS_LittleEndianExplicit).good());
  const auto report = Run("in.dcm", "out.dcm");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->private_kept, 1);
  DcmFileFormat out;
  ASSERT_TRUE(out.loadFile(Path("out.dcm").c_str()).good());
  EXPECT_EQ(Get(*out.getDataset(), DcmTag(0x0019, 0x100C)), "800");
  EXPECT_EQ(Get(*out.getDataset(), DcmTag(0x0019, 0x0010)), "SIEMENS MR HEADER");
  EXPECT_FALSE(out.getDataset()->tagExists(DcmTag(0x0019, 0x1008)));
  EXPECT_FALSE(out.getDataset()->tagExists(DcmTag(0x0019, 0x0011)));
  EXPECT_FALSE(out.getDataset()->tagExists(DcmTag(0x0029, 0x1011)));
}

TEST_F(DeidentifierTest, BitsThatAreNotStoredGoWhereverTheyLie) {
  WriteOnes(Path("in.dcm"), 16, 12, 13);
  ASSERT_TRUE(Run("in.dcm", "out.dcm").ok());
  DcmFileFormat words, bytes;
  ASSERT_TRUE(words.loadFile(Path("out.dcm").c_str()).good());
  Uint16 word = 0;
  ASSERT_TRUE(words.getDataset()->findAndGetUint16(DCM_PixelData, word).good());
  EXPECT_EQ(word, 0x3FFC);
  WriteOnes(Path("in.dcm"), 8, 6, 5);
  ASSERT_TRUE(Run("in.dcm", "out.dcm").ok());
  ASSERT_TRUE(bytes.loadFile(Path("out.dcm").c_str()).good());
  const Uint8* pixels = nullptr;
  unsigned long count = 0;
  ASSERT_TRUE(bytes.getDataset()->findAndGetUint8Array(DCM_PixelData, pixels, &count).good());
  ASSERT_EQ(count, static_cast<unsigned long>(kRows * kColumns));
  EXPECT_EQ(pixels[0], 0x3F);
  for (const Uint16 high_bit : {10, 16}) {  // below the stored bits, above the allocated ones
    WriteOnes(Path("in.dcm"), 16, 12, high_bit);
    EXPECT_TRUE(absl::IsInvalidArgument(Run("in.dcm", "out.dcm").status()));
  }
}

// Days from a date of the input to the same date of the output.
int Shift(const std::string& from, const std::string& to) {
  const auto day = [](const std::string& text) {
    return absl::CivilDay(std::stoi(text.substr(0, 4)), std::stoi(text.substr(4, 2)),
                          std::stoi(text.substr(6, 2)));
  };
  return static_cast<int>(day(to) - day(from));
}

TEST_F(DeidentifierTest, APatientWhoComesBackAYearLaterIsTheSame) {
  struct Seen {
    std::string patient, study, image;
    int shift;
  };
  const auto see = [&](const std::string& key, const char* date, const char* study) {
    // Another process, another clock: nothing is carried over but the key.
    deid_ = Deidentifier::Create({.site_key = SecretBytes(key)}).value();
    WriteImage(Path("in.dcm"));
    DcmFileFormat in, out;
    EXPECT_TRUE(in.loadFile(Path("in.dcm").c_str()).good());
    Put(*in.getDataset(), DCM_StudyDate, date);
    Put(*in.getDataset(), DCM_StudyInstanceUID, study);
    EXPECT_TRUE(in.saveFile(Path("in.dcm").c_str(), EXS_LittleEndianExplicit).good());
    EXPECT_TRUE(Run("in.dcm", "out.dcm").ok());
    EXPECT_TRUE(out.loadFile(Path("out.dcm").c_str()).good());
    DcmDataset& dataset = *out.getDataset();
    return Seen{Get(dataset, DCM_PatientID), Get(dataset, DCM_StudyInstanceUID),
                Get(dataset, DCM_SOPInstanceUID), Shift(date, Get(dataset, DCM_StudyDate))};
  };
  const std::string ours(32, 'k'), theirs(32, 'x');
  const Seen first = see(ours, "20220223", "2.25.4711"), later = see(ours, "20230301", "2.25.4712");
  const Seen elsewhere = see(theirs, "20220223", "2.25.4711");
  EXPECT_EQ(first.patient, later.patient);
  EXPECT_EQ(first.shift, later.shift);
  EXPECT_EQ(first.image, later.image);
  EXPECT_NE(first.study, later.study);
  EXPECT_NE(first.patient, elsewhere.patient);
  EXPECT_NE(first.shift, elsewhere.shift);
  EXPECT_NE(first.study, elsewhere.study);
  EXPECT_NE(first.image, elsewhere.image);
}

TEST_F(DeidentifierTest, WhoKnowsRootSerialAndTimeStillNeedsTheKey) {
  // A scanner's UID can be written down by whoever knows the machine and the minute.
  const std::string guess = "1.3.12.2.1107.5.2.32.853076.20220223101500";
  const std::string mapped = deid_.MapUid(guess);
  const auto as_uid = [](const std::string& digest) {
    // PS3.5 B.2: 2.25 and 128 bits in decimal, as unkeyed tools make them.
    unsigned __int128 value = 0;
    for (int i = 0; i < 16; ++i) value = value << 8 | static_cast<unsigned char>(digest[i]);
    std::string digits;
    for (; value != 0; value /= 10) digits += static_cast<char>('0' + static_cast<int>(value % 10));
    return "2.25." + std::string(digits.rbegin(), digits.rend());
  };
  EXPECT_NE(mapped, as_uid(Sha256(guess)));
  for (const std::string& key :
       {std::string(32, '\0'), std::string(), std::string(32, 'j'), guess}) {
    EXPECT_NE(mapped, as_uid(HmacSha256(key, guess)));
    EXPECT_NE(mapped, as_uid(HmacSha256(key, "consilium deid 1\n3:uid" + guess)));
  }
  // The key alone decides: with it the map can be repeated.
  EXPECT_EQ(mapped, as_uid(HmacSha256(std::string(32, 'k'), "consilium deid 1\n3:uid" + guess)));
}

TEST_F(DeidentifierTest, PixelsOfASecondKindAreRefused) {
  WriteImage(Path("in.dcm"));
  DcmFileFormat file;
  ASSERT_TRUE(file.loadFile(Path("in.dcm").c_str()).good());
  const std::vector<Float32> values(kRows * kColumns, 1);
  ASSERT_TRUE(file.getDataset()
                  ->putAndInsertFloat32Array(DCM_FloatPixelData, values.data(), values.size())
                  .good());
  ASSERT_TRUE(file.saveFile(Path("in.dcm").c_str(), EXS_LittleEndianExplicit).good());
  EXPECT_TRUE(absl::IsInvalidArgument(Run("in.dcm", "out.dcm").status()));
}

TEST_F(DeidentifierTest, ErrorsNameNothing) {
  const std::string path = Path("Okafor^Amara.dcm");
  ASSERT_TRUE(WriteFileAtomic(path, "no DICOM").ok());
  PatientTokens tokens;
  for (const absl::Status& status :
       {deid_.CollectTokens(path, tokens), deid_.Deidentify(path, Path("o"), tokens).status(),
        deid_.CollectTokens(path + "x", tokens)}) {
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()), testing::Not(testing::HasSubstr("Okafor")));
  }
}

TEST_F(DeidentifierTest, RefusesAKeyOfAnotherLength) {
  EXPECT_FALSE(Deidentifier::Create({.site_key = SecretBytes("short")}).ok());
}

}  // namespace
}  // namespace consilium::privacy
