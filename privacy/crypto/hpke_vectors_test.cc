// The vectors of RFC 9180 (KEM 0x0020, KDF 0x0001): a few of its base mode here, all of base and
// psk from the shared data.
#include <cstdint>
#include <map>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "privacy/crypto/hpke.h"
#include "privacy/crypto/hpke_core.h"
#include "proto/base/bytes.h"
#include "proto/base/file.h"

namespace consilium::privacy {
namespace {

using nlohmann::json;

constexpr int kModePsk = 1;
constexpr uint64_t kVectorFileBytesMax = 1 << 20;

// Appendix A of the RFC and its machine-readable companion, cut to three messages each. Long values
// are in pieces.
constexpr char kBaseVectors[] = R"json([
 {"mode": 0, "kem_id": 32, "kdf_id": 1, "aead_id": 1,
  "info": "4f6465206f6e2061204772656369616e2055726e",
  "ikmR": "6db9df30aa07dd42ee5e8181afdb977e538f5e1fec8a06223f33f7013e525037",
  "ikmE": "7268600d403fce431561aef583ee1613527cff655c1343f29812e66706df3234",
  "skRm": "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
  "skEm": "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736",
  "pkRm": "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d",
  "enc": "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
  "shared_secret": "fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc",
  "exporter_secret": "45ff1c2e220db587171952c0592d5f5ebe103f1561a2614e38f2ffd47e99e3f8",
  "key": "4531685d41d65f03dc48f6b8302c05b0",
  "base_nonce": "56d890e5accaaf011cff4b7d",
  "encryptions": [
   {"seq": 0, "aad": "436f756e742d30",
    "pt": "4265617574792069732074727574682c20747275746820626561757479",
    "ct": ["f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea",
           "87e13c512a"]},
   {"seq": 1, "aad": "436f756e742d31",
    "pt": "4265617574792069732074727574682c20747275746820626561757479",
    "ct": ["af2d7e9ac9ae7e270f46ba1f975be53c09f8d875bdc8535458c2494e8a6eab251c03d0c22a56b8ca",
           "42c2063b84"]},
   {"seq": 2, "aad": "436f756e742d32",
    "pt": "4265617574792069732074727574682c20747275746820626561757479",
    "ct": ["498dfcabd92e8acedc281e85af1cb4e3e31c7dc394a1ca20e173cb72516491588d96a19ad4a68351",
           "8973dcc180"]}],
  "exports": [
   {"exporter_context": "", "L": 32,
    "exported_value": "3853fe2b4035195a573ffc53856e77058e15d9ea064de3e59f4961d0095250ee"},
   {"exporter_context": "00", "L": 32,
    "exported_value": "2e8f0b54673c7029649d4eb9d5e33bf1872cf76d623ff164ac185da9e88c21a5"},
   {"exporter_context": "54657374436f6e74657874", "L": 32,
    "exported_value": "e9e43065102c3836401bed8c3c3c75ae46be1639869391d62c61f1ec7af54931"}]},
 {"mode": 0, "kem_id": 32, "kdf_id": 1, "aead_id": 2,
  "info": "4f6465206f6e2061204772656369616e2055726e",
  "ikmR": "dac33b0e9db1b59dbbea58d59a14e7b5896e9bdf98fad6891e99d1686492b9ee",
  "ikmE": "2cd7c601cefb3d42a62b04b7a9041494c06c7843818e0ce28a8f704ae7ab20f9",
  "skRm": "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d",
  "skEm": "179d4b53b6365c45b600c4163b61d95cbc2f4d9e36f1695558dce265ab8bab11",
  "pkRm": "430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c",
  "enc": "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256",
  "shared_secret": "3101c54c3a4f87439eaac080699ed9bbcc726ffe44e860c0424ccb7e3e2ead7b",
  "exporter_secret": "86017151bbff6a1940e8abae2ac9e0e7032e33df1eaaecc02ca6259b130d62df",
  "key": "f50b0609186798729ed0564b36ef2ef8044f1f9d05636874d1f46c819c7a669f",
  "base_nonce": "151d9929e2449747889bc923",
  "encryptions": [
   {"seq": 0, "aad": "436f756e742d30",
    "pt": "4265617574792069732074727574682c20747275746820626561757479",
    "ct": ["e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cd",
           "ad859d5b7a"]},
   {"seq": 1, "aad": "436f756e742d31",
    "pt": "4265617574792069732074727574682c20747275746820626561757479",
    "ct": ["2c43aff25343fdbff864506f0818b9d87df84ea01b1a2144d23b4d40c26bf655fdf197fe40297a8a",
           "ebeed5cc2d"]},
   {"seq": 2, "aad": "436f756e742d32",
    "pt": "4265617574792069732074727574682c20747275746820626561757479",
    "ct": ["e0a8f2cf92ff61215edbb8c55dc31fe9e2eb42a5685867bb6854211542099f9e940c4b41c192bc39",
           "0835b1a5f7"]}],
  "exports": [
   {"exporter_context": "", "L": 32,
    "exported_value": "ded6cffafaea6b812cbf3e241e88332adbc077aca81512914213810ee291770a"},
   {"exporter_context": "00", "L": 32,
    "exported_value": "04d3cb6cc116b28ffd22ad5bc276c60d31fec71ceb87ae24db811c64b7507339"},
   {"exporter_context": "54657374436f6e74657874", "L": 32,
    "exported_value": "7c5ded445732c14fe09727d29b4251c0fd38455fe8440571e687f0886aac94d2"}]},
 {"mode": 0, "kem_id": 32, "kdf_id": 1, "aead_id": 3,
  "info": "4f6465206f6e2061204772656369616e2055726e",
  "ikmR": "1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df",
  "ikmE": "909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b",
  "skRm": "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb",
  "skEm": "f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600",
  "pkRm": "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a",
  "enc": "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
  "shared_secret": "0bbe78490412b4bbea4812666f7916932b828bba79942424abb65244930d69a7",
  "exporter_secret": "a3b010d4994890e2c6968a36f64470d3c824c8f5029942feb11e7a74b2921922",
  "key": "ad2744de8e17f4ebba575b3f5f5a8fa1f69c2a07f6e7500bc60ca6e3e3ec1c91",
  "base_nonce": "5c4d98150661b848853b547f",
  "encryptions": [
   {"seq": 0, "aad": "436f756e742d30",
    "pt": "4265617574792069732074727574682c20747275746820626561757479",
    "ct": ["1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d",
           "2dd1b51a28"]},
   {"seq": 1, "aad": "436f756e742d31",
    "pt": "4265617574792069732074727574682c20747275746820626561757479",
    "ct": ["6b53c051e4199c518de79594e1c4ab18b96f081549d45ce015be002090bb119e85285337cc95ba5f",
           "59992dc98c"]},
   {"seq": 2, "aad": "436f756e742d32",
    "pt": "4265617574792069732074727574682c20747275746820626561757479",
    "ct": ["71146bd6795ccc9c49ce25dda112a48f202ad220559502cef1f34271e0cb4b02b4f10ecac6f48c32",
           "f878fae86b"]}],
  "exports": [
   {"exporter_context": "", "L": 32,
    "exported_value": "4bbd6243b8bb54cec311fac9df81841b6fd61f56538a775e7c80a9f40160606e"},
   {"exporter_context": "00", "L": 32,
    "exported_value": "8c1df14732580e5501b00f82b10a1647b40713191b7c1240ac80e2b68808ba69"},
   {"exporter_context": "54657374436f6e74657874", "L": 32,
    "exported_value": "5acb09211139c43b3090489a9da433e8a30ee7188ba8b0a9a1ccf0c229283e53"}]},
 {"mode": 0, "kem_id": 32, "kdf_id": 1, "aead_id": 65535,
  "info": "4f6465206f6e2061204772656369616e2055726e",
  "ikmR": "683ae0da1d22181e74ed2e503ebf82840deb1d5e872cade20f4b458d99783e31",
  "ikmE": "55bc245ee4efda25d38f2d54d5bb6665291b99f8108a8c4b686c2b14893ea5d9",
  "skRm": "33d196c830a12f9ac65d6e565a590d80f04ee9b19c83c87f2c170d972a812848",
  "skEm": "095182b502f1f91f63ba584c7c3ec473d617b8b4c2cec3fad5af7fa6748165ed",
  "pkRm": "194141ca6c3c3beb4792cd97ba0ea1faff09d98435012345766ee33aae2d7664",
  "enc": "e5e8f9bfff6c2f29791fc351d2c25ce1299aa5eaca78a757c0b4fb4bcd830918",
  "shared_secret": "e81716ce8f73141d4f25ee9098efc968c91e5b8ce52ffff59d64039e82918b66",
  "exporter_secret": "79dc8e0509cf4a3364ca027e5a0138235281611ca910e435e8ed58167c72f79b",
  "encryptions": [],
  "exports": [
   {"exporter_context": "", "L": 32,
    "exported_value": "7a36221bd56d50fb51ee65edfd98d06a23c4dc87085aa5866cb7087244bd2a36"},
   {"exporter_context": "00", "L": 32,
    "exported_value": "d5535b87099c6c3ce80dc112a2671c6ec8e811a2f284f948cec6dd1708ee33f0"},
   {"exporter_context": "54657374436f6e74657874", "L": 32,
    "exported_value": "ffaabc85a776136ca0c378e5d084c9140ab552b78f039d2e8775f26efff4c70e"}]}
])json";

