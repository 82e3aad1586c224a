#include "quant/method.h"

#include <algorithm>
#include <charconv>
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

MethodChoice parse_method(std::string_view text) {
  const std::size_t colon = text.find(':');
  const Method& method = find_method(text.substr(0, colon));
  if (colon == std::string_view::npos) return {&method, method.bits.front()};
  const std::string_view word = text.substr(colon + 1);
  int bits = 0;
  const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), bits);
  const bool number = error == std::errc() && stop == word.data() + word.size();
  if (number && std::find(method.bits.begin(), method.bits.end(), bits) != method.bits.end()) {
    return {&method, bits};
  }
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("bits of method {}: found '{}', expected {}{}", method.name, word,
                          method.bits.size() > 1 ? "one of " : "", fmt::join(method.bits, ", ")));
}

}  // namespace onebit::quant
