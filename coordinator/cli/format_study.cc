#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "coordinator/cli/format.h"
#include "proto/base/cli.h"

namespace consilium::coordinator {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

// The mean of the values that are there.
class Mean {
 public:
  void Add(double value) {
    if (std::isnan(value)) return;
    sum_ += value;
    ++count_;
  }
  double Value() const { return count_ == 0 ? kNothing : sum_ / count_; }

 private:
  double sum_ = 0;
  int count_ = 0;
};

std::string RoundText(const v1::Study& study) {
  if (study.rounds() == 0) return "";
  std::string text = absl::StrCat(study.round(), " of ", study.rounds());
  if (!study.round_phase().empty()) absl::StrAppend(&text, ", ", study.round_phase());
  return text;
}

std::string ProgressText(const v1::StudySite& site) {
  // Steps, cases or bytes, by phase; a share can be read without knowing which.
  if (site.total() <= 0) return "";
  const std::string share = absl::StrFormat("%.0f %%", 100.0 * static_cast<double>(site.done()) /
                                                           static_cast<double>(site.total()));
  return site.counters().empty() ? share : absl::StrCat(share, ", ", site.counters());
}

std::string LossText(const v1::StudySite& site) {
  const bool none = site.loss() == 0 || std::isnan(site.loss());
  return none ? "" : absl::StrFormat("%.4f", site.loss());
}

std::string SitesTable(const v1::Study& study) {
  Table table(
      {"site", "role", "phase", "progress", "loss", "cases", "labelled", "held out", "up", "down"});
  for (const v1::StudySite& site : study.sites()) {
    table.Add({site.name(), site.role(), site.phase(), ProgressText(site), LossText(site),
               absl::StrCat(site.cases()), absl::StrCat(site.labelled_cases()),
               absl::StrCat(site.held_out_cases()),
               FormatBytes(static_cast<uint64_t>(site.bytes_up())),
               FormatBytes(static_cast<uint64_t>(site.bytes_down()))});
  }
  return table.empty() ? "No site takes part yet.\n" : table.Text();
}

std::string RejectedTable(const v1::Study& study) {
  Table table({"site", "series", "left out because"});
  for (const v1::StudySite& site : study.sites()) {
    const std::map<std::string, int64_t> sorted(site.rejected_by_reason().begin(),
                                                site.rejected_by_reason().end());
    for (const auto& [reason, count] : sorted) {
      table.Add({site.name(), absl::StrCat(count), reason});
    }
  }
  return table.empty() ? "" : absl::StrCat("\n", table.Text());
}

// Columns: version site role cases <a structure>... mean
class DiceTable {
 public:
  explicit DiceTable(const v1::Study& study) : table_(Heading(study)) {
    structures_ = static_cast<size_t>(study.label_names_size());
  }

  void AddEvaluation(const v1::Evaluation& evaluation) {
    std::vector<Mean> of_all(structures_);
    int cases = 0;
    for (const v1::SiteEvaluation& site : evaluation.sites()) {
      std::vector<double> dice(site.mean_dice().begin(), site.mean_dice().end());
      AddRow(evaluation.version(), site.site(), site.role(), site.cases_size(), std::move(dice));
      cases += site.cases_size();
      for (const v1::CaseDice& one : site.cases()) {
        for (size_t i = 0; i < structures_ && i < static_cast<size_t>(one.dice_size()); ++i) {
          of_all[i].Add(one.dice(static_cast<int>(i)));
        }
      }
    }
    if (evaluation.sites_size() < 2 || cases == 0) return;
    std::vector<double> dice;
    for (const Mean& mean : of_all) dice.push_back(mean.Value());
    AddRow(evaluation.version(), "all", "", cases, std::move(dice));
  }

  std::string Text() const { return table_.empty() ? "" : table_.Text(); }

 private:
  static std::vector<std::string> Heading(const v1::Study& study) {
    std::vector<std::string> heading = {"version", "site", "role", "cases"};
    for (const std::string& name : study.label_names()) heading.push_back(Clean(name));
    heading.push_back("mean");
    return heading;
  }

  void AddRow(const std::string& version, const std::string& site, const std::string& role,
              int cases, std::vector<double> dice) {
    dice.resize(structures_, kNothing);
    std::vector<std::string> row = {version, site, role, absl::StrCat(cases)};
    Mean mean;
    for (const double value : dice) {
      row.push_back(FormatDice(value));
      mean.Add(value);
    }
    row.push_back(FormatDice(mean.Value()));
    table_.Add(std::move(row));
  }

  Table table_;
  size_t structures_ = 0;
};

std::string DiceLine(const v1::SiteEvaluation& site) {
  std::vector<std::string> values;
  for (const double value : site.mean_dice()) values.push_back(FormatDice(value));
  return absl::StrCat(Clean(site.site()), " ", absl::StrJoin(values, " "));
}

}  // namespace

