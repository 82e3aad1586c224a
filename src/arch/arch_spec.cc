// Looks architectures and tensors up in the tables of arch_list.inc.
#include "arch/arch_spec.h"

#include <array>
#include <fmt/format.h>

#include "arch/arch_table.h"
#include "base/check.h"
#include "base/error.h"
#include "file/quote.h"

namespace onebit::arch {
namespace {

#define ONEBIT_ARCH(name) &k_##name,
constexpr std::array kAll = {
#include "arch/arch_list.inc"
};
#undef ONEBIT_ARCH

const ArchSpec& lookup(std::string_view what, std::string_view found,
                       std::string_view ArchSpec::*key) {
  std::string known;
  for (const ArchSpec* arch : kAll) {
    if (arch->*key == found) return *arch;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", arch->*key);
  }
  throw Error(ErrorCode::kUnsupported, fmt::format("{}: found {}, expected one of: {}", what,
                                                   file::in_quotes(found), known));
}

std::string insert_layer(std::string_view pattern, const TensorSpec& tensor, std::int64_t layer) {
  ONEBIT_CHECK(tensor.per_layer == (layer >= 0));
  return tensor.per_layer ? fmt::format(fmt::runtime(pattern), layer) : std::string(pattern);
}

}  // namespace

std::span<const ArchSpec* const> all_archs() noexcept { return kAll; }

const ArchSpec& arch_by_gguf_name(std::string_view name) {
  return lookup("general.architecture", name, &ArchSpec::gguf_name);
}

const ArchSpec& arch_by_hf_model_type(std::string_view type) {
  return lookup("model_type", type, &ArchSpec::hf_model_type);
}

const TensorSpec* find_tensor(const ArchSpec& arch, Role role) noexcept {
  for (const TensorSpec& tensor : arch.tensors) {
    if (tensor.role == role) return &tensor;
  }
  return nullptr;
}

std::string gguf_name(const TensorSpec& tensor, std::int64_t layer) {
  return insert_layer(tensor.gguf, tensor, layer);
}

std::string hf_name(const TensorSpec& tensor, std::int64_t layer) {
  return insert_layer(tensor.hf, tensor, layer);
}

}  // namespace onebit::arch
