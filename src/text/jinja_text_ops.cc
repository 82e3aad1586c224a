// The longer algorithms on strings.
#include "text/jinja_text_ops.h"

#include <algorithm>

#include "text/jinja_error.h"
#include "text/jinja_unicode.h"

namespace onebit::text::jinja {
namespace {

std::vector<std::string_view> split_blanks(std::string_view text, std::int64_t limit) {
  std::vector<std::string_view> parts;
  for (;;) {
    text = strip(text, std::nullopt, true, false);
    if (text.empty()) return parts;
    if (limit >= 0 && static_cast<std::int64_t>(parts.size()) == limit) {
      parts.push_back(text);
      return parts;
    }
    std::size_t end = 0;
    while (end < text.size()) {
      const Character c = character_at(text, end);
      if (is_space(c.code)) break;
      end += c.bytes.size();
    }
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

bool only_case(std::string_view text, Case wanted) {
  bool found = false;
  for (const Character& c : Characters(text)) {
    const Case is = case_of(c.code);
    if (is != Case::kNone && is != wanted) return false;
    found |= is == wanted;
  }
  return found;
}

}  // namespace

std::vector<std::string_view> split(Budget& budget, std::string_view text,
                                    std::optional<std::string_view> separator, std::int64_t limit) {
  if (!separator) return split_blanks(text, limit);
  if (separator->empty()) fail("the separator of split is empty");
  budget.search(text.size(), separator->size());
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t at = text.find(*separator);
    if (at == std::string_view::npos ||
        (limit >= 0 && static_cast<std::int64_t>(parts.size()) == limit)) {
      parts.push_back(text);
      return parts;
    }
    parts.push_back(text.substr(0, at));
    text.remove_prefix(at + separator->size());
  }
}

std::vector<std::string_view> split_right(Budget& budget, std::string_view text,
                                          std::optional<std::string_view> separator,
                                          std::int64_t limit) {
  if (limit < 0) return split(budget, text, separator, limit);
  if (!separator) unsupported("'rsplit' at blanks with a limit");
  if (separator->empty()) fail("the separator of rsplit is empty");
  budget.search(text.size(), separator->size());
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t at = text.rfind(*separator);
    if (at == std::string_view::npos || static_cast<std::int64_t>(parts.size()) == limit) {
      parts.push_back(text);
      std::reverse(parts.begin(), parts.end());
      return parts;
    }
    parts.push_back(text.substr(at + separator->size()));
    text = text.substr(0, at);
  }
}

std::string replace(Budget& budget, std::string_view text, std::string_view from,
                    std::string_view to, std::int64_t count) {
  Text out(budget);
  if (from.empty()) {
    for (const Character& c : Characters(text)) {
      if (count != 0) out.append(to);
      count -= count > 0 ? 1 : 0;
      out.append(c.bytes);
    }
    if (count != 0) out.append(to);
    return out.take();
  }
  budget.search(text.size(), from.size());
  for (; count != 0; --count) {
    const std::size_t at = text.find(from);
    if (at == std::string_view::npos) break;
    out.append(text.substr(0, at));
    out.append(to);
    text.remove_prefix(at + from.size());
  }
  out.append(text);
  return out.take();
}

std::string capitalize(std::string_view text) {
  if (text.empty()) return "";
  const std::string_view first = character_at(text, 0).bytes;
  std::string head = to_upper(first);
  if (head == "SS") head = "Ss";
  return head + to_lower(text.substr(first.size()));
}

std::string python_title(std::string_view text) {
  std::string out;
  bool inside = false;
  for (const Character& c : Characters(text)) {
    out += inside ? to_lower(c.bytes) : capitalize(c.bytes);
    inside = case_of(c.code) != Case::kNone;
  }
  return out;
}

bool is_lower(std::string_view text) { return only_case(text, Case::kLower); }
bool is_upper(std::string_view text) { return only_case(text, Case::kUpper); }

}  // namespace onebit::text::jinja
