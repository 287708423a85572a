#include "privacy/deid/deid_report.h"

namespace consilium::privacy {

void DeidReport::Add(const DeidReport& other) {
  files += other.files;
  removed += other.removed;
  emptied += other.emptied;
  replaced += other.replaced;
  uids_mapped += other.uids_mapped;
  dates_shifted += other.dates_shifted;
  private_removed += other.private_removed;
  private_kept += other.private_kept;
  unlisted_removed += other.unlisted_removed;
  texts_scrubbed += other.texts_scrubbed;
  hidden_bytes_dropped += other.hidden_bytes_dropped;
  pictures_blackened += other.pictures_blackened;
  for (const auto& [rule, matched] : other.pixel_rules) pixel_rules[rule] += matched;
}

}  // namespace consilium::privacy
