// Complete rounds of the shared vectors, byte for byte, driven through the sessions.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/x25519.h"
#include "privacy/secagg/key_schedule.h"
#include "privacy/secagg/quantise.h"
#include "privacy/secagg/shamir.h"
#include "privacy/secagg/test_round.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"

namespace consilium::secagg {
namespace {

using nlohmann::json;
using privacy::SecretBytes;

constexpr uint64_t kVectorFileBytesMax = 4 << 20;

std::string Bytes(const json& hex) { return *HexDecode(hex.get<std::string>()); }

// Field elements a / b.
uint8_t Divide(uint8_t a, uint8_t b) { return GfMultiply(a, GfInverse(b)); }

// The coefficients of x, x^2, ... of the polynomials that go through `shares`, by elimination of
// the Vandermonde system: what a site must have drawn to deal them.
std::string CoefficientsOf(const json& shares, size_t threshold) {
  std::string coefficients((threshold - 1) * kKeyBytes, '\0');
  for (size_t byte = 0; byte < kKeyBytes; ++byte) {
    std::vector<std::vector<uint8_t>> rows;
    for (size_t i = 0; i < threshold; ++i) {
      std::vector<uint8_t> row(threshold + 1);
      row[0] = 1;
      for (size_t k = 1; k < threshold; ++k) {
        row[k] = GfMultiply(row[k - 1], static_cast<uint8_t>(i + 1));
      }
      row[threshold] = static_cast<uint8_t>(Bytes(shares[i])[byte]);
      rows.push_back(row);
    }
    for (size_t pivot = 0; pivot < threshold; ++pivot) {
      for (size_t row = 0; row < threshold; ++row) {
        if (row == pivot) continue;
        const uint8_t factor = Divide(rows[row][pivot], rows[pivot][pivot]);
        for (size_t k = pivot; k <= threshold; ++k)
          rows[row][k] ^= GfMultiply(factor, rows[pivot][k]);
      }
    }
    for (size_t k = 1; k < threshold; ++k) {
      coefficients[(k - 1) * kKeyBytes + byte] =
          static_cast<char>(Divide(rows[k][threshold], rows[k][k]));
    }
  }
  return coefficients;
}

// Gives the secrets of a vector in the order in which a session asks for them, then random ones.
RandomSource Scripted(std::vector<std::string> script) {
  auto rest = std::make_shared<std::vector<std::string>>(std::move(script));
  std::reverse(rest->begin(), rest->end());
  return [rest](size_t bytes) {
    if (rest->empty()) return privacy::RandomSecret(bytes);
    SecretBytes next(rest->back());
    EXPECT_EQ(next.size(), bytes);
    rest->pop_back();
    return next;
  };
}

// One case of the file: its sites, and the server between them.
class Case {
 public:
  explicit Case(const json& vector) : vector_(vector) {
    const std::string params = Bytes(vector["params"]);
    job_.job = "job-7";
    job_.round = 3;
    job_.model_digest = params.substr(4 + 5 + 8 + 4, kDigestBytes);
    job_.bits = vector["bits"];
    job_.words = vector["d"].get<uint64_t>() + 2;
    job_.min_cohort = 3;
    spec_.clip = vector["C"];
    spec_.divisor = vector["D"];
    job_.quantiser = spec_.ToText();
    std::vector<std::string> names;
    for (const json& site : vector["sites"]) {
      names.push_back(site["id"]);
      identities_.push_back(
          *privacy::Ed25519Key::FromSeed(SecretBytes(Bytes(site["sk_identity"]))));
      AddSite(site);
    }
    server_ = std::make_unique<ServerSession>(*ServerSession::Start(job_, names));
  }

  void Run() {
    AgreeOnKeys();
    Share();
    if (job_.bits == 32) {
      MaskAndUnmask<uint32_t>();
    } else {
      MaskAndUnmask<uint16_t>();
    }
  }

 private:
  const json& Site(size_t i) const { return vector_["sites"][i]; }
  bool Dropped(size_t i) const {
    const json& dropped = vector_["dropped_after_sharing"];
    return std::find(dropped.begin(), dropped.end(), json(i)) != dropped.end();
  }

