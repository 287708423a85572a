#include "site_agent/round/masking/masked_update.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "privacy/crypto/sealed_update.h"
#include "privacy/crypto/sha256.h"
#include "privacy/log/log.h"
#include "privacy/secagg/key_schedule.h"
#include "privacy/secagg/payload.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"
#include "proto/base/heap.h"
#include "proto/base/status.h"
#include "site_agent/round/masking/masked_words.h"
#include "site_agent/round/masking/site_noise_source.h"
#include "site_agent/round/update_seal.h"

namespace consilium::agent {
namespace {

using Key = privacy::LogField::Key;

// Of all that decides the payload's words, besides the session.
std::string PayloadDigest(const CheckedTerms& terms, const wire::TensorMap& update, uint32_t weight,
                          absl::Span<const double> metrics) {
  privacy::Sha256Stream hash;
  hash.Update(terms.job.quantiser);
  char number[8];
  StoreLe64(weight, number);
  hash.Update({number, sizeof(number)});
  for (const double value : metrics) {
    hash.Update({reinterpret_cast<const char*>(&value), sizeof(value)});
  }
  hash.Update(
      {reinterpret_cast<const char*>(update.values.data()), update.values.size() * sizeof(float)});
  return hash.Finish();
}

// The file that `header` and `words` would be, in order.
template <typename Word>
absl::StatusOr<std::string> SealWords(const secagg::PayloadHeader& header,
                                      const MaskedSource& source, const SiteTask& task,
                                      const std::string& path, const privacy::SealContext& context,
                                      TaskMonitor& monitor) {
  const std::string head = secagg::EncodePayloadHeader(header);
  MaskedWords<Word> words(source);
  return privacy::SealBytes(
      [&](uint64_t offset, char* out, size_t size) -> absl::Status {
        if (offset == 0) {
          head.copy(out, head.size());
          out += head.size();
          size -= head.size();
        }
        monitor.Advance();
        return words.Read(out, size);
      },
      header.PayloadBytes(), path, task.sealing_public_key, context);
}

struct Vector {
  secagg::Quantiser quantiser;
  uint32_t weight = 0;
  UpdateFacts facts;
  bool withheld = false;  // the lanes have no noise, so nothing is told in them
  std::optional<SiteNoiseSource> noise = {};

