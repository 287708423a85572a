#include "coordinator/cli/format.h"

#include <cmath>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "proto/base/cli.h"

namespace consilium::coordinator {
namespace {

constexpr size_t kShortDigestDigits = 12;

std::string Duration(int64_t from_unix, int64_t to_unix) {
  if (from_unix == 0 || to_unix < from_unix) return "";
  return absl::FormatDuration(absl::Seconds(to_unix - from_unix));
}

// `label  value` lines.
std::string Pairs(const std::vector<std::pair<std::string, std::string>>& pairs) {
  size_t width = 0;
  for (const auto& pair : pairs) width = std::max(width, pair.first.size());
  std::string text;
  for (const auto& [label, value] : pairs) {
    absl::StrAppend(&text, label, std::string(width - label.size() + 2, ' '),
                    value.empty() ? "-" : Clean(value), "\n");
  }
  return text;
}

std::string TextOf(const nlohmann::json& json, const char* key) {
  const auto it = json.find(key);
  if (it == json.end()) return "";
  return it->is_string() ? it->get<std::string>() : it->dump();
}

nlohmann::json ParseEntry(const v1::AuditEntry& entry) {
  const std::string& text = entry.readable().empty() ? entry.json() : entry.readable();
  nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  return json.is_object() ? json : nlohmann::json::object();
}

std::string AuditTime(const nlohmann::json& json) {
  const auto it = json.find("time_us");
  if (it == json.end() || !it->is_number_integer()) return "";
  return FormatTime(it->get<int64_t>() / 1'000'000);
}

}  // namespace

void Table::Add(std::vector<std::string> row) {
  for (std::string& cell : row) cell = cell.empty() ? "-" : Clean(cell);
  rows_.push_back(std::move(row));
}

std::string Table::Text() const { return FormatTable(rows_); }

std::string Clean(absl::string_view text) {
  std::string clean(text);
  for (char& c : clean) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = ' ';
  }
  return clean;
}

std::string FormatTime(int64_t unix_seconds) {
  if (unix_seconds == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%SZ", absl::FromUnixSeconds(unix_seconds),
                          absl::UTCTimeZone());
}

std::string FormatAge(int64_t unix_seconds, absl::Time now) {
  if (unix_seconds == 0) return "never";
  const int64_t seconds = std::max<int64_t>(0, absl::ToUnixSeconds(now) - unix_seconds);
  if (seconds < 120) return absl::StrCat(seconds, " s ago");
  if (seconds < 7200) return absl::StrCat(seconds / 60, " min ago");
  if (seconds < 172800) return absl::StrCat(seconds / 3600, " h ago");
  return absl::StrCat(seconds / 86400, " days ago");
}

std::string FormatDice(double dice) {
  return std::isnan(dice) ? "-" : absl::StrFormat("%.3f", dice);
}

std::string ShortDigest(absl::string_view hex) {
  return std::string(hex.substr(0, kShortDigestDigits));
}

std::string FormatSites(const v1::ListSitesReply& reply, absl::Time now) {
  Table table({"site", "state", "connected", "last seen", "key", "software"});
  for (const v1::Site& site : reply.sites()) {
    table.Add({site.name(), site.state(), site.connected() ? "yes" : "no",
               FormatAge(site.last_seen_unix(), now), ShortDigest(site.key_sha256()),
               site.software_version()});
  }
  if (table.empty()) return "No sites. Invite one with `consilium site invite NAME`.\n";
  return table.Text();
}

// Below the resolution that matters a clock is right.
static std::string FormatSkew(int64_t skew_ms) {
  const double seconds = static_cast<double>(skew_ms) / 1000;
  if (std::abs(seconds) < 2) return "right";
  return absl::StrFormat("%.0f s %s%s", std::abs(seconds), seconds < 0 ? "behind" : "ahead",
                         std::abs(seconds) > 60 ? "; set it by NTP" : "");
}

static std::string WorkText(const v1::Site& site, absl::Time now) {
  if (site.working_on().empty()) return "";
  return absl::StrCat(site.working_on(), ", advanced ", FormatAge(site.advanced_unix(), now));
}

static std::string ProcessesText(const v1::Site& site, absl::Time now) {
  if (site.second_process_unix() == 0) return "";
  return absl::StrCat("two with this identity, the older refused ",
                      FormatAge(site.second_process_unix(), now),
                      "; stop one of them (a copied home?)");
}

static std::string DeclinedText(const v1::Site& site, absl::Time now) {
  if (site.declined_unix() == 0) return "";
  return absl::StrCat(site.declined(), " (", FormatAge(site.declined_unix(), now), ")");
}

