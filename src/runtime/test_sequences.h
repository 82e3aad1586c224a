// Sequences as the tests of prefix plans and of what runs them write them.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/prefix_plan.h"
#include "text/tokenizer.h"

namespace onebit::testing {

struct Case {
  std::vector<text::TokenId> tokens;
  std::int64_t first;
};

/// The cases as they are run; they must outlive the result.
inline std::vector<runtime::WantedSequence> views(const std::vector<Case>& cases) {
  std::vector<runtime::WantedSequence> result;
  result.reserve(cases.size());
  for (const Case& c : cases) result.push_back({c.tokens, c.first});
  return result;
}

}  // namespace onebit::testing
