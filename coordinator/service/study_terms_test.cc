// What an administrator is told of a study's terms by a coordinator over the wire.
#include "coordinator/service/test_federation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace consilium::coordinator {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kMasked =
    "name: hippo\ntask: {labels: {1: Anterior}}\naggregation: {min_sites: 3}\n"
    "rounds: {count: 4}\n";

grpc::Status Create(TestFederation& federation, const std::string& yaml, v1::Study& study) {
  grpc::ClientContext context;
  v1::CreateStudyRequest request;
  request.set_yaml(yaml);
  return federation.admin().CreateStudy(&context, request, &study);
}

TEST(StudyTermsServiceTest, CreateAndGetSayWhatTheTermsPromise) {
  TestFederation federation;
  v1::Study created;
  ASSERT_TRUE(Create(federation, kMasked, created).ok());
  EXPECT_THAT(created.promises(), Contains(HasSubstr("secure aggregation")));
  EXPECT_THAT(created.promises(), Contains(HasSubstr("0 may drop out")));
  EXPECT_THAT(created.warnings(), Contains(HasSubstr("no guarantee")));
  const v1::Study shown = federation.Study("hippo");
  EXPECT_EQ(std::vector<std::string>(shown.promises().begin(), shown.promises().end()),
            std::vector<std::string>(created.promises().begin(), created.promises().end()));
  // A list is a table of many; it accounts for none of them.
  grpc::ClientContext context;
  v1::ListStudiesReply list;
  ASSERT_TRUE(federation.admin().ListStudies(&context, v1::ListStudiesRequest(), &list).ok());
  ASSERT_EQ(list.studies_size(), 1);
  EXPECT_THAT(list.studies(0).promises(), IsEmpty());
}

TEST(StudyTermsServiceTest, TermsSurviveARestart) {
  TestFederation federation;
  v1::Study created;
  ASSERT_TRUE(Create(federation, kMasked, created).ok());
  federation.Stop();
  federation.Start();
  const v1::Study shown = federation.Study("hippo");
  EXPECT_EQ(shown.yaml(), created.yaml());
  EXPECT_THAT(shown.yaml(), HasSubstr("kind: secure-aggregation"));
  EXPECT_THAT(shown.promises(), Contains(HasSubstr("secure aggregation")));
}

TEST(StudyTermsServiceTest, ACombinationThatCannotWorkIsRefusedWithItsReason) {
  TestFederation federation;
  v1::Study study;
  const grpc::Status status = Create(
      federation, std::string(kMasked) + "privacy: {level: site}\nprotection: sealed\n", study);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("its share of the noise"));
}

}  // namespace
}  // namespace consilium::coordinator
