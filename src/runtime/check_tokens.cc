#include "runtime/check_tokens.h"

namespace onebit::runtime {

void check_tokens(std::span<const text::TokenId> tokens, std::int64_t vocab) {
  if (tokens.empty()) {
    throw Error(ErrorCode::kInvalidArgument, "tokens to evaluate: found none, expected at least 1");
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= vocab) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("token {} of {}: found id {}, expected 0 to {}", i, tokens.size(),
                              tokens[i], vocab - 1));
    }
  }
}

}  // namespace onebit::runtime
