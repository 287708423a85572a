#include "coordinator/round/update_combiner.h"

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "aggregation/column_rules.h"
#include "aggregation/robust_aggregator.h"
#include "aggregation/weighted_mean.h"
#include "coordinator/round/study_checks.h"
#include "privacy/crypto/sha256.h"
#include "proto/base/check.h"
#include "proto/base/status.h"

namespace consilium::coordinator {
namespace {

// Of a rule that sees every update at once; a multiple of the statistics' cells.
constexpr int64_t kObservedParameters = int64_t{1} << 18;
static_assert(kObservedParameters % aggregation::kCellParameters == 0);

absl::Status ReadPart(const SealedPart& part, int64_t begin, absl::Span<float> values,
                      std::string& lost) {
  absl::Status read = part.reader.Read(begin, values);
  if (read.ok()) read = aggregation::CheckUpdateValues(values);
  if (!read.ok()) lost = part.update.task_id;
  return read;
}

class MeanCombiner final : public UpdateCombiner {
 public:
  explicit MeanCombiner(const std::vector<SealedPart>& parts) : parts_(parts) {}
  int64_t parameters() const override { return parts_.front().reader.parameters(); }
  int64_t BlockEnd(int64_t begin, int64_t end) const override {
    return parts_.front().reader.BlockEnd(begin, end);
  }
  absl::Status Combine(int64_t begin, absl::Span<float> change,
                       std::string& lost) const override {
    aggregation::WeightedMean mean(static_cast<int64_t>(change.size()));
    std::vector<float> delta(change.size());
    for (const SealedPart& part : parts_) {
      CSL_RETURN_IF_ERROR(ReadPart(part, begin, absl::MakeSpan(delta), lost));
      CSL_RETURN_IF_ERROR(mean.Begin(part.update.weight));
      if (part.update.idle_weight > 0) CSL_RETURN_IF_ERROR(mean.AddIdle(part.update.idle_weight));
      mean.Fold(0, delta);
    }
    std::fill(change.begin(), change.end(), 0.0f);
    return mean.AddMeanTo(change);
  }

 private:
  const std::vector<SealedPart>& parts_;
};

class RuleCombiner final : public UpdateCombiner {
 public:
  RuleCombiner(const RuleSpec& rule, const std::vector<SealedPart>& parts) {
    for (const SealedPart& part : parts) {
      (part.update.site == rule.root ? root_ : parts_).push_back(&part);
    }
  }

  absl::Status Prepare(const RuleSpec& rule, ThreadPool& pool, std::string& lost) {
    if (rule.name == "fltrust" && root_.empty()) {
      return absl::FailedPreconditionError(
          absl::StrCat("the root site ", rule.root, " gave no update to compare with"));
    }
    if (parts_.empty()) return absl::FailedPreconditionError("no update besides the root's");
    std::vector<int64_t> weights;
    for (const SealedPart* part : parts_) weights.push_back(part->update.weight);
    aggregation::RobustOptions options;
    options.rule = RuleOf(rule);
    options.hostile_max = rule.hostile;
    // Known only when every update is, so that nobody can train for the sample.
    std::string digests;
    for (const SealedPart* part : parts_) absl::StrAppend(&digests, part->update.upload_id, "\n");
    options.dnc.seed = privacy::Sha256(digests);
    CSL_ASSIGN_OR_RETURN(aggregator_, aggregation::RobustAggregator::Create(options, parameters(),
                                                                           std::move(weights)));
    if (aggregator_->NeedsFirstPass()) CSL_RETURN_IF_ERROR(ObserveAll(pool, lost));
    CSL_ASSIGN_OR_RETURN(decision_, aggregator_->Decide());
    return absl::OkStatus();
  }

