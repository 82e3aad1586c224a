# What base, formats and kernels need, out of Debian's packages for this machine whatever machine the
# build is for: headers of {fmt} and GoogleTest's sources. Of base, what needs OpenSSL is left out.
find_package(Threads REQUIRED)

# A folder of its own: /usr/include beside it would hide the other machine's headers.
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/include)
file(CREATE_LINK /usr/include/fmt ${PROJECT_BINARY_DIR}/include/fmt SYMBOLIC)
add_library(fmt::fmt INTERFACE IMPORTED)
target_include_directories(fmt::fmt INTERFACE ${PROJECT_BINARY_DIR}/include)
target_compile_definitions(fmt::fmt INTERFACE FMT_HEADER_ONLY)

set(INSTALL_GTEST OFF)
add_subdirectory(/usr/src/googletest ${PROJECT_BINARY_DIR}/googletest EXCLUDE_FROM_ALL SYSTEM)
