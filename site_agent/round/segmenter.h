// A model file ready to segment volumes: the one path of inference, used by the evaluation of a
// round, by `consilium-agent evaluate` and by consilium-infer.
#ifndef CONSILIUM_SITE_AGENT_ROUND_SEGMENTER_H_
#define CONSILIUM_SITE_AGENT_ROUND_SEGMENTER_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/wire/plan.h"
#include "site_agent/agent_options.h"
#include "site_agent/imaging/volume.h"
#include "training/session.h"

namespace consilium::agent {

// Not thread-safe. Memory: the network, and during Segment the class probabilities of one volume.
class Segmenter {
 public:
  // The plan comes from the file's metadata. NOT_FOUND: no such file. INVALID_ARGUMENT: not a model
  // file, no plan in it, or weights that are not of the plan's network.
  static absl::StatusOr<Segmenter> Load(const std::string& model_path,
                                        const ComputeOptions& compute);
  // The same with a plan from elsewhere (a task); the file's own, if any, is not looked at.
  // `own`: the site's local layers, in place of the file's; empty: the file's.
  static absl::StatusOr<Segmenter> LoadWithPlan(
      const std::string& model_path, const wire::Plan& plan, const ComputeOptions& compute,
      const std::vector<training::NamedArray>& own = {});
  // Weights that are in no file: a site's personal model.
  static absl::StatusOr<Segmenter> FromWeights(std::vector<training::NamedArray> weights,
                                               const wire::Plan& plan,
                                               const ComputeOptions& compute);

  // Labels on the grid of the first volume. `channels`: as PrepareChannels.
  absl::StatusOr<imaging::LabelVolume> Segment(const std::vector<imaging::Volume>& channels);
  // For an image that is already prepared: `prepared` lies on `grid`, channel after
  // channel, the result on `source`.
  absl::StatusOr<imaging::LabelVolume> SegmentPrepared(std::vector<float> prepared,
                                                       const imaging::Geometry& grid,
                                                       const imaging::Geometry& source);

  // Called for each window of a volume that is done, from the thread that segments.
  void OnWindow(std::function<void()> moved) { moved_ = std::move(moved); }

  const wire::Plan& plan() const { return plan_; }
  const std::string& version() const { return version_; }  // "hippocampus/3"; may be empty
  const std::string& sha256() const { return sha256_; }    // of the file, lower-case hex

 private:
  Segmenter(std::unique_ptr<training::Session> session, wire::Plan plan)
      : session_(std::move(session)), plan_(std::move(plan)) {}

  std::unique_ptr<training::Session> session_;
  wire::Plan plan_;
  std::function<void()> moved_;
  std::string version_;
  std::string sha256_;
};

}  // namespace consilium::agent

#endif  // CONSILIUM_SITE_AGENT_ROUND_SEGMENTER_H_
