# Every package, found once. Torch goes first: after RocksDB, its own search for gflags fails
# ("IMPORTED_LOCATION not set for imported target gflags").

find_package(Torch REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(absl REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(RocksDB REQUIRED)
find_package(ZLIB REQUIRED)
find_package(DCMTK REQUIRED)
find_package(ITK REQUIRED COMPONENTS ITKCommon ITKIOGDCM ITKImageGrid ITKIOImageBase)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(CLI11 REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(PkgConfig REQUIRED)
# Debian's cpp-httplib is a compiled library that brings no CMake files.
pkg_check_modules(HTTPLIB REQUIRED IMPORTED_TARGET cpp-httplib)
pkg_check_modules(OPENJPEG REQUIRED IMPORTED_TARGET libopenjp2)
find_package(GTest REQUIRED)
find_package(benchmark)
# libharu, which has no CMake file of its own.
find_library(CONSILIUM_HPDF hpdf REQUIRED)