// The bytes of a hexadecimal value; absent is empty.
std::string Bytes(const json& object, const char* key) {
  if (!object.contains(key)) return "";
  std::string hex;
  if (object[key].is_array()) {
    for (const json& piece : object[key]) hex += piece.get<std::string>();
  } else {
    hex = object[key].get<std::string>();
  }
  absl::StatusOr<std::string> bytes = HexDecode(hex);
  EXPECT_TRUE(bytes.ok()) << key;
  return bytes.value_or("");
}

// Seals every message up to the last listed, compares those listed, and opens all again.
int CheckMessages(const json& vector, HpkeAead aead, const HpkeKeys& keys) {
  std::map<uint64_t, json> listed;
  for (const json& message : vector["encryptions"]) listed[message["seq"]] = message;
  auto sender = HpkeMessages::Create(aead, keys, kHpkeMessagesMax);
  auto recipient = HpkeMessages::Create(aead, keys, kHpkeMessagesMax);
  if (aead == HpkeAead::kExportOnly) {
    EXPECT_FALSE(sender.ok());
    return 0;
  }
  for (uint64_t seq = 0; seq <= listed.rbegin()->first; ++seq) {
    const bool known = listed.count(seq) != 0;
    const std::string aad = known ? Bytes(listed[seq], "aad") : "";
    const std::string plaintext = known ? Bytes(listed[seq], "pt") : "";
    const auto ciphertext = sender->Seal(aad, plaintext);
    EXPECT_TRUE(ciphertext.ok());
    if (known) {
      EXPECT_EQ(HexEncode(*ciphertext), HexEncode(Bytes(listed[seq], "ct"))) << seq;
    }
    EXPECT_EQ(recipient->Open(aad, *ciphertext).value_or("refused"), plaintext);
  }
  return static_cast<int>(listed.size());
}

