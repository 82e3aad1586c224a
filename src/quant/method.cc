#include "quant/method.h"

#include <array>
#include <fmt/format.h>

#include "base/error.h"

namespace onebit::quant {

#define ONEBIT_METHOD(name) extern const Method method_##name;
#include "quant/method_list.inc"
#undef ONEBIT_METHOD

std::span<const Method* const> all_methods() noexcept {
  static const Method* const kMethods[] = {
#define ONEBIT_METHOD(name) &method_##name,
#include "quant/method_list.inc"
#undef ONEBIT_METHOD
  };
  return kMethods;
}

const Method& find_method(std::string_view name) {
  std::string known;
  for (const Method* method : all_methods()) {
    if (method->name == name) return *method;
    known += (known.empty() ? "" : " ") + std::string(method->name);
  }
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("method (--method): found '{}', expected one of {}", name, known));
}

}  // namespace onebit::quant
