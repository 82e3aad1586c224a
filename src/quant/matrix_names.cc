#include "quant/matrix_names.h"

#include <algorithm>
#include <fmt/format.h>
#include <fnmatch.h>
#include <vector>

#include "base/error.h"

namespace onebit::quant {

PatternChoice parse_pattern_choice(std::string_view text, const MethodFilter& wanted) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("found '{}', expected PATTERN=METHOD[:BITS]", text));
  }
  try {
    return {std::string(text.substr(0, equals)), parse_method(text.substr(equals + 1), wanted)};
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("'{}': {}", text, error.what()));
  }
}

std::map<arch::TensorId, std::size_t> match_matrices(const arch::Checkpoint& model,
                                                     std::span<const std::string> patterns,
                                                     std::string_view flag) {
  std::map<arch::TensorId, std::size_t> first;
  std::vector<bool> matches(patterns.size(), false);
  std::vector<bool> used(patterns.size(), false);
  for (const arch::TensorId& id : arch::tensor_ids(model.config())) {
    const arch::TensorSpec& spec = *arch::find_tensor(*model.config().arch, id.role);
    if (!spec.linear) continue;
    const std::string name = arch::gguf_name(spec, id.layer);
    for (std::size_t i = 0; i < patterns.size(); ++i) {
      if (::fnmatch(patterns[i].c_str(), name.c_str(), 0) != 0) continue;
      matches[i] = true;
      if (first.try_emplace(id, i).second) used[i] = true;
    }
  }
  const auto idle = std::find(used.begin(), used.end(), false);
  if (idle == used.end()) return first;
  const auto index = static_cast<std::size_t>(idle - used.begin());
  if (matches[index]) {
    throw Error(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: found '{}', all of whose matrices an earlier pattern has, expected "
                    "it before that one: the first that matches wins",
                    flag, patterns[index]));
  }
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("{}: found no matrix of {} named '{}', expected one such as blk.0.attn_q",
                          flag, model.path().string(), patterns[index]));
}

}  // namespace onebit::quant