// Returns how many messages were compared.
int CheckVector(const json& vector) {
  const auto aead = static_cast<HpkeAead>(vector["aead_id"].get<uint16_t>());
  const HpkeKeyPair recipient = DeriveHpkeKeyPair(Bytes(vector, "ikmR"));
  EXPECT_EQ(recipient.private_key.view(), Bytes(vector, "skRm"));
  EXPECT_EQ(recipient.public_key, Bytes(vector, "pkRm"));
  const HpkeKeyPair ephemeral = DeriveHpkeKeyPair(Bytes(vector, "ikmE"));
  EXPECT_EQ(ephemeral.private_key.view(), Bytes(vector, "skEm"));
  EXPECT_EQ(ephemeral.public_key, Bytes(vector, "enc"));
  const auto sent = HpkeEncap(recipient.public_key, ephemeral);
  const auto received = HpkeDecap(ephemeral.public_key, recipient);
  EXPECT_TRUE(sent.ok() && received.ok());
  EXPECT_EQ(sent->view(), Bytes(vector, "shared_secret"));
  EXPECT_EQ(received->view(), Bytes(vector, "shared_secret"));

  const std::string psk = Bytes(vector, "psk");
  const std::string psk_id = Bytes(vector, "psk_id");
  const auto keys = HpkeKeySchedule(aead, sent->view(), Bytes(vector, "info"),
                                    HpkePsk{.psk = psk, .psk_id = psk_id});
  EXPECT_TRUE(keys.ok()) << keys.status();
  EXPECT_EQ(keys->exporter_secret.view(), Bytes(vector, "exporter_secret"));
  if (aead != HpkeAead::kExportOnly) {
    EXPECT_EQ(keys->key.view(), Bytes(vector, "key"));
    EXPECT_EQ(keys->base_nonce.view(), Bytes(vector, "base_nonce"));
  }
  for (const json& exported : vector["exports"]) {
    EXPECT_EQ(HpkeExport(aead, *keys, Bytes(exported, "exporter_context"), exported["L"])->view(),
              Bytes(exported, "exported_value"));
  }
  return CheckMessages(vector, aead, *keys);
}

