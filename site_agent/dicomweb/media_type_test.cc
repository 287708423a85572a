#include "site_agent/dicomweb/media_type.h"

#include "gtest/gtest.h"

namespace consilium::dicomweb {
namespace {

TEST(MediaTypeTest, TypeAndParameters) {
  const auto media =
      ParseMediaType("Multipart/Related; TYPE=\"application/dicom\";boundary=\"a b\\\"c\" ; x=1;");
  ASSERT_TRUE(media.ok()) << media.status();
  EXPECT_EQ(media->type, "multipart/related");
  EXPECT_EQ(media->parameters.at("type"), "application/dicom");
  EXPECT_EQ(media->parameters.at("boundary"), "a b\"c");
  EXPECT_EQ(media->parameters.at("x"), "1");
}

TEST(MediaTypeTest, WhatIsMalformedIsRefused) {
  for (const std::string& text :
       {std::string(), std::string("multipart"), std::string("a/b/c"), std::string("a b/c"),
        std::string("a/b; x"), std::string("a/b; x=\"y"), std::string("a/b; x=\"y\\"),
        std::string("a/b; x=1; x=2"), std::string("a/b; =1"), std::string("a/b\r\nX: y"),
        std::string("a/b; x=\"1\" y=2"), "a/b; x=" + std::string(2000, 'y')}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseMediaType(text).status())) << text;
  }
}

TEST(MediaTypeTest, TheBoundaryOfDicomObjects) {
  EXPECT_EQ(*DicomBoundary("multipart/related; type=\"application/dicom\"; boundary=\"x=y\""),
            "x=y");
  // As some clients write it.
  EXPECT_EQ(*DicomBoundary("multipart/related; boundary=a/b=c; type=application/dicom"), "a/b=c");
  for (const char* other :
       {"application/dicom", "multipart/form-data; boundary=x", "multipart/related; boundary=x",
        "multipart/related; type=\"application/dicom+json\"; boundary=x"}) {
    EXPECT_TRUE(absl::IsUnimplemented(DicomBoundary(other).status())) << other;
  }
  const std::string prefix = "multipart/related; type=\"application/dicom\"";
  for (const std::string& boundary :
       {std::string(), std::string("; boundary=\"\""), std::string("; boundary=\"a\\\"b\""),
        std::string("; boundary=\"x \""), "; boundary=" + std::string(129, 'x')}) {
    EXPECT_TRUE(absl::IsInvalidArgument(DicomBoundary(prefix + boundary).status())) << boundary;
  }
}

TEST(MediaTypeTest, Accept) {
  for (const char* yes : {"", "*/*", "application/dicom+json", "text/html, application/*;q=0.1",
                          "application/dicom+xml, application/json"}) {
    EXPECT_TRUE(AcceptsDicomJson(yes)) << yes;
  }
  for (const char* no : {"application/dicom+xml", "text/html", ","}) {
    EXPECT_FALSE(AcceptsDicomJson(no)) << no;
  }
}

}  // namespace
}  // namespace consilium::dicomweb
