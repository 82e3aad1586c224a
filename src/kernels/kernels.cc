// Which kernel sets exist (isa_list.inc), what each needs of the CPU, and the choice among them.
#include "kernels/kernels.h"

#include <fmt/format.h>
#include <string>

#include "base/error.h"
#include "kernels/dispatch.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace onebit::kernels {

#define ONEBIT_ISA(name) extern const KernelSet kernels_##name;
#include "kernels/isa_list.inc"
#undef ONEBIT_ISA

namespace {

constexpr CpuFeatures kNeeds_scalar = 0;
#if defined(__x86_64__)
constexpr CpuFeatures kNeeds_avx2 = kCpuAvx2 | kCpuFma | kCpuF16c;
constexpr CpuFeatures kNeeds_avxvnni = kNeeds_avx2 | kCpuAvxVnni;
constexpr CpuFeatures kNeeds_avx512 = kNeeds_avx2 | kCpuAvx512f | kCpuAvx512bw | kCpuAvx512vl |
                                      kCpuAvx512dq | kCpuAvx512vnni | kCpuAvx512vbmi;
#elif defined(__aarch64__)
constexpr CpuFeatures kNeeds_neon = kCpuDotprod;
#endif

struct Isa {
  std::string_view name;
  CpuFeatures needs;
  const KernelSet* set;
};

constexpr Isa kIsas[] = {
#define ONEBIT_ISA(name) {#name, kNeeds_##name, &kernels_##name},
#include "kernels/isa_list.inc"
#undef ONEBIT_ISA
};

bool runs_on(const Isa& isa, CpuFeatures cpu) noexcept { return (isa.needs & ~cpu) == 0; }

/// "avx2, scalar"
std::string names_for(CpuFeatures cpu) {
  std::string names;
  for (const Isa& isa : kIsas) {
    if (runs_on(isa, cpu)) names += fmt::format("{}{}", names.empty() ? "" : ", ", isa.name);
  }
  return names;
}

}  // namespace

CpuFeatures detect_cpu() noexcept {
  CpuFeatures cpu = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) cpu |= kCpuAvx2;
  if (__builtin_cpu_supports("fma")) cpu |= kCpuFma;
  if (__builtin_cpu_supports("avx512f")) cpu |= kCpuAvx512f;
  if (__builtin_cpu_supports("avx512bw")) cpu |= kCpuAvx512bw;
  if (__builtin_cpu_supports("avx512vl")) cpu |= kCpuAvx512vl;
  if (__builtin_cpu_supports("avx512dq")) cpu |= kCpuAvx512dq;
  if (__builtin_cpu_supports("avx512vnni")) cpu |= kCpuAvx512vnni;
  if (__builtin_cpu_supports("avx512vbmi")) cpu |= kCpuAvx512vbmi;
  // The compilers have no name for AVX-VNNI, clang 14 none for F16C; neither needs register state
  // beyond AVX2's: ask cpuid.
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if ((cpu & kCpuAvx2) != 0 && __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0) {
    cpu |= kCpuF16c;
  }
  constexpr unsigned kAvxVnni = 1U << 4;  // of leaf 7, 1; leaf 7, 0 says whether there is one
  if ((cpu & kCpuAvx2) != 0 && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && a >= 1 &&
      __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & kAvxVnni) != 0) {
    cpu |= kCpuAvxVnni;
  }
#elif defined(__aarch64__)
  if ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0) cpu |= kCpuDotprod;
#endif
  return cpu;
}

std::vector<const KernelSet*> available_kernels(CpuFeatures cpu) {
  std::vector<const KernelSet*> sets;
  for (const Isa& isa : kIsas) {
    if (runs_on(isa, cpu)) sets.push_back(isa.set);
  }
  return sets;
}

const KernelSet& kernels_by_name(std::string_view name, CpuFeatures cpu) {
  for (const Isa& isa : kIsas) {
    if (isa.name == name) {
      if (runs_on(isa, cpu)) return *isa.set;
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("instruction set '{}': this CPU lacks it, expected one of: {}", name,
                              names_for(cpu)));
    }
  }
  throw Error(ErrorCode::kUnsupported,
              fmt::format("instruction set '{}' is unknown, expected one of: {}", name,
                          names_for(~CpuFeatures{0})));
}

const KernelSet& best_kernels() noexcept {
  static const KernelSet& best = []() -> const KernelSet& {
    const CpuFeatures cpu = detect_cpu();
    for (const Isa& isa : kIsas) {
      if (runs_on(isa, cpu)) return *isa.set;
    }
    return kernels_scalar;
  }();
  return best;
}

const KernelSet& kernels_by_name(std::string_view name) {
  return kernels_by_name(name, detect_cpu());
}

std::vector<const KernelSet*> available_kernels() { return available_kernels(detect_cpu()); }

}  // namespace onebit::kernels
