// Arithmetic of model sizes.
#include "arch/size_table.h"

namespace onebit::arch {
namespace {

constexpr std::int64_t kF16Bytes = 2;

}  // namespace

std::int64_t bytes_full_precision(const ModelConfig& config) {
  return kF16Bytes * count_parameters(config).total();
}

std::int64_t bytes_one_bit(const ModelConfig& config) {
  const ParameterCount count = count_parameters(config);
  const std::int64_t kept = count.embedding + count.head + count.norms;
  return count.linear / 8 + kF16Bytes * (count.linear_in + count.linear_out + kept);
}

}  // namespace onebit::arch
