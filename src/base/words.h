// The words by which command lines, files and reports name the values of an enumeration: one table
// in the enumeration's header serves all of them.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace onebit {

template <class E>
struct Word {
  E value;
  std::string_view word;
};

/// Specialised in the header of an enumeration: `static constexpr Word<E> kAll[]` holding every
/// value once, in the order in which help lists them.
template <class E>
struct Words;

template <class E>
concept Worded = requires {
  Words<E>::kAll;
};

template <Worded E>
constexpr std::string_view word_of(E value) noexcept {
  for (const Word<E>& known : Words<E>::kAll) {
    if (known.value == value) return known.word;
  }
  return {};
}

/// The value that `word` names exactly; none for any other word.
template <Worded E>
constexpr std::optional<E> value_of(std::string_view word) noexcept {
  for (const Word<E>& known : Words<E>::kAll) {
    if (known.word == word) return known.value;
  }
  return std::nullopt;
}

/// {"nmf", "svd", "copy"}, for help and errors.
template <Worded E>
std::vector<std::string_view> all_words() {
  std::vector<std::string_view> words;
  for (const Word<E>& known : Words<E>::kAll) words.push_back(known.word);
  return words;
}

}  // namespace onebit