std::string FormatSite(const v1::Site& site, absl::Time now) {
  return Pairs({{"site", site.name()},
                {"state", site.state()},
                {"connected", site.connected() ? "yes" : "no"},
                {"last seen", FormatAge(site.last_seen_unix(), now)},
                {"enrolled", FormatTime(site.enrolled_unix())},
                {"key sha256", site.key_sha256()},
                {"certificate until", FormatTime(site.certificate_not_after_unix())},
                {"software", site.software_version()},
                {"can", absl::StrJoin(site.capabilities(), ", ")},
                {"clock", FormatSkew(site.clock_skew_ms())},
                {"works on", WorkText(site, now)},
                {"declined", DeclinedText(site, now)},
                {"processes", ProcessesText(site, now)}});
}

std::string FormatRounds(const v1::ListRoundsReply& reply) {
  Table table({"round", "phase", "started", "took", "folded", "sites", "from", "made"});
  for (const v1::Round& round : reply.rounds()) {
    int folded = 0;
    for (const v1::Contribution& part : round.contributions()) folded += part.outcome() == "folded";
    table.Add({absl::StrCat(round.number()), round.phase(), FormatTime(round.started_unix()),
               Duration(round.started_unix(), round.ended_unix()), absl::StrCat(folded),
               absl::StrCat(round.contributions_size()), round.base_version(),
               round.new_version()});
  }
  return table.empty() ? "No round has started.\n" : table.Text();
}

// Of a masked round nobody knows what single sites sent.
static std::string FormatMasked(const v1::MaskedRound& masked) {
  std::string text = "Secure aggregation: sums over the survivors, nothing of a single site.\n";
  Table groups({"phase", "sites", "needed", "survivors", "failed"});
  for (const v1::MaskedGroup& group : masked.groups()) {
    groups.Add({group.phase(), absl::StrJoin(group.sites(), ", "),
                group.threshold() == 0 ? "" : absl::StrCat(group.threshold()),
                absl::StrJoin(group.survivors(), ", "), group.failed()});
  }
  absl::StrAppend(&text, groups.Text());
  if (masked.means().empty()) return text;
  Table means({"mean over sites", "value"});
  const std::map<std::string, double> sorted(masked.means().begin(), masked.means().end());
  for (const auto& [name, value] : sorted) means.Add({name, absl::StrFormat("%.4f", value)});
  means.Add({"weight of all", absl::StrFormat("%.1f", masked.weight())});
  absl::StrAppend(&text, "\n", means.Text());
  return text;
}

std::string FormatRound(const v1::Round& round) {
  std::string text = Pairs({{"study", round.study()},
                            {"round", absl::StrCat(round.number())},
                            {"phase", round.phase()},
                            {"started", FormatTime(round.started_unix())},
                            {"ended", FormatTime(round.ended_unix())},
                            {"took", Duration(round.started_unix(), round.ended_unix())},
                            {"from", round.base_version()},
                            {"made", round.new_version()},
                            {"reason", round.reason()},
                            {"required", absl::StrJoin(round.required_sites(), ", ")}});
  Table table({"site", "outcome", "labelled", "unlabelled", "weight", "bytes", "steps", "seconds",
               "loss", "supervised", "consistency", "staleness", "reason"});
  for (const v1::Contribution& part : round.contributions()) {
    const v1::TrainingSummary& summary = part.summary();
    table.Add({part.site(), part.outcome(), absl::StrCat(part.labelled_cases()),
               absl::StrCat(part.unlabelled_cases()), absl::StrFormat("%.1f", part.weight()),
               FormatBytes(part.bytes()), absl::StrCat(summary.steps()),
               absl::StrFormat("%.1f", summary.seconds()),
               absl::StrFormat("%.4f", summary.mean_loss()),
               absl::StrFormat("%.4f", summary.mean_supervised_loss()),
               absl::StrFormat("%.4f", summary.mean_consistency_loss()),
               absl::StrCat(part.staleness()),
               part.reason().empty() ? part.progress() : part.reason()});
  }
  if (!table.empty()) absl::StrAppend(&text, "\n", table.Text());
  if (round.has_masked()) absl::StrAppend(&text, "\n", FormatMasked(round.masked()));
  return text;
}

std::string FormatModels(const v1::ListModelsReply& reply) {
  Table table({"version", "aliases", "round", "parameters", "bytes", "created", "sha256"});
  for (const v1::Model& model : reply.models()) {
    table.Add({model.version(), absl::StrJoin(model.aliases(), ","), absl::StrCat(model.round()),
               absl::StrCat(model.parameters()), FormatBytes(model.bytes()),
               FormatTime(model.created_unix()), ShortDigest(model.sha256())});
  }
  return table.empty() ? "No models.\n" : table.Text();
}

