#include "training/data/patch_prefetch.h"

#include <stdexcept>
#include <utility>

namespace consilium::training {

PatchPrefetcher::PatchPrefetcher(PatchSampler& sampler, const Order& order)
    : sampler_(sampler), order_(order), thread_([this] { Work(); }) {}

PatchPrefetcher::~PatchPrefetcher() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Patch PatchPrefetcher::Draw(int64_t number) {
  const bool labelled = number % (order_.labelled + order_.unlabelled) < order_.labelled;
  return labelled ? sampler_.NextLabelled() : sampler_.NextUnlabelled();
}

void PatchPrefetcher::Work() {
  const int64_t total = (order_.labelled + order_.unlabelled) * order_.batches;
  for (int64_t number = 0; number < total; ++number) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(
          lock, [this] { return closing_ || static_cast<int64_t>(ready_.size()) < order_.ahead; });
      if (closing_) return;
    }
    try {
      Patch patch = Draw(number);
      const std::lock_guard lock(mutex_);
      ready_.push_back(std::move(patch));
    } catch (...) {
      const std::lock_guard lock(mutex_);
      failed_ = std::current_exception();
    }
    changed_.notify_all();
    const std::lock_guard lock(mutex_);
    if (failed_) return;
  }
}

Patch PatchPrefetcher::Next() {
  if (taken_ == (order_.labelled + order_.unlabelled) * order_.batches) {
    throw std::logic_error("a patch beyond the last batch");
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !ready_.empty() || failed_; });
  if (ready_.empty()) std::rethrow_exception(failed_);
  Patch patch = std::move(ready_.front());
  ready_.pop_front();
  ++taken_;
  lock.unlock();
  changed_.notify_all();
  return patch;
}

}  // namespace consilium::training
