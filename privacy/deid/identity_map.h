// What replaces an identity: keyed, so that nobody without the site's key can undo or repeat it,
// and the same for all time, so that a label delivered next year still fits its images.
#ifndef CONSILIUM_PRIVACY_DEID_IDENTITY_MAP_H_
#define CONSILIUM_PRIVACY_DEID_IDENTITY_MAP_H_

#include <string>

#include "absl/strings/string_view.h"
#include "privacy/crypto/secret_bytes.h"

namespace consilium::privacy {

// Thread-safe: immutable.
class IdentityMap {
 public:
  explicit IdentityMap(SecretBytes key) : key_(std::move(key)) {}

  // "2.25." and 128 bits of the HMAC in decimal; at most 44 characters. Empty stays empty.
  std::string Uid(absl::string_view uid) const;
  // `hex_digits` (at most 64) of the HMAC, different by `purpose`. Empty stays empty.
  std::string Hex(absl::string_view purpose, absl::string_view value, size_t hex_digits) const;
  // Days to add to a patient's dates: -3650 to -365. One patient, one shift: intervals stay.
  int DateShiftDays(absl::string_view patient) const;

 private:
  std::string Mac(absl::string_view purpose, absl::string_view value) const;
  SecretBytes key_;
};

// DA (YYYYMMDD, also YYYY.MM.DD) and DT, moved; what is no full date becomes empty.
std::string ShiftDate(absl::string_view date, int days);
// TM: the value where it has the form of a time, else empty.
std::string KeepTime(absl::string_view time);

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_IDENTITY_MAP_H_
