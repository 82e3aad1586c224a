// Finds added tokens in text: leftmost first, and the longest of those that begin at one place.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer.h"

namespace onebit::text {

class TokenTrie {
 public:
  struct Match {
    std::size_t begin = 0;
    std::size_t size = 0;
    TokenId id = -1;
  };

  /// Empty text is ignored: it would match everywhere. Of two equal texts the first stays.
  void add(std::string_view text, TokenId id);

  bool empty() const noexcept { return ids_.size() == 1; }

  /// The first match at or after `from`.
  std::optional<Match> find(std::string_view text, std::size_t from) const;

 private:
  /// Child of a node by byte: key = node * 256 + byte.
  std::unordered_map<std::uint64_t, std::uint32_t> children_;
  std::vector<TokenId> ids_ = {-1};    ///< by node: the token that ends there, or -1
  std::array<bool, 256> begins_ = {};  ///< bytes that some token begins with
};

/// Cuts text at the trie's tokens: on_text(string_view) for what lies between, never empty, and
/// on_token(id), in order.
template <typename OnText, typename OnToken>
void split_at_tokens(const TokenTrie& trie, std::string_view text, OnText on_text,
                     OnToken on_token) {
  std::size_t at = 0;
  if (!trie.empty()) {
    while (const auto match = trie.find(text, at)) {
      if (match->begin > at) on_text(text.substr(at, match->begin - at));
      on_token(match->id);
      at = match->begin + match->size;
    }
  }
  if (at < text.size()) on_text(text.substr(at));
}

}  // namespace onebit::text
