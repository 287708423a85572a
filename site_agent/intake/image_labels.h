// Image-level labels, for weak supervision: what is known to be in an image, or not to be in it,
// without saying where. They come from a CSV that a person made.
//
// CSV (RFC 4180, UTF-8): the first line names the columns, of which exactly one is PatientID,
// StudyInstanceUID or SeriesInstanceUID and every other one a label; 1 is present, 0 absent, an
// empty cell not known.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_IMAGE_LABELS_H_
#define CONSILIUM_SITE_AGENT_INTAKE_IMAGE_LABELS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/deid/deidentifier.h"
#include "site_agent/intake/catalog.h"
#include "site_agent/intake/label_vocabulary.h"

namespace consilium::agent {

inline constexpr uint64_t kImageLabelBytesMax = 64 << 20;
inline constexpr size_t kImageLabelColumnsMax = 65;
inline constexpr size_t kImageLabelRowsMax = 1'000'000;

struct ImageLabelTable {
  enum class Level { kPatient, kStudy, kSeries };
  Level level = Level::kPatient;
  // By the key as the store has it, its pseudonym or mapped UID: no identity is left.
  std::map<std::string, std::map<std::string, bool>> rows;
  int64_t repeated = 0;   // rows whose key was there before; what they add is merged
  int64_t conflicts = 0;  // cells that say otherwise than another of the same key: then not known
  std::set<std::pair<std::string, std::string>> disputed;  // their keys and names

  void Add(const std::string& key, const std::map<std::string, bool>& said);
};

// Names of columns go through `vocabulary` (labels.yaml). INVALID_ARGUMENT with line and column,
// and no value: another shape, a name that is empty, longer than 64 bytes, not of printable ASCII
// or there twice, another cell than 0, 1 or empty, more columns or rows than above.
absl::StatusOr<ImageLabelTable> ParseImageLabels(absl::string_view csv,
                                                 const LabelVocabulary& vocabulary,
                                                 const privacy::Deidentifier& deidentifier);

// Counts only.
struct ImageLabelReport {
  int64_t rows = 0;      // different keys of the table
  int64_t unknown = 0;   // of them: without a case in the store
  int64_t repeated = 0;  // as in the table
  int64_t conflicts = 0;
  int64_t cases = 0;    // of the store, that a row was found for
  int64_t changed = 0;  // cases of which something else was known before
  std::map<std::string, std::array<int64_t, 2>> by_label;  // of these cases: absent, present
};

// Writes into the records of the store what the table says of them; what it does not speak of
// stays. A case's prepared images stay valid. The caller holds the store (CaseStore). UNAVAILABLE:
// the disk.
absl::StatusOr<ImageLabelReport> PutImageLabels(const std::string& home,
                                                const ImageLabelTable& table);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_IMAGE_LABELS_H_
