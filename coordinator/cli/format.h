// What the administrator sees: messages as text tables. Pure functions.
//
// Everything from a peer is cleaned of control characters, so that no reason or version text of a
// site can move the cursor of an administrator's terminal. A value that is not there is "-".
#ifndef CONSILIUM_COORDINATOR_CLI_FORMAT_H_
#define CONSILIUM_COORDINATOR_CLI_FORMAT_H_

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "consilium/v1/admin.pb.h"

namespace consilium::coordinator {

// Rows of FormatTable; each cell cleaned, an empty one becomes "-".
class Table {
 public:
  explicit Table(std::vector<std::string> heading) : rows_{std::move(heading)} {}
  void Add(std::vector<std::string> row);
  bool empty() const { return rows_.size() == 1; }
  std::string Text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// Without control characters.
std::string Clean(absl::string_view text);
std::string FormatTime(int64_t unix_seconds);                 // UTC; "-" for 0
std::string FormatAge(int64_t unix_seconds, absl::Time now);  // "3 min ago"
std::string FormatDice(double dice);                          // "0.812", "-" for NaN
std::string ShortDigest(absl::string_view hex);               // the first 12 digits

std::string FormatSites(const v1::ListSitesReply& reply, absl::Time now);
std::string FormatSite(const v1::Site& site, absl::Time now);
std::string FormatStudies(const v1::ListStudiesReply& reply);
// All there is to know of a study: state, sites, rejected series, Dice.
std::string FormatStudy(const v1::Study& study);
// The promises and warnings of a study, a line each; empty where a coordinator says none.
std::string FormatPromise(const v1::Study& study);
// Per version, site and structure; with more than one site a row for all their cases together.
std::string FormatEvaluations(const v1::Study& study);
// What `watch` redraws: the state, a line for each site, the Dice of the latest evaluated version.
std::string FormatWatch(const v1::Study& study, absl::Time now);
// The same as separate facts, for output that is not a terminal: a line is printed when it changes.
// Progress within a phase changes it at each tenth.
std::map<std::string, std::string> WatchFacts(const v1::Study& study);
std::string FormatRounds(const v1::ListRoundsReply& reply);
std::string FormatRound(const v1::Round& round);
std::string FormatModels(const v1::ListModelsReply& reply);
std::string FormatModel(const v1::Model& model);
std::string FormatDiff(const v1::DiffModelsReply& reply);
std::string FormatReleases(const v1::ListReleasesReply& reply);
std::string FormatRelease(const v1::Release& release);
std::string FormatAudit(const std::vector<v1::AuditEntry>& entries);
std::string FormatAuditEntry(const v1::AuditEntry& entry);

}  // namespace consilium::coordinator

#endif  // CONSILIUM_COORDINATOR_CLI_FORMAT_H_
