// Words come again and again in a text: their ids are copied from where they were first written.
#pragma once

#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/tokenizer.h"

namespace onebit::text {

/// For one text and one output vector; the words must outlive it.
class WordCache {
 public:
  /// Appends the word's ids: known ones, or those that `encode()` appends.
  template <typename Encode>
  void encode(std::string_view word, std::vector<TokenId>& ids, const Encode& encode) {
    // Longer words hardly repeat, and hashing them costs.
    constexpr std::size_t kLongest = 64;
    if (word.size() > kLongest) {
      encode();
      return;
    }
    const auto [it, added] = seen_.try_emplace(word);
    if (added) {
      const std::size_t begin = ids.size();
      encode();
      it->second = {begin, ids.size() - begin};
      return;
    }
    const auto [begin, count] = it->second;
    for (std::size_t i = begin; i < begin + count; ++i) {
      const TokenId id = ids[i];  // a copy: push_back may move the vector
      ids.push_back(id);
    }
  }

 private:
  std::unordered_map<std::string_view, std::pair<std::size_t, std::size_t>> seen_;
};

}  // namespace onebit::text
