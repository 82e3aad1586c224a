// What str methods and the filters of the same name share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_budget.h"

namespace onebit::text::jinja {

/// str.split(sep, maxsplit) and str.rsplit: at runs of blanks without a separator (at least one
/// character, or it fails); limit < 0: no limit. The parts point into `text`.
std::vector<std::string_view> split(Budget& budget, std::string_view text,
                                    std::optional<std::string_view> separator, std::int64_t limit);
std::vector<std::string_view> split_right(Budget& budget, std::string_view text,
                                          std::optional<std::string_view> separator,
                                          std::int64_t limit);

/// str.replace: the first `count` times, all if count < 0; an empty `from` fits between characters.
std::string replace(Budget& budget, std::string_view text, std::string_view from,
                    std::string_view to, std::int64_t count);

/// str.capitalize, str.title (a new word after every uncased character).
std::string capitalize(std::string_view text);
std::string python_title(std::string_view text);

/// str.islower, str.isupper: no character of the other case, and one of this case.
bool is_lower(std::string_view text);
bool is_upper(std::string_view text);

}  // namespace onebit::text::jinja
