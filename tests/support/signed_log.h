// A log in memory with its key and witnesses, as the verifiers of an audit log want one.
#ifndef CONSILIUM_TESTS_SUPPORT_SIGNED_LOG_H_
#define CONSILIUM_TESTS_SUPPORT_SIGNED_LOG_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "privacy/transparency/checkpoint.h"
#include "privacy/transparency/export_writer.h"
#include "privacy/transparency/merkle.h"
#include "privacy/transparency/note.h"
#include "proto/base/check.h"

namespace consilium::testing {

class SignedLog {
 public:
  // Keys from `seed`, so that two logs of one seed are one log that forked.
  explicit SignedLog(int witnesses = 3, char seed = 'a') {
    log_.push_back(Signer("trial.example/audit", privacy::kNoteEd25519, seed));
    for (int i = 0; i < witnesses; ++i) {
      witnesses_.push_back(Signer(absl::StrCat("site-", i, ".example/witness"),
                                  privacy::kCosignatureEd25519, static_cast<char>(seed + i + 1)));
    }
  }

  uint64_t Add(std::string entry) {
    frontier_.Append(privacy::LeafHash(entry),
                     [this](int level, uint64_t, const privacy::Hash& hash) {
                       if (nodes_.size() <= static_cast<size_t>(level)) nodes_.resize(level + 1);
                       nodes_[level].push_back(hash);
                     });
    entries_.push_back(std::move(entry));
    return entries_.size() - 1;
  }
  // A plausible entry of the present form.
  uint64_t AddEvent(const std::string& action, int64_t time_us, const std::string& reason = "") {
    return Add(absl::StrCat("{\"action\":\"", action, "\",\"actor\":\"coordinator\",\"index\":",
                            entries_.size(), ",\"outcome\":\"ok\"",
                            reason.empty() ? "" : absl::StrCat(",\"reason\":\"", reason, "\""),
                            ",\"role\":\"coordinator\",\"study\":\"h\",\"time_us\":", time_us,
                            ",\"v\":2}"));
  }
  void Fill(uint64_t size) {
    while (entries_.size() < size) AddEvent("round.commit", 1'700'000'000'000'000 + size_us());
  }

  const std::vector<std::string>& entries() const { return entries_; }
  uint64_t size() const { return entries_.size(); }
  privacy::Hash root() const { return frontier_.Root(); }
  privacy::NodeReader Nodes() const {
    return [this](int level, uint64_t index) -> absl::StatusOr<privacy::Hash> {
      if (static_cast<size_t>(level) >= nodes_.size() || index >= nodes_[level].size()) {
        return absl::OutOfRangeError("no such node");
      }
      return nodes_[level][index];
    };
  }

  // Of the log as it is, with the cosignatures of the first `cosigners` witnesses.
  std::string Checkpoint(size_t cosigners = 99) const {
    const privacy::Checkpoint checkpoint = {log_[0].name(), size(), root()};
    std::string note = privacy::SignCheckpoint(checkpoint, log_[0]);
    for (size_t i = 0; i < witnesses_.size() && i < cosigners; ++i) {
      note += privacy::Cosign(privacy::EncodeCheckpoint(checkpoint), witnesses_[i],
                              absl::FromUnixSeconds(1'700'000'000)).ToLine();
    }
    return note;
  }
  std::string Policy(int threshold) const {
    std::string text = absl::StrCat("log ", log_[0].verifier().ToString(), "\n");
    std::string names;
    for (size_t i = 0; i < witnesses_.size(); ++i) {
      absl::StrAppend(&text, "witness w", i, " ", witnesses_[i].verifier().ToString(), "\n");
      absl::StrAppend(&names, " w", i);
    }
    if (threshold == 0) return text + "quorum none\n";
    return absl::StrCat(text, "group sites ", threshold, names, "\nquorum sites\n");
  }

  // The export of [from, to) with the entries that `shows` picks.
  template <typename Shows>
  std::string Export(uint64_t from, uint64_t to, const std::string& filter, Shows shows,
                     std::string checkpoint = "") const {
    std::string out;
    privacy::ExportHeader header = {log_[0].name(), from, to, size(), filter,
                                    checkpoint.empty() ? Checkpoint() : checkpoint};
    auto writer = *privacy::ExportWriter::Start(header, Nodes(), [&out](absl::string_view line) {
      out.append(line.data(), line.size());
      return absl::OkStatus();
    });
    for (uint64_t i = from; i < to; ++i) {
      if (shows(i)) CSL_CHECK(writer.Show(i, entries_[i]).ok());
    }
    CSL_CHECK(writer.Finish().ok());
    return out;
  }
  std::string Export() const {
    return Export(0, size(), "", [](uint64_t) { return true; });
  }

 private:
  int64_t size_us() const { return static_cast<int64_t>(entries_.size()) * 1000; }
  static privacy::NoteSigner Signer(const std::string& name, uint8_t algorithm, char seed) {
    return *privacy::NoteSigner::FromSeed(
        name, algorithm, privacy::SecretBytes(absl::string_view(std::string(32, seed))));
  }

  std::vector<privacy::NoteSigner> log_;  // one; a vector because a signer has no default
  std::vector<privacy::NoteSigner> witnesses_;
  std::vector<std::string> entries_;
  privacy::Frontier frontier_;
  std::vector<std::vector<privacy::Hash>> nodes_;
};

}  // namespace consilium::testing

#endif  // CONSILIUM_TESTS_SUPPORT_SIGNED_LOG_H_
