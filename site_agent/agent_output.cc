#include "site_agent/agent_output.h"

#include <cstdio>

#include "nlohmann/json.hpp"

namespace consilium::agent {

void Print(OutputFormat format, const std::vector<std::vector<std::string>>& table,
           const std::string& json) {
  std::string text = format == OutputFormat::kTable ? FormatTable(table) : json;
  if (format == OutputFormat::kJsonl) text = nlohmann::ordered_json::parse(json).dump();
  std::fputs(text.c_str(), stdout);
  if (!text.empty() && text.back() != '\n') std::fputc('\n', stdout);
}

void StageBars::operator()(const char* stage, const char* unit, int64_t done, int64_t total,
                           const std::string& note) {
  if (!bar_ || stage_ != stage || total_ != total) {
    if (bar_) bar_->Finish();
    bar_ = std::make_unique<Progress>(stage, unit, static_cast<uint64_t>(total));
    stage_ = stage;
    total_ = total;
  }
  bar_->Update(static_cast<uint64_t>(done), note);
}

std::function<void(int64_t done, int64_t total)> OneStageProgress(const char* stage,
                                                               const char* unit) {
  return [stage, unit, bars = std::make_shared<StageBars>()](int64_t done, int64_t total) {
    (*bars)(stage, unit, done, total, "");
    if (done >= total) *bars = StageBars();
  };
}

}  // namespace consilium::agent
