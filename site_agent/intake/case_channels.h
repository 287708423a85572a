// Which series of the store are one case together, by the channels of a plan (docs/imaging.md).
#ifndef CONSILIUM_SITE_AGENT_INTAKE_CASE_CHANNELS_H_
#define CONSILIUM_SITE_AGENT_INTAKE_CASE_CHANNELS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/wire/plan.h"
#include "site_agent/intake/catalog.h"

namespace consilium::agent {

struct RejectedCase {
  std::string case_id;
  std::string reason;  // the rule that the case does not meet: of the plan, without values
};

struct ChannelMatch {
  CaseRecord reference;              // of the first channel: its grid and its labels count
  std::vector<CaseRecord> channels;  // the further ones, in the plan's order
};

struct ChannelMatches {
  std::vector<ChannelMatch> cases;     // in the catalogue's order
  std::vector<RejectedCase> rejected;  // every other series
};

// A series that fits one channel is of that channel; one that fits several is of none. Each series
// of the first channel is a case with, for each further channel, the one series of its patient that
// fits it and has its frame of reference; of several, the one of its study. None, several, an
// unknown frame of reference, or less coverage than the plan asks for (where the catalogue has the
// geometry): the case is rejected with the channel, counted from 1. Nothing is registered.
// INVALID_ARGUMENT: a condition of the plan that cannot be read.
absl::StatusOr<ChannelMatches> MatchChannels(const Catalog& catalog, const wire::Plan& plan);

// Reads study and frame of reference of the records of before, which have none, from an image of
// each. One that cannot be read stays as it is.
void CompleteRecords(const std::string& home, Catalog& catalog);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_CASE_CHANNELS_H_
