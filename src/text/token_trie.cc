// Added tokens as a byte trie.
#include "text/token_trie.h"

namespace onebit::text {
namespace {

std::uint64_t edge(std::uint32_t node, char byte) {
  return std::uint64_t{node} * 256 + static_cast<unsigned char>(byte);
}

}  // namespace

void TokenTrie::add(std::string_view text, TokenId id) {
  if (text.empty()) return;
  begins_[static_cast<unsigned char>(text.front())] = true;
  std::uint32_t node = 0;
  for (const char byte : text) {
    const auto [it, added] =
        children_.try_emplace(edge(node, byte), static_cast<std::uint32_t>(ids_.size()));
    if (added) ids_.push_back(-1);
    node = it->second;
  }
  if (ids_[node] < 0) ids_[node] = id;
}

std::optional<TokenTrie::Match> TokenTrie::find(std::string_view text, std::size_t from) const {
  for (std::size_t begin = from; begin < text.size(); ++begin) {
    if (!begins_[static_cast<unsigned char>(text[begin])]) continue;
    Match match;
    std::uint32_t node = 0;
    for (std::size_t at = begin; at < text.size(); ++at) {
      const auto it = children_.find(edge(node, text[at]));
      if (it == children_.end()) break;
      node = it->second;
      if (ids_[node] >= 0) match = {begin, at + 1 - begin, ids_[node]};
    }
    if (match.id >= 0) return match;
  }
  return std::nullopt;
}

}  // namespace onebit::text
