#include "quant/method.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>

#include "base/error.h"

namespace onebit::quant {
namespace {

bool has_bits(const Method& method, int bits) {
  return std::find(method.bits.begin(), method.bits.end(), bits) != method.bits.end();
}

[[noreturn]] void throw_bits(const Method& method, std::string_view found) {
  std::vector<int> known(method.bits.begin(), method.bits.end());
  std::sort(known.begin(), known.end());
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("bits of method {}: found '{}', expected {}{}", method.name, found,
                          known.size() > 1 ? "one of " : "", fmt::join(known, ", ")));
}

}  // namespace

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

const Method& find_method(std::string_view name, const MethodFilter& wanted) {
  std::vector<std::string_view> known;
  for (const Method* method : all_methods()) {
    if (wanted && !wanted(*method)) continue;
    if (method->name == name) return *method;
    known.push_back(method->name);
  }
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("found method '{}', expected one of {}", name, fmt::join(known, ", ")));
}

MethodChoice parse_method(std::string_view text, const MethodFilter& wanted) {
  const std::size_t colon = text.find(':');
  const Method& method = find_method(text.substr(0, colon), wanted);
  if (colon == std::string_view::npos) return {&method, method.bits.front()};
  const std::string_view word = text.substr(colon + 1);
  int bits = 0;
  const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), bits);
  const bool number = error == std::errc() && stop == word.data() + word.size();
  if (number && has_bits(method, bits)) return {&method, bits};
  throw_bits(method, word);
}

int require_bits(const Method& method, int bits) {
  if (bits == 0) return method.bits.front();
  if (!has_bits(method, bits)) throw_bits(method, std::to_string(bits));
  return bits;
}

}  // namespace onebit::quant
