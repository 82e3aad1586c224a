// Compiles a part of a file for an instruction set, without compiler flags for the whole file: with
// those, inline functions shared with the rest of the program could be emitted with instructions
// that the CPU lacks. For the same reason no std template may be instantiated inside a region.
//
//   #include <immintrin.h>          // and every other header: before the region
//   ONEBIT_TARGET_BEGIN("avx2,fma")
//   namespace … { … }
//   ONEBIT_TARGET_END
#pragma once

#define ONEBIT_PRAGMA(text) _Pragma(#text)

#if defined(__clang__)
#define ONEBIT_TARGET_BEGIN(features) \
  ONEBIT_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define ONEBIT_TARGET_END ONEBIT_PRAGMA(clang attribute pop)
/// Before a loop of few and constant turns: its accumulators must become registers.
#define ONEBIT_UNROLL ONEBIT_PRAGMA(unroll)
#else
// g++ 12 takes the undefined vectors of its own AVX-512 headers for uninitialised variables.
#define ONEBIT_TARGET_BEGIN(features)                     \
  ONEBIT_PRAGMA(GCC push_options)                         \
  ONEBIT_PRAGMA(GCC target(features))                     \
  ONEBIT_PRAGMA(GCC diagnostic push)                      \
  ONEBIT_PRAGMA(GCC diagnostic ignored "-Wuninitialized") \
  ONEBIT_PRAGMA(GCC diagnostic ignored "-Wmaybe-uninitialized")
#define ONEBIT_TARGET_END           \
  ONEBIT_PRAGMA(GCC diagnostic pop) \
  ONEBIT_PRAGMA(GCC pop_options)
#define ONEBIT_UNROLL ONEBIT_PRAGMA(GCC unroll 16)
#endif

#define ONEBIT_INLINE inline __attribute__((always_inline))
