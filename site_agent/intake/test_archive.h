// A small archive with two patients that the tests write themselves.
#ifndef CONSILIUM_SITE_AGENT_INTAKE_TEST_ARCHIVE_H_
#define CONSILIUM_SITE_AGENT_INTAKE_TEST_ARCHIVE_H_

#include <string>
#include <utility>
#include <vector>

#include "proto/wire/plan.h"

namespace consilium::agent {

// Text to replace in a file's bytes, both of one length, so that lengths in the file stay true.
using Patches = std::vector<std::pair<std::string, std::string>>;
void PatchFiles(const std::vector<std::string>& paths, const Patches& patches);

// Labels of the segmentation below.
std::vector<wire::PlanLabel> TestLabels();
wire::Plan TestPlan();

// Six MR slices of 7x5 pixels at `folder`/slice*.dcm; patient PHANTOM-1, Phantom^Ada. Returns paths.
std::vector<std::string> WriteSeries(const std::string& folder);
// A SEG on them at `folder`/seg.dcm with both labels of TestLabels.
std::string WriteLabel(const std::vector<std::string>& images, const std::string& folder);
// As WriteSeries, of another patient, study and series.
std::vector<std::string> WriteOtherPatient(const std::string& folder);

std::vector<std::string> FilesBelowFolder(const std::string& folder);
std::string BytesBelowFolder(const std::string& folder);  // of all files, their paths included

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_INTAKE_TEST_ARCHIVE_H_
