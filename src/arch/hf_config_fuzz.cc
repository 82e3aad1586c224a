// Fuzzes config.json: any text gives a validated configuration or an Error, and what is accepted
// can be used (sizes, names, frequencies) without overflow.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "arch/hf_config.h"
#include "arch/size_table.h"
#include "base/check.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace onebit;
  try {
    const arch::ModelConfig config =
        arch::parse_hf_config({reinterpret_cast<const char*>(data), size}, "config.json");
    ONEBIT_CHECK(arch::bytes_one_bit(config) > 0);
    ONEBIT_CHECK(arch::bytes_full_precision(config) >= arch::bytes_one_bit(config) / 4);
    constexpr std::int64_t kMaxHead = 4096;  // keeps one input fast
    if (config.head_dim > kMaxHead) return 0;
    const auto frequencies = arch::rope_frequencies(config);
    ONEBIT_CHECK(static_cast<std::int64_t>(frequencies.size()) == config.head_dim / 2);
    const auto factors = arch::rope_factors(config);
    ONEBIT_CHECK(factors.empty() || factors.size() == frequencies.size());
    const arch::ModelConfig again =
        arch::parse_hf_config(arch::hf_config_json(config, "float32"), "written");
    ONEBIT_CHECK(again.vocab == config.vocab && again.head_dim == config.head_dim);
    ONEBIT_CHECK(again.rope.scaling == config.rope.scaling);
  } catch (const Error&) {
  }
  return 0;
}
