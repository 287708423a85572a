// Removes who the patient is from DICOM files and keeps what the picture shows.
//
// What is done is PS3.15 Table E.1-1 (edition kTableEdition), Basic Profile with the options of a
// DeidProfile, at every depth of a file, and on top of the table: default-deny for text attributes
// that no rule knows, removal of every word known from the patient's identity, and the file level
// (preamble, meta header, padding, bytes behind the pixels). Objects that nobody wrote rules for
// are refused.
#ifndef CONSILIUM_PRIVACY_DEID_DEIDENTIFIER_H_
#define CONSILIUM_PRIVACY_DEID_DEIDENTIFIER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/deid/deid_report.h"
#include "privacy/deid/header_memo.h"
#include "privacy/deid/patient_tokens.h"
#include "privacy/deid/profile.h"
#include "proto/base/thread_pool.h"

namespace consilium::privacy {

inline constexpr const char* kTableEdition = "PS3.15 2024b Table E.1-1";
inline constexpr size_t kSiteKeyBytes = 32;

// Thread-safe after Create: every method is const and keeps nothing. Errors carry no value, name
// or path: a hospital's file names hold names of patients.
class Deidentifier {
 public:
  struct Options {
    SecretBytes site_key;  // kSiteKeyBytes; the same key gives the same pseudonyms for all time
    uint64_t file_bytes_max = uint64_t{2} << 30;
    DeidProfile profile = {};
  };

  // INVALID_ARGUMENT: the key has another length.
  static absl::StatusOr<Deidentifier> Create(Options options);
  Deidentifier(Deidentifier&&) noexcept;
  Deidentifier& operator=(Deidentifier&&) noexcept;
  ~Deidentifier();

  // Pass 1: adds the identity in `path` to `tokens`. Call it for all files of the patient first.
  // INVALID_ARGUMENT: no DICOM file, or a broken or hostile one.
  absl::Status CollectTokens(const std::string& path, PatientTokens& tokens) const;
  // Of all files of the patient, on all threads of `pool`. What cannot be read cannot be read in
  // pass 2 either, and is refused there.
  PatientTokens CollectTokens(const std::vector<std::string>& paths, ThreadPool& pool) const;

  // Pass 2: writes `in_path` without identity to `out_path` (0600, atomically; durable only after
  // the caller's sync). On failure there is no file at `out_path`.
  // INVALID_ARGUMENT: broken or hostile. UNIMPLEMENTED: a kind of object or an encoding that is not
  // covered. PERMISSION_DENIED: a kind that the profile keeps out (reports, documents, waveforms).
  // FAILED_PRECONDITION: the pixels may show identity (burned-in text); a person decides.
  // `memo`: one for the files of one patient with the same `tokens` makes them faster and no
  // different.
  absl::StatusOr<DeidReport> Deidentify(const std::string& in_path, const std::string& out_path,
                                        const PatientTokens& tokens,
                                        HeaderMemo* memo = nullptr) const;

  // For what Deidentify answered with FAILED_PRECONDITION: writes the file as it would be with its
  // pixels as they are, marked as still identified, and a picture of it (PNG) for a person to look
  // at; no picture where the pixels cannot be shown. Errors as Deidentify.
  absl::StatusOr<DeidReport> PrepareReview(const std::string& in_path, const std::string& out_path,
                                           const std::string& png_path,
                                           const PatientTokens& tokens) const;

  // Writes a file that PrepareReview made as one without identity: a person has said that its
  // pixels show none. Errors as Deidentify.
  static absl::Status ConfirmReviewed(const std::string& in_path, const std::string& out_path);

  const DeidProfile& profile() const;

  // Keyed pseudonyms, the same that the files get. Empty stays empty.
  std::string MapUid(absl::string_view uid) const;
  std::string PatientPseudonym(absl::string_view patient_id) const;  // "C" + 12 hex digits
  // 12 hex digits, different by `purpose`; for names of folders and cases.
  std::string Pseudonym(absl::string_view purpose, absl::string_view value) const;

 private:
  struct Rep;
  explicit Deidentifier(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

}  // namespace consilium::privacy

#endif  // CONSILIUM_PRIVACY_DEID_DEIDENTIFIER_H_
