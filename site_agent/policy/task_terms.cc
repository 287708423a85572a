#include "site_agent/policy/task_terms.h"

#include "privacy/crypto/sha256.h"

namespace consilium::agent {

TaskTerms PlanTerms(const wire::Plan& plan) {
  TaskTerms terms;
  terms.trains = terms.complete = false;
  terms.study = plan.study;
  terms.purpose = plan.purpose;
  terms.plan_sha256 = privacy::Sha256Hex(wire::PlanToJson(plan));
  terms.algorithms = {plan.algorithm.kind};
  if (!plan.algorithm.local_layers.empty()) terms.algorithms.emplace_back("fedbn");
  if (plan.algorithm.personal_lambda > 0) terms.algorithms.emplace_back("ditto");
  terms.modalities = {plan.modality};
  terms.series_rules = plan.series_rules;
  for (const wire::PlanChannel& channel : plan.channels) {
    terms.modalities.push_back(channel.modality);
    terms.series_rules.insert(terms.series_rules.end(), channel.series_rules.begin(),
                              channel.series_rules.end());
  }
  terms.protection = ProtectionOf(plan.protection.kind);
  terms.bits = plan.protection.bits;
  terms.min_cohort = plan.protection.min_cohort;
  terms.group_size = plan.protection.group;
  terms.norm_bound = plan.protection.norm_max;
  const wire::PlanPrivacy& privacy = plan.privacy;
  terms.privacy.level = PrivacyLevelOf(privacy.level).value_or(PrivacyLevel::kNone);
  terms.privacy.epsilon = privacy.epsilon;
  terms.privacy.delta = privacy.delta;
  terms.privacy.clip = privacy.clip;
  if (terms.privacy.level == PrivacyLevel::kSite) {
    terms.privacy.noise_multiplier = privacy.noise_multiplier;
  }
  return terms;
}

}  // namespace consilium::agent
