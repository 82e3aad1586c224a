#include "arch/folding.h"

#include <algorithm>
#include <fmt/format.h>

#include "base/check.h"
#include "base/error.h"

namespace onebit::arch {
namespace {

/// Input j of the matrix behind attention is dimension j % head_dim of query head j / head_dim,
/// which mixes rows of V of that head's group.
std::vector<std::int64_t> tie_to_value_rows(const ModelConfig& config) {
  const std::int64_t group = config.heads / config.kv_heads;
  std::vector<std::int64_t> tie(static_cast<std::size_t>(config.query_dim()));
  for (std::int64_t j = 0; j < config.query_dim(); ++j) {
    const std::int64_t head = j / config.head_dim;
    tie[static_cast<std::size_t>(j)] = head / group * config.head_dim + j % config.head_dim;
  }
  return tie;
}

}  // namespace

std::vector<Folding> foldings(const ModelConfig& config) {
  std::vector<Folding> result;
  for (const TensorSpec& spec : config.arch->tensors) {
    if (!spec.linear) continue;
    if (!spec.folds_into) {
      throw Error(
          ErrorCode::kUnsupported,
          fmt::format("form foldable: found matrix {} of architecture {}, whose input scale "
                      "has no tensor to fold into; expected another form",
                      spec.name, config.arch->name));
    }
    const auto same = [&](const Folding& f) { return f.target == *spec.folds_into; };
    const auto found = std::find_if(result.begin(), result.end(), same);
    if (found != result.end()) {
      found->readers.push_back(spec.role);
      continue;
    }
    const TensorSpec* target = find_tensor(*config.arch, *spec.folds_into);
    ONEBIT_CHECK(target != nullptr);
    Folding folding{target->role, {spec.role}, shape_of(config, *target)[0], {}};
    if (spec.role == Role::kAttnOut) folding.tie = tie_to_value_rows(config);
    result.push_back(std::move(folding));
  }
  return result;
}

const Folding& folding_of(const std::vector<Folding>& all, Role reader) {
  for (const Folding& folding : all) {
    if (std::find(folding.readers.begin(), folding.readers.end(), reader) !=
        folding.readers.end()) {
      return folding;
    }
  }
  throw InternalError("internal error: a matrix that reads in no folding");
}

const Folding* folding_into(const std::vector<Folding>& all, Role target) {
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const Folding& folding) { return folding.target == target; });
  return found == all.end() ? nullptr : &*found;
}

}  // namespace onebit::arch
