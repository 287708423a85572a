// Cuts patches on a thread of its own while a step computes: loading a case from disk and finding
// its foreground then cost a step nothing. Std only.
#ifndef CONSILIUM_TRAINING_DATA_PATCH_PREFETCH_H_
#define CONSILIUM_TRAINING_DATA_PATCH_PREFETCH_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "training/data/patch_sampler.h"

namespace consilium::training {

// The patches are those of the sampler, in the same order: a run is the same with and without.
// Memory: `ahead` patches and the case that the next is cut from.
class PatchPrefetcher {
 public:
  // What is asked for: batches of so many labelled and then so many unlabelled patches.
  struct Order {
    int64_t labelled = 0;
    int64_t unlabelled = 0;
    int64_t batches = 0;  // in all; nothing is loaded beyond
    int64_t ahead = 2;    // patches that wait at most, from 1 on
  };
  // Borrows `sampler`, which nobody else may use until this is gone, and its source with it.
  PatchPrefetcher(PatchSampler& sampler, const Order& order);
  // Does not wait for more than the case that is being loaded.
  ~PatchPrefetcher();
  PatchPrefetcher(const PatchPrefetcher&) = delete;
  PatchPrefetcher& operator=(const PatchPrefetcher&) = delete;

  // The next patch in order. Throws what the sampler threw at this place, and std::logic_error
  // beyond the last batch. From one thread.
  Patch Next();

 private:
  void Work();
  Patch Draw(int64_t number);

  PatchSampler& sampler_;
  const Order order_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Patch> ready_;    // guarded by mutex_
  std::exception_ptr failed_;  // guarded by mutex_; ends the work
  bool closing_ = false;       // guarded by mutex_
  int64_t taken_ = 0;
  std::thread thread_;  // last: it uses the others
};

}  // namespace consilium::training

#endif  // CONSILIUM_TRAINING_DATA_PATCH_PREFETCH_H_