  int64_t parameters() const override { return parts_.front()->reader.parameters(); }
  int64_t BlockEnd(int64_t begin, int64_t end) const override {
    return std::min(end, begin + kObservedParameters);
  }
  absl::Status Combine(int64_t begin, absl::Span<float> change,
                       std::string& lost) const override {
    Block block;
    CSL_RETURN_IF_ERROR(Read(begin, change.size(), block, lost));
    return aggregator_->Combine(decision_, block.rows, change);
  }
  std::vector<Outvoted> outvoted() const override {
    std::vector<Outvoted> sites;
    for (size_t i = 0; i < parts_.size(); ++i) {
      const aggregation::UpdateVerdict& verdict = decision_.updates[i];
      if (!verdict.dropped) continue;
      sites.push_back({parts_[i]->update.site, verdict.reason});
    }
    return sites;
  }

 private:
  struct Block {
    std::vector<std::vector<float>> values;
    std::vector<absl::Span<const float>> rows;
    std::vector<float> root;
  };

  absl::Status Read(int64_t begin, size_t size, Block& block, std::string& lost) const {
    for (const SealedPart* part : parts_) {
      std::vector<float>& values = block.values.emplace_back(size);
      CSL_RETURN_IF_ERROR(ReadPart(*part, begin, absl::MakeSpan(values), lost));
    }
    for (const std::vector<float>& values : block.values) block.rows.emplace_back(values);
    return absl::OkStatus();
  }

  absl::Status Observe(int64_t begin, int64_t end, std::string& lost) {
    Block block;
    const auto size = static_cast<size_t>(end - begin);
    CSL_RETURN_IF_ERROR(Read(begin, size, block, lost));
    if (aggregator_->NeedsRoot()) {
      block.root.resize(size);
      CSL_RETURN_IF_ERROR(ReadPart(*root_.front(), begin, absl::MakeSpan(block.root), lost));
    }
    return aggregator_->Observe(begin, block.rows, block.root);
  }

  absl::Status ObserveAll(ThreadPool& pool, std::string& lost) {
    absl::Mutex mutex;
    absl::Status first;
    for (int64_t begin = 0; begin < parameters(); begin += kObservedParameters) {
      const int64_t end = std::min(begin + kObservedParameters, parameters());
      pool.Schedule([&, begin, end] {
        std::string own;
        const absl::Status observed = Observe(begin, end, own);
        if (observed.ok()) return;
        absl::MutexLock lock(&mutex);
        if (!first.ok()) return;
        first = observed;
        lost = own;
      });
    }
    pool.Wait();
    return first;
  }

  std::vector<const SealedPart*> parts_, root_;
  std::unique_ptr<aggregation::RobustAggregator> aggregator_;
  aggregation::Decision decision_;
};

// The means of one group's updates, from their masked words.
template <typename Word>
class GroupMean {
 public:
  explicit GroupMean(const MaskedGroup& group) : group_(group), sum_(*group.sum) {}

  // The lanes have to be known before anything else: the weight's sum divides.
  absl::Status ReadLanes(std::string& lost) {
    std::vector<Word> words(sum_.quantiser.spec().lanes());
    CSL_RETURN_IF_ERROR(Sum(sum_.quantiser.padded_parameters(), absl::MakeSpan(words), lost));
    CSL_ASSIGN_OR_RETURN(lanes_, sum_.quantiser.DecodeLanes(words, sum_.sites.size()));
    return absl::OkStatus();
  }
  const secagg::LaneSums& lanes() const { return lanes_; }

  absl::Status Means(int64_t begin, absl::Span<float> means, std::string& lost) const {
    const auto offset = static_cast<uint64_t>(begin);
    std::vector<Word> words(sum_.quantiser.WordsOf(offset, means.size()));
    CSL_RETURN_IF_ERROR(Sum(offset, absl::MakeSpan(words), lost));
    return sum_.quantiser.Decode(lanes_.weight, offset, words, means);
  }

 private:
  absl::Status Sum(uint64_t offset, absl::Span<Word> sum, std::string& lost) const {
    std::fill(sum.begin(), sum.end(), Word{0});
    std::vector<Word> words(sum.size());
    for (const MaskedPart& part : group_.parts) {
      if (const absl::Status read = part.reader.Read(offset, absl::MakeSpan(words)); !read.ok()) {
        lost = part.task_id;
        return read;
      }
      for (size_t i = 0; i < sum.size(); ++i) sum[i] = static_cast<Word>(sum[i] + words[i]);
    }
    sum_.unmasker.Remove(offset, sum);
    return absl::OkStatus();
  }

