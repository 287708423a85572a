#include "tests/support/dicom_item.h"

#include <algorithm>
#include <iterator>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "dcmtk/dcmdata/dcrledrg.h"
#include "dcmtk/dcmdata/dcrleerg.h"
#include "proto/base/check.h"
#include "proto/base/file.h"
#include "proto/base/status.h"

namespace consilium::phantom {
namespace {

// A decimal string has room for 16 characters; six decimals are a nanometre.
std::string DecimalString(double value) {
  std::string text = absl::StrFormat("%.6f", value == 0 ? 0.0 : value);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

std::string Readable(const std::string& person_name) {
  return absl::StrReplaceAll(person_name, {{"^", " "}});
}

void AddNestedIdentity(DicomItem& item, const Identity& identity) {
  DicomItem request = item.Append(DCM_RequestAttributesSequence);
  request.Text(DCM_RequestedProcedureDescription,
               absl::StrCat("abdomen for ", Readable(identity.patient_name)));
  request.Text(DCM_RequestedProcedureID, identity.accession_number);
  request.Text(DCM_ScheduledProcedureStepID, identity.accession_number);

  // Two levels down: what a name correction at the archive leaves behind.
  DicomItem original = item.Append(DCM_OriginalAttributesSequence);
  original.Text(DCM_SourceOfPreviousValues, identity.institution);
  original.Text(DCM_AttributeModificationDateTime, absl::StrCat(identity.study_date, "180000"));
  original.Text(DCM_ModifyingSystem, identity.station_name);
  original.Text(DCM_ReasonForTheAttributeModification, "CORRECT");
  DicomItem modified = original.Append(DCM_ModifiedAttributesSequence);
  modified.Text(DCM_PatientName, identity.patient_name);
  modified.Text(DCM_PatientID, identity.patient_id);
}

void AddPrivateIdentity(DicomItem& item, const Identity& identity) {
  item.Text(DcmTag(0x0029, 0x0010, EVR_LO), "ACME HOSPITAL 1.0");
  item.Text(DcmTag(0x0029, 0x1010, EVR_LO), identity.patient_name);
  std::string owner = "owner=" + identity.patient_id;
  owner.resize(32, '\0');
  item.Bytes(DcmTag(0x0029, 0x1011, EVR_OB), owner);
}

E_TransferSyntax DcmtkSyntax(TransferSyntax syntax) {
  switch (syntax) {
    case TransferSyntax::kExplicitLittleEndian:
      return EXS_LittleEndianExplicit;
    case TransferSyntax::kImplicitLittleEndian:
      return EXS_LittleEndianImplicit;
    case TransferSyntax::kRleLossless:
      return EXS_RLELossless;
  }
  return EXS_Unknown;
}

}  // namespace

void DicomItem::Text(const DcmTag& tag, const std::string& utf8) {
  const std::string encoded = encoding_ == TextEncoding::kLatin1 ? Latin1FromUtf8(utf8) : utf8;
  CSL_CHECK(item_->putAndInsertString(tag, encoded.c_str()).good());
}

void DicomItem::Texts(const DcmTag& tag, const std::vector<std::string>& values) {
  Text(tag, absl::StrJoin(values, "\\"));
}

void DicomItem::Decimals(const DcmTag& tag, const std::vector<double>& values) {
  std::vector<std::string> texts;
  std::transform(values.begin(), values.end(), std::back_inserter(texts), DecimalString);
  Texts(tag, texts);
}

void DicomItem::Unsigned16(const DcmTag& tag, uint16_t value) {
  CSL_CHECK(item_->putAndInsertUint16(tag, value).good());
}

void DicomItem::Unsigned32s(const DcmTag& tag, const std::vector<uint32_t>& values) {
  // DCMTK has no putAndInsert for an array of 32-bit integers.
  auto element = std::make_unique<DcmUnsignedLong>(tag);
  CSL_CHECK(element->putUint32Array(values.data(), values.size()).good());
  CSL_CHECK(item_->insert(element.release(), /*replaceOld=*/OFTrue).good());
}

void DicomItem::TagKey(const DcmTag& tag, const DcmTagKey& value) {
  CSL_CHECK(item_->putAndInsertTagKey(tag, value).good());
}

void DicomItem::Bytes(const DcmTag& tag, const std::string& bytes) {
  CSL_CHECK(
      item_->putAndInsertUint8Array(tag, reinterpret_cast<const Uint8*>(bytes.data()), bytes.size())
          .good());
}

void DicomItem::Words(const DcmTag& tag, const std::vector<uint16_t>& words) {
  CSL_CHECK(item_->putAndInsertUint16Array(tag, words.data(), words.size()).good());
}

void DicomItem::Empty(const DcmTag& tag) { CSL_CHECK(item_->insertEmptyElement(tag).good()); }

DicomItem DicomItem::Append(const DcmTag& tag) {
  DcmItem* created = nullptr;
  constexpr long kNewAtTheEnd = -2;
  CSL_CHECK(item_->findOrCreateSequenceItem(tag, created, kNewAtTheEnd).good());
  return DicomItem(created, encoding_);
}

void DicomItem::Code(const DcmTag& tag, const std::string& value, const std::string& scheme,
                     const std::string& meaning) {
  DicomItem code = Append(tag);
  code.Text(DCM_CodeValue, value);
  code.Text(DCM_CodingSchemeDesignator, scheme);
  code.Text(DCM_CodeMeaning, meaning);
}

void Describe(DicomItem& item, const Identity& identity, const std::string& sop_class_uid,
              const std::string& sop_instance_uid, TextEncoding encoding) {
  item.Text(DCM_SpecificCharacterSet,
            encoding == TextEncoding::kLatin1 ? "ISO_IR 100" : "ISO_IR 192");
  item.Text(DCM_SOPClassUID, sop_class_uid);
  item.Text(DCM_SOPInstanceUID, sop_instance_uid);

  item.Text(DCM_PatientName, identity.patient_name);
  item.Text(DCM_PatientID, identity.patient_id);
  item.Text(DCM_PatientBirthDate, identity.birth_date);
  item.Text(DCM_PatientSex, identity.sex);
  item.Text(DCM_PatientAge, absl::StrFormat("%03dY", identity.age_years));
  item.Text(DCM_PatientAddress, identity.address);
  item.Text(DCM_PatientTelephoneNumbers, identity.telephone);
  item.Text(DCM_PatientComments,
            absl::StrCat("lives at ", identity.address, ", ask ", identity.family_name()));

  item.Text(DCM_StudyInstanceUID, identity.study_uid);
  item.Text(DCM_StudyID, "1");
  item.Text(DCM_AccessionNumber, identity.accession_number);
  item.Text(DCM_ReferringPhysicianName, identity.referring_physician);
  item.Text(DCM_OperatorsName, identity.operator_name);
  item.Text(DCM_StudyDescription, absl::StrCat("MR abdomen ", identity.family_name()));
  for (const DcmTagKey& date :
       {DCM_StudyDate, DCM_SeriesDate, DCM_AcquisitionDate, DCM_ContentDate}) {
    item.Text(date, identity.study_date);
  }
  for (const DcmTagKey& time :
       {DCM_StudyTime, DCM_SeriesTime, DCM_AcquisitionTime, DCM_ContentTime}) {
    item.Text(time, "101500");
  }

  item.Text(DCM_Manufacturer, "ACME");
  item.Text(DCM_ManufacturerModelName, "MR One");
  item.Text(DCM_SoftwareVersions, "1");
  item.Text(DCM_InstitutionName, identity.institution);
  item.Text(DCM_StationName, identity.station_name);
  item.Text(DCM_DeviceSerialNumber, identity.device_serial);
  item.Text(DCM_ImageComments,
            absl::StrCat("call ", identity.telephone, " re ", identity.patient_id));
  AddNestedIdentity(item, identity);
  AddPrivateIdentity(item, identity);
}

absl::Status SaveDicom(DcmFileFormat& file, const Identity& identity, TransferSyntax syntax,
                       const std::string& path) {
  CSL_RETURN_IF_ERROR(MakeDirs(path.substr(0, path.rfind('/'))));
  if (syntax == TransferSyntax::kRleLossless) {
    DcmRLEEncoderRegistration::registerCodecs();
    DcmRLEDecoderRegistration::registerCodecs();
    if (file.getDataset()->chooseRepresentation(EXS_RLELossless, nullptr).bad()) {
      return absl::InternalError("RLE compression failed");
    }
  }
  CSL_CHECK(
      file.getMetaInfo()
          ->putAndInsertString(DCM_SourceApplicationEntityTitle, identity.station_name.c_str())
          .good());
  // Without updateMeta DCMTK would write a meta header of its own and drop the title.
  const OFCondition written =
      file.saveFile(path.c_str(), DcmtkSyntax(syntax), EET_ExplicitLength, EGL_withoutGL,
                    EPD_withoutPadding, 0, 0, EWM_updateMeta);
  if (written.bad()) return absl::UnavailableError(absl::StrCat("write DICOM: ", written.text()));
  return absl::OkStatus();
}

}  // namespace consilium::phantom