TEST(HpkeVectorsTest, BaseModeMatchesTheRfc) {
  const json vectors = json::parse(kBaseVectors);
  ASSERT_EQ(vectors.size(), 4u);
  for (const json& vector : vectors) {
    SCOPED_TRACE(absl::StrCat("aead ", vector["aead_id"].get<int>()));
    CheckVector(vector);
  }
}

TEST(HpkeVectorsTest, PublicInterfaceOpensTheRfcsMessages) {
  const json vector = json::parse(kBaseVectors)[1];
  ASSERT_EQ(vector["aead_id"], 2);
  const auto key = HpkeKeyPairFromPrivate(Bytes(vector, "skRm"));
  ASSERT_TRUE(key.ok());
  auto recipient = HpkeRecipient::Create(*key, Bytes(vector, "enc"), Bytes(vector, "info"));
  ASSERT_TRUE(recipient.ok());
  for (size_t i = vector["encryptions"].size(); i > 0; --i) {
    const json& message = vector["encryptions"][i - 1];
    std::string text = Bytes(message, "ct");
    const uint64_t number = message["seq"];
    ASSERT_TRUE(recipient->OpenNumber(number, Bytes(message, "aad"), absl::MakeSpan(text)).ok());
    EXPECT_EQ(text.substr(0, text.size() - kHpkeTagBytes), Bytes(message, "pt"));
    text = Bytes(message, "ct");
    EXPECT_FALSE(
        recipient->OpenNumber(number + 1, Bytes(message, "aad"), absl::MakeSpan(text)).ok());
  }
  for (const json& message : vector["encryptions"]) {
    EXPECT_EQ(recipient->Open(Bytes(message, "aad"), Bytes(message, "ct")).value_or("refused"),
              Bytes(message, "pt"));
  }
}

TEST(HpkeVectorsTest, AllBaseAndPskVectorsOfTheSharedData) {
  const std::string path = JoinPath(CONSILIUM_SHARED_DIR, "data/crypto/hpke_rfc9180_x25519.json");
  if (!PathExists(path)) GTEST_SKIP() << "no shared data: only the vectors in this file were run";
  const auto text = ReadFile(path, kVectorFileBytesMax);
  ASSERT_TRUE(text.ok()) << text.status();
  int settings = 0;
  int messages = 0;
  const json file = json::parse(*text);
  for (const json& vector : file["vectors"]) {
    if (vector["mode"] > kModePsk) continue;  // the sender's key is not authenticated here
    SCOPED_TRACE(
        absl::StrCat("mode ", vector["mode"].get<int>(), " aead ", vector["aead_id"].get<int>()));
    messages += CheckVector(vector);
    ++settings;
  }
  EXPECT_EQ(settings, 8);
  EXPECT_EQ(messages, 36);
}

}  // namespace
}  // namespace consilium::privacy