  void AddSite(const json& site) {
    std::vector<std::string> script = {Bytes(site["sk_mask"]), Bytes(site["sk_enc"]),
                                       Bytes(site["b"]), std::string(kKeyBytes, 'r')};
    if (sites_.empty()) {
      script.push_back(Bytes(vector_["shamir_coefficients_b_site0"]));
      script.push_back(CoefficientsOf(vector_["share_sk_of_site0"], vector_["t"]));
    }
    SiteSession::Options options;
    options.site = site["id"];
    options.certificate_fingerprint = Bytes(site["cert_fp"]);
    options.job = job_;
    options.loaded_model_digest = job_.model_digest;
    options.random = Scripted(std::move(script));
    auto session = SiteSession::Start(std::move(options), identities_.back());
    ASSERT_TRUE(session.ok()) << session.status();
    EXPECT_EQ(session->announcement().mask_key, Bytes(site["pk_mask"]));
    EXPECT_EQ(session->announcement().box_key, Bytes(site["pk_enc"]));
    sites_.push_back(*std::move(session));
  }

  void AgreeOnKeys() {
    for (const SiteSession& site : sites_) {
      ASSERT_TRUE(server_->OnKeys(site.announcement(), testing::Genuine).ok());
    }
    ASSERT_TRUE(server_->CloseKeys().ok());
    EXPECT_EQ(HexEncode(server_->params().Encode()), vector_["params"].get<std::string>());
    EXPECT_EQ(server_->params().threshold, vector_["t"].get<uint32_t>());
    EXPECT_EQ(HexEncode(server_->session_id()), vector_["sid"].get<std::string>());
  }

  void Share() {
    for (size_t i = 0; i < sites_.size(); ++i) {
      const auto message =
          sites_[i].OnRoster(server_->params(), server_->Announcements(), testing::Genuine);
      ASSERT_TRUE(message.ok()) << message.status();
      EXPECT_EQ(sites_[i].session_id(), server_->session_id());
      EXPECT_EQ(HexEncode(message->commitment), Site(i)["commit"].get<std::string>());
      if (i == 0) {
        EXPECT_EQ(HexEncode(message->boxes[1]), vector_["box_0_to_1"].get<std::string>());
      }
      ASSERT_TRUE(server_->OnShares(Site(i)["id"].get<std::string>(), *message).ok());
    }
    ASSERT_TRUE(server_->CloseSharing().ok());
    CheckKeys();
    CheckBoxToSite0();
    for (size_t i = 0; i < sites_.size(); ++i) {
      const auto shares = server_->SharesFor(Site(i)["id"].get<std::string>());
      ASSERT_TRUE(shares.ok());
      ASSERT_TRUE(sites_[i].OnShares(*shares).ok());
    }
  }

  void CheckKeys() {
    const std::string sid = Bytes(vector_["sid"]);
    for (size_t i = 0; i < sites_.size(); ++i) {
      const SecretBytes self =
          SelfMaskKey(sid, Bytes(Site(i)["b"]), Site(i)["id"].get<std::string>());
      EXPECT_EQ(HexEncode(self.view()), Site(i)["Kself"].get<std::string>());
    }
    const size_t last = sites_.size() - 1;
    for (const auto& [peer, name] : {std::pair(size_t{1}, "Kpair_0_1"), {last, "Kpair_0_last"}}) {
      for (const auto& [own, other] : {std::pair(size_t{0}, peer), {peer, size_t{0}}}) {
        const auto key =
            PairMaskKey(sid, Bytes(Site(own)["sk_mask"]), Site(own)["id"].get<std::string>(),
                        Bytes(Site(other)["pk_mask"]), Site(other)["id"].get<std::string>());
        ASSERT_TRUE(key.ok());
        EXPECT_EQ(HexEncode(key->view()), vector_[name].get<std::string>());
      }
    }
  }

