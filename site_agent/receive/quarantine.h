// Where identified objects wait, bit for bit as they came, until intake has taken them.
//
// HOME/quarantine/in/<inbox>/                      unfinished objects of one association
//                /patients/<P>/<S>/<I>.dcm         whole objects, checked
//                /taking/<P>/...                   handed to intake
//                /unfinished/<S>                   a study that a pull has not fetched whole
// P, S and I are keyed pseudonyms of patient, study and instance: nothing that a sender wrote
// becomes a name on our disk. P is the pseudonym that the patient's files get, without its first
// letter. An instance that comes again replaces the one that is there.
//
// A patient's objects have settled when nothing new has come for a while, no study of them is
// unfinished, and no association is open that has brought some: a sender that pauses within its
// association is not cut in two. One that keeps an association open for ever holds nothing up for
// longer than kOpenHold.
//
// Use of the disk is counted in memory that forked processes share, so that all of them together
// stay below the limit.
//
// One process (and what it forks) for each home. Thread-compatible. No message has an identity.
#ifndef CONSILIUM_SITE_AGENT_RECEIVE_QUARANTINE_H_
#define CONSILIUM_SITE_AGENT_RECEIVE_QUARANTINE_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "privacy/deid/deidentifier.h"
#include "site_agent/receive/dicom_config.h"

namespace consilium::agent {

// Inboxes open at a time, for associations that are served or made.
inline constexpr int kInboxesMax = 80;
// Longer than any pause within one series, and than the silence that ends an association.
inline constexpr absl::Duration kOpenHold = absl::Minutes(30);
// How long what came of an unfinished study waits for the pull to go on.
inline constexpr absl::Duration kUnfinishedKept = absl::Hours(24);

class Quarantine {
 public:
  // Removes unfinished objects that a crash left. FAILED_PRECONDITION: another process has it.
  static absl::StatusOr<Quarantine> Open(const std::string& home, const QuarantineLimits& limits);
  Quarantine(Quarantine&& other) noexcept;
  Quarantine& operator=(Quarantine&&) = delete;
  ~Quarantine();

  // A place for the unfinished objects of one association. RESOURCE_EXHAUSTED: none is free.
  absl::StatusOr<int> OpenInbox();
  // Removes what is unfinished in it, also after the process that wrote it died.
  void CloseInbox(int inbox);

  // Patients of whom nothing has come since `before`, or of what is still open since kOpenHold
  // before it; with InfiniteFuture all but those of unfinished studies.
  absl::StatusOr<std::vector<std::string>> Settled(absl::Time before) const;
  // Patients of whom something of the study is there.
  absl::StatusOr<std::vector<std::string>> PatientsOf(const std::string& study_uid) const;
  // Those that an earlier call, perhaps of an earlier run, has begun to take.
  absl::StatusOr<std::vector<std::string>> Begun() const;
  // Sets the patient's objects apart from what comes from now on. Returns their folder. ABORTED:
  // they are not settled any more.
  absl::StatusOr<std::string> BeginTaking(const std::string& patient,
                                          absl::Time before = absl::InfiniteFuture());
  std::string TakingFolder(const std::string& patient) const;
  // Removes a patient's objects that intake has taken.
  absl::Status FinishTaking(const std::string& patient);

  // Removes what is there of a patient, waiting or being taken.
  absl::Status DropPatient(const std::string& patient);
  // Removes what is waiting of a study, of whichever patient; it is not unfinished any more.
  absl::Status DropStudy(const std::string& study_uid);
  // Pseudonyms of the instances that are waiting of a study.
  absl::StatusOr<std::set<std::string>> InstancesOf(const std::string& study_uid) const;
  // Removes unfinished studies of which nothing has come since `before`.
  absl::Status DropUnfinished(absl::Time before);

  uint64_t bytes_used() const;
  const QuarantineLimits& limits() const { return limits_; }
  // As Deidentifier::Pseudonym.
  std::string Pseudonym(absl::string_view purpose, absl::string_view value) const {
    return names_.Pseudonym(purpose, value);
  }

 private:
  friend class InboundObject;
  struct Shared;
  Quarantine(std::string home, const QuarantineLimits& limits, privacy::Deidentifier names,
             int lock, Shared* shared);
  std::string InboxFolder(int inbox) const;
  bool IsSettled(const std::string& patient, absl::Time before) const;
  bool IsUnfinished(const std::string& patient) const;
  bool IsOpen(const std::string& patient) const;
  absl::Status DropStudyNamed(const std::string& study);
  // An association has brought something of the patient.
  absl::Status MarkOpen(int inbox, const std::string& patient);
  // RESOURCE_EXHAUSTED: the bytes do not fit any more.
  absl::Status Reserve(int inbox, uint64_t bytes);
  void GiveBack(int inbox, uint64_t bytes);
  absl::Status Remove(const std::string& folder);
  // An object is whole, and has taken the place of one of `replaced` bytes.
  void Keep(int inbox, uint64_t bytes, uint64_t replaced);

  std::string home_;  // HOME/quarantine
  QuarantineLimits limits_;
  privacy::Deidentifier names_;
  int lock_;
  Shared* shared_;
};

// Studies that somebody is fetching and has not whole yet: HOME/quarantine/unfinished. A file for
// each, so that it outlives whoever fetches, and is seen by the process that has the quarantine.
// `study` is a pseudonym.
absl::Status MarkUnfinished(const std::string& home, const std::string& study);
absl::Status MarkFinished(const std::string& home, const std::string& study);

// One object on its way into the quarantine. Without Admit it leaves nothing behind.
class InboundObject {
 public:
  // What the sender said about the object, or was asked for; the data set has to agree. Nothing is
  // claimed by what is empty.
  struct Claim {
    std::string sop_class_uid = {};
    std::string sop_instance_uid = {};
    std::string study_uid = {};
  };
  // `quarantine` must outlive it. RESOURCE_EXHAUSTED: the disk has too little left. UNAVAILABLE: it
  // does not work.
  static absl::StatusOr<InboundObject> Begin(Quarantine& quarantine, int inbox);
  InboundObject(InboundObject&& other) noexcept;
  InboundObject& operator=(InboundObject&&) = delete;
  ~InboundObject();

  // RESOURCE_EXHAUSTED: a limit. After an error nothing more is written, and the disk's space is
  // free again.
  absl::Status Write(absl::string_view bytes);
  // Checks the whole and gives it its place. INVALID_ARGUMENT: broken or hostile.
  // FAILED_PRECONDITION: not what the claim says.
  absl::Status Admit(const Claim& claim);
  uint64_t bytes() const { return bytes_; }
  // What the object says of itself, once Admit has read it; empty before, and where it could not.
  // Privacy: these identify.
  const Claim& identity() const { return identity_; }

 private:
  InboundObject(Quarantine& quarantine, int inbox, std::string path, int fd);
  void Drop();
  absl::Status CheckAndPlace(const Claim& claim);
  absl::Status Place(const std::string& folder, const std::string& name);

  Quarantine* quarantine_;
  int inbox_;
  std::string path_;
  int fd_;
  uint64_t bytes_ = 0;
  Claim identity_;
  absl::Status status_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_RECEIVE_QUARANTINE_H_
