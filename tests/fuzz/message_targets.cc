// What a hostile coordinator or site can put into the messages of a round.
#include "consilium/v1/federation.pb.h"
#include "google/protobuf/stubs/logging.h"
#include "privacy/crypto/protocol_key.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secagg/payload.h"
#include "privacy/secagg/protocol.h"
#include "proto/base/check.h"
#include "proto/wire/plan.h"
#include "site_agent/round/masking/masking_terms.h"
#include "site_agent/uplink/convert.h"
#include "tests/fuzz/target.h"

namespace consilium::fuzz {
namespace {

v1::Task TrainTask() {
  wire::Plan plan;
  plan.study = "s";
  plan.labels = {{1, "Organ", ""}};
  plan.protection.kind = "secure-aggregation";
  v1::Task task;
  task.set_task_id("train-1");
  task.set_kind(v1::Task::TRAIN);
  task.set_study("s");
  task.set_round(1);
  task.set_role("trainer");
  task.set_plan_json(wire::PlanToJson(plan));
  task.set_plan_sha256(privacy::Sha256Hex(task.plan_json()));
  task.mutable_model()->set_version("s/0");
  task.mutable_model()->set_sha256(std::string(64, 'a'));
  task.mutable_model()->set_bytes(100);
  task.set_sealing_public_key(std::string(32, 'k'));
  task.mutable_masking()->set_job("f/s");
  task.mutable_masking()->set_bits(32);
  task.mutable_masking()->set_words(66);
  task.mutable_masking()->set_min_cohort(3);
  task.mutable_masking()->set_quantiser("clip=1;D=354;lanes=2");
  task.mutable_masking()->set_weight_unit_milli(1000);
  task.mutable_masking()->set_weight_max(100);
  return task;
}

// ---- a task, as the site takes it ----

void RunTask(absl::string_view bytes) {
  const google::protobuf::LogSilencer quiet;
  v1::Task message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  message.set_plan_sha256(privacy::Sha256Hex(message.plan_json()));  // else no plan gets in
  const auto task = agent::TaskFromMessage(message);
  if (!task.ok()) return;
  CSL_CHECK(task->model.bytes <= agent::kModelBytesMax);
  CSL_CHECK(task->control.has_value() <= (task->kind == agent::TaskKind::kTrain));
  if (!task->masking) return;
  const auto terms = agent::CheckMaskingTerms(*task, "f");
  if (!terms.ok()) return;
  CSL_CHECK(terms->job.min_cohort >= secagg::kSitesMin);
  CSL_CHECK(terms->job.words <= secagg::kWordsMax);
  (void)agent::CheckWords(*terms, 66);
}

std::vector<std::string> TaskSeeds() {
  CSL_CHECK(agent::TaskFromMessage(TrainTask()).ok());
  std::vector<std::string> seeds = {TrainTask().SerializeAsString()};
  v1::Task reveal = TrainTask();
  reveal.set_kind(v1::Task::REVEAL);
  reveal.clear_masking();
  reveal.mutable_unmasking()->set_train_task_id("train-1");
  reveal.mutable_unmasking()->set_survivors("\x07");
  v1::Consent& consent = *reveal.mutable_unmasking()->add_consents();
  consent.set_site("site-a");
  consent.set_survivors("\x07");
  consent.set_signature(std::string(secagg::kSignatureBytes, 's'));
  CSL_CHECK(agent::TaskFromMessage(reveal).ok());
  seeds.push_back(reveal.SerializeAsString());
  return seeds;
}

// ---- the coordinator's answers of a key agreement ----

void RunAgreement(absl::string_view bytes) {
  const google::protobuf::LogSilencer quiet;
  v1::AgreeKeysReply message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  const auto reply = agent::AgreementFromMessage(message);
  if (!reply.ok()) return;
  CSL_CHECK(reply->roster.size() <= secagg::kSitesMax);
  CSL_CHECK(reply->boxes.size() <= secagg::kSitesMax);
  for (const agent::SiteKeys& keys : reply->roster) {
    const auto genuine = privacy::VerifyProtocolKey(
        keys.announcement.certificate_pem, "", absl::UnixEpoch(),
        {"f", keys.announcement.site, keys.announcement.identity_key, keys.protocol_key_signature});
    CSL_CHECK(!genuine.ok());  // no certificate authority vouches for it
  }
}

std::vector<std::string> AgreementSeeds() {
  v1::AgreeKeysReply keys;
  keys.set_stage(v1::AgreeKeysReply::KEYS);
  v1::AgreeKeysReply shares;
  shares.set_stage(v1::AgreeKeysReply::SHARES);
  shares.set_threshold(3);
  for (const char* site : {"site-a", "site-b", "site-c"}) {
    v1::SiteKeys& one = *shares.add_roster();
    one.set_site(site);
    one.set_certificate_pem("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    one.set_protocol_key(std::string(32, 'i'));
    one.set_protocol_key_signature(std::string(70, 'p'));
    one.set_mask_key(std::string(32, 'm'));
    one.set_box_key(std::string(32, 'b'));
    one.set_signature(std::string(secagg::kSignatureBytes, 's'));
  }
  v1::AgreeKeysReply ready;
  ready.set_stage(v1::AgreeKeysReply::READY);
  ready.add_sharing("site-a");
  ready.add_sharing("site-b");
  v1::ShareBox& box = *ready.add_boxes();
  box.set_from("site-b");
  box.set_to("site-a");
  box.set_box(std::string(200, 'x'));
  v1::AgreeKeysReply out;
  out.set_stage(v1::AgreeKeysReply::OUT);
  out.set_reason("too late");
  return {keys.SerializeAsString(), shares.SerializeAsString(), ready.SerializeAsString(),
          out.SerializeAsString()};
}

// ---- the head of a masked update, as the coordinator opens it ----

void RunPayload(absl::string_view bytes) {
  const auto header = secagg::DecodePayloadHeader(bytes);
  if (!header.ok()) return;
  CSL_CHECK(secagg::EncodePayloadHeader(*header) == bytes.substr(0, secagg::kPayloadHeaderBytes));
  CSL_CHECK(header->words > 0 && header->words <= secagg::kWordsMax);
}

std::vector<std::string> PayloadSeeds() {
  return {secagg::EncodePayloadHeader({std::string(secagg::kDigestBytes, 's'), 32, 66}),
          secagg::EncodePayloadHeader({std::string(secagg::kDigestBytes, 's'), 16, 1 << 20})};
}

}  // namespace

std::vector<Target> MessageTargets() {
  return {{"task", RunTask, TaskSeeds},
          {"agreement", RunAgreement, AgreementSeeds},
          {"payload", RunPayload, PayloadSeeds}};
}

}  // namespace consilium::fuzz
