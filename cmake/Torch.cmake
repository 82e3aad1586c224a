# libtorch's CPU half from the Python wheel. find_package(Torch) is not used: with a CUDA wheel it
# insists on a CUDA toolkit, while linking libtorch_cpu and libc10 needs only two CUDA stubs.
set(ONEBIT_DEPS_DIR ${PROJECT_SOURCE_DIR}/.deps CACHE PATH "Where tools/setup.sh put the wheel")
file(GLOB ONEBIT_TORCH_HINT ${ONEBIT_DEPS_DIR}/venv/lib/python3*/site-packages/torch)
find_path(ONEBIT_TORCH_ROOT include/torch/csrc/api/include/torch/torch.h
          HINTS ${ONEBIT_TORCH_HINT} NO_DEFAULT_PATH)
if(NOT ONEBIT_TORCH_ROOT)
  message(FATAL_ERROR "libtorch not found under ${ONEBIT_DEPS_DIR}: run tools/setup.sh, "
                      "or configure with -DONEBIT_TORCH=OFF (preset 'runtime')")
endif()

set(torch_lib ${ONEBIT_TORCH_ROOT}/lib)
add_library(onebit_torch INTERFACE)
# The wheel carries a {fmt} of its own, whose headers would hide Debian's from those who include both.
get_target_property(fmt_include fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
set(fmt_first ${PROJECT_BINARY_DIR}/fmt_first)
file(MAKE_DIRECTORY ${fmt_first})
file(CREATE_LINK ${fmt_include}/fmt ${fmt_first}/fmt SYMBOLIC)
target_include_directories(onebit_torch SYSTEM INTERFACE
  ${fmt_first} ${ONEBIT_TORCH_ROOT}/include ${ONEBIT_TORCH_ROOT}/include/torch/csrc/api/include)
target_link_libraries(onebit_torch INTERFACE ${torch_lib}/libtorch_cpu.so ${torch_lib}/libc10.so)
# The CUDA runtime libraries that libtorch_cpu names are found through its own RPATH at run time;
# the linker need not see them.
target_link_options(onebit_torch INTERFACE -Wl,--allow-shlib-undefined
                    -Wl,--unresolved-symbols=ignore-in-shared-libs)

# One precompiled header for every target that uses libtorch (about 550 MB per set of flags). What of
# libtorch is used is in these: <torch/torch.h> adds its modules, optimisers and data loaders.
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/torch_pch.cc CONTENT "")  # written once: no rebuilds
add_library(onebit_torch_pch STATIC ${PROJECT_BINARY_DIR}/torch_pch.cc)
target_link_libraries(onebit_torch_pch PUBLIC onebit_flags onebit_torch fmt::fmt)
target_precompile_headers(onebit_torch_pch PRIVATE
  <torch/types.h> <torch/autograd.h> <torch/utils.h>)

# Whether a source includes libtorch, itself or through headers of src/. Should an include change
# later, a wrong answer costs time, no more.
function(onebit_includes_torch file result)
  get_property(known GLOBAL PROPERTY onebit_includes_torch_${file})
  if("${known}" STREQUAL "")
    set(known NO)
    file(STRINGS ${file} includes REGEX "^#include")
    foreach(line IN LISTS includes)
      if(line MATCHES "<(torch|ATen|c10)/")
        set(known YES)
      elseif(line MATCHES "\"(.*\\.h)\"")
        set(header ${PROJECT_SOURCE_DIR}/src/${CMAKE_MATCH_1})
        if(EXISTS ${header})
          onebit_includes_torch(${header} known)
        endif()
      endif()
      if(known)
        break()
      endif()
    endforeach()
    set_property(GLOBAL PROPERTY onebit_includes_torch_${file} ${known})
  endif()
  set(${result} ${known} PARENT_SCOPE)
endfunction()

# For sources that include libtorch; others would only wait for the header.
# Executables would be compiled with -fPIE, which the -fPIC header does not fit: use -fPIC for all.
function(onebit_use_torch_pch target)
  target_precompile_headers(${target} REUSE_FROM onebit_torch_pch)
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${target} PRIVATE -fPIC)
  get_target_property(sources ${target} SOURCES)
  foreach(source IN LISTS sources)
    get_filename_component(file ${source} ABSOLUTE)
    onebit_includes_torch(${file} torch)
    if(NOT torch)
      set_source_files_properties(${source} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
    endif()
  endforeach()
endfunction()
set_target_properties(onebit_torch_pch PROPERTIES POSITION_INDEPENDENT_CODE OFF)
target_compile_options(onebit_torch_pch PRIVATE -fPIC)
