# How everything of ours is compiled: language, optimisation, ccache, sanitizers.
# Also included by training/CMakeLists.txt when that folder is built alone.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()
# -g1 keeps function names and lines for stack traces; full -g triples the size of objects
# that include LibTorch or gRPC headers.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")

find_program(CONSILIUM_CCACHE ccache)
if(CONSILIUM_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CONSILIUM_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CONSILIUM_CCACHE})
endif()

set(CONSILIUM_SANITIZE "" CACHE STRING "address,undefined | thread | empty")
if(CONSILIUM_SANITIZE)
  add_compile_options(-fsanitize=${CONSILIUM_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${CONSILIUM_SANITIZE})
endif()

# libFuzzer programs under tests/fuzz; clang only.
option(CONSILIUM_FUZZ "Build the libFuzzer programs" OFF)
if(CONSILIUM_FUZZ)
  # g++'s names of warnings are not clang's.
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer
                      -fno-sanitize-recover=all -Wno-unknown-warning-option)
  add_link_options(-fsanitize=address,undefined)
endif()

# Real input for tests that want more than they can make themselves. Never committed.
set(CONSILIUM_SHARED_DIR "${CMAKE_CURRENT_SOURCE_DIR}/../shared" CACHE PATH
    "Folder with data/ and tools/; tests that need it skip where it is absent")
