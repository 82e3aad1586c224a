#include "cli/suggestion.h"

#include <algorithm>
#include <fmt/format.h>
#include <string>
#include <utility>
#include <vector>

namespace onebit::cli {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

/// Optimal string alignment distance, row by row.
std::size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before;
  std::vector<std::size_t> above(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::vector<std::size_t> row(b.size() + 1, i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before = std::exchange(above, std::move(row));
  }
  return above.back();
}

}  // namespace

std::string_view suggestion(std::string_view word, std::span<const std::string_view> choices) {
  constexpr std::size_t kMinBeginning = 3;  // shorter ones begin too much
  const std::string typed = lower(word);
  std::string_view best;
  std::size_t fewest = 0;
  for (const std::string_view choice : choices) {
    const bool begins = (typed.size() >= kMinBeginning && choice.starts_with(typed)) ||
                        (choice.size() >= kMinBeginning && typed.starts_with(choice));
    if (begins) return choice;
    const std::size_t count = edits(typed, choice);
    if (count <= choice.size() / 3 && (best.empty() || count < fewest)) {
      best = choice;
      fewest = count;
    }
  }
  return best;
}

std::string with_suggestion(std::string message, std::string_view word,
                            std::span<const std::string_view> choices) {
  const std::string_view near = suggestion(word, choices);
  if (!near.empty()) message += fmt::format("; did you mean '{}'?", near);
  return message;
}

}  // namespace onebit::cli