std::string FormatModel(const v1::Model& model) {
  return Pairs({{"version", model.version()},
                {"aliases", absl::StrJoin(model.aliases(), ", ")},
                {"sha256", model.sha256()},
                {"bytes", absl::StrCat(model.bytes(), " (", FormatBytes(model.bytes()), ")")},
                {"parameters", absl::StrCat(model.parameters())},
                {"created", FormatTime(model.created_unix())},
                {"round", absl::StrCat(model.round())},
                {"origin", model.origin()},
                {"parents", model.parents_size() > 0 ? absl::StrJoin(model.parents(), ", ")
                                                     : model.parent()},
                {"sites", absl::StrJoin(model.sites(), ", ")},
                {"made by", model.code_version().empty()
                                ? ""
                                : absl::StrCat("consilium ", model.code_version())},
                {"weights", model.weights_gone_unix() == 0
                                ? "kept"
                                : absl::StrCat("removed ", FormatTime(model.weights_gone_unix()))},
                {"plan sha256", model.plan_sha256()},
                {"audit entry", absl::StrCat(model.audit_index())}});
}

std::string FormatDiff(const v1::DiffModelsReply& reply) {
  Table table({"tensor", "shape", "l2", "relative", "max abs", "cosine"});
  const auto number = [](double value) { return absl::StrFormat("%.4g", value); };
  for (const v1::TensorDiff& tensor : reply.tensors()) {
    table.Add({tensor.name(), absl::StrJoin(tensor.shape(), "x"), number(tensor.l2()),
               number(tensor.relative_l2()), number(tensor.max_abs()),
               std::isnan(tensor.cosine()) ? "" : absl::StrFormat("%.6f", tensor.cosine())});
  }
  std::string text = absl::StrCat(
      Pairs({{"from", reply.a().version()},
             {"to", reply.b().version()},
             {"l2", number(reply.l2())},
             {"relative", number(reply.relative_l2())},
             {"max abs", number(reply.max_abs())}}),
      "\n", table.Text());
  if (reply.lineage_differences_size() > 0) absl::StrAppend(&text, "\nLineage:\n");
  for (const std::string& line : reply.lineage_differences()) {
    absl::StrAppend(&text, "  ", Clean(line), "\n");
  }
  return text;
}

std::string FormatReleases(const v1::ListReleasesReply& reply) {
  Table table({"release", "version", "created", "by", "published", "model sha256"});
  for (const v1::Release& release : reply.releases()) {
    table.Add({release.name(), release.version(), FormatTime(release.created_unix()),
               release.created_by(), absl::StrCat(release.publications_size()),
               ShortDigest(release.model_sha256())});
  }
  return table.empty() ? "No releases. Make one with `consilium release create VERSION`.\n"
                       : table.Text();
}

std::string FormatRelease(const v1::Release& release) {
  std::string text = Pairs({{"release", release.name()},
                            {"version", release.version()},
                            {"model sha256", release.model_sha256()},
                            {"created", FormatTime(release.created_unix())},
                            {"by", release.created_by()}});
  Table table({"published", "time", "manifest sha256"});
  for (const v1::Publication& publication : release.publications()) {
    table.Add(
        {publication.target(), FormatTime(publication.time_unix()), publication.manifest_sha256()});
  }
  if (!table.empty()) absl::StrAppend(&text, "\n", table.Text());
  return text;
}

std::string FormatAudit(const std::vector<v1::AuditEntry>& entries) {
  Table table({"index", "time", "actor", "action", "outcome", "study", "round", "version", "site",
               "reason"});
  for (const v1::AuditEntry& entry : entries) {
    const nlohmann::json json = ParseEntry(entry);
    table.Add({absl::StrCat(entry.index()), AuditTime(json), TextOf(json, "actor"),
               TextOf(json, "action"), TextOf(json, "outcome"), TextOf(json, "study"),
               TextOf(json, "round"), TextOf(json, "version"), TextOf(json, "site"),
               TextOf(json, "reason")});
  }
  return table.empty() ? "No entries.\n" : table.Text();
}

std::string FormatAuditEntry(const v1::AuditEntry& entry) {
  const nlohmann::json json = ParseEntry(entry);
  std::vector<std::pair<std::string, std::string>> pairs = {{"index", absl::StrCat(entry.index())},
                                                            {"time", AuditTime(json)}};
  for (const auto& [key, value] : json.items()) {
    if (key != "index") pairs.emplace_back(key, TextOf(json, key.c_str()));
  }
  return absl::StrCat(Pairs(pairs), "\nAs stored:\n", Clean(entry.json()), "\n");
}

}  // namespace consilium::coordinator