std::string FormatStudies(const v1::ListStudiesReply& reply) {
  Table table({"study", "state", "round", "sites", "latest", "reason"});
  for (const v1::Study& study : reply.studies()) {
    table.Add({study.name(), study.state(), RoundText(study), absl::StrCat(study.sites_size()),
               study.latest_version(), study.reason()});
  }
  if (table.empty()) return "No studies. Make one with `consilium study create FILE.yaml`.\n";
  return table.Text();
}

std::string FormatEvaluations(const v1::Study& study) {
  DiceTable table(study);
  for (const v1::Evaluation& evaluation : study.evaluations()) table.AddEvaluation(evaluation);
  return table.Text();
}

std::string FormatPromise(const v1::Study& study) {
  std::string text;
  for (const std::string& line : study.promises()) absl::StrAppend(&text, Clean(line), "\n");
  for (const std::string& line : study.warnings()) {
    absl::StrAppend(&text, "warning: ", Clean(line), "\n");
  }
  return text;
}

std::string FormatStudy(const v1::Study& study) {
  std::string text =
      absl::StrCat("study   ", Clean(study.name()), "\nstate   ", Clean(study.state()), "\n");
  const auto line = [&text](absl::string_view label, absl::string_view value) {
    if (!value.empty()) absl::StrAppend(&text, label, Clean(value), "\n");
  };
  line("reason  ", study.reason());
  line("round   ", RoundText(study));
  line("plan    ", study.plan_sha256().empty() ? "" : absl::StrCat("sha256 ", study.plan_sha256()));
  line("latest  ", study.latest_version());
  const std::string promise = FormatPromise(study);
  if (!promise.empty()) absl::StrAppend(&text, "\n", promise);
  absl::StrAppend(&text, "\n", SitesTable(study), RejectedTable(study));
  const std::string dice = FormatEvaluations(study);
  if (!dice.empty()) {
    absl::StrAppend(&text, "\nDice of each site's held-out cases (- : no case has the structure)\n",
                    dice);
  }
  return text;
}

std::string FormatWatch(const v1::Study& study, absl::Time now) {
  std::string text = absl::StrCat(
      absl::FormatTime("%H:%M:%SZ", now, absl::UTCTimeZone()), "  ", Clean(study.name()), "  ",
      Clean(study.state()),
      study.reason().empty() ? "" : absl::StrCat(" (", Clean(study.reason()), ")"), "  round ",
      RoundText(study).empty() ? "-" : Clean(RoundText(study)), "  latest ",
      study.latest_version().empty() ? "-" : Clean(study.latest_version()), "\n\n",
      SitesTable(study));
  if (study.evaluations_size() > 0) {
    DiceTable table(study);
    table.AddEvaluation(*study.evaluations().rbegin());
    absl::StrAppend(&text, "\nDice\n", table.Text());
  }
  return text;
}

std::map<std::string, std::string> WatchFacts(const v1::Study& study) {
  std::map<std::string, std::string> facts;
  const std::string round = RoundText(study);
  facts["1 study"] = absl::StrCat(
      "study ", Clean(study.name()), ": ", Clean(study.state()),
      study.reason().empty() ? "" : absl::StrCat(" (", Clean(study.reason()), ")"),
      round.empty() ? "" : absl::StrCat(", round ", Clean(round)),
      study.latest_version().empty() ? ""
                                     : absl::StrCat(", latest ", Clean(study.latest_version())));
  for (const v1::StudySite& site : study.sites()) {
    const std::string loss = LossText(site);
    const int64_t tenth =
        site.total() > 0 ? std::clamp<int64_t>(site.done() * 10 / site.total(), 0, 10) : 0;
    std::string& fact = facts[absl::StrCat("2 ", site.name())];
    fact = absl::StrCat("site ", Clean(site.name()), ": ", Clean(site.phase()));
    if (site.phase() == "stalled") {
      absl::StrAppend(&fact, " at ", Clean(site.counters()));
    } else if (site.total() > 0) {
      absl::StrAppend(&fact, " ", tenth * 10, " %");
    }
    if (!loss.empty()) absl::StrAppend(&fact, ", loss ", loss);
  }
  for (const v1::Evaluation& evaluation : study.evaluations()) {
    for (const v1::SiteEvaluation& site : evaluation.sites()) {
      facts[absl::StrCat("3 ", evaluation.version(), " ", site.site())] =
          absl::StrCat("dice ", Clean(evaluation.version()), ": ", DiceLine(site));
    }
  }
  return facts;
}

}  // namespace consilium::coordinator
