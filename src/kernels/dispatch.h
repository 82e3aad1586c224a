// What the choice of an instruction set depends on, apart from the running CPU: kernels.h calls
// these with detect_cpu(), tests with any mask.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/kernels.h"

namespace onebit::kernels {

/// Bits of CPU features that some kernel set needs.
using CpuFeatures = std::uint32_t;
inline constexpr CpuFeatures kCpuAvx2 = 1U << 0;
inline constexpr CpuFeatures kCpuFma = 1U << 1;
inline constexpr CpuFeatures kCpuF16c = 1U << 2;
inline constexpr CpuFeatures kCpuAvx512f = 1U << 3;
inline constexpr CpuFeatures kCpuAvx512bw = 1U << 4;
inline constexpr CpuFeatures kCpuAvx512vl = 1U << 5;
inline constexpr CpuFeatures kCpuAvx512dq = 1U << 6;
inline constexpr CpuFeatures kCpuAvx512vnni = 1U << 7;
inline constexpr CpuFeatures kCpuAvx512vbmi = 1U << 8;
inline constexpr CpuFeatures kCpuAvxVnni = 1U << 9;
inline constexpr CpuFeatures kCpuDotprod = 1U << 10;

/// What this CPU and its operating system (saved registers) support.
CpuFeatures detect_cpu() noexcept;

/// available_kernels() and kernels_by_name() of kernels.h for a CPU with these features.
std::vector<const KernelSet*> available_kernels(CpuFeatures cpu);
const KernelSet& kernels_by_name(std::string_view name, CpuFeatures cpu);

}  // namespace onebit::kernels
