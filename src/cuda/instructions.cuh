// The instructions that have no name in CUDA C++, one function each and nothing else: the kernels'
// own logic is C++ around them.
#pragma once

#include <cstdint>

#include "cuda/sign_layout.h"

namespace onebit::cuda {

/// Lets the next kernel of the stream start loading its weights.
__device__ inline void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

/// Until the kernels before this one have ended. Before it nothing may be written, and nothing read
/// that they write.
__device__ inline void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Signs are read once: past L1, which the activations need. No read-only load (ld.global.nc),
/// which the assembler moves behind wait_for_previous().
__device__ inline LaneSigns load_signs(const LaneSigns* p) {
  LaneSigns s;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(s.words[0]), "=r"(s.words[1]), "=r"(s.words[2]), "=r"(s.words[3])
               : "l"(p)
               : "memory");
  return s;
}

/// d = A B + c over 16 rows, 8 tokens and 32 columns: sign_layout.h has A; lane 4 g + t has in b0
/// columns 4 t to 4 t + 3 of token g and in b1 those 16 further, and in c and d tokens 2 t and 2 t
/// + 1 of row g, then of row g + 8.
__device__ inline void multiply_32(std::int32_t (&d)[4], const std::uint32_t* a, std::uint32_t b0,
                                   std::uint32_t b1, const std::int32_t* c) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%10, %11, %12, %13};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "r"(c[0]), "r"(c[1]),
        "r"(c[2]), "r"(c[3]));
}

/// The same over 16 columns, the half of the above that a[0], a[1] and b are.
__device__ inline void multiply_16(std::int32_t (&d)[4], const std::uint32_t* a, std::uint32_t b,
                                   const std::int32_t* c) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
      "{%7, %8, %9, %10};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(b), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]));
}

/// Four matrices of 8 rows of 16 bytes: lanes 8 i to 8 i + 7 give the rows of matrix i, and lane
/// 4 g + t gets bytes 4 t to 4 t + 3 of row g of each.
__device__ inline void load_matrices(std::uint32_t (&r)[4], const void* shared_row) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared_row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/// Starts copying 16 or 4 bytes to shared memory, or zeros where not `there` (the source is not
/// read then).
__device__ inline void copy_16(void* shared, const void* global, bool there) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global),
               "r"(there ? 16 : 0)
               : "memory");
}
__device__ inline void copy_4(void* shared, const void* global, bool there) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(global),
               "r"(there ? 4 : 0)
               : "memory");
}

/// The thread's copies since the last call are one group.
__device__ inline void close_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Until all of the thread's groups have arrived but the last kLeft.
template <int kLeft>
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

}  // namespace onebit::cuda
