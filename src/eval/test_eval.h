// What tests of tasks share: rows from JSON text, errors as text, a tokenizer with a few merges.
#pragma once

#include <algorithm>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "eval/row.h"
#include "eval/task.h"
#include "text/byte_token.h"
#include "text/tokenizer.h"

namespace onebit::eval::testing {

/// The one row of a file called "data.jsonl"; `json` may have several lines.
inline Row row(std::string json) {
  std::replace(json.begin(), json.end(), '\n', ' ');
  return read_rows("data.jsonl", json).at(0);
}

/// The document that a task makes of a row.
inline Document document(std::string_view task, const std::string& json) {
  return find_task(task)->document(row(json));
}

/// What `call` throws, which must have this code.
template <class Call>
std::string error_of(ErrorCode code, const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "no error";
}

/// Byte b is token b; then come " a", " ab", "ab", and the control token "<s>", which is BOS.
inline constexpr text::TokenId kSpaceA = 256;
inline constexpr text::TokenId kSpaceAb = 257;
inline constexpr text::TokenId kAb = 258;
inline constexpr text::TokenId kBos = 259;

inline std::unique_ptr<text::Tokenizer> make_tokenizer(bool adds_bos) {
  text::TokenizerData data;
  data.model = "gpt2";
  data.pre = "gpt-2";
  const auto& alphabet = text::byte_alphabet();
  data.tokens.assign(alphabet.begin(), alphabet.end());
  const std::string& space = alphabet[' '];
  data.merges = {space + " a", space + "a b", "a b"};
  for (const std::string& token : {space + "a", space + "ab", std::string("ab")}) {
    data.tokens.push_back(token);
  }
  data.types.assign(data.tokens.size(), text::TokenType::kNormal);
  data.tokens.emplace_back("<s>");
  data.types.push_back(text::TokenType::kControl);
  data.bos = kBos;
  data.add_bos = adds_bos;
  return text::make_tokenizer(std::move(data));
}

}  // namespace onebit::eval::testing