  std::vector<double> MetricsWith(uint64_t saturated) const {
    if (withheld) return MetricValues(quantiser.spec().metrics, UpdateFacts());
    UpdateFacts all = facts;
    all.saturated = static_cast<double>(saturated) /
                    static_cast<double>(std::max<uint64_t>(1, quantiser.parameters()));
    return MetricValues(quantiser.spec().metrics, all);
  }
};

absl::StatusOr<Vector> VectorFor(const CheckedTerms& terms, const SiteTask& task,
                                 const secagg::SiteSession& session, uint64_t parameters,
                                 const UpdateFacts& facts) {
  CSL_RETURN_IF_ERROR(CheckWords(terms, parameters));
  secagg::Quantiser::Options options;
  options.spec = terms.quantiser;
  options.bits = terms.job.bits;
  options.sites = session.sites();
  options.parameters = parameters;
  options.rotation_seed = secagg::RotationSeed(session.session_id());
  CSL_ASSIGN_OR_RETURN(secagg::Quantiser quantiser, secagg::Quantiser::Create(std::move(options)));
  const uint32_t weight = UpdateWeight(*task.masking, facts.labelled_cases + facts.unlabelled_cases,
                                       facts.reported_cases);
  Vector vector{std::move(quantiser), weight, facts};
  if (task.plan.privacy.level != "site") return vector;
  vector.withheld = true;
  // No sum of fewer is opened: each needs the shares of so many.
  const auto threshold = static_cast<int64_t>(secagg::Threshold(session.sites()));
  CSL_ASSIGN_OR_RETURN(vector.noise, SiteNoiseSource::Create(
                                         task.plan, {vector.quantiser, task.masking->weight_max,
                                                     static_cast<int64_t>(session.sites()),
                                                     threshold, session.rounding_seed()}));
  return vector;
}

// To the plan's bound, and under noise to the length that the noise hides, whichever is less.
bool BoundUpdate(wire::TensorMap& update, const wire::Plan& plan,
                 const std::optional<SiteNoiseSource>& noise) {
  if (!wire::CheckFinite(update).ok()) return false;
  BoundNorm(update, plan.protection.norm_max);
  if (noise) BoundNorm(update, noise->clip());
  return true;
}

std::function<void(uint64_t, absl::Span<int64_t>)> NoiseOf(
    const std::optional<SiteNoiseSource>& noise) {
  if (!noise) return {};
  return [&noise](uint64_t offset, absl::Span<int64_t> out) { noise->Fill(offset, out); };
}

// The masks, once it is durable what for.
absl::StatusOr<secagg::Masker> TakeMasks(const MaskingSite& site, const SiteTask& task,
                                         const std::string& payload_digest, StoredSession& stored) {
  absl::StatusOr<secagg::Masker> masker = stored.session.MaskerFor(payload_digest);
  if (!masker.ok()) return RefuseMasking(site, task, masker.status());
  stored.masked = true;
  CSL_RETURN_IF_ERROR(site.sessions.Save(stored));
  return masker;
}

}  // namespace

double BoundNorm(wire::TensorMap& update, double norm_max) {
  if (norm_max <= 0) return 1;
  const int64_t control = update.layout.parameters() - ModelParameters(update.layout);
  absl::Span<float> values = absl::MakeSpan(update.values);
  values.remove_suffix(static_cast<size_t>(control));
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * value;
  const double norm = std::sqrt(sum);
  if (norm <= norm_max) return 1;
  const double factor = norm_max / norm;
  for (float& value : values) value = static_cast<float>(value * factor);
  privacy::Log(privacy::LogLevel::kInfo, "the update is longer than its bound and is scaled down",
               {{Key::kWeight, factor}});
  return factor;
}

absl::StatusOr<FinishedTask> FinishMasked(const MaskingSite& site, const SiteTask& task,
                                          KeyAgreement& agreement, Spool& spool,
                                          wire::TensorMap update, const UpdateFacts& facts,
                                          TaskMonitor& monitor) {
  CSL_RETURN_IF_ERROR(agreement.AwaitReady());
  ReturnFreeHeap();  // what the download and the training took
  StoredSession stored = agreement.Take();
  const CheckedTerms& terms = agreement.terms();
  const absl::StatusOr<Vector> vector =
      VectorFor(terms, task, stored.session, update.values.size(), facts);
  if (!vector.ok()) return RefuseMasking(site, task, vector.status());
  if (!BoundUpdate(update, task.plan, vector->noise)) {
    return absl::InternalError("the update is not finite, nothing is sent");
  }
  CSL_RETURN_IF_ERROR(spool.BeginWork(task.task_id).status());
  const std::string digest = PayloadDigest(terms, update, vector->weight, vector->MetricsWith(0));
  monitor.Advance();
  CSL_ASSIGN_OR_RETURN(const secagg::Masker masker, TakeMasks(site, task, digest, stored));

  const MaskedSource source = {
      .quantiser = vector->quantiser,
      .masker = masker,
      .values = update.values,
      .input = {vector->weight, stored.session.rounding_seed()},
      .metrics = [&](uint64_t saturated) { return vector->MetricsWith(saturated); },
      .noise = NoiseOf(vector->noise),
      .threads = site.threads};
  const secagg::PayloadHeader header = {std::string(stored.session.session_id()), terms.job.bits,
                                        terms.job.words};
  const privacy::SealContext context = {site.federation, task.study, task.round, site.site,
                                        task.task_id};
  const std::string path = spool.UpdatePath(task.task_id);
  UpdateOffer offer;
  CSL_ASSIGN_OR_RETURN(offer.sha256,
                       terms.job.bits == 16
                           ? SealWords<uint16_t>(header, source, task, path, context, monitor)
                           : SealWords<uint32_t>(header, source, task, path, context, monitor));
  CSL_ASSIGN_OR_RETURN(offer.bytes, FileBytes(path));
  offer.base_model_sha256 = task.model.sha256;
  offer.layout_sha256 = ModelLayoutSha256(update.layout);
  return FinishedTask{KeyOf(task), std::move(offer),
                      facts.labelled_cases + facts.unlabelled_cases};
}

}  // namespace consilium::agent
