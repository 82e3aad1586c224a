// What one rendering may use. A chat template comes with the model file, from anyone: these limits
// keep a hostile one from hanging the program, filling its memory or overflowing its stack.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "text/jinja_error.h"

namespace onebit::text::jinja {

struct Limits {
  /// Nodes evaluated, items looped over, comparisons made, names passed over in a scope, and every
  /// 64 bytes of text made, searched or compared: a second of work or so. A conversation of a
  /// thousand messages takes some 10^5.
  std::uint64_t steps = 5'000'000;
  /// Bytes of all text and containers made on the way, freed or not: many times the longest
  /// context.
  std::uint64_t bytes = 128U << 20;
  /// Evaluations nested in each other, macro calls included: under 1 MiB of stack.
  int recursion = 600;
  /// Containers nested in each other (they are freed and compared recursively).
  int value_depth = 60;
};

/// Counts down; every charge may throw Error{kResource}.
class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits) {}

  void steps(std::uint64_t count) {
    if (count > limits_.steps - steps_) exhausted("too many steps");
    steps_ += count;
  }

  void bytes(std::uint64_t count) {
    if (count > limits_.bytes - bytes_) exhausted("too much text or data");
    bytes_ += count;
    steps(count / 64);
  }

  /// Looking for a text of `needle` bytes in one of `haystack`, at the worst case's cost.
  void search(std::uint64_t haystack, std::uint64_t needle) {
    if (needle <= haystack) steps(haystack / 64 + haystack * needle / 256);
  }

  /// Throws unless a container whose deepest item nests `depth` deep may be made.
  int container_depth(int deepest_item) {
    if (deepest_item >= limits_.value_depth) exhausted("values nested too deep");
    return deepest_item + 1;
  }

  /// One level of evaluation, left with the object.
  class Level {
   public:
    explicit Level(Budget& budget) : budget_(budget) {
      if (budget.level_ >= budget.limits_.recursion) exhausted("recursion too deep");
      ++budget.level_;
    }
    ~Level() { --budget_.level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Budget& budget_;
  };

 private:
  [[noreturn]] static void exhausted(std::string_view what) {
    throw TemplateError(ErrorCode::kResource, std::string(what));
  }

  Limits limits_;
  std::uint64_t steps_ = 0;
  std::uint64_t bytes_ = 0;
  int level_ = 0;
};

/// The value of that name among pairs of name and value, or null. They are scanned, at the steps'
/// cost: templates have few names.
template <typename Entries>
auto find_named(Budget& budget, Entries& entries, std::string_view name)
    -> decltype(&entries.front().second) {
  std::uint64_t bytes = 0;
  auto* found = decltype(&entries.front().second){};
  for (auto& [key, value] : entries) {
    bytes += 8;
    if (key.size() != name.size()) continue;
    bytes += name.size();
    if (key == name) {
      found = &value;
      break;
    }
  }
  budget.steps(bytes / 64);
  return found;
}

/// Sets the value of that name, added where there is none.
template <typename Entries, typename V>
void set_named(Budget& budget, Entries& entries, std::string_view name, V value) {
  if (auto* old = find_named(budget, entries, name)) {
    *old = std::move(value);
    return;
  }
  budget.bytes(name.size());
  entries.emplace_back(std::string(name), std::move(value));
}

/// Text under construction: charged as it grows, so that no text is made that the budget forbids.
class Text {
 public:
  explicit Text(Budget& budget) : budget_(budget) {}

  void append(std::string_view text) {
    budget_.bytes(text.size());
    text_ += text;
  }
  void append(char character) { append(std::string_view(&character, 1)); }
  Budget& budget() { return budget_; }
  std::string take() { return std::move(text_); }

 private:
  Budget& budget_;
  std::string text_;
};

}  // namespace onebit::text::jinja
