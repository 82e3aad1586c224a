// The architectures by symbol, for arch_spec.cc and each architecture's own file.
#pragma once

#include "arch/arch_spec.h"

namespace onebit::arch {

#define ONEBIT_ARCH(name) extern const ArchSpec k_##name;
#include "arch/arch_list.inc"
#undef ONEBIT_ARCH

}  // namespace onebit::arch
