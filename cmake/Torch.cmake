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
target_include_directories(onebit_torch SYSTEM INTERFACE
  ${ONEBIT_TORCH_ROOT}/include ${ONEBIT_TORCH_ROOT}/include/torch/csrc/api/include)
# The wheel carries its own {fmt}, whose headers hide Debian's: use it header-only (its versioned
# inline namespace keeps the two apart at link time).
target_compile_definitions(onebit_torch INTERFACE FMT_HEADER_ONLY=1)
target_link_libraries(onebit_torch INTERFACE ${torch_lib}/libtorch_cpu.so ${torch_lib}/libc10.so)
# The CUDA runtime libraries that libtorch_cpu names are found through its own RPATH at run time;
# the linker need not see them.
target_link_options(onebit_torch INTERFACE -Wl,--allow-shlib-undefined
                    -Wl,--unresolved-symbols=ignore-in-shared-libs)

# One precompiled header for every target that uses libtorch (about 700 MB per set of flags).
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/torch_pch.cc CONTENT "")  # written once: no rebuilds
add_library(onebit_torch_pch STATIC ${PROJECT_BINARY_DIR}/torch_pch.cc)
target_link_libraries(onebit_torch_pch PUBLIC onebit_flags onebit_torch fmt::fmt)
target_precompile_headers(onebit_torch_pch PRIVATE <torch/torch.h>)

# Executables would be compiled with -fPIE, which the -fPIC header does not fit: use -fPIC for all.
function(onebit_use_torch_pch target)
  target_precompile_headers(${target} REUSE_FROM onebit_torch_pch)
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${target} PRIVATE -fPIC)
endfunction()
set_target_properties(onebit_torch_pch PROPERTIES POSITION_INDEPENDENT_CODE OFF)
target_compile_options(onebit_torch_pch PRIVATE -fPIC)
