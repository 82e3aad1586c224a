// A SentencePiece model's normalisation rules, checked: the library follows them without bounds.
#pragma once

#include <string_view>

namespace onebit::text {

/// Throws Error{kCorrupt} unless the SentencePiece library can apply a precompiled_charsmap to any
/// text inside the map's bounds, in time and memory proportional to the text. Empty: no rules.
///
///   charsmap = u32 size of trie, trie, texts, each ended by a zero byte
///   trie     = Darts-clone's double array of u32 units; a leaf's value is a text's offset
void check_charsmap(std::string_view charsmap);

}  // namespace onebit::text
