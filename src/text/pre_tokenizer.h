// Cuts text into the pieces inside which byte-level BPE merges: regular expressions, by GGUF's
// names or as a tokenizer.json gives them.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace onebit::text {

/// GPT-2's expression: contractions, letters, digits and other characters each with at most one
/// space before, and spaces. The last space before a word belongs to the word.
extern const char* const kGpt2Regex;

struct PreTokenizerSpec {
  std::vector<std::string> regexes;
  bool ignore_merges = false;
};

/// The definition behind one of GGUF's tokenizer.ggml.pre names ("" is "default"). Throws
/// Error{kUnsupported} for a name that this program does not know.
PreTokenizerSpec pre_tokenizer_by_name(std::string_view name);

/// The name with this definition, or "" if there is none.
std::string pre_tokenizer_name(const PreTokenizerSpec& spec);

class PreTokenizer {
 public:
  /// Throws Error{kUnsupported} for what PCRE2 does not take as an expression.
  explicit PreTokenizer(const std::vector<std::string>& regexes);
  PreTokenizer(PreTokenizer&&) noexcept;
  ~PreTokenizer();

  /// Every expression in turn cuts every piece into its matches and what lies between them. Views
  /// into `text`, together the whole of it. A byte that is not part of a character counts as a
  /// control character, neither letter, digit nor space. Throws Error{kResource} for text on which
  /// an expression would take too long. Thread-safe.
  std::vector<std::string_view> split(std::string_view text) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace onebit::text
