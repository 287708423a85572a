// What the agent's programs show at a terminal.
#ifndef CONSILIUM_SITE_AGENT_AGENT_OUTPUT_H_
#define CONSILIUM_SITE_AGENT_AGENT_OUTPUT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proto/base/cli.h"

namespace consilium::agent {

// Prints a table, or the JSON as it is; in jsonl on one line.
void Print(OutputFormat format, const std::vector<std::vector<std::string>>& table,
           const std::string& json);

// A Progress bar for each stage of a command, one after the other. Thread-compatible.
class StageBars {
 public:
  void operator()(const char* stage, const char* unit, int64_t done, int64_t total,
                  const std::string& note);

 private:
  std::unique_ptr<Progress> bar_;
  std::string stage_;
  int64_t total_ = 0;
};

// Of a command with one stage; the bar ends with it, before the result is printed.
std::function<void(int64_t done, int64_t total)> OneStageProgress(const char* stage, const char* unit);

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_AGENT_OUTPUT_H_
