// A dataset under construction. Putting a value of the wrong kind is a bug of the caller and ends
// the program; only writing to disk returns a status.
#ifndef CONSILIUM_TESTS_SUPPORT_DICOM_ITEM_H_
#define CONSILIUM_TESTS_SUPPORT_DICOM_ITEM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dctk.h"
#include "tests/support/dicom_writer.h"

namespace consilium::phantom {

// A borrowed dataset or sequence item, and the encoding of its text.
class DicomItem {
 public:
  DicomItem(DcmItem* item, TextEncoding encoding) : item_(item), encoding_(encoding) {}

  // UTF-8 in, the dataset's character set out. The tag carries the VR for private elements.
  void Text(const DcmTag& tag, const std::string& utf8);
  void Texts(const DcmTag& tag, const std::vector<std::string>& values);
  // Decimal strings (DS), at most 16 characters each.
  void Decimals(const DcmTag& tag, const std::vector<double>& values);
  void Unsigned16(const DcmTag& tag, uint16_t value);
  void Unsigned32s(const DcmTag& tag, const std::vector<uint32_t>& values);
  void TagKey(const DcmTag& tag, const DcmTagKey& value);
  void Bytes(const DcmTag& tag, const std::string& bytes);
  void Words(const DcmTag& tag, const std::vector<uint16_t>& words);
  // Present without a value, as attributes of type 2 may be.
  void Empty(const DcmTag& tag);
  // A new item at the end of sequence `tag`, valid as long as the dataset.
  DicomItem Append(const DcmTag& tag);
  // Appends the coded concept (PS3.3 8.1).
  void Code(const DcmTag& tag, const std::string& value, const std::string& scheme,
            const std::string& meaning);

 private:
  DcmItem* item_;
  TextEncoding encoding_;
};

// Patient, study, equipment and the places where identities hide: comments, descriptions, nested
// sequences, private elements. Also SOP common and the character set.
void Describe(DicomItem& item, const Identity& identity, const std::string& sop_class_uid,
              const std::string& sop_instance_uid, TextEncoding encoding);

// Creates the folder and writes a DICOM file. The application entity title in its meta header is
// the station's name.
absl::Status SaveDicom(DcmFileFormat& file, const Identity& identity, TransferSyntax syntax,
                       const std::string& path);

}  // namespace consilium::phantom

#endif  // CONSILIUM_TESTS_SUPPORT_DICOM_ITEM_H_
