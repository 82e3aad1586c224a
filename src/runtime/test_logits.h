// What tests of the forward pass share: tokens, a small model with a context of some blocks, the
// logits of one sequence alone, and the message of an error. Only *_test.cc files include this.
#pragma once

#include <functional>
#include <gtest/gtest.h>
#include <span>
#include <string>
#include <vector>

#include "arch/test_models.h"
#include "base/error.h"
#include "base/rng.h"
#include "runtime/model.h"

namespace onebit::testing {

using Ids = std::vector<text::TokenId>;
using Floats = std::vector<float>;

inline Ids random_tokens(std::int64_t count, std::int64_t vocab, std::uint64_t seed = 9) {
  Rng rng(seed);
  Ids tokens;
  while (std::ssize(tokens) < count) {
    tokens.push_back(static_cast<text::TokenId>(rng.below(static_cast<std::uint64_t>(vocab))));
  }
  return tokens;
}

inline arch::ModelConfig long_config() {
  arch::ModelConfig config = arch::test_models::tiny_config();
  config.context = 256;
  return config;
}

/// Of every position, the sequence alone in a cache of its own.
inline std::vector<Floats> all_logits(runtime::Model& model, const Ids& tokens) {
  runtime::KvCache cache = model.make_cache(std::ssize(tokens));
  const auto vocab = static_cast<std::size_t>(model.config().vocab);
  std::vector<Floats> result;
  model.forward_each(tokens, cache, 0, [&](std::int64_t first, std::span<const float> rows) {
    EXPECT_EQ(first, std::ssize(result));
    for (; !rows.empty(); rows = rows.subspan(vocab)) {
      result.emplace_back(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(vocab));
    }
  });
  return result;
}

inline std::string message_of(ErrorCode code, const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

}  // namespace onebit::testing