  // Its shares are of coefficients that the file does not have, so it is opened and sealed again.
  void CheckBoxToSite0() {
    const std::string sid = Bytes(vector_["sid"]);
    const std::string from = Site(1)["id"];
    const std::string to = Site(0)["id"];
    const BoxRoute route{.session_id = sid, .from = from, .to = to, .to_index = 0};
    const std::string box = Bytes(vector_["box_1_to_0"]);
    const auto opened = OpenShares(route, Bytes(Site(0)["sk_enc"]), Bytes(Site(1)["pk_enc"]), box);
    ASSERT_TRUE(opened.ok()) << opened.status();
    const auto sealed =
        SealShares(route, Bytes(Site(1)["sk_enc"]), Bytes(Site(0)["pk_enc"]), *opened);
    ASSERT_TRUE(sealed.ok());
    EXPECT_EQ(*sealed, box);
  }

  std::vector<float> Update(size_t i) const {
    const std::string bytes = Bytes(Site(i)["x_f32_hex"]);
    std::vector<float> values(bytes.size() / 4);
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

  template <typename Word>
  std::vector<Word> Quantised(const Quantiser& quantiser, size_t i) const {
    using Signed = std::make_signed_t<Word>;
    std::vector<Word> words(job_.words);
    const absl::Span<Word> all = absl::MakeSpan(words);
    const size_t lanes = quantiser.padded_parameters();
    uint64_t saturated = 0;
    const uint32_t weight = Site(i)["weight"];
    EXPECT_TRUE(quantiser
                    .Encode({.weight = weight, .rounding_seed = {}}, 0, Update(i), {},
                            all.subspan(0, lanes), saturated)
                    .ok());
    EXPECT_TRUE(quantiser.EncodeLanes(weight, {}, all.subspan(lanes)).ok());
    EXPECT_EQ(saturated, 0u);
    for (size_t k = 0; k < 8; ++k) {
      EXPECT_EQ(static_cast<Signed>(words[k]), Site(i)["quantised_first8"][k].get<int64_t>());
    }
    return words;
  }

  template <typename Word>
  static std::string HashOf(const std::vector<Word>& words) {
    return privacy::Sha256Hex(absl::string_view(reinterpret_cast<const char*>(words.data()),
                                                words.size() * sizeof(Word)));
  }

  template <typename Word>
  void MaskAndUnmask() {
    auto quantiser = Quantiser::Create({.spec = spec_,
                                        .bits = job_.bits,
                                        .sites = sites_.size(),
                                        .parameters = job_.words - spec_.lanes(),
                                        .rotation_seed = RotationSeed(server_->session_id())});
    ASSERT_TRUE(quantiser.ok()) << quantiser.status();
    EXPECT_EQ(quantiser->words(), job_.words);
    EXPECT_EQ(quantiser->step(), vector_["step"].get<double>());
    std::vector<Word> sum(job_.words);
    std::vector<std::string> delivered;
    for (size_t i = 0; i < sites_.size(); ++i) {
      std::vector<Word> words = Quantised<Word>(*quantiser, i);
      const auto masker = sites_[i].MaskerFor(privacy::Sha256("payload"));
      ASSERT_TRUE(masker.ok());
      masker->Apply(0, absl::MakeSpan(words));
      for (size_t k = 0; k < 8; ++k) EXPECT_EQ(words[k], Site(i)["masked_first8"][k].get<Word>());
      EXPECT_EQ(HashOf(words), Site(i)["masked_sha256"].get<std::string>());
      if (Dropped(i)) continue;
      delivered.push_back(Site(i)["id"]);
      for (size_t w = 0; w < sum.size(); ++w) sum[w] = static_cast<Word>(sum[w] + words[w]);
    }
    ASSERT_TRUE(server_->FixSurvivors(delivered).ok());
    Consent();
    const auto unmasker = server_->Unmask(nullptr);
    ASSERT_TRUE(unmasker.ok()) << unmasker.status();
    unmasker->Remove(0, absl::MakeSpan(sum));
    CheckSum<Word>(*quantiser, sum, delivered.size());
  }

  void Consent() {
    EXPECT_EQ(HexEncode(server_->survivors().bytes()),
              vector_["survivor_bitmap"].get<std::string>());
    testing::MemoryLedger ledgers[kSitesMax];
    for (const size_t i : server_->survivors().Indices()) {
      const auto consent =
          sites_[i].OnSurvivors(server_->survivors().bytes(), identities_[i], ledgers[i]);
      ASSERT_TRUE(consent.ok()) << consent.status();
      EXPECT_EQ(HexEncode(consent->signature), Site(i)["consent_signature"].get<std::string>());
      ASSERT_TRUE(server_->OnConsent(*consent).ok());
    }
    for (const size_t i : server_->survivors().Indices()) {
      const auto message = sites_[i].OnConsents(server_->Consents());
      ASSERT_TRUE(message.ok()) << message.status();
      EXPECT_EQ(
          HexEncode(message->shares[0]),
          vector_[Dropped(0) ? "share_sk_of_site0" : "share_b_of_site0"][i].get<std::string>());
      ASSERT_TRUE(server_->OnReveal(Site(i)["id"].get<std::string>(), *message).ok());
    }
  }

  template <typename Word>
  void CheckSum(const Quantiser& quantiser, const std::vector<Word>& sum, size_t survivors) {
    using Signed = std::make_signed_t<Word>;
    EXPECT_EQ(HashOf(sum), vector_["sum_sha256"].get<std::string>());
    for (size_t k = 0; k < 8; ++k) {
      EXPECT_EQ(static_cast<Signed>(sum[k]), vector_["sum_first8_signed"][k].get<int64_t>());
    }
    const size_t parameters = quantiser.parameters();
    const absl::Span<const Word> words = sum;
    const auto lanes = quantiser.DecodeLanes(words.subspan(parameters), survivors);
    ASSERT_TRUE(lanes.ok()) << lanes.status();
    EXPECT_EQ(lanes->weight, vector_["weight_sum"].get<uint64_t>());
    std::vector<float> means(parameters);
    ASSERT_TRUE(
        quantiser.Decode(lanes->weight, 0, words.subspan(0, parameters), absl::MakeSpan(means))
            .ok());
    const double bound = quantiser.ErrorBound(lanes->weight, survivors);
    EXPECT_DOUBLE_EQ(bound, vector_["error_bound"].get<double>());
    for (size_t p = 0; p < parameters; ++p) {
      double mean = 0;
      for (const size_t i : server_->survivors().Indices()) {
        mean += static_cast<double>(Update(i)[p]) * Site(i)["weight"].get<double>();
      }
      mean /= static_cast<double>(lanes->weight);
      // The mean itself is a float here: half a unit in its last place comes on top.
      EXPECT_LE(std::abs(means[p] - mean), bound + std::abs(mean) * 0x1p-24) << p;
      if (p < 8) {
        EXPECT_EQ(means[p], static_cast<float>(vector_["mean_first8"][p].get<double>()));
      }
    }
  }

  const json& vector_;
  Job job_;
  QuantiserSpec spec_;
  std::vector<privacy::Ed25519Key> identities_;
  std::vector<SiteSession> sites_;
  std::unique_ptr<ServerSession> server_;
};

TEST(SecaggVectorsTest, AllRoundsOfTheSharedData) {
  const std::string path = JoinPath(CONSILIUM_SHARED_DIR, "data/crypto/secagg_vectors.json");
  if (!PathExists(path)) GTEST_SKIP() << "no shared data: no vectors were run";
  const auto text = ReadFile(path, kVectorFileBytesMax);
  ASSERT_TRUE(text.ok()) << text.status();
  const json file = json::parse(*text);
  ASSERT_EQ(file["cases"].size(), 3u);
  for (const json& vector : file["cases"]) {
    SCOPED_TRACE(absl::StrCat("n ", vector["n"].get<int>(), " bits ", vector["bits"].get<int>()));
    Case(vector).Run();
  }
}

// The tests of hostile_test.cc were written for this list.
TEST(SecaggVectorsTest, ListOfWhatMustBeRefusedIsTheOneTested) {
  const std::string path = JoinPath(CONSILIUM_SHARED_DIR, "data/crypto/secagg_vectors.json");
  if (!PathExists(path)) GTEST_SKIP() << "no shared data: no list to compare with";
  const json file = json::parse(*ReadFile(path, kVectorFileBytesMax));
  EXPECT_EQ(file["must_refuse"].size(), 14u);
}

}  // namespace
}  // namespace consilium::secagg
