#include "tests/sim/world.h"

namespace consilium::sim {

void Counts::Add(const Counts& other) {
  static constexpr int64_t Counts::*kAll[] = {
      &Counts::events,        &Counts::drops,        &Counts::duplicates,
      &Counts::coordinator_crashes, &Counts::site_crashes, &Counts::hangs,
      &Counts::lost_spools,   &Counts::declines,     &Counts::revocations,
      &Counts::pauses,        &Counts::versions,     &Counts::failed_rounds,
      &Counts::closed_early,  &Counts::stale_folds,  &Counts::stale_refusals,
      &Counts::late_updates,  &Counts::acknowledged, &Counts::stalls,
      &Counts::left_out_stalled, &Counts::withdrawn,    &Counts::lost_updates,
      &Counts::masked_versions, &Counts::dropouts_recovered};
  for (const auto member : kAll) this->*member += other.*member;
}

void World::Send(std::function<void()> heard) {
  const auto delay = [&] { return Between(absl::Milliseconds(1), faults_.delay_max); };
  if (Chance(faults_.duplicate)) {
    ++counts.duplicates;
    After(delay(), heard);
  }
  if (Chance(faults_.drop)) {
    ++counts.drops;
    return;
  }
  After(delay(), std::move(heard));
}

bool World::Step() {
  if (queue_.empty()) return false;
  const Event event = queue_.top();
  queue_.pop();
  now_ = event.when;
  ++counts.events;
  event.what();
  return true;
}

}  // namespace consilium::sim