  const MaskedGroup& group_;
  const MaskedSum& sum_;
  secagg::LaneSums lanes_;
};

template <typename Word>
class MaskedCombiner final : public UpdateCombiner {
 public:
  explicit MaskedCombiner(const std::vector<MaskedGroup>& groups) : groups_(groups) {
    for (const MaskedGroup& group : groups) means_.emplace_back(group);
  }

  absl::Status Prepare(std::string& lost) {
    for (size_t i = 0; i < means_.size(); ++i) {
      CSL_RETURN_IF_ERROR(means_[i].ReadLanes(lost));
      const secagg::LaneSums& lanes = means_[i].lanes();
      sums_["sites"] += static_cast<double>(groups_[i].sum->sites.size());
      sums_["weight"] += static_cast<double>(lanes.weight);
      const std::vector<std::string>& names = groups_[i].sum->quantiser.spec().metrics;
      for (size_t m = 0; m < names.size(); ++m) sums_[names[m]] += lanes.metrics[m];
    }
    return absl::OkStatus();
  }

  int64_t parameters() const override {
    return static_cast<int64_t>(groups_.front().sum->quantiser.parameters());
  }
  int64_t BlockEnd(int64_t begin, int64_t end) const override {
    const secagg::Quantiser& quantiser = groups_.front().sum->quantiser;
    const int64_t rotated = quantiser.spec().rotation_block;
    if (end >= parameters()) return parameters();
    if (rotated > 0) return std::max(begin + rotated, end / rotated * rotated);
    return static_cast<int64_t>(groups_.front().parts.front().reader.BlockEnd(
        static_cast<uint64_t>(begin), static_cast<uint64_t>(end)));
  }
  absl::Status Combine(int64_t begin, absl::Span<float> change,
                       std::string& lost) const override {
    if (means_.size() == 1) return means_.front().Means(begin, change, lost);
    std::vector<std::vector<float>> values;
    std::vector<absl::Span<const float>> rows;
    for (const GroupMean<Word>& mean : means_) {
      CSL_RETURN_IF_ERROR(
          mean.Means(begin, absl::MakeSpan(values.emplace_back(change.size())), lost));
    }
    for (const std::vector<float>& row : values) rows.emplace_back(row);
    return aggregation::Median(rows, change);
  }
  std::map<std::string, double> sums() const override { return sums_; }

 private:
  const std::vector<MaskedGroup>& groups_;
  std::vector<GroupMean<Word>> means_;
  std::map<std::string, double> sums_;
};

template <typename Word>
absl::StatusOr<std::unique_ptr<UpdateCombiner>> MakeMasked(const std::vector<MaskedGroup>& groups,
                                                           std::string& lost) {
  auto combiner = std::make_unique<MaskedCombiner<Word>>(groups);
  CSL_RETURN_IF_ERROR(combiner->Prepare(lost));
  return combiner;
}

}  // namespace

std::unique_ptr<UpdateCombiner> CombineByMean(const std::vector<SealedPart>& parts) {
  return std::make_unique<MeanCombiner>(parts);
}

absl::StatusOr<std::unique_ptr<UpdateCombiner>> CombineByRule(const RuleSpec& rule,
                                                              const std::vector<SealedPart>& parts,
                                                              ThreadPool& pool, std::string& lost) {
  auto combiner = std::make_unique<RuleCombiner>(rule, parts);
  CSL_RETURN_IF_ERROR(combiner->Prepare(rule, pool, lost));
  return combiner;
}

absl::StatusOr<std::unique_ptr<UpdateCombiner>> CombineMasked(
    const std::vector<MaskedGroup>& groups, std::string& lost) {
  return groups.front().parts.front().reader.bits() == 16
             ? MakeMasked<uint16_t>(groups, lost)
             : MakeMasked<uint32_t>(groups, lost);
}

}  // namespace consilium::coordinator
