// The site's half of secure aggregation in a simulated federation: the real SiteSession behind a disk
// that survives a crash, with the steps of site_agent/round in the order that keeps a mask from being
// used twice.
#ifndef CONSILIUM_TESTS_SIM_SIM_MASKING_H_
#define CONSILIUM_TESTS_SIM_SIM_MASKING_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/round/study_run.h"
#include "privacy/crypto/ed25519.h"
#include "privacy/secagg/consent_ledger.h"
#include "privacy/secagg/site_session.h"

namespace consilium::sim {

using Words = std::vector<uint32_t>;

// What left the sites, as an eavesdropper at the coordinator sees it; all simulated sites share one.
struct Leaks {
  std::map<std::pair<std::string, std::string>, Words> payloads;  // session, site -> words
  // session, owner -> which secrets' shares somebody gave away: true: of the mask key.
  std::map<std::pair<std::string, std::string>, std::set<bool>> revealed;
  std::optional<std::string> violation;
};

// Consents on a disk of their own, which no crash takes.
class SimLedger final : public secagg::ConsentLedger {
 public:
  absl::Status Record(const secagg::Job& job, absl::string_view session_id,
                      absl::string_view survivors) override;

 private:
  std::map<std::string, std::string> consents_;
};

class SimMasking {
 public:
  SimMasking(std::string site, Leaks& leaks);

  // `masks_twice`: a planted fault: after a crash it masks whatever it has.
  void PlantMaskTwice() { masks_twice_ = true; }
  void LoseDisk() { sessions_.clear(); }

  // The session of a TRAIN task, begun or taken up again, and what to tell the coordinator now.
  absl::StatusOr<coordinator::StudyRun::AgreeKeys> Say(const coordinator::SiteTask& task);
  // The coordinator's answer. True: ready to mask. An error: this site cannot take part.
  absl::StatusOr<bool> Hear(const coordinator::SiteTask& task,
                            const coordinator::MaskedRound::Agreement& agreement);
  // The one payload of the task.
  absl::StatusOr<Words> Mask(const coordinator::SiteTask& task, const std::vector<float>& values);
  absl::StatusOr<secagg::Consent> Consent(const coordinator::SiteTask& task);
  absl::StatusOr<secagg::RevealMessage> Reveal(const coordinator::SiteTask& task);

 private:
  struct Stored {
    std::string session;                   // serialised
    secagg::KeyAnnouncement announcement;  // as it was
    std::optional<secagg::ShareMessage> shares;
    std::vector<std::string> roster;
    std::string sharing;  // SiteSet bytes
  };
  absl::StatusOr<secagg::SiteSession> Restore(const std::string& task_id) const;

  const std::string site_;
  Leaks& leaks_;
  const privacy::Ed25519Key key_;
  SimLedger ledger_;
  std::map<std::string, Stored> sessions_;  // by TRAIN task
  bool masks_twice_ = false;
};

}  // namespace consilium::sim

#endif  // CONSILIUM_TESTS_SIM_SIM_MASKING_H_
