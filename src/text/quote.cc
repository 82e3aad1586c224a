// Quotes by JSON's rules, which escape all that is not printable.
#include "text/quote.h"

#include <nlohmann/json.hpp>

namespace onebit::text {

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kLongest = 80;
  return nlohmann::json(std::string(text.substr(0, kLongest)))
      .dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
}

}  // namespace onebit::text
