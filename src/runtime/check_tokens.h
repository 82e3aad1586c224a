// What every way to run tokens asks of them first.
#pragma once

#include <cstddef>
#include <fmt/format.h>
#include <span>

#include "base/error.h"
#include "text/tokenizer.h"

namespace onebit::runtime {

/// Throws Error{kInvalidArgument} where there are none, or an id is not below `vocab`.
void check_tokens(std::span<const text::TokenId> tokens, std::int64_t vocab);

/// check(i) for each of `count` sequences. Where there are several, its Error says which.
template <class Check>
void check_each(std::size_t count, Check&& check) {
  for (std::size_t i = 0; i < count; ++i) {
    try {
      check(i);
    } catch (const Error& error) {
      if (count == 1) throw;
      throw Error(error.code(), fmt::format("sequence {} of {}: {}", i, count, error.what()));
    }
  }
}

}  // namespace onebit::runtime
