# onebit_layer(<name> [TORCH] [WITHOUT stems…] [DEPS layers…] [LIBS targets…]): one folder of src/ as a
# library onebit_<name>, its *_test.cc as one GoogleTest program <name>_test, with ONEBIT_FUZZ each
# *_fuzz.cc as a libFuzzer program, and with ONEBIT_BENCH its *_bench.cc as one google-benchmark program
# <name>_bench. WITHOUT leaves out <stem>.cc and <stem>_test.cc.

if(ONEBIT_FUZZ)
  add_custom_target(fuzzers)  # all of them, and only what they need
endif()

add_library(onebit_flags INTERFACE)
target_include_directories(onebit_flags INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_definitions(onebit_flags INTERFACE ONEBIT_VERSION="${PROJECT_VERSION}")
# nvcc knows none of these options: cmake/Cuda.cmake has its own.
target_compile_options(onebit_flags INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wnon-virtual-dtor;-Woverloaded-virtual>"
  "$<$<COMPILE_LANGUAGE:CXX>:-fno-math-errno>"
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${ONEBIT_WERROR}>>:-Werror>)
if(ONEBIT_SANITIZE)
  target_compile_options(onebit_flags INTERFACE
    "$<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${ONEBIT_SANITIZE};-fno-sanitize-recover=all>"
    $<$<COMPILE_LANGUAGE:CXX>:-fno-omit-frame-pointer>)
  target_link_options(onebit_flags INTERFACE -fsanitize=${ONEBIT_SANITIZE})
endif()
if(ONEBIT_FUZZ)
  target_compile_options(onebit_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

function(onebit_layer name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "TORCH" "" "WITHOUT;DEPS;LIBS")
  set(dir ${PROJECT_SOURCE_DIR}/src/${name})
  file(GLOB sources CONFIGURE_DEPENDS ${dir}/*.cc)
  foreach(stem IN LISTS ARG_WITHOUT)
    list(REMOVE_ITEM sources ${dir}/${stem}.cc ${dir}/${stem}_test.cc)
  endforeach()
  set(tests ${sources})
  set(fuzzers ${sources})
  set(benches ${sources})
  list(FILTER sources EXCLUDE REGEX "_(test|bench|fuzz)\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cc$")
  list(FILTER benches INCLUDE REGEX "_bench\\.cc$")

  set(deps)
  foreach(dep IN LISTS ARG_DEPS)
    list(APPEND deps onebit_${dep})
  endforeach()
  if(sources)
    add_library(onebit_${name} STATIC ${sources})
    target_link_libraries(onebit_${name} PUBLIC onebit_flags ${deps} ${ARG_LIBS})
    if(ARG_TORCH)
      target_link_libraries(onebit_${name} PUBLIC onebit_torch)
      onebit_use_torch_pch(onebit_${name})
    endif()
  else()
    add_library(onebit_${name} INTERFACE)
    target_link_libraries(onebit_${name} INTERFACE onebit_flags ${deps} ${ARG_LIBS})
  endif()

  if(tests AND NOT ONEBIT_FUZZ)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE onebit_${name} GTest::gmock GTest::gtest_main)
    onebit_test_paths(${name}_test)
    if(ARG_TORCH)
      onebit_use_torch_pch(${name}_test)
    endif()
    # Threads that wait without burning: tests that run side by side would starve each other.
    gtest_discover_tests(${name}_test TEST_PREFIX "${name}." DISCOVERY_TIMEOUT 60
                         PROPERTIES TIMEOUT 600 ENVIRONMENT OMP_WAIT_POLICY=passive)
  endif()
  if(benches AND ONEBIT_BENCH)
    add_executable(${name}_bench ${benches})
    target_link_libraries(${name}_bench PRIVATE onebit_${name} benchmark::benchmark_main)
  endif()
  if(ONEBIT_FUZZ)
    foreach(fuzzer IN LISTS fuzzers)
      get_filename_component(stem ${fuzzer} NAME_WE)
      add_executable(${stem} ${fuzzer})
      target_link_libraries(${stem} PRIVATE onebit_${name} -fsanitize=fuzzer)
      add_dependencies(fuzzers ${stem})
      set_target_properties(${stem} PROPERTIES
                            RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
    endforeach()
  endif()
endfunction()

# Where tests find golden files, real data and models: src/base/test_paths.h reads these.
function(onebit_test_paths target)
  target_compile_definitions(${target} PRIVATE
    ONEBIT_SOURCE_DIR="${PROJECT_SOURCE_DIR}" ONEBIT_BINARY_DIR="${PROJECT_BINARY_DIR}")
endfunction()
