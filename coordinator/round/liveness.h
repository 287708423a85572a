// What is known of sites' work while it goes on: when something was last heard of each, and since
// when the counters of its task stand still. Nothing of it is durable.
//
// A site's counters are judged from its first report of a task until it asks for another one. A
// site whose program does not count (`advances` is 0) has only its signs of life.
#ifndef CONSILIUM_COORDINATOR_ROUND_LIVENESS_H_
#define CONSILIUM_COORDINATOR_ROUND_LIVENESS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/round/study_run.h"

namespace consilium::coordinator {

// What a site says about its work in a study.
struct SiteProgress {
  std::string phase;  // prepare | download | train | evaluate | upload; empty: said nothing yet
  std::string task_id;
  int64_t done = 0;
  int64_t total = 0;
  double loss = 0;
  int64_t bytes_up = 0;
  int64_t bytes_down = 0;
  uint64_t advances = 0;  // grows with the work; 0: the site's program does not count
  absl::Time advanced = absl::InfiniteFuture();  // the counters last moved
};

// "step 120 of 200"; steps, cases or bytes, by phase.
std::string CountersText(const SiteProgress& progress);

// Thread-compatible. Times are the driver's, which follow the monotonic clock.
class Liveness {
 public:
  struct Work {
    std::string study;
    SiteProgress progress;
  };

  // Something was heard of the site's work.
  void Heard(absl::string_view site, absl::Time now);
  // Counters of an awaited task. Returns when they last moved.
  absl::Time Report(absl::string_view site, absl::string_view study, const SiteProgress& progress,
                    absl::Time now);
  // We see ourselves that its work goes on: bytes come in or go out, an update is being checked.
  void Moved(absl::string_view site, absl::Time now);
  // It asks for work, so it has none in hand.
  void Rests(absl::string_view site);

  // What it works on, as it counts; nullopt: nothing that we know of.
  std::optional<Work> WorkOf(absl::string_view site) const;
  // Fills in what SiteView says of the sites' work.
  void Fill(std::vector<SiteView>& sites) const;

 private:
  std::map<std::string, absl::Time, std::less<>> heard_;
  std::map<std::string, Work, std::less<>> work_;
};

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_ROUND_LIVENESS_H_
