# The folder graph, and the one way to add a library, a program or a test to it.
#
# A target's folder is the first path component of its CMakeLists.txt. A dependency on a target of
# ours in a folder that is not listed here stops the configure step. tests/tidy/include_scan.py
# checks the same arrows, and the homes of heavy libraries, on the #include lines.

# The top folder; training/ alone sets it, as its project starts one folder further down.
if(NOT CONSILIUM_ROOT)
  set(CONSILIUM_ROOT ${PROJECT_SOURCE_DIR})
endif()

set(CONSILIUM_MAY_USE_proto "")
set(CONSILIUM_MAY_USE_training "")
set(CONSILIUM_MAY_USE_privacy proto)
set(CONSILIUM_MAY_USE_aggregation proto privacy)
set(CONSILIUM_MAY_USE_site_agent proto privacy training)
set(CONSILIUM_MAY_USE_coordinator proto privacy aggregation)
set(CONSILIUM_MAY_USE_tests proto privacy aggregation training site_agent coordinator)

define_property(TARGET PROPERTY CONSILIUM_FOLDER
                BRIEF_DOCS "Top-level folder of the target, for the dependency check")

set(CONSILIUM_WARNINGS -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Werror
    # g++ 12 at -O2 reports vector<variant<..., string, ...>> as uninitialised where it is not.
    -Wno-error=maybe-uninitialized)

function(_consilium_folder out)
  file(RELATIVE_PATH relative ${CONSILIUM_ROOT} ${CMAKE_CURRENT_SOURCE_DIR})
  string(REGEX REPLACE "/.*" "" folder "${relative}")
  set(${out} ${folder} PARENT_SCOPE)
endfunction()

function(_consilium_check_deps target folder)
  foreach(dep IN LISTS ARGN)
    if(NOT dep MATCHES "^consilium::")
      continue()
    endif()
    if(NOT TARGET ${dep})
      message(FATAL_ERROR "${target}: no target ${dep}. Is its folder added before ${folder}/?")
    endif()
    get_target_property(real ${dep} ALIASED_TARGET)
    get_target_property(dep_folder ${real} CONSILIUM_FOLDER)
    if(NOT dep_folder STREQUAL folder AND NOT dep_folder IN_LIST CONSILIUM_MAY_USE_${folder})
      message(FATAL_ERROR
        "${target} in ${folder}/ may not use ${dep} in ${dep_folder}/. Allowed from ${folder}/: "
        "[${CONSILIUM_MAY_USE_${folder}}] (deploy/cmake/ConsiliumModule.cmake)")
    endif()
  endforeach()
endfunction()

# One test program per library, so that a test build links once. Labels: the folder, and `unit`
# (seconds) or `slow`.
function(_consilium_tests name folder label deps)
  if(NOT ARGN)
    return()
  endif()
  set(target ${name}_${label}_tests)
  add_executable(${target} ${ARGN})
  target_include_directories(${target} PRIVATE ${CONSILIUM_ROOT})
  target_compile_options(${target} PRIVATE ${CONSILIUM_WARNINGS})
  target_compile_definitions(${target} PRIVATE
    CONSILIUM_SOURCE_DIR="${CONSILIUM_ROOT}"
    CONSILIUM_SHARED_DIR="${CONSILIUM_SHARED_DIR}")
  target_link_libraries(${target} PRIVATE ${deps} GTest::gmock GTest::gtest GTest::gtest_main)
  add_test(NAME ${target} COMMAND ${target} WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
  set_tests_properties(${target} PROPERTIES LABELS "${label};${folder}"
    ENVIRONMENT "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/deploy/cmake/lsan.supp")
endfunction()

# consilium_library(NAME x SRCS ... [DEPS ...] [PRIVATE_DEPS ...] [TESTS ...] [SLOW_TESTS ...]
#                   [TEST_DEPS ...])
# Makes target consilium_x with alias consilium::x. DEPS appear in its headers, PRIVATE_DEPS do not.
function(consilium_library)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS;PRIVATE_DEPS;TESTS;SLOW_TESTS;TEST_DEPS" ${ARGN})
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "consilium_library(${ARG_NAME}): unknown ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  _consilium_folder(folder)
  set(target consilium_${ARG_NAME})
  _consilium_check_deps(${target} ${folder} ${ARG_DEPS} ${ARG_PRIVATE_DEPS})
  if(ARG_SRCS)
    add_library(${target} STATIC ${ARG_SRCS})
    target_include_directories(${target} PUBLIC ${CONSILIUM_ROOT})
    target_compile_options(${target} PRIVATE ${CONSILIUM_WARNINGS})
    target_link_libraries(${target} PUBLIC ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
  else()
    add_library(${target} INTERFACE)
    target_include_directories(${target} INTERFACE ${CONSILIUM_ROOT})
    target_link_libraries(${target} INTERFACE ${ARG_DEPS})
  endif()
  set_target_properties(${target} PROPERTIES CONSILIUM_FOLDER ${folder})
  add_library(consilium::${ARG_NAME} ALIAS ${target})
  _consilium_tests(${target} ${folder} unit "consilium::${ARG_NAME};${ARG_TEST_DEPS}" ${ARG_TESTS})
  _consilium_tests(${target} ${folder} slow "consilium::${ARG_NAME};${ARG_TEST_DEPS}"
                   ${ARG_SLOW_TESTS})
endfunction()

# consilium_program(NAME consilium-x SRCS ... DEPS ...): binary in the build's bin/ folder.
function(consilium_program)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS" ${ARGN})
  _consilium_folder(folder)
  _consilium_check_deps(${ARG_NAME} ${folder} ${ARG_DEPS})
  add_executable(${ARG_NAME} ${ARG_SRCS})
  target_include_directories(${ARG_NAME} PRIVATE ${CONSILIUM_ROOT})
  target_compile_options(${ARG_NAME} PRIVATE ${CONSILIUM_WARNINGS})
  target_compile_definitions(${ARG_NAME} PRIVATE CONSILIUM_VERSION="${PROJECT_VERSION}")
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_DEPS})
  set_target_properties(${ARG_NAME} PROPERTIES
    CONSILIUM_FOLDER ${folder} RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
  install(TARGETS ${ARG_NAME} RUNTIME DESTINATION bin)
endfunction()
